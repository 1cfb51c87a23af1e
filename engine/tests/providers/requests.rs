//! What is asked.

use flowstate_engine::model::{
    AssistantPart, ModelMessage, ModelRequest, Native, OutputSchema, Protocol, Search, SearchDepth, ToolResult,
    ToolUse, UserLocation, UserPart, provider_tool,
};
use serde_json::{Map, Value, json};

use super::server::{Reply, Server};
use super::support::{
    Answer, KEY, PROTOCOLS, ask, compare, exchange, play, play_to, question, recording, route, tools,
};

fn file(media_type: &str, data: &str) -> UserPart {
    UserPart::File {
        media_type: media_type.to_owned(),
        data: data.to_owned(),
        filename: Some("notes".to_owned()),
    }
}

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
async fn a_call_goes_where_the_protocol_says_with_the_key_and_the_headers_of_the_route() {
    for protocol in PROTOCOLS {
        let server = Server::start([
            Reply::events(recording(protocol, "text")),
            Reply::events(recording(protocol, "text")),
        ])
        .await;
        let mut way = route(protocol, &server.url);
        way.headers = vec![("x-team".to_owned(), "blue".to_owned())];
        way.model = "Vendor.Model-1_x".to_owned();
        Answer::of(ask(&way, question()).await);
        way.key = None;
        Answer::of(ask(&way, question()).await);
        let asked = server.asked();
        let (path, header, key) = match protocol {
            Protocol::OpenAiChat => ("/v1/chat/completions", "authorization", format!("Bearer {KEY}")),
            Protocol::OpenAiResponses => ("/v1/responses", "authorization", format!("Bearer {KEY}")),
            Protocol::Anthropic => ("/v1/messages", "x-api-key", KEY.to_owned()),
            Protocol::Google => (
                "/v1beta/models/Vendor.Model-1_x:streamGenerateContent?alt=sse",
                "x-goog-api-key",
                KEY.to_owned(),
            ),
        };
        for asked in &asked {
            assert_eq!(asked.path, path);
            assert_eq!(asked.headers["x-team"], "blue");
            if protocol != Protocol::Google {
                assert_eq!(asked.body["model"], "Vendor.Model-1_x");
            }
        }
        assert_eq!(asked[0].headers[header], key);
        let keys = ["authorization", "x-api-key", "x-goog-api-key"];
        let sent: Vec<_> = keys
            .iter()
            .filter(|name| asked[1].headers.contains_key(**name))
            .collect();
        assert!(sent.is_empty(), "without a key none is sent: {sent:?}");
        if protocol == Protocol::Anthropic {
            assert_eq!(asked[0].headers["anthropic-version"], "2023-06-01");
        }
    }
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
async fn the_provider_searches_as_far_as_it_knows_the_wishes() {
    let search = Search::new()
        .uses_max(3)
        .allowed_domains(["weather.example"])
        .depth(SearchDepth::Low)
        .user_location(UserLocation {
            city: Some("Zürich".to_owned()),
            country: Some("CH".to_owned()),
            ..UserLocation::default()
        });
    for protocol in PROTOCOLS {
        let mut request = with_tools();
        request.search = Some(search.clone());
        let answer = play(protocol, "search", request).await;
        assert!(
            answer.calls().is_empty(),
            "what the provider runs is no call: {answer:?}"
        );
        // What it found goes back with the next question.
        let mut next = question();
        next.search = Some(Search::new().blocked_domains(["spam.example"]));
        next.messages.push(answer.message());
        next.messages.push(ModelMessage::user("And tomorrow?"));
        play_to(protocol, "step", "search-step", next).await;
    }
}

#[tokio::test]
async fn tools_of_the_provider_are_passed_on_as_they_are() {
    for protocol in PROTOCOLS {
        let tool = match protocol {
            Protocol::OpenAiChat => json!({"type": "custom", "custom": {"name": "shell", "description": "A shell."}}),
            Protocol::OpenAiResponses => json!({"type": "code_interpreter", "container": {"type": "auto"}}),
            Protocol::Anthropic => json!({"type": "code_execution_20250825", "name": "code_execution"}),
            Protocol::Google => json!({"codeExecution": {}}),
        };
        let mut request = with_tools();
        request.provider_tools = vec![provider_tool("code", tool.clone())];
        request.provider_options = options(json!({"openai": {"tools": [{"type": "image_generation"}]}}));
        let (_, asked) = exchange(protocol, Reply::events(recording(protocol, "text")), request).await;
        compare(protocol, "provider-tools", &asked.body);
        let sent = asked.body["tools"].as_array().expect("tools");
        assert!(sent.contains(&tool), "{protocol:?}: {sent:?}");
    }
}

#[tokio::test]
async fn an_answer_of_a_shape_is_asked_for_beside_tools_too() {
    for protocol in PROTOCOLS {
        let mut request = with_tools();
        request.output = Some(OutputSchema {
            name: "weather_report".to_owned(),
            schema: json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "Report",
                "type": "object",
                "properties": {"city": {"type": "string"}, "warm": {"type": ["boolean", "null"]}},
                "required": ["city"],
            }),
        });
        let answer = play(protocol, "output", request).await;
        let value: Value = serde_json::from_str(&answer.text()).expect("JSON");
        assert_eq!(value, json!({"city": "Zürich", "warm": true}), "{protocol:?}");
    }
}

