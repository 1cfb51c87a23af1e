//! The state of an execution of a sequencer, and of a target: every operation, what it gives, and what is recorded of it.

use flowstate_engine::record::Fact;
use serde_json::{Value, json};

use super::support::*;
use flowstate_engine::prelude::*;

fn missing() -> BlockError {
    BlockError::new("none", "there is no such state")
}

/// All operations, through whichever handle it is given.
async fn every_operation(state: &flowstate_engine::InstanceRef<State>) -> Result<Value, BlockError> {
    let n = state.inc("n", 2).await?;
    let both = state.inc_all([("n", 1), ("m", 5)]).await?;
    let patched = state.patch(json!({"word": "tea"})).await?;
    let pushed = (state.push("list", 7).await?, state.push("list", 8).await?);
    let set = (
        state.record_set("map", "a", 1).await?,
        state.record_set("map", "b", 2).await?,
    );
    let deleted = state.record_delete("map", "a").await?;
    let doubled = state
        .atomic(|state| State {
            n: state.n * 2,
            ..state
        })
        .await?;
    let same = state.set(doubled.clone()).await?;
    let replaced = state
        .set(State {
            word: None,
            ..same.clone()
        })
        .await?;
    assert_eq!(state.get().await?, replaced);
    Ok(json!([
        n,
        both,
        patched,
        pushed,
        set,
        deleted,
        doubled,
        same == doubled,
        replaced
    ]))
}

fn expected() -> Value {
    let doubled = json!({"n": 6, "m": 5, "word": "tea", "list": [7, 8], "map": {"b": 2}});
    let mut replaced = doubled.clone();
    replaced["word"] = Value::Null;
    json!([2, {"n": 3, "m": 5}, {"word": "tea"}, [1, 2], [1, 2], 1, doubled, true, replaced])
}

#[tokio::test]
async fn the_state_of_a_sequencer_has_every_operation_and_each_is_a_record() {
    let works = handler("works")
        .run(|_: Value, ctx: Ctx| async move { every_operation(&ctx.sequencer::<State>().ok_or_else(missing)?).await });
    let chain = sequencer::<Value>("s").state::<State>().then(works);
    let engine = engine(flow("f").action("go", action(chain))).await;
    let records = records(&engine, to("f", "ann", "s", Value::Null)).await;
    let Some((_, Fact::RequestCompleted(completed))) = records.last() else {
        panic!("{records:?}")
    };
    assert_eq!(output(&records, completed), expected());
    let ops = records.iter().filter_map(|(_, fact)| match fact {
        Fact::InstanceStateChanged(change) => Some(json(&change.op)),
        _ => None,
    });
    assert_eq!(
        ops.collect::<Vec<_>>(),
        [
            json!({"inc": {"n": 2}}),
            json!({"inc": {"n": 1, "m": 5}}),
            json!({"patch": {"word": "tea"}}),
            json!({"push": {"field": "list", "value": 7}}),
            json!({"push": {"field": "list", "value": 8}}),
            json!({"record_set": {"field": "map", "key": "a", "value": 1}}),
            json!({"record_set": {"field": "map", "key": "b", "value": 2}}),
            json!({"record_delete": {"field": "map", "key": "a"}}),
            json!({"atomic": {"fields": {"n": 6}}}),
            json!({"set": {"fields": {"word": null}}}),
        ],
        "only what changes, and nothing of what changes nothing"
    );
}

#[tokio::test]
async fn a_target_has_every_operation_and_the_block_that_it_is_of_sees_them() {
    let works = handler("works").run(|_: Value, ctx: Ctx| async move {
        every_operation(&ctx.target::<State>("research")?.ok_or_else(missing)?).await
    });
    let looks = handler("looks").run(|given: Value, ctx: Ctx| async move {
        let seen = ctx.sequencer::<State>().ok_or_else(missing)?.get().await?;
        Ok(json!([given, seen]))
    });
    let inner = sequencer::<Value>("inner").then(works);
    let research = sequencer::<Value>("research").state::<State>().then(inner).then(looks);
    let engine = engine(flow("f").action("go", action(research))).await;
    let (given, seen) = (expected(), expected()[8].clone());
    assert_eq!(go(&engine, Value::Null).await, Ok(json!([given, seen])));
}

#[tokio::test]
async fn operations_at_once_come_one_after_the_other_and_what_does_not_fit_changes_nothing() {
    let works = handler("works").run(|_: Value, ctx: Ctx| async move {
        let state = ctx.sequencer::<State>().ok_or_else(missing)?;
        let pushes = futures_util::future::join_all((0..50).map(|n| state.push("list", n)));
        let doubles = futures_util::future::join_all((0..5).map(|_| {
            state.atomic(|state| State {
                n: state.n * 2 + 1,
                ..state
            })
        }));
        let sets = futures_util::future::join_all((0..50).map(|n| {
            let (state, key) = (&state, format!("k{n}"));
            async move { state.record_set("map", &key, n).await }
        }));
        let (pushes, doubles, sets) = tokio::join!(pushes, doubles, sets);
        for done in pushes.into_iter().chain(sets) {
            done?;
        }
        for done in doubles {
            done?;
        }
        let before = state.get().await?;
        for refused in [
            state.push("map", 1).await.map(drop),
            state.push("list", "x").await.map(drop),
            state.record_set("map", "k", "x").await.map(drop),
            state.record_delete("list", "k").await.map(drop),
            state.inc("m", -1).await.map(drop),
            state.patch(json!({"wrod": 1})).await.map(drop),
            state.patch(7).await.map(drop),
        ] {
            let error = BlockError::from(refused.expect_err("it does not fit"));
            assert_eq!(error.code(), "invalid_state", "{error}");
        }
        assert_eq!(state.get().await?, before);
        Ok(json!([before.list.len(), before.n, before.map.len()]))
    });
    let chain = sequencer::<Value>("s").state::<State>().then(works);
    let engine = engine(flow("f").action("go", action(chain))).await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!([50, 31, 50])));
}
