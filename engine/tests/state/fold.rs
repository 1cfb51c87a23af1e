//! The fold: whatever the order in which writers get in, the state is that of the operations one after the other, in the order of the
//! records, and what commutes adds up to the same in any order.

use std::collections::BTreeMap;

use flowstate_engine::record::{Fact, decode};
use flowstate_engine::{Principal, StateOp};
use flowstate_log::record::Name;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};

use super::support::*;
use flowstate_engine::prelude::*;

/// One operation of a writer. Records are written under keys of the writer's own, so that all writers commute.
#[derive(Clone, Debug)]
enum Op {
    Inc(i64),
    Push(i64),
    Put(u8, i64),
    Delete(u8),
    /// The same under a key that all write.
    PutCommon(i64),
    DeleteCommon,
    Word(String),
}

/// Whose state, and who writes it at once.
#[derive(Clone, Copy, Debug)]
enum Of {
    /// A session's: two requests in it.
    Session,
    /// A user's that two kinds of flow share: a request of each, in sessions of their own.
    User,
}

const COMMON: &str = "common";

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (-9..9_i64).prop_map(Op::Inc),
        (0..100_i64).prop_map(Op::Push),
        ((0..3_u8), 0..9_i64).prop_map(|(key, value)| Op::Put(key, value)),
        (0..3_u8).prop_map(Op::Delete),
        (0..9_i64).prop_map(Op::PutCommon),
        Just(Op::DeleteCommon),
        "[a-c]{1,3}".prop_map(Op::Word),
    ]
}

fn key(writer: usize, key: u8) -> String {
    format!("{writer}-{key}")
}

async fn perform(state: &StateRef<State>, writer: usize, ops: &[Op]) -> Result<(), BlockError> {
    for op in ops {
        match op {
            Op::Inc(by) => state.inc("n", *by).await.map(drop)?,
            Op::Push(value) => state.push("list", value).await.map(drop)?,
            Op::Put(k, value) => state.record_set("map", &key(writer, *k), value).await.map(drop)?,
            Op::Delete(k) => state.record_delete("map", &key(writer, *k)).await.map(drop)?,
            Op::PutCommon(value) => state.record_set("map", COMMON, value).await.map(drop)?,
            Op::DeleteCommon => state.record_delete("map", COMMON).await.map(drop)?,
            Op::Word(word) => state.patch(json!({"word": word})).await.map(drop)?,
        }
        // Every write of the request that has returned is seen.
        let seen = state.get().await?;
        if let Op::Put(k, value) = op {
            assert_eq!(seen.map.get(&key(writer, *k)), Some(value));
        }
    }
    Ok(())
}

/// What a reference that knows nothing of the engine makes of an operation.
fn reference(state: &mut State, op: &StateOp) {
    match json(op) {
        Value::Object(op) => {
            let (name, what) = op.into_iter().next().expect("one operation");
            let key = || what["key"].as_str().expect("a key").to_owned();
            match name.as_str() {
                "inc" => state.n += what["n"].as_i64().expect("a number"),
                "push" => state.list.push(what["value"].as_i64().expect("a number")),
                "record_set" => drop(state.map.insert(key(), what["value"].as_i64().expect("a number"))),
                "record_delete" => drop(state.map.remove(&key())),
                "patch" => state.word = what["word"].as_str().map(str::to_owned),
                other => panic!("{other} was not asked for"),
            }
        }
        other => panic!("{other} is no operation"),
    }
}

