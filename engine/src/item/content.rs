//! What messages and thoughts are made of.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whose words a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The model's.
    Assistant,
    /// The user's.
    User,
    /// The flow's, for the model.
    System,
    /// The flow's author's, for the model.
    Developer,
    /// A tool's.
    Tool,
}

impl Role {
    /// Its name: `assistant`, `user`, `system`, `developer`, `tool`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::User => "user",
            Self::System => "system",
            Self::Developer => "developer",
            Self::Tool => "tool",
        }
    }
}

/// One part of a message or of a thought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentPart {
    /// Text.
    OutputText {
        /// The text so far.
        #[serde(default)]
        text: String,
        /// What is said about pieces of it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        annotations: Vec<Value>,
    },
    /// What a model thought.
    ReasoningText {
        /// The text so far.
        #[serde(default)]
        text: String,
    },
    /// Why a model does not answer.
    Refusal {
        /// The text so far.
        #[serde(default)]
        text: String,
    },
    /// A file.
    File {
        /// Its media type.
        media_type: String,
        /// Base64, or a URL.
        data: String,
        /// What it is called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
    },
    /// Speech.
    OutputAudio {
        /// Its media type.
        media_type: String,
        /// Base64; empty in records that say where it is stored.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        audio: String,
        /// Number of the request's record that has the bytes. What callers of an engine are given has them in `audio` instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stored: Option<u64>,
        /// What is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transcript: Option<String>,
        /// How long it is, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration: Option<f64>,
    },
}

impl ContentPart {
    /// A part of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::OutputText {
            text: text.into(),
            annotations: Vec::new(),
        }
    }

    /// A part of a thought.
    pub fn reasoning(text: impl Into<String>) -> Self {
        Self::ReasoningText { text: text.into() }
    }

    /// The part's text; empty if it has none.
    pub fn as_text(&self) -> &str {
        match self {
            Self::OutputText { text, .. } | Self::ReasoningText { text } | Self::Refusal { text } => text,
            Self::File { .. } | Self::OutputAudio { .. } => "",
        }
    }

    /// The part's text, to which deltas are added; `None` for a part that comes whole.
    pub(crate) fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::OutputText { text, .. } | Self::ReasoningText { text } | Self::Refusal { text } => Some(text),
            Self::File { .. } | Self::OutputAudio { .. } => None,
        }
    }
}

impl From<&str> for ContentPart {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for ContentPart {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

/// What a message may be made of.
pub trait IntoParts {
    /// The parts.
    fn into_parts(self) -> Vec<ContentPart>;
}

impl IntoParts for &str {
    fn into_parts(self) -> Vec<ContentPart> {
        vec![self.into()]
    }
}

impl IntoParts for String {
    fn into_parts(self) -> Vec<ContentPart> {
        vec![self.into()]
    }
}

impl IntoParts for Vec<ContentPart> {
    fn into_parts(self) -> Vec<ContentPart> {
        self
    }
}
