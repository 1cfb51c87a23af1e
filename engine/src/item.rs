//! What a flow shows or remembers: items, their parts, and their public ids.
//! The serde derives here are the form on disk (inside [`crate::record::ItemRecord`]); [`Item`] has none,
//! because what a client is sent is the API's own type.

pub(crate) mod open;
mod provenance;

use flowstate_log::record::{Record, SubStreamId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use provenance::{Phase, Provenance};

use crate::record::{Fact, ItemRecord, ScopeKind};

/// How far an item is. All but `InProgress` are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// More of it may come.
    #[default]
    InProgress,
    /// It is whole.
    Completed,
    /// Its run was stopped before it was whole.
    Incomplete,
    /// Its run failed before it was whole, or it tells of a failure.
    Failed,
}

impl ItemStatus {
    /// Its name: `in_progress`, `completed`, `incomplete`, `failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

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
}

impl Role {
    /// Its name: `assistant`, `user`, `system`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::User => "user",
            Self::System => "system",
        }
    }
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentPart {
    /// Text.
    OutputText {
        /// The text so far.
        #[serde(default)]
        text: String,
    },
}

impl ContentPart {
    /// A part of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::OutputText { text: text.into() }
    }

    /// The part's text.
    pub fn as_text(&self) -> &str {
        match self {
            Self::OutputText { text } => text,
        }
    }
}

/// Who gets to see an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Visibility {
    /// Clients.
    pub client: bool,
    /// Models, in the history of the session.
    pub history: bool,
}

impl Visibility {
    /// Clients and models.
    pub const CONVERSATION: Self = Self {
        client: true,
        history: true,
    };
    /// Clients only.
    pub const CLIENT: Self = Self {
        client: true,
        history: false,
    };
}

/// Items that were written without visibility are shown, and kept out of prompts.
impl Default for Visibility {
    fn default() -> Self {
        Self::CLIENT
    }
}

/// What an item says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ItemBody {
    /// Part of the conversation.
    Message {
        /// Whose words.
        role: Role,
        /// The parts, in order.
        #[serde(default)]
        content: Vec<ContentPart>,
    },
    /// A state changed. Made from the record of the change, never stored itself.
    StateChange(StateChange),
    /// Why a request failed.
    Error {
        /// For people.
        message: String,
        /// For programs.
        code: String,
        /// What else is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        details: Option<Value>,
    },
}

impl ItemBody {
    /// The item's type: `message`, `error`, ...
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Message { .. } => "message",
            Self::StateChange(_) => "state_change",
            Self::Error { .. } => "error",
        }
    }
}

/// A state changed. What it became is told of exposed fields only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateChange {
    /// Whose.
    pub scope: ScopeKind,
    /// `patch`, `set`, `increment`, `push`, `delete_key` or `atomic`.
    pub operation: String,
    /// The field, or `field.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<Value>,
    /// Rises with each change of the scope: of a request or session the state's version, of a user or project the commit of the change.
    pub version: u64,
}

/// An item as the session remembers it, open ones with what they have so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Public id, unique within the session: see [`item_id`].
    pub id: String,
    /// The request that made it.
    pub request: String,
    /// Its number in that request, from 0.
    pub index: u32,
    /// When it was added: milliseconds since the Unix epoch, never decreasing within a request.
    pub ts_ms: i64,
    /// How far it is.
    pub status: ItemStatus,
    /// What made it.
    pub provenance: Provenance,
    /// Who gets to see it.
    pub visibility: Visibility,
    /// Shown live only, never in a snapshot.
    pub transient: bool,
    /// What it says.
    pub body: ItemBody,
}

impl Item {
    /// The item that a record of request `request` (sub-stream `sub`) describes.
    pub fn new(sub: SubStreamId, request: impl Into<String>, record: ItemRecord) -> Self {
        Self {
            id: item_id(sub, record.index),
            request: request.into(),
            index: record.index,
            ts_ms: record.ts_ms,
            status: record.status,
            provenance: record.provenance,
            visibility: record.visibility,
            transient: record.transient,
            body: record.body,
        }
    }
}

impl Item {
    /// The item that tells clients of the change of a state that `record` of request `request` states; `None` if it states none.
    pub fn of_change(sub: SubStreamId, request: impl Into<String>, record: &Record, fact: &Fact) -> Option<Self> {
        let (scope, operation, item, version) = match fact {
            Fact::StateChanged(change) => (change.scope, change.op.name(), change.item.as_ref()?, record.position),
            Fact::StateNoted(noted) => (noted.scope, noted.operation.as_str(), &noted.item, record.commit),
            _ => return None,
        };
        Some(Self {
            id: item_id(sub, item.index),
            request: request.into(),
            index: item.index,
            ts_ms: item.ts_ms,
            status: ItemStatus::Completed,
            provenance: item.provenance.clone(),
            visibility: Visibility::CLIENT,
            transient: true,
            body: ItemBody::StateChange(StateChange {
                scope,
                operation: operation.to_owned(),
                path: item.path.clone(),
                delta: item.delta.clone(),
                version,
            }),
        })
    }
}

/// Public id of item `index` of the request in `sub`: the same in a stream, in a snapshot and after a restart.
pub fn item_id(sub: SubStreamId, index: u32) -> String {
    format!("item_{sub}_{index}")
}