async fn holds(writers: Vec<Vec<Op>>, of: Of) -> TestCaseResult {
    let shown = || {
        let fields = ["n", "m", "word", "list", "map"].into_iter();
        fields.fold(scope::<State>(), |scope, field| scope.expose(field))
    };
    let flow = |kind: &str| {
        let flow = going(kind, move |input, ctx| async move {
            let state = match of {
                Of::Session => ctx.session::<State>(),
                Of::User => ctx.user::<State>(),
            };
            // Each writer is a block of its own request: both kinds of company.
            let writers: Vec<(usize, Vec<Op>)> = parse(&input);
            let all = writers.iter().map(|(writer, ops)| perform(&state, *writer, ops));
            futures_util::future::try_join_all(all).await?;
            Ok(Value::Null)
        });
        let flow = flow.session(shown()).user(shown().shared());
        flow.instance("default").expect("a flow")
    };
    let engine = open([flow("f"), flow("g")], &memory()).await;
    let half = writers.len() / 2;
    let numbered: Vec<(usize, Vec<Op>)> = writers.iter().cloned().enumerate().collect();
    let (one, other) = numbered.split_at(half);
    let (other_flow, other_session, stream) = match of {
        Of::Session => ("f", "s", "session/s"),
        Of::User => ("g", "t", "user/ann"),
    };
    let (one, other) = tokio::join!(
        run(&engine, to("f", "ann", "s", unparse(one))),
        run(&engine, to(other_flow, "ann", other_session, unparse(other)))
    );
    prop_assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");

    // A stream that nobody wrote to is not there.
    let name = Name::new("", stream).expect("a name");
    let records = match engine.log().stream(&name).await.expect("names") {
        Some(stream) => engine.log().read(stream, 1, 1_000).await.expect("records"),
        None => Vec::new(),
    };
    let mut expected = State::default();
    for record in records {
        if let Ok(Fact::StateChanged(change)) = decode(&record) {
            reference(&mut expected, &change.op);
        }
    }
    let left = state_of(&engine, of).await;
    prop_assert_eq!(&left, &expected, "not the order of the records");

    // In whatever order: the sum, the elements, and each writer's last word about its own keys.
    let sum: i64 = writers
        .iter()
        .flatten()
        .map(|op| if let Op::Inc(by) = op { *by } else { 0 })
        .sum();
    let mut map = BTreeMap::new();
    for (writer, ops) in writers.iter().enumerate() {
        for op in ops {
            match op {
                Op::Put(k, value) => drop(map.insert(key(writer, *k), *value)),
                Op::Delete(k) => drop(map.remove(&key(writer, *k))),
                Op::Inc(_) | Op::Push(_) | Op::PutCommon(_) | Op::DeleteCommon | Op::Word(_) => {}
            }
        }
    }
    let pushed = |op: &Op| if let Op::Push(value) = op { Some(*value) } else { None };
    let mut elements: Vec<i64> = writers.iter().flatten().filter_map(pushed).collect();
    let (mut list, mut own) = (left.list.clone(), left.map.clone());
    own.remove(COMMON);
    elements.sort_unstable();
    list.sort_unstable();
    prop_assert_eq!((left.n, list, own), (sum, elements, map));
    for ops in &writers {
        let own: Vec<i64> = ops.iter().filter_map(pushed).collect();
        let mut rest = left.list.iter();
        prop_assert!(
            own.iter().all(|value| rest.any(|there| there == value)),
            "pushed in order"
        );
    }
    engine.close().await;
    Ok(())
}

async fn state_of(engine: &Engine, of: Of) -> State {
    let query = flowstate_engine::SnapshotQuery::default();
    let snapshot = engine.snapshot(&Principal::default(), "s", &query).await;
    let shown = snapshot.expect("readable").expect("a session").client_data;
    let scope = match of {
        Of::Session => "session",
        Of::User => "user",
    };
    serde_json::from_value(Value::Object(shown[scope].clone())).expect("the state")
}

fn unparse(writers: &[(usize, Vec<Op>)]) -> Value {
    let op = |op: &Op| match op {
        Op::Inc(by) => json!(["inc", by]),
        Op::Push(value) => json!(["push", value]),
        Op::Put(key, value) => json!(["put", key, value]),
        Op::Delete(key) => json!(["delete", key]),
        Op::PutCommon(value) => json!(["put_common", value]),
        Op::DeleteCommon => json!(["delete_common"]),
        Op::Word(word) => json!(["word", word]),
    };
    let writer = |(writer, ops): &(usize, Vec<Op>)| json!([writer, ops.iter().map(op).collect::<Vec<_>>()]);
    Value::Array(writers.iter().map(writer).collect())
}

fn parse(input: &Value) -> Vec<(usize, Vec<Op>)> {
    let number = |value: &Value| value.as_i64().expect("a number");
    let op = |op: &Value| match op[0].as_str().expect("a name") {
        "inc" => Op::Inc(number(&op[1])),
        "push" => Op::Push(number(&op[1])),
        "put" => Op::Put(number(&op[1]) as u8, number(&op[2])),
        "put_common" => Op::PutCommon(number(&op[1])),
        "delete_common" => Op::DeleteCommon,
        "delete" => Op::Delete(number(&op[1]) as u8),
        _ => Op::Word(op[1].as_str().expect("a word").to_owned()),
    };
    let writers = input.as_array().map(Vec::as_slice).unwrap_or_default();
    let ops = |writer: &Value| writer[1].as_array().expect("operations").iter().map(op).collect();
    writers
        .iter()
        .map(|writer| (number(&writer[0]) as usize, ops(writer)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_is_the_serial_order_of_the_records(
        writers in prop::collection::vec(prop::collection::vec(op(), 0..12), 2..6),
        of in prop_oneof![Just(Of::Session), Just(Of::User)],
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(holds(writers, of))?;
    }
}
