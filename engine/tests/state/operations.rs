//! What each operation does and gives, and what a request sees of its own writes.

use flowstate_engine::record::Fact;
use flowstate_engine::{StateProblem, Written};
use futures_util::FutureExt;
use serde_json::{Value, json};

use super::support::*;
use flowstate_engine::prelude::*;

#[tokio::test]
async fn every_operation_gives_what_it_left_and_the_request_sees_it_at_once() {
    let engine = engine(
        going("f", |_, ctx| async move {
            let state = ctx.session::<State>();
            let mut versions = Vec::new();
            let n = state.inc("n", 2).await?;
            assert_eq!((n.value().as_i64(), n.is_changed()), (Some(2), true));
            versions.push(n.version());
            let both = state.inc_all([("n", 1), ("m", 5)]).await?;
            assert_eq!(json(both.value()), json!({"n": 3, "m": 5}));
            versions.push(both.version());
            let pushed = state.push("list", 7).await?;
            assert_eq!(*pushed.value(), 1);
            assert_eq!(*state.push("list", 8).await?.value(), 2);
            assert_eq!(*state.record_set("map", "a", 1).await?.value(), 1);
            assert_eq!(*state.record_set("map", "b", 2).await?.value(), 2);
            assert_eq!(*state.record_delete("map", "a").await?.value(), 1);
            let patched = state.patch(json!({"word": "tea", "m": 6})).await?;
            versions.push(patched.version());
            assert_eq!(json(patched.value()), json!({"word": "tea", "m": 6}));
            let doubled = state
                .atomic(|state| State {
                    n: state.n * 2,
                    ..state
                })
                .await?;
            versions.push(doubled.version());
            assert_eq!(doubled.value().n, 6);
            let seen = state.get().await?;
            let set = state.set(State { n: 1, ..seen.clone() }).await?;
            versions.push(set.version());
            assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
            Ok(json!([seen, state.get().await?]))
        })
        .session(scope::<State>()),
    )
    .await;
    let left = json!({"n": 6, "m": 6, "word": "tea", "list": [7, 8], "map": {"b": 2}});
    let mut after = left.clone();
    after["n"] = json!(1);
    assert_eq!(go(&engine, Value::Null).await, Ok(json!([left, after])));
}

#[tokio::test]
async fn a_result_that_is_what_was_there_writes_nothing() {
    let engine = engine(
        going("f", |_, ctx| async move {
            let state = ctx.session::<State>();
            let first = state.inc("n", 1).durable().await?.version();
            let same = state.atomic(|state| state).await?;
            assert!(matches!(same, Written::Unchanged { version, .. } if version == first));
            assert!(!state.set(same.into_value()).await?.is_changed());
            Ok(Value::Null)
        })
        .session(scope::<State>()),
    )
    .await;
    let records = records(&engine, to("f", "ann", "s", Value::Null)).await;
    let changes = records.iter().filter(|(_, fact)| matches!(fact, Fact::StateChanged(_)));
    assert_eq!(changes.count(), 1);
}

