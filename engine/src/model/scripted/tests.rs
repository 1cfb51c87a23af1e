//! What a scripted model says, and when.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::item::Source;
use crate::model::{Finish, ModelErrorKind, ModelMessage, ToolUse, Usage};

fn ask(text: &str) -> ModelRequest {
    ModelRequest::new(vec![ModelMessage::user(text)])
}

async fn said(model: &ScriptedModel, text: &str) -> Vec<Result<ModelEvent, ModelError>> {
    model.stream(ask(text)).collect().await
}

fn text(text: &str) -> Result<ModelEvent, ModelError> {
    Ok(ModelEvent::Text(text.into()))
}

fn end(finish: Finish, usage: Option<Usage>) -> Result<ModelEvent, ModelError> {
    Ok(ModelEvent::End { finish, usage })
}

#[tokio::test(flavor = "current_thread")]
async fn without_a_script_the_answer_follows_from_the_messages() {
    let events = said(&ScriptedModel::new(0), "hi").await;
    let Some((Ok(ModelEvent::End { usage: Some(usage), .. }), texts)) = events.split_last() else {
        panic!("no end: {events:?}");
    };
    assert_eq!(usage.output_tokens, texts.len() as u64);
    let joined: String = texts
        .iter()
        .map(|event| match event {
            Ok(ModelEvent::Text(text)) => text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(joined, echo::answer(&ask("hi").messages));
}

#[tokio::test(flavor = "current_thread")]
async fn each_call_takes_the_next_reply_with_all_its_pieces() {
    let source = Source::default();
    let own = ToolUse {
        id: "own".into(),
        name: "search".into(),
        arguments: "{\"q\": ".into(),
        native: None,
    };
    let model = ScriptedModel::script([
        Reply::text("a")
            .and_text("b")
            .source(source.clone())
            .usage(Usage::new(3, 2)),
        Reply::new()
            .reasoning("hm")
            .tool("search", json!({"q": "x"}))
            .tool("add", json!([1]))
            .tool_use(own.clone()),
        Reply::text("c").finish(Finish::Length),
        Reply::new(),
        Reply::new()
            .event(ModelEvent::End {
                finish: Finish::Pause,
                usage: None,
            })
            .and_text("never"),
    ]);
    assert_eq!(
        said(&model, "1").await,
        [
            text("a"),
            text("b"),
            Ok(ModelEvent::Source(source)),
            end(Finish::Stop, Some(Usage::new(3, 2)))
        ]
    );
    let tool = |id: &str, name: &str, arguments: &str| {
        Ok(ModelEvent::ToolUse(ToolUse {
            id: id.into(),
            name: name.into(),
            arguments: arguments.into(),
            native: None,
        }))
    };
    assert_eq!(
        said(&model, "2").await,
        [
            Ok(ModelEvent::Reasoning("hm".into())),
            Ok(ModelEvent::ReasoningEnd(None)),
            tool("call-2-1", "search", "{\"q\":\"x\"}"),
            tool("call-2-2", "add", "[1]"),
            Ok(ModelEvent::ToolUse(own)),
            end(Finish::ToolCalls, None),
        ]
    );
    assert_eq!(said(&model, "3").await, [text("c"), end(Finish::Length, None)]);
    assert_eq!(said(&model, "4").await, [end(Finish::Stop, None)]);
    assert_eq!(said(&model, "5").await, [end(Finish::Pause, None)]);
    let asked: Vec<String> = model.asked().iter().map(|request| request.messages[0].text()).collect();
    assert_eq!(asked, ["1", "2", "3", "4", "5"]);
    assert_eq!(model.left(), 0);
}

#[tokio::test(flavor = "current_thread")]
async fn failures_and_cuts_come_where_they_are_told_to() {
    let error = || ModelError::new("m", ModelErrorKind::Provider, "overloaded");
    let model = ScriptedModel::script([
        Reply::fail(error()),
        Reply::text("half").then_fail(error()).and_text("never"),
        Reply::text("half").cut().and_text("never"),
    ])
    .named("m");
    assert_eq!(said(&model, "").await, [Err(error())]);
    assert_eq!(said(&model, "").await, [text("half"), Err(error())]);
    assert_eq!(said(&model, "").await, [text("half")]);
    let last = said(&model, "").await;
    let [Err(used_up)] = last.as_slice() else {
        panic!("the script is used up")
    };
    assert_eq!(
        used_up.to_string(),
        "the model m failed: the script has 3 replies, and this is call 4"
    );
    assert!(!used_up.retryable);
    assert_eq!(model.asked().len(), 3, "a call without a reply is not kept");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn delays_are_in_tokios_time() {
    let hour = Duration::from_secs(3_600);
    let model = ScriptedModel::script([Reply::text("a").delay(hour).and_text("b")]);
    let began = Instant::now();
    let mut events = model.stream(ask(""));
    assert_eq!(events.next().await, Some(text("a")));
    assert!(began.elapsed() < hour);
    assert_eq!(events.next().await, Some(text("b")));
    assert!(began.elapsed() >= hour);
}

#[tokio::test(flavor = "current_thread")]
async fn conversations_have_their_own_replies_whatever_the_order() {
    let model = ScriptedModel::script([Reply::text("other")])
        .when("tea", [Reply::text("tea 1"), Reply::text("tea 2")])
        .when("coffee", [Reply::text("coffee 1")]);
    for (asked, expected) in [
        ("coffee, please", "coffee 1"),
        ("tea, no coffee", "tea 1"),
        ("water", "other"),
        ("tea", "tea 2"),
    ] {
        assert_eq!(said(&model, asked).await[0], text(expected), "{asked}");
    }
    let clone = model.clone();
    let Err(used_up) = &said(&clone, "more tea").await[0] else {
        panic!("clones share the script")
    };
    assert!(used_up.message.contains("for \"tea\" has 2 replies"), "{used_up}");
    assert_eq!(model.left(), 0);
}
