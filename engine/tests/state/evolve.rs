//! A state that was stored by older code: what still fits is read, what does not is a typed error and stays as it is.

use std::future::{IntoFuture, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use flowstate_engine::record::Fact;
use flowstate_engine::{Principal, SnapshotQuery, StateProblem};
use flowstate_log::Options;
use flowstate_log::disk::faulty::FaultyDisk;
use flowstate_log::disk::memory::MemoryDisk;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

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

/// Replaces what no longer fits, and leaves what it does not know.
fn repairing() -> Flow {
    let flow = going("f", |_, ctx| async move {
        let anew = Later {
            n: 1,
            ..Later::default()
        };
        for state in [ctx.session::<Later>(), ctx.user::<Later>()] {
            assert!(state.set(anew.clone()).await?.is_changed());
            assert!(!state.set(anew.clone()).await?.is_changed());
        }
        Ok(json(ctx.session::<Later>().get().await?))
    });
    let flow = flow.session(scope::<Later>()).user(scope::<Later>());
    flow.instance("default").expect("a flow")
}

#[tokio::test]
async fn a_state_that_no_longer_fits_is_replaced_by_set_only() {
    let options = memory();
    let engine = open([first()], &options).await;
    go(&engine, Value::Null).await.expect("done");
    engine.close().await;
    drop(engine);
    let engine = open([repairing()], &options).await;
    assert_eq!(
        go(&engine, Value::Null).await,
        Ok(json!({"n": 1, "list": "", "later": null}))
    );
    let records = records(&engine, to("f", "ann", "s", Value::Null)).await;
    assert!(
        !records.iter().any(|(_, fact)| matches!(fact, Fact::StateChanged(_))),
        "now it fits"
    );
}

fn ignored<T>(_: T) {}

/// Takes 1 from `m` once it is let, and says when that has its place.
fn takes(ready: Arc<Semaphore>, gate: Arc<Semaphore>) -> Flow {
    let flow = going("f", move |what, ctx| {
        let (ready, gate) = (ready.clone(), gate.clone());
        async move {
            let state = ctx.session::<State>();
            match what.as_str().unwrap_or_default() {
                "begin" => ignored(state.inc("m", 1).await?),
                "take" => {
                    ctx.durable().await?;
                    ready.add_permits(1);
                    gate.acquire().await?.forget();
                    let mut taking = state.inc("m", -1).into_future();
                    let looked = poll_fn(|cx| Poll::Ready(taking.poll_unpin(cx))).await;
                    ready.add_permits(1);
                    match looked {
                        Poll::Ready(taken) => ignored(taken?),
                        Poll::Pending => ignored(taking.await?),
                    }
                }
                "read" => ignored(state.get().await?),
                "work out" => ignored(state.atomic(|state| state).await?),
                "take more" => ignored(state.inc("m", -1).await?),
                "give back" => ignored(state.inc("m", 1).await?),
                "patch" => ignored(state.patch(json!({"m": 7})).await?),
                "set" => ignored(state.set(State::default()).await?),
                other => return Err(BlockError::new("unknown", other.to_owned())),
            }
            Ok(json(state.get().await.map(|state| state.m).ok()))
        }
    });
    let flow = flow.session(scope::<State>().expose("m"));
    flow.instance("default").expect("a flow")
}

/// Each of the two finds 1 there, and what both leave is no `u32`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_two_requests_took_too_much_of_is_an_error_until_it_is_put_right() {
    for (repair, left) in [("set", 0), ("patch", 7), ("give back", 0)] {
        let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
        let options = Options {
            disk: Arc::new(disk.clone()),
            ..memory()
        };
        let (ready, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let engine = open([takes(ready.clone(), gate.clone())], &options).await;
        assert_eq!(go(&engine, json!("begin")).await, Ok(json!(1)));
        let take = || {
            let engine = engine.clone();
            tokio::spawn(async move { go(&engine, json!("take")).await })
        };
        let both = [take(), take()];
        ready.acquire_many(2).await.expect("both wait").forget();
        // Nothing becomes visible before both have looked.
        disk.hold_syncs("slot");
        gate.add_permits(2);
        let sequenced = tokio::time::timeout(std::time::Duration::from_secs(20), ready.acquire_many(2)).await;
        sequenced.expect("in time").expect("both looked").forget();
        disk.release();
        for taken in both {
            assert!(taken.await.expect("no panic").is_ok());
        }
        for (what, code) in [
            ("read", "state_type"),
            ("work out", "state_type"),
            ("take more", "invalid_state"),
        ] {
            let failed = go(&engine, json!(what)).await.expect_err("it is -1");
            assert_eq!(failed.code, code, "{what}: {}", failed.message);
        }
        let snapshot = engine
            .snapshot(&Principal::default(), "s", &SnapshotQuery::default())
            .await;
        let snapshot = snapshot.expect("readable").expect("a session");
        assert_eq!(snapshot.client_data_errors.len(), 1, "{:?}", snapshot.client_data);
        assert_eq!(go(&engine, json!(repair)).await, Ok(json!(left)), "{repair}");
        engine.close().await;
    }
}
