//! What the log keeps of a loop: enough to go on from, and nothing twice.

use std::time::Duration;

use flowstate_engine::model::{Finish, ModelEvent, ModelMessage, Native};
use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, ModelCalled, ModelReplied, ReplyPart, ToolReturned};
use flowstate_engine::{History, Principal};
use serde_json::json;

use super::support::*;

fn called(ran: &Ran) -> Vec<&ModelCalled> {
    let called = ran.facts.iter().filter_map(|fact| match fact {
        Fact::ModelCalled(called) => Some(called),
        _ => None,
    });
    called.collect()
}

fn replied(ran: &Ran) -> Vec<&ModelReplied> {
    let replied = ran.facts.iter().filter_map(|fact| match fact {
        Fact::ModelReplied(replied) => Some(replied),
        _ => None,
    });
    replied.collect()
}

#[tokio::test]
async fn a_later_step_records_only_what_is_new() {
    let script = Script::new([calls([call("1", "look", json!({"q": "x"}))]), says("done")]);
    let block = asks().prompt("Be brief.").tool(echo("look"));
    let ran = run(&script, block, "tea?".to_owned()).await;
    let [first, second] = called(&ran)[..] else {
        panic!("two calls")
    };
    assert_eq!(first.system, Some(vec!["Be brief.".to_owned()]));
    assert_eq!(
        (&first.said, &first.tools),
        (&vec![ModelMessage::user("tea?")], &Some(vec!["look".to_owned()]))
    );
    let expected = ModelCalled {
        model: "script".into(),
        instance: first.instance.clone(),
        step: 1,
        ..ModelCalled::default()
    };
    assert_eq!(*second, expected);
}

#[tokio::test]
async fn words_lie_in_items_and_tools_outputs_where_their_blocks_recorded_them() {
    let native = Native {
        format: "test".into(),
        value: json!("signed"),
    };
    let script = Script::new([
        vec![
            thought("Hm."),
            Ok(ModelEvent::ReasoningEnd(Some(native.clone()))),
            text("Grüße, "),
            Ok(ModelEvent::Native(native.clone())),
            text("wait"),
            call("1", "look", json!({"q": "x"})),
            call("2", "nope", json!({})),
            end(Finish::ToolCalls),
        ],
        says("done"),
    ]);
    let ran = run(&script, asks().tool(echo("look")), "go".to_owned()).await;
    let parts = &replied(&ran)[0].parts;
    let thought = ReplyPart::Reasoning {
        item: Some(0),
        text: String::new(),
        native: Some(native.clone()),
    };
    assert_eq!(parts[0], thought);
    assert_eq!(parts[1], ReplyPart::Said { from: 0, bytes: 9 });
    assert_eq!(parts[2], ReplyPart::Native(native));
    assert_eq!(parts[3], ReplyPart::Said { from: 9, bytes: 4 });
    assert_eq!(replied(&ran)[0].item, Some(1));
    let mut returned: Vec<&ToolReturned> = ran
        .facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::ToolReturned(returned) => Some(returned),
            _ => None,
        })
        .collect();
    returned.sort_by_key(|returned| returned.call);
    let [found, unknown] = returned[..] else {
        panic!("two results")
    };
    let ended = &ran.facts[usize::try_from(found.same_as.expect("a record")).expect("small") - 1];
    assert!(
        matches!(ended, Fact::BlockEnded(ended) if ended.output == Some(json!("found x"))),
        "{ended:?}"
    );
    assert!(found.content.is_none() && !found.is_error && unknown.is_error && unknown.content.is_some());
}

/// What a record takes besides its payload (docs/RECORDS.md).
const RECORD_BYTES: usize = 110;

/// A call's record refers to the history, whose size it does not depend on: the bytes of each of 500 turns, with tools, on disk.
#[tokio::test]
async fn a_turn_takes_as_much_after_five_hundred_turns_as_at_first() {
    const TURNS: usize = 500;
    let turn = |_| {
        [
            calls([call("1", "look", json!({"q": "x"}))]),
            says("An answer of some words, always the same."),
        ]
    };
    let script = Script::new((0..TURNS).flat_map(turn));
    let block = asks().prompt("Be brief.").history(History::all()).tool(echo("look"));
    let flow = flow("f").action("a", action(block).user_message(|input: &String| input.clone()));
    let engine = engine_of(&script, flow.instance("i").expect("a flow")).await;
    let (mut bytes, mut from) = (Vec::new(), 1);
    for _ in 0..TURNS {
        let ran = run_on(&engine, "s", "The same question.").await;
        assert!(called(&ran)[0].said.is_empty(), "the user's words are in the history");
        let found = engine
            .request(&Principal::default(), "f", &ran.result.accepted.request, Duration::ZERO)
            .await;
        let sub = found.expect("readable").expect("a request").sub;
        let records = engine.log().read(sub.stream, from, 10_000).await.expect("records");
        from += records.len() as u64;
        bytes.push(
            records
                .iter()
                .map(|record| RECORD_BYTES + record.payload.len())
                .sum::<usize>(),
        );
    }
    let (second, last) = (bytes[1], bytes[TURNS - 1]);
    println!(
        "bytes of turns 2, 100, 250 and 500: {second}, {}, {}, {last}",
        bytes[99], bytes[249]
    );
    assert!(
        last <= second + 40,
        "{second} bytes became {last}: only numbers may grow"
    );
    let shown = script.asked()[2 * TURNS - 1].messages.len();
    assert_eq!(shown, 4 * TURNS, "and the model was shown all of it");
}
