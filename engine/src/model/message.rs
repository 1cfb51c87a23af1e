//! What was said before, as a model is shown it. These types are also what records keep; no provider's own form is among them, but
//! for what only that provider understands ([`Native`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::item::Role;

/// One message for a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum ModelMessage {
    /// The flow's words.
    System {
        /// The words.
        text: String,
    },
    /// The user's.
    User {
        /// Their parts, in order.
        parts: Vec<UserPart>,
    },
    /// The model's.
    Assistant {
        /// Their parts, in order.
        parts: Vec<AssistantPart>,
    },
    /// What tools gave, in the order of the calls in the message before.
    Tool {
        /// One for each call.
        results: Vec<ToolResult>,
    },
}

impl ModelMessage {
    /// The flow's words.
    pub fn system(text: impl Into<String>) -> Self {
        Self::System { text: text.into() }
    }

    /// The user's words.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User {
            parts: vec![UserPart::Text { text: text.into() }],
        }
    }

    /// The model's words.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::Assistant {
            parts: vec![AssistantPart::Text { text: text.into() }],
        }
    }

    /// Whose it is.
    pub fn role(&self) -> Role {
        match self {
            Self::System { .. } => Role::System,
            Self::User { .. } => Role::User,
            Self::Assistant { .. } => Role::Assistant,
            Self::Tool { .. } => Role::Tool,
        }
    }

    /// Its text, whatever else is in it left out: of tools' results, what the model sees.
    pub fn text(&self) -> String {
        match self {
            Self::System { text } => text.clone(),
            Self::User { parts } => parts.iter().map(UserPart::as_text).collect(),
            Self::Assistant { parts } => parts.iter().map(AssistantPart::as_text).collect(),
            Self::Tool { results } => results.iter().map(|result| result.content.as_str()).collect(),
        }
    }
}

/// A part of a user's message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum UserPart {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// A file.
    File {
        /// Its media type: `image/png`.
        media_type: String,
        /// Base64, or a URL (`https://..`).
        data: String,
        /// What it is called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
    },
}

impl UserPart {
    /// Its words; empty if it has none.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Text { text } => text,
            Self::File { .. } => "",
        }
    }
}

/// A part of a model's message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AssistantPart {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// What it thought.
    Reasoning {
        /// The thought, as far as the provider shows it.
        text: String,
        /// What its provider needs to be shown it again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        native: Option<Native>,
    },
    /// A tool that it wants.
    ToolUse(ToolUse),
    /// Something that only its provider understands, such as a search that the provider ran.
    Native(Native),
}

impl AssistantPart {
    /// Its words; empty if it has none.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Text { text } => text,
            Self::Reasoning { .. } | Self::ToolUse(_) | Self::Native(_) => "",
        }
    }
}

/// A model's wish that a tool be run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ToolUse {
    /// The model's id of it; unique within an answer.
    pub id: String,
    /// The tool, by the name that the model was told.
    pub name: String,
    /// JSON, as the model wrote it. It may be malformed.
    pub arguments: String,
    /// What its provider needs to be shown it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
}

/// What a tool gave, as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ToolResult {
    /// The call's id.
    pub id: String,
    /// The tool, by the name that the model was told.
    pub name: String,
    /// Text, or JSON.
    pub content: String,
    /// Whether it failed; the content says why.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

/// A provider's own form of a part, opaque to everyone but the adapter that made it. An adapter that does not know `format` leaves
/// it out and shows the model the part's plain form, if it has one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Native {
    /// The adapter, its version and the provider: who can read `value`.
    pub format: String,
    /// The provider's form.
    pub value: Value,
}
