//! What comes, in the port's words.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use rig_core::completion::CompletionResponse;
use rig_core::message::{AssistantContent, Origin, SourceLocation, Text};
use rig_core::streaming::{CompletionStream, Item, PartKind, StreamEvent};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::super::{ModelError, ModelErrorKind, ModelEvent, ToolUse};
use super::ending::{failed, finish, usage};
use super::failure::Failures;
use super::native::Format;
use super::watch::Seen;
use crate::item::Source;

/// The answer's pieces. An error is the last one.
pub(super) fn events(
    mut answer: CompletionStream,
    format: Format,
    seen: Arc<Seen>,
    failures: Failures,
) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
    async_stream::stream! {
        let mut reader = Reader::new(format, answer.partial().origin, seen);
        while let Some(item) = answer.next().await {
            match item {
                Ok(Item::Event(event)) => {
                    for event in reader.read(event) {
                        yield Ok(event);
                    }
                }
                Ok(Item::Unknown(_)) => {}
                Err(error) => {
                    yield Err(failures.of(error));
                    return;
                }
            }
        }
        match answer.finish().await {
            Err(error) => yield Err(failures.of(error)),
            Ok(response) => match failed(&response) {
                Some(problem) => yield Err(failures.error(ModelErrorKind::Provider, problem)),
                None => {
                    for event in reader.end(&response) {
                        yield Ok(event);
                    }
                }
            },
        }
    }
    .boxed()
}

/// A part that is not whole yet.
#[derive(Default)]
struct Open {
    /// The tool's name and the call's id, if it is a call.
    call: Option<(String, Option<String>)>,
    /// The thought, or the arguments.
    text: String,
}

struct Reader {
    format: Format,
    origin: Origin,
    seen: Arc<Seen>,
    open: HashMap<usize, Open>,
    /// The thought that is being told.
    thinking: Option<usize>,
    urls: HashSet<u64>,
    said: bool,
}

impl Reader {
    fn new(format: Format, origin: Origin, seen: Arc<Seen>) -> Self {
        Self {
            format,
            origin,
            seen,
            open: HashMap::new(),
            thinking: None,
            urls: HashSet::new(),
            said: false,
        }
    }

    fn read(&mut self, event: StreamEvent) -> Vec<ModelEvent> {
        let place = event.part().index();
        let mut events = Vec::new();
        // A thought whose end comes late is over when something else begins; its own form follows by itself.
        if self.thinking.is_some_and(|thinking| thinking != place) && !matches!(event, StreamEvent::Start { .. }) {
            self.thinking = None;
            events.push(ModelEvent::ReasoningEnd(None));
        }
        match event {
            StreamEvent::Start { kind, name, .. } => {
                let call = (kind == PartKind::ToolCall)
                    .then(|| (name.map(String::from).unwrap_or_default(), self.seen.next_call()));
                self.open.insert(
                    place,
                    Open {
                        call,
                        text: String::new(),
                    },
                );
            }
            StreamEvent::Text { text, .. } => {
                self.said = true;
                events.push(ModelEvent::Text(text));
            }
            StreamEvent::Reasoning { text, .. } => {
                self.thinking = Some(place);
                self.open.entry(place).or_default().text.push_str(&text);
                events.push(ModelEvent::Reasoning(text));
            }
            StreamEvent::Arguments { json, .. } => {
                let open = self.open.entry(place).or_default();
                open.text.push_str(&json);
                if let Some((name, Some(id))) = &open.call {
                    events.push(ModelEvent::ToolUseDelta {
                        id: id.clone(),
                        name: name.clone(),
                        delta: json,
                    });
                }
            }
            StreamEvent::End { content, .. } => {
                let open = self.open.remove(&place).unwrap_or_default();
                self.ended(place, open, content, &mut events);
            }
        }
        events
    }

    fn ended(&mut self, place: usize, open: Open, content: AssistantContent, events: &mut Vec<ModelEvent>) {
        let native = |plain: &str| self.format.pack(&self.origin, place, &content, plain);
        match &content {
            AssistantContent::Text(text) => {
                if content.native_item().is_some_and(is_needed) {
                    events.extend(native(&text.text).map(ModelEvent::Native));
                }
                self.sources(text, events);
            }
            AssistantContent::Reasoning(thought) => {
                let told = open.text == thought.text;
                let plain = if told { thought.text.as_str() } else { "" };
                let native = content.native_item().and_then(|_| native(plain));
                if self.thinking == Some(place) || thought.text.is_empty() {
                    self.thinking = None;
                    events.push(ModelEvent::ReasoningEnd(native));
                } else {
                    events.extend(native.map(ModelEvent::Native));
                }
            }
            AssistantContent::ToolCall(call) => {
                let function = &call.function;
                let arguments = match (&function.invalid_arguments, open.text.is_empty()) {
                    (_, false) => open.text,
                    (Some(invalid), _) => invalid.clone(),
                    (None, _) => function.arguments_value().to_string(),
                };
                let own = content.native_item().is_some() || call.id.is_local();
                events.push(ModelEvent::ToolUse(ToolUse {
                    id: call.id.wire().into_owned(),
                    name: function.name.as_str().to_owned(),
                    native: own.then(|| native(&arguments)).flatten(),
                    arguments,
                }));
            }
            AssistantContent::Opaque(_) | AssistantContent::Image(_) => {
                events.extend(native("").map(ModelEvent::Native));
            }
            _ => {}
        }
    }

    fn sources(&mut self, text: &Text, events: &mut Vec<ModelEvent>) {
        for source in text.citations().iter().flat_map(|citation| &citation.sources) {
            let SourceLocation::Url { url } = &source.location else {
                continue;
            };
            let id = xxh3_64(url.as_bytes());
            if self.urls.insert(id) {
                events.push(ModelEvent::Source(Source {
                    source_id: format!("source_{id:016x}"),
                    url: url.clone(),
                    title: source.title.clone(),
                    provider_metadata: source.cited_text.as_ref().map(|text| json!({ "cited_text": text })),
                }));
            }
        }
    }

    /// The answer is whole.
    fn end(mut self, response: &CompletionResponse) -> Vec<ModelEvent> {
        let mut events = Vec::new();
        if self.thinking.take().is_some() {
            events.push(ModelEvent::ReasoningEnd(None));
        }
        // Some sources are only known at the end.
        for part in &response.choice {
            if let AssistantContent::Text(text) = part {
                self.sources(text, &mut events);
            }
        }
        // A refusal that has no words of the model has those of its provider.
        if let Some(refusal) = response.error.as_ref().filter(|_| !self.said) {
            events.push(ModelEvent::Text(refusal.clone()));
        }
        events.push(ModelEvent::End {
            finish: finish(response),
            usage: usage(response),
        });
        events
    }
}

/// Whether a text's own form says more than the text: where it is from, a signature, an id that a thought before it needs.
fn is_needed(item: &Value) -> bool {
    let cites = |value: &Value| value.as_array().is_some_and(|citations| !citations.is_empty());
    match item.get("type").and_then(Value::as_str) {
        Some("message") => true,
        _ => {
            item.get("thoughtSignature").is_some()
                || item.get("citations").is_some_and(cites)
                || item.get("audio").is_some()
        }
    }
}
