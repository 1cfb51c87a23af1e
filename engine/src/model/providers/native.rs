//! A provider's own form of a part, as records keep it: where it is from, its place in the answer, and the block as the adapter knows
//! it. Texts that the part itself has are not kept twice.

use rig_core::message::{AssistantContent, Origin};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::{Native, Protocol};

/// Stands in a block where the part's own text stood.
const PLAIN: &str = "flowstate:plain";

/// Who can read a native part: this adapter, at this version, of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format(&'static str);

impl Format {
    pub(super) fn of(protocol: Protocol) -> Self {
        Self(match protocol {
            Protocol::OpenAiResponses => "rig/0.44/openai-responses",
            Protocol::OpenAiChat => "rig/0.44/openai-chat",
            Protocol::Anthropic => "rig/0.44/anthropic",
            Protocol::Google => "rig/0.44/google",
        })
    }

    /// Keeps a block that came as part `place` of an answer; `plain` is the text that the part has anyway.
    pub(super) fn pack(self, origin: &Origin, place: usize, block: &AssistantContent, plain: &str) -> Option<Native> {
        let mut block = serde_json::to_value(block).ok()?;
        if !plain.is_empty() {
            each_string(&mut block, &|value| {
                if value == plain {
                    *value = json!({ PLAIN: true });
                }
            });
        }
        let kept = Kept {
            origin: Origin {
                response_id: None,
                ..origin.clone()
            },
            place,
            plain_bytes: plain.len(),
            block,
        };
        Some(Native {
            format: self.0.to_owned(),
            value: serde_json::to_value(kept).ok()?,
        })
    }

    /// The block again, unless another adapter made it. `plain` ends with the part's text.
    pub(super) fn unpack(self, native: &Native, plain: &str) -> Option<Unpacked> {
        if native.format != self.0 {
            return None;
        }
        let Kept {
            origin,
            place,
            plain_bytes,
            mut block,
        } = Kept::deserialize(&native.value).ok()?;
        let plain = plain.get(plain.len().saturating_sub(plain_bytes)..)?;
        each_string(&mut block, &|value| {
            if is_marker(value) {
                *value = Value::from(plain);
            }
        });
        let block = serde_json::from_value(block).ok()?;
        Some(Unpacked { origin, place, block })
    }
}

/// What of a native part is in memory.
pub(super) struct Unpacked {
    pub(super) origin: Origin,
    pub(super) place: usize,
    pub(super) block: AssistantContent,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    origin: Origin,
    place: usize,
    /// Length of the part's text.
    plain_bytes: usize,
    block: Value,
}

fn is_marker(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|object| object.len() == 1 && object.contains_key(PLAIN))
}

/// Visits what is a string or a marker of one.
fn each_string(value: &mut Value, visit: &impl Fn(&mut Value)) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| each_string(value, visit)),
        Value::Object(fields) if !is_marker(&Value::Object(Map::clone(fields))) => {
            fields.values_mut().for_each(|value| each_string(value, visit));
        }
        Value::String(_) | Value::Object(_) => visit(value),
        _ => {}
    }
}
