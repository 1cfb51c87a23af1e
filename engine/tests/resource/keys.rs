//! Keys as blocks give them, hostile ones too.

use flowstate_engine::{Collection, ResourceProblem, collection};
use serde_json::{Value, json};

use crate::support::{go, json};
use crate::work::{File, given};

fn of(pattern: &str) -> Collection<File> {
    collection("things", pattern)
}

#[tokio::test]
async fn each_kind_of_pattern_takes_its_keys() {
    for (pattern, key, path) in [
        ("files/*", "a.md", "files/a.md"),
        ("files/*", "/a.md/", "files/a.md"),
        ("files/**", "src\\main.rs", "files/src/main.rs"),
        ("files/**", "src//main.rs", "files/src/main.rs"),
    ] {
        let engine = given(of(pattern), |input, ctx, things| async move {
            let things = ctx.collection(&things)?;
            let made = things.create(input.as_str().unwrap_or_default()).await?;
            Ok(json(made.path()))
        })
        .await;
        assert_eq!(go(&engine, json!(key)).await, Ok(json!(path)), "{pattern} {key}");
        engine.close().await;
    }
    let engine = given(of("[topic]/observations/[day]"), |_, ctx, things| async move {
        let things = ctx.collection(&things)?;
        let made = things.create([("topic", "tea"), ("day", "1")]).await?;
        things.create([("day", "2"), ("topic", "tea")]).await?;
        things.create([("topic", "coffee"), ("day", "1")]).await?;
        let listed = things.list(Some("tea/")).await?;
        Ok(json!([made.path(), listed.len(), things.count().await?]))
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!(["tea/observations/1", 2, 3])));
    engine.close().await;
}

#[tokio::test]
async fn hostile_keys_are_typed_errors_and_make_nothing() {
    let engine = given(of("files/**"), |_, ctx, things| async move {
        let things = ctx.collection(&things)?;
        let long = "x".repeat(10_000);
        let texts = [
            "",
            "/",
            "//",
            "..",
            "a/../b",
            "./a",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}b",
            "a\u{2028}b",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{feff}",
            long.as_str(),
        ];
        for text in texts {
            let refused = [
                things.create(text).await.map(drop),
                things.get(text).await.map(drop),
                things.find(text).await.map(drop),
                things.get_or_create(text).await.map(drop),
                things.delete(text).await.map(drop),
            ];
            for refused in refused {
                let error = refused.expect_err(text);
                assert!(matches!(error.problem, ResourceProblem::Key(_)), "{text:?}: {error}");
            }
        }
        let params = things
            .create([("topic", "tea")])
            .await
            .map(drop)
            .expect_err("it takes a text");
        assert!(matches!(params.problem, ResourceProblem::Key(_)), "{params}");
        Ok(json(things.count().await?))
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!(0)));
    engine.close().await;
    let engine = given(of("[topic]/notes"), |_, ctx, things| async move {
        let things = ctx.collection(&things)?;
        let wrong = [
            things.create("tea").await,
            things.create([("topic", "a/b")]).await,
            things.create([("topic", "..")]).await,
            things.create([("topic", "")]).await,
            things.create([("other", "tea")]).await,
            things.create([("topic", "tea"), ("other", "x")]).await,
        ];
        for wrong in wrong {
            let error = wrong.map(drop).expect_err("it is no key");
            assert!(matches!(error.problem, ResourceProblem::Key(_)), "{error}");
        }
        Ok(json(things.count().await?))
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!(0)));
    engine.close().await;
}
