//! What is asked.

use flowstate_engine::model::{
    ModelMessage, ModelRequest, OutputSchema, Protocol, Search, SearchDepth, UserLocation, UserPart, provider_tool,
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

fn with_tools() -> ModelRequest {
    let mut request = question();
    request.tools = tools();
    request
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
        let mut traced = question();
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        traced.trace = Some(parent.parse().expect("a traceparent"));
        Answer::of(ask(&way, traced).await);
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
        assert!(!asked[0].headers.contains_key("traceparent"));
        assert_eq!(asked[1].headers["traceparent"], parent);
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
