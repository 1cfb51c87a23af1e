//! A state that was stored by older code: what still fits is read, what does not is a typed error and stays as it is.

use flowstate_engine::record::Fact;
use flowstate_engine::{Principal, SnapshotQuery, StateProblem};
use serde_json::{Value, json};

use super::support::*;
use flowstate_engine::prelude::*;

/// A later version of [`State`]: `list` became a text, `later` is new, and `m` is gone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Later {
    n: i64,
    list: String,
    later: Option<u8>,
}

/// What of it still fits.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
struct Fits {
    n: i64,
    later: Option<u8>,
}

fn first() -> Flow {
    let flow = going("f", |_, ctx| async move {
        for state in [ctx.session::<State>(), ctx.user::<State>()] {
            state.patch(json!({"n": 7, "list": [1, 2], "m": 3})).await?;
        }
        Ok(Value::Null)
    });
    let flow = flow.session(scope::<State>()).user(scope::<State>());
    flow.instance("default").expect("a flow")
}

fn second() -> Flow {
    let flow = going("f", |misuse, ctx| async move {
        for state in [ctx.session::<Later>(), ctx.user::<Later>()] {
            let refused = match misuse.as_str().unwrap_or_default() {
                "get" => state.get().await.map(drop),
                "set" => state.set(Later::default()).await.map(drop),
                "atomic" => state.atomic(|state| state).await.map(drop),
                "push" => state.push("list", 3).await.map(drop),
                _ => break,
            };
            let error = refused.expect_err("a list is no text");
            match misuse.as_str() {
                Some("push") => assert!(matches!(error.problem, StateProblem::Invalid(_)), "{error:?}"),
                _ => assert!(
                    matches!(&error.problem, StateProblem::Type { message, .. } if message.starts_with("list: ")),
                    "{error:?}"
                ),
            }
            if state.scope().as_str() == "user" {
                return Err(error.into());
            }
        }
        let fits = ctx.session::<Fits>();
        let seen = fits
            .atomic(|fits| Fits {
                n: fits.n + 1,
                later: fits.later.or(Some(9)),
            })
            .await?;
        Ok(json(seen.value()))
    });
    let shown = || scope::<Later>().expose("n");
    flow.session(shown()).user(shown()).instance("default").expect("a flow")
}

/// Has the first type back, and looks.
fn third() -> Flow {
    let flow = going("f", |_, ctx| async move {
        Ok(json!([
            ctx.session::<State>().get().await?,
            ctx.user::<State>().get().await?
        ]))
    });
    let flow = flow.session(scope::<State>()).user(scope::<State>());
    flow.instance("default").expect("a flow")
}

#[tokio::test]
async fn a_stored_state_that_no_longer_fits_is_refused_and_stays_as_it_is() {
    let options = memory();
    let engine = open([first()], &options).await;
    go(&engine, Value::Null).await.expect("done");
    engine.close().await;
    drop(engine);

    let engine = open([second()], &options).await;
    for (misuse, code) in [
        ("get", "state_type"),
        ("set", "state_type"),
        ("atomic", "state_type"),
        ("push", "invalid_state"),
    ] {
        let records = records(&engine, to("f", "ann", "s", json!(misuse))).await;
        let Some((_, Fact::RequestFailed(failed))) = records.last() else {
            panic!("{misuse}: {records:?}")
        };
        assert_eq!(failed.code, code, "{misuse}: {}", failed.message);
        assert!(
            !records.iter().any(|(_, fact)| matches!(fact, Fact::StateChanged(_))),
            "{misuse}"
        );
    }
    // Clients are told why there is no value, instead of a default.
    let query = SnapshotQuery::default();
    let snapshot = engine.snapshot(&Principal::default(), "s", &query).await;
    let snapshot = snapshot.expect("readable").expect("a session");
    assert!(snapshot.client_data.is_empty(), "{:?}", snapshot.client_data);
    assert_eq!(
        snapshot.client_data_errors.len(),
        2,
        "{:?}",
        snapshot.client_data_errors
    );
    // A block that needs only what still fits goes on, and what is new begins as it is declared.
    assert_eq!(go(&engine, Value::Null).await, Ok(json!({"n": 8, "later": 9})));
    engine.close().await;
    drop(engine);

    let engine = open([third()], &options).await;
    let kept = |n: i64| json!({"n": n, "m": 3, "word": null, "list": [1, 2], "map": {}});
    assert_eq!(go(&engine, Value::Null).await, Ok(json!([kept(8), kept(7)])));
}
