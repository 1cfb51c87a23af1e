//! The execution records: every block begins and ends once, at the same place in every run, and an output is stored once.

use std::time::Duration;

use flowstate_engine::Principal;
use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use serde_json::json;

use crate::support::{Ran, add, engine, fails, run, run_on, talker};

fn everything() -> Block<i64, i64> {
    let double = || handler("double").run(|n: i64, _| async move { Ok(n * 2) });
    sequencer::<i64>("everything")
        .label("first")
        .then(add(1))
        .work(add(1))
        .parallel((arm("a", add(1)), arm("b", double())))
        .map(|(a, b): (i64, i64), _| vec![a, b])
        .for_each(sequencer::<i64>("inner").do_until(|n, _| *n > 20, double()))
        .map(|all, _| all.iter().sum::<i64>())
        .loop_back("first", 1)
        .wait_for_work()
        .build()
}

#[tokio::test]
async fn places_are_the_same_in_every_run() {
    let (one, other) = (run(everything(), 1).await, run(everything(), 1).await);
    assert_eq!(one.trace(), other.trace());
    assert!(
        one.trace()
            .contains(&"root/for_each[4]/iter[1]/do_until[0]/iter[2]: completed".to_owned()),
        "{:#?}",
        one.trace()
    );
    let mut places = one.trace();
    places.sort();
    let all = places.len();
    places.dedup();
    assert_eq!(places.len(), all, "each has its own");
}

#[tokio::test]
async fn an_output_is_stored_once_and_referred_to() {
    let inner = sequencer::<i64>("inner").then(add(1));
    let outer = sequencer::<i64>("outer").then(inner).exit_if(|_, _| true);
    let ran = run(outer, 1).await;
    let place = |path: &str| {
        let found = ran
            .facts
            .iter()
            .position(|fact| matches!(fact, Fact::BlockStarted(block) if block.path == path));
        found.expect("a block") as u64 + 1
    };
    let ended = |path: &str| {
        let started = place(path);
        let found = ran.facts.iter().zip(1_u64..).find_map(|(fact, number)| match fact {
            Fact::BlockEnded(ended) if ended.started == started => Some((ended.clone(), number)),
            _ => None,
        });
        found.expect("an end")
    };
    let (block, number) = ended("root/then[0]/then[0]");
    assert_eq!((block.output, block.same_as), (Some(json!(2)), None));
    for path in ["root/then[0]", "root"] {
        let (block, _) = ended(path);
        assert_eq!((block.output, block.same_as), (None, Some(number)), "{path}");
    }
}

#[tokio::test]
async fn a_generators_output_is_its_item() {
    let ran = run(sequencer::<String>("s").then(talker()), "end".to_owned()).await;
    assert_eq!(ran.output(), &json!("so end"));
    for (_, ended) in ran.blocks() {
        assert_eq!((ended.output, ended.item), (None, Some(0)));
    }
    assert_eq!(ran.items(), [("so end".to_owned(), "completed")]);
}

#[tokio::test]
async fn the_last_record_says_where_the_output_is() {
    let ended = |ran: &Ran| match ran.facts.last() {
        Some(Fact::RequestCompleted(completed)) => completed.clone(),
        other => panic!("{other:?}"),
    };
    let ran = run(sequencer::<i64>("s").then(add(1)), 1).await;
    let stored: Vec<u64> = (1_u64..)
        .zip(&ran.facts)
        .filter(|(_, fact)| matches!(fact, Fact::BlockEnded(ended) if ended.output == Some(json!(2))))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(stored.len(), 1, "it is stored once");
    let completed = ended(&ran);
    assert_eq!((completed.output, completed.same_as), (None, Some(stored[0])));
    assert_eq!(ran.output(), &json!(2));
    let ran = run(sequencer::<String>("s").then(talker()), "end".to_owned()).await;
    let completed = ended(&ran);
    assert_eq!(
        (completed.output, completed.same_as, completed.item),
        (None, None, Some(0))
    );
    assert_eq!(ran.output(), &json!("so end"));
}

#[tokio::test]
async fn the_output_of_a_request_can_be_asked_for_later() {
    let flow = |block: Block<i64, i64>| flow("f").action("a", action(block)).instance("i").expect("a flow");
    for (block, expected) in [(add(1), Some(json!(2))), (fails("bad"), None)] {
        let engine = engine(flow(block)).await;
        let ran = run_on(&engine, 1).await;
        let principal = Principal::default();
        let found = engine
            .request(&principal, "f", &ran.result.accepted.request, Duration::ZERO)
            .await;
        let found = found.expect("readable").expect("a request");
        assert_eq!(engine.output(&found).await.expect("readable"), expected);
    }
}

#[tokio::test]
async fn a_long_chain_is_recorded_whole() {
    let mut chain = sequencer::<i64>("long");
    for _ in 0..1_000 {
        chain = chain.then(add(1));
    }
    let ran = run(chain, 0).await;
    assert_eq!(ran.output(), &json!(1_000));
    assert_eq!(ran.blocks().len(), 1_001);
}
