//! What was said before, as the adapter puts it: each part in its provider's own form where this adapter kept it, else in its plain
//! one.

use std::collections::HashMap;

use rig_core::message::{
    AssistantContent, AssistantMessage, Audio, CallId, Document, DocumentMediaType, DocumentSourceKind, Image,
    MediaType, Message, MimeType, Origin, Reasoning, ToolCall, ToolFunction, ToolName, ToolResultContent, UserContent,
    Video,
};
use serde_json::json;

use super::super::{AssistantPart, ModelMessage, Native, Protocol, ToolResult, ToolUse, UserPart};
use super::native::{Format, Unpacked};

/// The conversation, or why it can't be shown.
pub(super) fn encode(protocol: Protocol, format: Format, messages: Vec<ModelMessage>) -> Result<Vec<Message>, String> {
    let mut calls = HashMap::new();
    let mut encoded = Vec::with_capacity(messages.len());
    for message in messages {
        let message = match message {
            ModelMessage::System { text } => Message::System { content: text },
            ModelMessage::User { parts } => Message::User {
                content: parts
                    .into_iter()
                    .map(|part| user(protocol, part))
                    .collect::<Result<_, _>>()?,
            },
            ModelMessage::Assistant { parts } => Message::Assistant(assistant(format, parts, &mut calls)?),
            ModelMessage::Tool { results } => Message::User {
                content: results
                    .into_iter()
                    .map(|result| tool(result, &calls))
                    .collect::<Result<_, _>>()?,
            },
        };
        // A message without parts says nothing, and providers refuse it.
        let empty = match &message {
            Message::User { content } => content.is_empty(),
            Message::Assistant(turn) => turn.content.is_empty(),
            Message::System { .. } => false,
        };
        if !empty {
            encoded.push(message);
        }
    }
    Ok(encoded)
}

fn user(protocol: Protocol, part: UserPart) -> Result<UserContent, String> {
    let (media_type, data, filename) = match part {
        UserPart::Text { text } => return Ok(UserContent::text(text)),
        UserPart::File {
            media_type,
            data,
            filename,
        } => (media_type, data, filename),
    };
    let essence = media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let data = match data.split_once(";base64,") {
        Some((start, base64)) if start.starts_with("data:") => DocumentSourceKind::Base64(base64.to_owned()),
        _ if data.contains("://") => DocumentSourceKind::Url(data),
        _ => DocumentSourceKind::Base64(data),
    };
    let known = MediaType::from_mime_type(&essence);
    let known = known.or_else(|| {
        essence
            .starts_with("text/")
            .then_some(MediaType::Document(DocumentMediaType::TXT))
    });
    Ok(match known {
        Some(MediaType::Image(media_type)) => UserContent::Image(Image {
            data,
            media_type: Some(media_type),
            ..Image::default()
        }),
        Some(MediaType::Audio(media_type)) => UserContent::Audio(Audio {
            data,
            media_type: Some(media_type),
        }),
        Some(MediaType::Video(media_type)) => UserContent::Video(Video {
            data,
            media_type: Some(media_type),
            additional_params: None,
        }),
        Some(MediaType::Document(media_type)) => UserContent::Document(Document {
            data,
            media_type: Some(media_type),
            additional_params: filename
                .filter(|_| protocol == Protocol::Anthropic)
                .map(|name| json!({ "title": name })),
        }),
        None => return Err(format!("no model can be shown a file of the type {media_type:?}")),
    })
}

/// A model's turn. It is from the model that the first part in its own form is from; a part from another one goes back plain.
fn assistant(
    format: Format,
    parts: Vec<AssistantPart>,
    calls: &mut HashMap<String, CallId>,
) -> Result<AssistantMessage, String> {
    let mut turn = Turn::default();
    for part in parts {
        match part {
            AssistantPart::Text { text } => turn.push(None, AssistantContent::text(text)),
            AssistantPart::Reasoning { text, native } => match turn.own(format, native.as_ref(), &text) {
                Some((place, block)) => turn.insert(place, block),
                None => turn.push(None, AssistantContent::Reasoning(Reasoning::new(text))),
            },
            AssistantPart::ToolUse(call) => {
                let own = turn.own(format, call.native.as_ref(), &call.arguments);
                let (place, block) = match own {
                    Some((place, block)) => (Some(place), block),
                    None => (None, AssistantContent::ToolCall(plain_call(&call)?)),
                };
                if let AssistantContent::ToolCall(own) = &block {
                    calls.insert(call.id, own.id.clone());
                }
                turn.push(place, block);
            }
            AssistantPart::Native(native) => turn.native(format, &native),
        }
    }
    let content = turn.parts.into_iter().map(|(_, block)| block).collect();
    Ok(AssistantMessage::new(content).with_origin(turn.origin))
}