#[tokio::test]
async fn set_and_atomic_record_only_what_they_change() {
    let engine = engine(
        going("f", |_, ctx| async move {
            let state = ctx.session::<State>();
            state.patch(json!({"word": "tea", "n": 4})).await?;
            state.atomic(|state| State { word: None, ..state }).await?;
            Ok(json(state.get().await?))
        })
        .session(scope::<State>()),
    )
    .await;
    let records = records(&engine, to("f", "ann", "s", Value::Null)).await;
    let ops: Vec<Value> = records
        .iter()
        .filter_map(|(_, fact)| match fact {
            Fact::StateChanged(change) => Some(json(&change.op)),
            _ => None,
        })
        .collect();
    assert_eq!(ops[1], json!({"atomic": {"fields": {"word": null}}}));
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Part {
    n: i64,
}

#[tokio::test]
async fn a_partial_view_neither_reads_nor_loses_nor_fights_over_other_fields() {
    let engine = engine(
        going("f", |_, ctx| async move {
            let (part, whole) = (ctx.session::<Part>(), ctx.session::<State>());
            whole.patch(json!({"word": "tea", "list": [1]})).await?;
            part.set(Part { n: 5 }).await?;
            // Others change another field all the time, more often than a lost race would be run again.
            let (busy, more) = tokio::join!(
                async {
                    for _ in 0..40 {
                        whole.inc("m", 1).durable().await?;
                    }
                    Ok::<_, BlockError>(())
                },
                async {
                    let mut runs = 0;
                    for _ in 0..10 {
                        let runs = &std::sync::atomic::AtomicU32::new(0);
                        part.atomic(|part| {
                            runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            Part { n: part.n + 1 }
                        })
                        .await?;
                        assert_eq!(
                            runs.load(std::sync::atomic::Ordering::Relaxed),
                            1,
                            "nobody else changes n"
                        );
                    }
                    runs += 1;
                    Ok::<_, BlockError>(runs)
                }
            );
            busy?;
            more?;
            Ok(json(whole.get().await?))
        })
        .session(scope::<State>()),
    )
    .await;
    assert_eq!(
        go(&engine, Value::Null).await,
        Ok(json!({"n": 15, "m": 40, "word": "tea", "list": [1], "map": {}}))
    );
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_anything_is_appended() {
    let engine = engine(
        going("f", |input, ctx| async move {
            let state = ctx.session::<State>();
            state.patch(json!({"word": "tea"})).await?;
            let before = state.get().await?;
            let refused = match input.as_str().unwrap_or_default() {
                "inc" => state.inc("word", 1).await.map(drop),
                "half" => state.inc_all([("n", 1), ("word", 1)]).await.map(drop),
                "push" => state.push("map", 1).await.map(drop),
                "element" => state.push("list", "x").await.map(drop),
                "record" => state.record_set("list", "k", 1).await.map(drop),
                "entry" => state.record_set("map", "k", "x").await.map(drop),
                "delete" => state.record_delete("n", "k").await.map(drop),
                "field" => state.patch(json!({"wrod": "x"})).await.map(drop),
                "below" => state.inc("m", -1).await.map(drop),
                _ => state.patch(json!({"n": 1, "m": "x"})).await.map(drop),
            };
            assert_eq!(state.get().await?, before);
            refused?;
            Ok(Value::Null)
        })
        .session(scope::<State>()),
    )
    .await;
    for (misuse, says) in [
        ("inc", "the field \"word\" is not a number: it is \"tea\""),
        ("half", "the field \"word\" is not a number"),
        ("push", "the field \"map\" is not an array: it is {}"),
        ("element", "list[0]: \"x\" is not of type \"integer\""),
        ("record", "the field \"list\" is not an object with keys: it is []"),
        ("entry", "map.k: \"x\" is not of type \"integer\""),
        ("delete", "the field \"n\" is not an object with keys"),
        ("field", "has no field \"wrod\"; it has list; m; map; n; word"),
        ("below", "m: -1 is less than the minimum of 0"),
        ("patch", "m: \"x\" is not of type \"integer\""),
    ] {
        let records = records(&engine, to("f", "ann", "s", json!(misuse))).await;
        let Some((_, Fact::RequestFailed(failed))) = records.last() else {
            panic!("{misuse}: {records:?}")
        };
        assert_eq!(failed.code, "invalid_state", "{misuse}");
        assert!(failed.message.contains(says), "{misuse}: {}", failed.message);
        let changes = records.iter().filter(|(_, fact)| matches!(fact, Fact::StateChanged(_)));
        assert_eq!(changes.count(), 1, "{misuse} was recorded");
    }
}

#[tokio::test]
async fn a_stored_state_of_another_type_is_an_error_and_never_replaced() {
    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    struct Other {
        list: String,
    }
    let engine = engine(
        going("f", |_, ctx| async move {
            let other = ctx.session::<Other>();
            let error = other.get().await.expect_err("a list is no text");
            assert!(matches!(error.problem, StateProblem::Type { .. }), "{error}");
            let error = other.atomic(|other| other).await.expect_err("nor here");
            assert!(matches!(error.problem, StateProblem::Type { .. }), "{error}");
            Ok(json(ctx.session::<State>().get().await?))
        })
        .session(scope::<State>()),
    )
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json(State::default())));
}

#[tokio::test]
async fn many_writes_of_one_request_may_be_on_their_way_at_once() {
    let engine = engine(
        going("f", |_, ctx| async move {
            let state = ctx.session::<State>();
            let writes = futures_util::future::join_all((0..200).map(|n| state.push("list", n).into_future()));
            for written in writes.await {
                written?;
            }
            Ok(json(state.get().await?.list))
        })
        .session(scope::<State>()),
    )
    .await;
    let list = go(&engine, Value::Null).await.expect("a list");
    let mut list: Vec<i64> = serde_json::from_value(list).expect("numbers");
    list.sort_unstable();
    assert_eq!(list, (0..200).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_write_that_is_dropped_on_its_way_does_no_harm() {
    let engine = engine(
        going("f", |_, ctx| async move {
            let state = ctx.session::<State>();
            for n in 0..50 {
                // Polled once, then dropped: it may have been queued, under a version or not.
                let mut dropped = state
                    .atomic(|state| State {
                        n: state.n + 1,
                        ..state
                    })
                    .into_future();
                let _ = (&mut dropped).now_or_never();
                drop(dropped);
                let mut dropped = state.inc("m", 1).into_future();
                let _ = (&mut dropped).now_or_never();
                drop(dropped);
                state.push("list", n).await?;
            }
            ctx.durable().await?;
            Ok(json(state.get().await?.list.len()))
        })
        .session(scope::<State>()),
    )
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!(50)));
}
