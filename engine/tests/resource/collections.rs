//! Collections: their instances are made, found, listed and deleted; and what hooks are told.

use std::sync::Arc;

use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, ScopeKind};
use flowstate_engine::{NoState, ResourceProblem, StateProblem, collection};
use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::{engine, go, going, json, records, run, to};
use crate::work::{FILES, File, both, given};

#[tokio::test]
async fn instances_are_made_found_listed_and_deleted() {
    let engine = both(|_, ctx| async move {
        let files = ctx.collection(&FILES)?;
        assert_eq!(
            (files.name(), files.scope(), files.count().await?),
            ("files", ScopeKind::Session, 0)
        );
        let readme = files.create("readme.md").await?;
        assert_eq!(
            (readme.path(), readme.topic(), readme.name()),
            ("files/readme.md", Some("readme.md"), "files")
        );
        assert_eq!(readme.state().get().await?, File::default());
        let rust = File {
            language: "rust".into(),
            reads: 1,
        };
        files.create_as("src/main.rs", rust.clone()).await?;
        assert_eq!(files.get("src/main.rs").await?.state().get().await?, rust);
        assert!(files.find("src").await?.is_none(), "a part of a key is none");

        let exists = files.create("readme.md").await.map(drop).expect_err("it exists");
        assert!(matches!(exists.problem, ResourceProblem::Exists), "{exists}");
        let missing = files.get("none").await.map(drop).expect_err("there is none");
        assert!(matches!(missing.problem, ResourceProblem::NotFound), "{missing}");
        assert!(
            missing
                .to_string()
                .starts_with("the resource \"files/none\" does not exist"),
            "{missing}"
        );
        let again = files.get_or_create_as("src/main.rs", File::default()).await?;
        assert_eq!(again.state().get().await?, rust, "what is there stays");
        files.get_or_create("src/lib.rs").await?;

        let paths = |listed: Vec<flowstate_engine::ResourceRef<File>>| -> Vec<String> {
            listed.iter().map(|file| file.path().to_owned()).collect()
        };
        assert_eq!(
            paths(files.list(None).await?),
            ["files/readme.md", "files/src/lib.rs", "files/src/main.rs"]
        );
        assert_eq!(
            paths(files.list(Some("src/")).await?),
            ["files/src/lib.rs", "files/src/main.rs"]
        );
        assert_eq!(paths(files.list(Some("x")).await?), [""; 0]);
        assert_eq!(
            paths(files.list_page(None, Some("files/readme.md"), 1).await?),
            ["files/src/lib.rs"]
        );
        assert_eq!(files.count().await?, 3);

        assert!(files.delete("src/main.rs").await?);
        assert!(!files.delete("src/main.rs").await?, "it is gone");
        assert!(files.find("src/main.rs").await?.is_none());
        assert_eq!(files.count().await?, 2);
        Ok(Value::Null)
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(Value::Null));
    // Another request finds what this one left.
    let failed = go(&engine, Value::Null).await.expect_err("it expects none");
    assert!(
        failed.message.contains("right: (\"files\", Session, 0)") && failed.message.contains("Session, 2)"),
        "{failed:?}"
    );
    engine.close().await;
}

#[tokio::test]
async fn an_instance_that_was_deleted_is_gone_and_a_later_one_of_its_key_is_another() {
    let engine = both(|_, ctx| async move {
        let files = ctx.collection(&FILES)?;
        let old = files.create("a").await?;
        old.write_content("old").await?;
        files.delete("a").await?;
        let gone = [
            old.read_content().await.map(drop),
            old.write_content("more").await.map(drop),
            old.content_versions().await.map(drop),
        ];
        for gone in gone {
            assert!(matches!(
                gone.expect_err("it is gone").problem,
                ResourceProblem::NotFound
            ));
        }
        let new = files.create("a").await?;
        assert_eq!(new.read_content().await?, None, "its body went with it");
        let error = old.state().inc("reads", 1).await.expect_err("it is gone");
        assert!(matches!(error.problem, StateProblem::Gone), "{error}");
        let error = old.state().set(File::default()).await.expect_err("it is gone");
        assert!(matches!(error.problem, StateProblem::Gone), "{error}");
        assert_eq!(new.state().get().await?.reads, 0);
        Ok(Value::Null)
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(Value::Null));
    engine.close().await;
}

#[tokio::test]
async fn of_many_who_make_one_key_at_once_one_makes_it() {
    let engine = both(|input, ctx| async move {
        let files = ctx.collection(&FILES)?;
        let made = files.create("one").await;
        let own = format!("own-{input}");
        join_all((0..10).map(|n| files.create(format!("{own}/{n}"))))
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let shared = files.get_or_create("shared").await?;
        let reads = shared.state().inc("reads", 1).await?.into_value();
        match made {
            Ok(_) => Ok(json!([true, reads])),
            Err(error) if matches!(error.problem, ResourceProblem::Exists) => Ok(json!([false, reads])),
            Err(error) => Err(error.into()),
        }
    })
    .await;
    let runs = (0..8).map(|n| run(&engine, to("f", "ann", "s", json!(n))));
    let made: Vec<Value> = join_all(runs)
        .await
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("they run");
    assert_eq!(made.iter().filter(|made| made[0] == json!(true)).count(), 1);
    // Each sees what is visible; whoever comes behind all of them sees all of it.
    assert_eq!(run(&engine, to("f", "ann", "s", json!(8))).await, Ok(json!([false, 9])));
    engine.close().await;
}

#[tokio::test]
async fn a_state_to_begin_with_that_is_not_valid_makes_nothing() {
    #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, Validate)]
    struct Note {
        #[garde(length(max = 3))]
        text: String,
    }
    let notes = collection::<Note>("notes", "notes/*").validated();
    let engine = given(notes, |_, ctx, notes| async move {
        let notes = ctx.collection(&notes)?;
        let long = Note { text: "long".into() };
        for made in [
            notes.create_as("a", long.clone()).await,
            notes.get_or_create_as("a", long).await,
        ] {
            let error = made.map(drop).expect_err("it is too long");
            let ResourceProblem::State(StateProblem::Invalid(problems)) = &error.problem else {
                panic!("{error}");
            };
            assert_eq!(problems[0].path, "text");
        }
        Ok(json(notes.count().await?))
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!(0)));
    engine.close().await;
}

#[tokio::test]
async fn a_collection_of_a_user_is_the_users_in_all_sessions_and_kept_by_kind_of_flow() {
    let block = |input: Value, ctx: Ctx| async move {
        let files = ctx.collection(&FILES)?;
        files.get_or_create(input.as_str().unwrap_or_default()).await?;
        Ok(json(files.count().await?))
    };
    let flow = |kind: &str| {
        let flow = going(kind, block).user(scope::<NoState>().resource(&FILES));
        flow.instance("default").expect("a flow")
    };
    let engine = crate::support::open([flow("f"), flow("g")], &crate::support::memory()).await;
    let counts = [
        (("f", "ann", "s", "a"), 1),
        (("f", "ann", "t", "b"), 2),
        (("f", "ben", "u", "a"), 1),
        (("g", "ann", "v", "c"), 1),
    ];
    for ((flow, user, session, key), count) in counts {
        assert_eq!(
            run(&engine, to(flow, user, session, json!(key))).await,
            Ok(json!(count)),
            "{flow} {user}"
        );
    }
    engine.close().await;
}

#[tokio::test]
async fn a_shared_scope_has_its_resources_in_common() {
    let flow = |kind: &str| {
        let block = |_: Value, ctx: Ctx| async move {
            let files = ctx.collection(&FILES)?;
            let file = files.get_or_create("a").await?;
            Ok(json(file.state().inc("reads", 1).await?.into_value()))
        };
        let flow = going(kind, block).user(scope::<NoState>().resource(&FILES).shared());
        flow.instance("default").expect("a flow")
    };
    let engine = crate::support::open([flow("f"), flow("g")], &crate::support::memory()).await;
    assert_eq!(run(&engine, to("f", "ann", "s", Value::Null)).await, Ok(json!(1)));
    assert_eq!(run(&engine, to("g", "ann", "t", Value::Null)).await, Ok(json!(2)));
    engine.close().await;
}

#[tokio::test]
async fn hooks_are_told_when_it_is_durable_and_what_they_panic_with_changes_nothing() {
    let told: Arc<Mutex<Vec<Value>>> = Arc::default();
    let (created, updated, deleted) = (told.clone(), told.clone(), told.clone());
    let files = collection::<File>("files", "files/*")
        .max_instances(2)
        .eviction(flowstate_engine::Eviction::Oldest)
        .on_instance_created(move |key, state: &File, ctx| {
            ctx.log("made");
            let whose = (
                ctx.collection().to_owned(),
                ctx.scope().as_str(),
                ctx.scope_id().to_owned(),
            );
            created.lock().push(json!(["created", key, state.reads, whose]));
            assert!(key != "files/c", "a hook that panics");
        })
        .on_instance_updated(move |key, state: &File, before: &File, _| {
            updated.lock().push(json!(["updated", key, state.reads, before.reads]));
        })
        .on_instance_deleted(move |key, _| deleted.lock().push(json!(["deleted", key])));
    let engine = given(files, |_, ctx, files| async move {
        let files = ctx.collection(&files)?;
        let a = files.create("a").await?;
        a.state().inc("reads", 2).await?;
        a.state()
            .atomic(|file| File {
                reads: file.reads + 1,
                ..file
            })
            .await?;
        a.state()
            .set(File {
                reads: 3,
                ..File::default()
            })
            .await?;
        a.write_content("no state").await?;
        files.create("b").await?;
        files.create("c").await?;
        files.delete("b").await?;
        files.delete("b").await?;
        Ok(Value::Null)
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(Value::Null));
    let whose = json!(["files", "session", "s"]);
    assert_eq!(
        json!(*told.lock()),
        json!([
            ["created", "files/a", 0, whose],
            ["updated", "files/a", 2, 0],
            ["updated", "files/a", 3, 2],
            ["created", "files/b", 0, whose],
            ["deleted", "files/a"],
            ["created", "files/c", 0, whose],
            ["deleted", "files/b"],
        ])
    );
    engine.close().await;
}

#[tokio::test]
async fn a_hundred_requests_of_a_user_count_every_instance_once() {
    let flow = going("f", |input, ctx| async move {
        let files = ctx.collection(&FILES)?;
        files.create(format!("{input}")).await?;
        Ok(json(files.count().await?))
    });
    let engine = engine(flow.user(scope::<NoState>().resource(&FILES))).await;
    let runs = (0..100).map(|n| run(&engine, to("f", "ann", &format!("s{n}"), json!(n))));
    for ran in join_all(runs).await {
        assert!(ran.is_ok(), "{ran:?}");
    }
    assert_eq!(
        run(&engine, to("f", "ann", "s", json!("one more"))).await,
        Ok(json!(101))
    );
    let records = records(&engine, to("f", "ann", "last", json!("last"))).await;
    assert!(
        !records.iter().any(|(_, fact)| matches!(fact, Fact::ResourceNoted(_))),
        "clients are not told of it"
    );
    engine.close().await;
}

#[tokio::test]
async fn what_a_state_to_begin_with_leaves_out_is_not_made_up() {
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    struct Note {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        text: String,
    }
    let notes = collection::<Note>("notes", "notes/*").initial(Note {
        owner: Some("me".into()),
        text: "begun".into(),
    });
    let engine = given(notes, |_, ctx, notes| async move {
        let notes = ctx.collection(&notes)?;
        let text = "own".to_owned();
        let own = notes
            .create_as("own", Note { owner: None, text })
            .await?
            .state()
            .get()
            .await?;
        let begun = notes.create("begun").await?.state().get().await?;
        Ok(json!([own.owner, own.text, begun.owner, begun.text]))
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!([null, "own", "me", "begun"])));
    engine.close().await;
}

#[tokio::test]
async fn bodies_go_with_their_instance() {
    let engine = both(|_, ctx| async move {
        let files = ctx.collection(&FILES)?;
        let old = files.create("a").await?;
        let secret = old.write_content("secret").await?;
        files.delete("a").await?;
        let new = files.create("a").await?;
        let other = files.create("b").await?;
        let own = other.write_content("own").await?;
        assert_eq!(other.read_content_version(own).await?, "own");
        for (of, version) in [(&new, secret), (&new, own), (&other, secret)] {
            let error = of
                .read_content_version(version)
                .await
                .expect_err("it is none of its own");
            assert!(matches!(error.problem, ResourceProblem::NoBody { .. }), "{error}");
        }
        let error = old.read_content_version(secret).await.expect_err("it is gone");
        assert!(matches!(error.problem, ResourceProblem::NotFound), "{error}");
        Ok(json(new.content_versions().await?.len()))
    })
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!(0)));
    engine.close().await;
}

#[tokio::test]
async fn a_resource_and_a_collection_of_one_name_in_two_scopes_are_both_found() {
    let one = flowstate_engine::resource::<File>("files");
    let (known, many) = (one.clone(), FILES.clone());
    let flow = going("f", move |_, ctx| {
        let (one, many) = (known.clone(), many.clone());
        async move {
            ctx.collection(&many)?.create("a").await?;
            ctx.resource(&one)?.write_content("one").await?;
            Ok(json!([
                ctx.collection(&many)?.scope().as_str(),
                ctx.resource(&one)?.scope().as_str()
            ]))
        }
    });
    let flow = flow
        .session(scope::<NoState>().resource(&one))
        .user(scope::<NoState>().resource(&*FILES));
    let engine = engine(flow).await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!(["user", "session"])));
    engine.close().await;
}
