//! Answers that no model should give: none of them harms the request's records.

use std::sync::{Arc, OnceLock};

use flowstate_engine::Tool;
use flowstate_engine::model::{Finish, ModelEvent, ModelMessage};
use flowstate_engine::prelude::*;
use serde_json::{Value, json};

use super::support::*;

#[tokio::test]
async fn an_empty_answer_is_an_empty_message() {
    let ran = run(&Script::new([vec![end(Finish::Stop)]]), asks(), "go".to_owned()).await;
    assert_eq!(
        (ran.output(), ran.items()),
        (&json!(""), vec!["message completed: ".to_owned()])
    );
}

#[tokio::test]
async fn ten_megabytes_arrive_whole() {
    let piece = "0123456789abcde\n".repeat(1_024);
    let mut events: Events = (0..640).map(|_| text(&piece)).collect();
    events.push(end(Finish::Length));
    let ran = run(&Script::new([events]), asks(), "go".to_owned()).await;
    let Value::String(output) = ran.output() else {
        panic!("text")
    };
    assert_eq!(output.len(), 640 * piece.len());
    assert!(output.len() >= 10 << 20);
}

#[tokio::test]
async fn an_answer_without_bound_fails_whether_it_is_shown_or_not() {
    let piece = "x".repeat(4 << 20);
    let huge = || -> Events { (0..16).map(|_| text(&piece)).collect() };
    for block in [asks(), asks().emit(false)] {
        let ran = run(&Script::new([huge()]), block, "go".to_owned()).await;
        assert_eq!(ran.error().code(), "item_too_large");
    }
}

#[tokio::test]
async fn more_calls_than_are_run_at_once_are_told_so() {
    let many = (0..300).map(|n| call(&n.to_string(), "look", json!({"q": "x"})));
    let script = Script::new([calls(many), says("done")]);
    assert_eq!(
        run(&script, asks().tool(echo("look")), "go".to_owned()).await.output(),
        "done"
    );
    let asked = script.asked();
    let Some(ModelMessage::Tool { results }) = asked[1].messages.last() else {
        panic!("results")
    };
    assert_eq!(results.len(), 300);
    let refused: Vec<bool> = results.iter().map(|result| result.is_error).collect();
    assert_eq!(refused, (0..300).map(|n| n >= 128).collect::<Vec<_>>());
}

#[tokio::test]
async fn ids_and_names_may_have_any_characters() {
    let odd = "../root/then[0]\u{0}:\u{202e}\n";
    let delta = Ok(ModelEvent::ToolUseDelta {
        id: odd.into(),
        name: odd.into(),
        delta: odd.into(),
    });
    let script = Script::new([
        calls([
            delta,
            call(odd, odd, json!({"q": 1})),
            call(odd, "look", json!({"q": odd})),
        ]),
        says("done"),
    ]);
    let ran = run(&script, asks().tool(echo("look")), "go".to_owned()).await;
    assert_eq!(ran.output(), "done");
    assert!(ran.items()[1].contains("found"), "{:?}", ran.items());
}

#[tokio::test]
async fn an_answer_that_goes_on_after_its_end_is_not_heard() {
    let script = Script::new([vec![text("yes"), end(Finish::Stop), text(" but no"), end(Finish::Stop)]]);
    assert_eq!(run(&script, asks(), "go".to_owned()).await.output(), "yes");
}

#[tokio::test]
async fn deeply_nested_arguments_and_answers_are_refused_without_harm() {
    let deep = format!("{{\"q\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let script = Script::new([calls([call("1", "look", &deep)]), says(&deep)]);
    let block = asks().tool(echo("look")).output::<Query>();
    assert_eq!(
        run(&script, block, "go".to_owned()).await.error().code(),
        "output_validation_error"
    );
}

#[tokio::test]
async fn an_answer_has_a_bound_in_parts_too() {
    let sources = (0..5_000).map(|n| {
        Ok(ModelEvent::Source(flowstate_engine::item::Source {
            source_id: n.to_string(),
            ..Default::default()
        }))
    });
    let calls = (0..5_000).map(|n| call(&n.to_string(), "look", ""));
    for events in [sources.collect::<Events>(), calls.collect()] {
        let ran = run(&Script::new([events]), asks(), "go".to_owned()).await;
        assert_eq!(ran.error().code(), "item_too_large");
    }
}

/// A generator that is offered itself, and a model that always takes it.
#[tokio::test]
async fn a_tool_that_calls_itself_ends_where_blocks_are_too_deep() {
    let own = Arc::new(OnceLock::<Tool>::new());
    let offered = own.clone();
    let block = generator::<Query>("again")
        .user(|query: &Query, _| query.q.clone())
        .tools_with(move |_, _| offered.get().cloned().into_iter().collect::<Vec<Tool>>())
        .into_block();
    assert!(own.set(block.tool().expect("a tool")).is_ok());
    let down = (0..9).map(|_| calls([call("1", "again", json!({"q": "deeper"}))]));
    let script = Script::new(down.chain((0..9).map(|_| says("enough"))));
    let ran = run(&script, block, Query { q: "go".into() }).await;
    assert_eq!(ran.output(), "enough");
    let refused = ran
        .items()
        .iter()
        .filter(|item| item.ends_with("failed with too_deep"))
        .count();
    assert_eq!((refused, script.asked().len()), (1, 18));
}

#[tokio::test]
async fn a_server_that_says_it_calls_and_does_not_is_asked_once() {
    let script = Script::new([vec![text("well"), end(Finish::ToolCalls)]]);
    assert_eq!(run(&script, asks(), "go".to_owned()).await.output(), "well");
}
