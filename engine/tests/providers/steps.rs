//! What is asked in a next step, when an answer goes back to who gave it, or to somebody else.

use flowstate_engine::model::{AssistantPart, ModelMessage, ModelRequest, Native, Protocol, ToolResult, ToolUse};
use serde_json::{Value, json};

use super::server::{Reply, Server};
use super::support::{Answer, PROTOCOLS, ask, exchange, play, play_to, question, recording, route, tools};

/// The question, an answer with calls, what the tools gave: the last one failed.
fn next_step(answer: &Answer) -> ModelRequest {
    let calls = answer.calls();
    let results = calls.iter().enumerate().map(|(n, call)| ToolResult {
        id: call.id.clone(),
        name: call.name.clone(),
        content: if n == 0 {
            r#"{"sun":true}"#.to_owned()
        } else {
            "no such zone".to_owned()
        },
        is_error: n > 0,
    });
    let mut request = question();
    request.tools = tools();
    request.messages.push(answer.message());
    request.messages.push(ModelMessage::Tool {
        results: results.collect(),
    });
    request
}

fn with_tools() -> ModelRequest {
    let mut request = question();
    request.tools = tools();
    request
}

async fn recorded(protocol: Protocol, case: &str) -> Answer {
    exchange(protocol, Reply::events(recording(protocol, case)), with_tools())
        .await
        .0
}

#[tokio::test]
async fn a_next_step_shows_calls_and_what_tools_gave() {
    for protocol in PROTOCOLS {
        let answer = recorded(protocol, "parallel").await;
        let next = play(protocol, "step", next_step(&answer)).await;
        assert_eq!(next.text(), "Sonnig.", "{protocol:?}");
    }
}

#[tokio::test]
async fn a_next_step_shows_thoughts_as_their_provider_needs_them() {
    for protocol in PROTOCOLS {
        let answer = recorded(protocol, "reasoning").await;
        play_to(protocol, "step", "reasoning-step", next_step(&answer)).await;
    }
    // Thoughts without a text, which only their provider can read, each before what it led to.
    let answer = recorded(Protocol::OpenAiResponses, "hidden").await;
    assert_eq!(answer.text(), "I look it up. ");
    play_to(Protocol::OpenAiResponses, "step", "hidden-step", next_step(&answer)).await;
}

#[tokio::test]
async fn a_call_without_an_id_gets_one() {
    let answer = recorded(Protocol::Google, "nameless").await;
    assert!(!answer.calls()[0].id.is_empty());
    play_to(Protocol::Google, "step", "nameless-step", next_step(&answer)).await;
}

#[tokio::test]
async fn another_provider_is_shown_plain_forms_only() {
    for (from, to) in [
        (Protocol::Anthropic, Protocol::OpenAiResponses),
        (Protocol::OpenAiResponses, Protocol::Anthropic),
        (Protocol::Google, Protocol::OpenAiChat),
        (Protocol::OpenAiChat, Protocol::Google),
    ] {
        let answer = recorded(from, "reasoning").await;
        play_to(to, "step", "foreign-step", next_step(&answer)).await;
    }
}

#[tokio::test]
async fn another_model_of_the_provider_is_not_shown_what_only_the_first_can_read() {
    let answer = recorded(Protocol::Anthropic, "reasoning").await;
    let server = Server::start([Reply::events(recording(Protocol::Anthropic, "step"))]).await;
    let mut way = route(Protocol::Anthropic, &server.url);
    way.model = "claude-haiku-4-5".to_owned();
    Answer::of(ask(&way, next_step(&answer)).await);
    let sent = server.asked()[0].body["messages"][1].to_string();
    assert!(!sent.contains("SIGNED") && !sent.contains("REDACTED"), "{sent}");
    assert!(sent.contains("call_1"), "{sent}");
}

#[tokio::test]
async fn a_native_part_that_nobody_can_read_is_left_out() {
    for protocol in PROTOCOLS {
        let odd = |format: &str, value: Value| {
            AssistantPart::Native(Native {
                format: format.to_owned(),
                value,
            })
        };
        let mut request = question();
        request.messages.push(ModelMessage::Assistant {
            parts: vec![
                odd("rig/0.43/anthropic", json!({"block": {"type": "text", "text": "old"}})),
                odd("rig/0.44/anthropic", json!("broken")),
                odd("rig/0.44/google", json!({"origin": 1})),
                AssistantPart::Text {
                    text: "Sunny.".to_owned(),
                },
            ],
        });
        request.messages.push(ModelMessage::user("And tomorrow?"));
        let (_, asked) = exchange(protocol, Reply::events(recording(protocol, "text")), request).await;
        let sent = asked.body.to_string();
        assert!(
            sent.contains("Sunny.") && !sent.contains("old") && !sent.contains("broken"),
            "{protocol:?}: {sent}"
        );
    }
}

#[tokio::test]
async fn arguments_that_are_no_json_and_messages_without_parts_do_not_spoil_a_conversation() {
    for protocol in PROTOCOLS {
        let mut request = with_tools();
        request.messages.push(ModelMessage::Assistant { parts: Vec::new() });
        request.messages.push(ModelMessage::Assistant {
            parts: vec![AssistantPart::ToolUse(ToolUse {
                id: "call_9".to_owned(),
                name: "weather".to_owned(),
                arguments: "{\"city\": \"Zür".to_owned(),
                native: None,
            })],
        });
        request.messages.push(ModelMessage::Tool {
            results: vec![ToolResult {
                id: "call_9".to_owned(),
                name: "weather".to_owned(),
                content: "the arguments are no JSON".to_owned(),
                is_error: true,
            }],
        });
        let (_, asked) = exchange(protocol, Reply::events(recording(protocol, "text")), request).await;
        let sent = asked.body.to_string();
        assert!(
            sent.contains("the arguments are no JSON") && sent.contains("weather"),
            "{protocol:?}: {sent}"
        );
    }
}

#[tokio::test]
async fn what_another_version_of_the_adapter_kept_goes_back_plain() {
    let answer = recorded(Protocol::Anthropic, "reasoning").await;
    let mut request = next_step(&answer);
    let kept = serde_json::to_string(&request.messages[2]).expect("JSON");
    assert!(kept.contains("SIGNED") && kept.contains("rig/0.44/anthropic"), "{kept}");
    request.messages[2] = serde_json::from_str(&kept.replace("rig/0.44/", "rig/0.43/")).expect("a message");
    let (_, asked) = exchange(
        Protocol::Anthropic,
        Reply::events(recording(Protocol::Anthropic, "step")),
        request,
    )
    .await;
    let sent = asked.body.to_string();
    assert!(!sent.contains("SIGNED") && sent.contains("The user asks."), "{sent}");
}
