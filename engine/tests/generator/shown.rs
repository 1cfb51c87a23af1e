//! What a generator shows: thoughts, words, tools, sources, and what is switched off.

use flowstate_engine::Emission;
use flowstate_engine::item::{Audience, ItemBody, Source};
use flowstate_engine::model::{Finish, ModelEvent};
use flowstate_engine::record::Fact;
use serde_json::json;

use super::support::*;

fn source(url: &str) -> Result<ModelEvent, flowstate_engine::model::ModelError> {
    Ok(ModelEvent::Source(Source {
        source_id: "1".into(),
        url: url.into(),
        ..Source::default()
    }))
}

fn everything() -> Script {
    let delta = |delta: &str| {
        Ok(ModelEvent::ToolUseDelta {
            id: "1".into(),
            name: "look".into(),
            delta: delta.into(),
        })
    };
    Script::new([
        vec![
            thought("Hm, "),
            thought("tea."),
            text("Let me look."),
            delta("{\"q\""),
            delta(": \"x\"}"),
            call("1", "look", json!({"q": "x"})),
            end(Finish::ToolCalls),
        ],
        vec![
            thought("So."),
            source("https://tea"),
            text("It is x."),
            end(Finish::Stop),
        ],
    ])
}

async fn shown(emission: Emission, audience: Option<Audience>) -> (Vec<String>, Ran) {
    let block = asks().tool(echo("look")).emit(emission);
    let block = match audience {
        Some(audience) => block.emit_audience(audience),
        None => block,
    };
    let ran = run(&everything(), block, "tea?".to_owned()).await;
    assert_eq!(ran.output(), "It is x.", "the block runs all the same");
    (ran.items(), ran)
}

const ALL: [&str; 6] = [
    "reasoning completed: Hm, tea.",
    "message completed: Let me look.",
    "tool_output completed: look \"found x\"",
    "reasoning completed: So.",
    "source completed: https://tea",
    "message completed: It is x.",
];

fn without(kind: &[&str]) -> Vec<&'static str> {
    let kept = |line: &&&str| !kind.iter().any(|kind| line.starts_with(kind));
    ALL.iter().filter(kept).copied().collect()
}

#[tokio::test]
async fn thoughts_words_tools_and_sources_are_items_in_their_order() {
    let (items, ran) = shown(Emission::default(), None).await;
    assert_eq!(items, ALL);
    // A thought is closed before the message begins.
    let marks: Vec<String> = ran
        .facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::ItemAdded(added) => Some(format!("+{}", added.item.body.type_name())),
            Fact::ItemCompleted(done) => Some(format!("-{}", done.item.body.type_name())),
            _ => None,
        })
        .collect();
    assert_eq!(marks[..3], ["+reasoning", "-reasoning", "+message"]);
    let progress = ran.facts.iter().filter_map(|fact| match fact {
        Fact::ItemAdded(added) => match &added.item.body {
            ItemBody::ToolCallProgress(call) => Some((call.arguments.clone(), added.item.transient)),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(
        progress.collect::<Vec<_>>(),
        [("{\"q\"".to_owned(), true)],
        "live only, and not for every piece"
    );
}

#[tokio::test]
async fn each_kind_can_be_switched_off() {
    let all = Emission::default();
    for (emission, gone) in [
        (all.reasoning(false), ["reasoning"].as_slice()),
        (all.messages(false), &["message", "source"]),
        (all.tools(false), &["tool_output"]),
        (Emission::none(), &["reasoning", "message", "source", "tool_output"]),
    ] {
        let (items, _) = shown(emission, None).await;
        assert_eq!(items, without(gone), "{emission:?}");
    }
}

#[tokio::test]
async fn the_audience_is_that_of_all_it_shows() {
    for (audience, sees) in [
        (Audience::Client, true),
        (Audience::History, false),
        (Audience::Trace, false),
    ] {
        let (_, ran) = shown(Emission::default(), Some(audience)).await;
        let of_generator = ran.result.items.iter();
        assert!(
            of_generator.clone().all(|item| item.visibility.client == sees),
            "{audience:?}"
        );
        let messages = of_generator.filter(|item| item.body.is_conversation());
        let history = audience != Audience::Trace;
        assert!(messages.clone().count() == 5 && messages.clone().all(|item| item.visibility.history == history));
    }
}

#[tokio::test]
async fn every_delta_is_a_record() {
    let script = Script::new([vec![text("a"), text("b"), text(""), text("c"), end(Finish::Stop)]]);
    let ran = run(&script, asks(), "go".to_owned()).await;
    let deltas = ran.facts.iter().filter_map(|fact| match fact {
        Fact::ContentDelta(delta) => Some(delta.delta.as_str()),
        _ => None,
    });
    assert_eq!(deltas.collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[tokio::test]
async fn what_came_of_an_answer_that_broke_off_stays_as_failed() {
    for (events, item) in [
        (vec![thought("Hm")], "reasoning failed: Hm"),
        (vec![text("Well")], "message failed: Well"),
    ] {
        let ran = run(&Script::new([events]), asks(), "go".to_owned()).await;
        assert_eq!(ran.error().code(), "model_error");
        assert!(ran.error().message().contains("broke off"), "{}", ran.error());
        assert_eq!(ran.items(), [item]);
    }
}
