//! What the tests have in common: the protocols, ways to models that the server plays, and what came of an answer.

use std::path::PathBuf;
use std::time::Duration;

use flowstate_engine::item::Source;
use flowstate_engine::model::{
    AssistantPart, Finish, ModelError, ModelEvent, ModelMessage, ModelRequest, Native, Protocol, Route, Secret,
    Timeouts, ToolSpec, ToolUse, Usage, providers,
};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::server::{Asked, Reply, Server};

/// What keys are in tests; nothing may tell it.
pub const KEY: &str = "sk-marker-7f3a91";

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

pub const PROTOCOLS: [Protocol; 4] = [
    Protocol::OpenAiChat,
    Protocol::OpenAiResponses,
    Protocol::Anthropic,
    Protocol::Google,
];

/// The folder of a protocol's recordings.
pub fn folder(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::OpenAiChat => "openai-chat",
        Protocol::OpenAiResponses => "openai-responses",
        Protocol::Anthropic => "anthropic",
        Protocol::Google => "google",
    }
}

fn path(protocol: Protocol, file: &str) -> PathBuf {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/providers/fixtures");
    PathBuf::from(fixtures).join(folder(protocol)).join(file)
}

/// A recording.
pub fn recording(protocol: Protocol, case: &str) -> String {
    let path = path(protocol, &format!("{case}.sse"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A way to a model at this address.
pub fn route(protocol: Protocol, url: &str) -> Route {
    let (provider, model) = match protocol {
        Protocol::OpenAiChat | Protocol::OpenAiResponses => ("openai", "gpt-5-mini"),
        Protocol::Anthropic => ("anthropic", "claude-sonnet-4-6"),
        Protocol::Google => ("google", "gemini-3-flash-preview"),
    };
    Route {
        name: format!("{provider}/{model}"),
        provider: provider.to_owned(),
        protocol,
        model: model.to_owned(),
        key: Some(Secret::new(KEY)),
        base_url: Some(match protocol {
            Protocol::OpenAiChat | Protocol::OpenAiResponses => format!("{url}/v1"),
            Protocol::Anthropic | Protocol::Google => url.to_owned(),
        }),
        headers: Vec::new(),
        timeouts: Timeouts {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(10),
            idle: Duration::from_secs(10),
        },
    }
}

/// Asks the model at the end of the route.
pub async fn ask(route: &Route, request: ModelRequest) -> Vec<Result<ModelEvent, ModelError>> {
    let model = providers::connect(route).expect("a model");
    assert_eq!(model.name(), route.name);
    let answer = tokio::time::timeout(PATIENCE, model.stream(request).collect());
    answer.await.expect("an end in time")
}

/// Asks for an answer that the server plays from a recording, and compares what was asked with the file beside it.
pub async fn play(protocol: Protocol, case: &str, request: ModelRequest) -> Answer {
    play_to(protocol, case, case, request).await
}

/// The same, for a request that has a file of another name.
pub async fn play_to(protocol: Protocol, case: &str, asked_as: &str, request: ModelRequest) -> Answer {
    let (answer, asked) = exchange(protocol, Reply::events(recording(protocol, case)), request).await;
    compare(protocol, asked_as, &asked.body);
    answer
}

/// Asks for this answer.
pub async fn exchange(protocol: Protocol, reply: Reply, request: ModelRequest) -> (Answer, Asked) {
    let server = Server::start([reply]).await;
    let events = ask(&route(protocol, &server.url), request).await;
    let asked = server.asked().pop().expect("it was asked");
    (Answer::of(events), asked)
}

/// What was sent is what the file says. `FLOWSTATE_BLESS=1` writes the file.
pub fn compare(protocol: Protocol, case: &str, body: &Value) {
    let path = path(protocol, &format!("{case}.request.json"));
    if std::env::var_os("FLOWSTATE_BLESS").is_some() {
        let text = serde_json::to_string_pretty(body).expect("JSON");
        std::fs::write(&path, text + "\n").expect("written");
    }
    let expected = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let expected: Value = serde_json::from_slice(&expected).expect("JSON");
    assert_eq!(*body, expected, "{}: {body:#}", path.display());
}

/// A whole answer, put together as a generator does.
#[derive(Debug, Default)]
pub struct Answer {
    pub parts: Vec<AssistantPart>,
    pub texts: Vec<String>,
    pub deltas: Vec<(String, String, String)>,
    pub sources: Vec<Source>,
    pub end: Option<(Finish, Option<Usage>)>,
    pub error: Option<ModelError>,
    /// Whether the last part is a thought that is not whole.
    thinking: bool,
}

impl Answer {
    pub fn of(events: Vec<Result<ModelEvent, ModelError>>) -> Self {
        let mut answer = Self::default();
        for event in events {
            assert!(
                answer.end.is_none() && answer.error.is_none(),
                "nothing follows the end"
            );
            match event {
                Ok(event) => answer.add(event),
                Err(error) => answer.error = Some(error),
            }
        }
        assert!(answer.end.is_some() || answer.error.is_some(), "no end: {answer:?}");
        answer
    }

    fn add(&mut self, event: ModelEvent) {
        match event {
            ModelEvent::Text(delta) => {
                assert!(!delta.is_empty());
                match self.parts.last_mut() {
                    Some(AssistantPart::Text { text }) => text.push_str(&delta),
                    _ => self.parts.push(AssistantPart::Text { text: delta.clone() }),
                }
                self.texts.push(delta);
            }
            ModelEvent::Reasoning(delta) => match self.parts.last_mut() {
                Some(AssistantPart::Reasoning { text, .. }) if self.thinking => text.push_str(&delta),
                _ => {
                    self.thinking = true;
                    self.parts.push(AssistantPart::Reasoning {
                        text: delta,
                        native: None,
                    });
                }
            },
            ModelEvent::ReasoningEnd(whole) => match self.parts.last_mut() {
                Some(AssistantPart::Reasoning { native, .. }) if self.thinking => {
                    self.thinking = false;
                    *native = whole;
                }
                _ => self.parts.push(AssistantPart::Reasoning {
                    text: String::new(),
                    native: whole,
                }),
            },
            ModelEvent::ToolUseDelta { id, name, delta } => self.deltas.push((id, name, delta)),
            ModelEvent::ToolUse(call) => self.parts.push(AssistantPart::ToolUse(call)),
            ModelEvent::Source(source) => self.sources.push(source),
            ModelEvent::Native(native) => self.parts.push(AssistantPart::Native(native)),
            ModelEvent::End { finish, usage } => self.end = Some((finish, usage)),
            other => panic!("{other:?}"),
        }
    }

    /// All it says.
    pub fn text(&self) -> String {
        self.parts.iter().map(AssistantPart::as_text).collect()
    }

    pub fn calls(&self) -> Vec<&ToolUse> {
        let calls = self.parts.iter().filter_map(|part| match part {
            AssistantPart::ToolUse(call) => Some(call),
            _ => None,
        });
        calls.collect()
    }

    pub fn natives(&self) -> Vec<&Native> {
        let natives = self.parts.iter().filter_map(|part| match part {
            AssistantPart::Native(native) => Some(native),
            _ => None,
        });
        natives.collect()
    }

    pub fn finish(&self) -> &Finish {
        &self.end.as_ref().unwrap_or_else(|| panic!("no end: {self:?}")).0
    }

    pub fn usage(&self) -> Usage {
        self.end.as_ref().expect("an end").1.expect("usage")
    }

    pub fn error(&self) -> &ModelError {
        self.error.as_ref().unwrap_or_else(|| panic!("no error: {self:?}"))
    }

    /// As records keep it and a next step shows it: through JSON.
    pub fn message(&self) -> ModelMessage {
        let message = ModelMessage::Assistant {
            parts: self.parts.clone(),
        };
        serde_json::from_value(serde_json::to_value(message).expect("JSON")).expect("a message")
    }
}

/// A short conversation.
pub fn question() -> ModelRequest {
    ModelRequest::new(vec![
        ModelMessage::system("You are brief."),
        ModelMessage::user("Wie ist das Wetter in Zürich? ☀"),
    ])
}

/// Two tools.
pub fn tools() -> Vec<ToolSpec> {
    let tool = |name: &str, description: &str, key: &str| ToolSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: json!({"type": "object", "properties": {key: {"type": "string"}}, "required": [key]}),
    };
    vec![
        tool("weather", "The weather of a city.", "city"),
        tool("time", "The time in a zone.", "zone"),
    ]
}