fn options(options: Value) -> Map<String, Value> {
    match options {
        Value::Object(options) => options,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn options_of_the_provider_are_added_as_they_are_and_those_of_others_are_not() {
    for protocol in PROTOCOLS {
        let mut request = question();
        request.tokens_max = Some(77);
        request.provider_options = options(json!({
            "openai": {"service_tier": "flex", "metadata": {"a": "b"}},
            "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "metadata": {"user_id": "u"}},
            "google": {"generationConfig": {"thinkingConfig": {"includeThoughts": true}}, "labels": {"a": "b"}},
            "mistral": {"safe_prompt": true},
        }));
        let (_, asked) = exchange(protocol, Reply::events(recording(protocol, "text")), request).await;
        compare(protocol, "options", &asked.body);
    }
}

#[tokio::test]
async fn other_providers_of_the_protocol_are_asked_in_the_words_that_all_know() {
    for (provider, word) in [("openai", "max_completion_tokens"), ("vllm", "max_tokens")] {
        let reply = Reply::events(recording(Protocol::OpenAiChat, "text"));
        let server = Server::start([reply]).await;
        let mut way = route(Protocol::OpenAiChat, &server.url);
        way.provider = provider.to_owned();
        let mut request = question();
        request.tokens_max = Some(77);
        request.provider_options = options(json!({"vllm": {"guided": true}, "openai": {"user": "u"}}));
        Answer::of(ask(&way, request).await);
        let body = &server.asked()[0].body;
        assert_eq!(body[word], 77, "{provider}: {body}");
        assert_eq!(body.get("guided").is_some(), provider == "vllm", "{body}");
    }
}

#[tokio::test]
async fn files_are_shown_by_what_they_are() {
    for protocol in PROTOCOLS {
        let mut request = question();
        request.messages.push(ModelMessage::User {
            parts: vec![
                UserPart::Text {
                    text: "What is this?".to_owned(),
                },
                file("image/png", "iVBORw0KGgo="),
                file("image/jpeg", "https://images.example/a.jpg"),
                file("image/png", "data:image/png;base64,iVBORw0KGgo="),
                file("application/pdf", "JVBERi0xLjQK"),
                file("text/plain; charset=utf-8", "R3LDvMOfZQ=="),
            ],
        });
        let (_, asked) = exchange(protocol, Reply::events(recording(protocol, "text")), request).await;
        compare(protocol, "files", &asked.body);
    }
}