#[derive(Default)]
struct Turn {
    origin: Option<Origin>,
    /// With the place in the answer of what came in its own form.
    parts: Vec<(Option<usize>, AssistantContent)>,
}

impl Turn {
    fn push(&mut self, place: Option<usize>, block: AssistantContent) {
        self.parts.push((place, block));
    }

    /// Where it was in the answer: a thought may be told to be whole after what came next.
    fn insert(&mut self, place: usize, block: AssistantContent) {
        let later = |(other, _): &(Option<usize>, _)| other.is_some_and(|other| other > place);
        let at = self.parts.iter().position(later).unwrap_or(self.parts.len());
        self.parts.insert(at, (Some(place), block));
    }

    fn own(&mut self, format: Format, native: Option<&Native>, plain: &str) -> Option<(usize, AssistantContent)> {
        let Unpacked { origin, place, block } = format.unpack(native?, plain)?;
        (*self.origin.get_or_insert_with(|| origin.clone()) == origin).then_some((place, block))
    }

    /// A part that stands alone. The own form of a text follows the text, that of a thought may follow what came after the thought.
    fn native(&mut self, format: Format, native: &Native) {
        let said = match self.parts.last() {
            Some((None, AssistantContent::Text(text))) => text.text.clone(),
            _ => String::new(),
        };
        let thought = self.parts.iter().rposition(|(place, part)| {
            place.is_none() && matches!(part, AssistantContent::Reasoning(thought) if !thought.text.is_empty())
        });
        let thinking = thought.and_then(|at| match &self.parts.get(at)?.1 {
            AssistantContent::Reasoning(thought) => Some(thought.text.clone()),
            _ => None,
        });
        let plain = if is_reasoning(native) {
            thinking.as_deref().unwrap_or_default()
        } else {
            &said
        };
        let Some((place, block)) = self.own(format, Some(native), plain) else {
            return;
        };
        match &block {
            AssistantContent::Text(text) => {
                let rest = said.strip_suffix(text.text.as_str()).unwrap_or(&said).to_owned();
                if !said.is_empty() {
                    self.parts.pop();
                }
                if !rest.is_empty() {
                    self.push(None, AssistantContent::text(rest));
                }
                self.push(Some(place), block);
            }
            AssistantContent::Reasoning(own) => match thought.filter(|_| thinking.as_ref() == Some(&own.text)) {
                Some(at) => self.parts[at] = (Some(place), block),
                None => self.insert(place, block),
            },
            _ => self.push(Some(place), block),
        }
    }
}

fn is_reasoning(native: &Native) -> bool {
    native.value.pointer("/block/type").and_then(|kind| kind.as_str()) == Some("reasoning")
}

fn plain_call(call: &ToolUse) -> Result<ToolCall, String> {
    let name = ToolName::new(call.name.as_str()).map_err(|error| error.to_string())?;
    let text = if call.arguments.trim().is_empty() {
        "{}"
    } else {
        &call.arguments
    };
    Ok(ToolCall::from_wire(call.id.as_str(), ToolFunction::parse(name, text)))
}

fn tool(result: ToolResult, calls: &HashMap<String, CallId>) -> Result<UserContent, String> {
    let ToolResult {
        id,
        name,
        content,
        is_error,
    } = result;
    let call = calls.get(&id).cloned().unwrap_or_else(|| CallId::from_wire(id));
    let name = ToolName::new(name).map_err(|error| error.to_string())?;
    Ok(UserContent::ToolResult(rig_core::message::ToolResult {
        call,
        name,
        content: vec![ToolResultContent::text(content)],
        is_error,
    }))
}
