//! What items of each type say.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ContentPart, Role};
use crate::record::ScopeKind;

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
    /// What a model thought before it spoke.
    Reasoning {
        /// The parts, in order.
        #[serde(default)]
        summary: Vec<ContentPart>,
    },
    /// A tool that a model called, and what it gave.
    ToolOutput(ToolOutput),
    /// The arguments of a tool's call, while they come. Live only.
    ToolCallProgress(ToolCall),
    /// Data for a part of a user interface.
    Component(Component),
    /// What groups the items that it owns.
    Container(Container),
    /// Where something is from.
    Source(Source),
    /// What the request is about. Live only; the last one counts.
    Status(Status),
    /// A state changed. Made from the record of the change, never stored itself.
    StateChange(StateChange),
    /// A resource changed.
    ResourceChange(ResourceChange),
    /// Something failed and the request went on.
    StepError(StepError),
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
    /// The item's type: `message`, `reasoning`, ...
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Message { .. } => "message",
            Self::Reasoning { .. } => "reasoning",
            Self::ToolOutput(_) => "tool_output",
            Self::ToolCallProgress(_) => "tool_call_progress",
            Self::Component(_) => "component",
            Self::Container(_) => "container",
            Self::Source(_) => "source",
            Self::Status(_) => "status",
            Self::StateChange(_) => "state_change",
            Self::ResourceChange(_) => "resource_change",
            Self::StepError(_) => "step_error",
            Self::Error { .. } => "error",
        }
    }

    /// Whether an audience can be chosen for it.
    pub fn is_conversation(&self) -> bool {
        matches!(
            self,
            Self::Message { .. } | Self::Reasoning { .. } | Self::ToolOutput(_)
        )
    }

    /// Whether items of its type are shown live only, and are in no snapshot.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Status(_) | Self::ToolCallProgress(_) | Self::StateChange(_) | Self::ResourceChange(_)
        )
    }

    /// The parts of an item that has parts.
    pub(super) fn parts(&self) -> Option<&Vec<ContentPart>> {
        match self {
            Self::Message { content: parts, .. } | Self::Reasoning { summary: parts } => Some(parts),
            _ => None,
        }
    }

    pub(super) fn parts_mut(&mut self) -> Option<&mut Vec<ContentPart>> {
        match self {
            Self::Message { content: parts, .. } | Self::Reasoning { summary: parts } => Some(parts),
            _ => None,
        }
    }

    /// The key under which it replaces an earlier one of its request.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Component(component) => component.key.as_deref(),
            _ => None,
        }
    }
}

/// See [`ItemBody::ToolOutput`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolOutput {
    /// The tool.
    pub block_name: String,
    /// The call that it answers.
    pub call: ToolCall,
    /// What it gave; absent while it runs and if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// A model's call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolCall {
    /// The model's id of it.
    pub call_id: String,
    /// What the model called the tool.
    pub name: String,
    /// JSON, as the model wrote it.
    pub arguments: String,
    /// The generator whose model called.
    pub generator: String,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// For people.
    pub message: String,
    /// For programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What else is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// See [`ItemBody::Component`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Component {
    /// Which part of the interface.
    pub component: String,
    /// Its data: an object.
    pub data: Value,
    /// An item of the same request with the same key is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// See [`ItemBody::Container`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The block whose items it groups.
    pub block_name: String,
    /// How it is to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What else is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// Why its block failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl Container {
    /// Shown as this component.
    pub fn new(component: impl Into<String>) -> Self {
        Self {
            component: Some(component.into()),
            ..Self::default()
        }
    }

    /// Called so.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// With this to be known of it.
    pub fn metadata(mut self, metadata: Value) -> Self {
        self.metadata = Some(metadata);
        self
    }
}

/// See [`ItemBody::Source`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Its id.
    pub source_id: String,
    /// Where it is.
    pub url: String,
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the provider says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_metadata: Option<Value>,
}

/// See [`ItemBody::Status`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// What the request is about; empty for nothing.
    pub message: String,
    /// What else is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
    /// Whether the session waits for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<bool>,
    /// How much runs beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background_tasks: Option<u32>,
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

/// A resource changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceChange {
    /// Whose.
    pub scope: ScopeKind,
    /// Its name; of a collection's item, its key.
    pub resource_path: String,
    /// What became of it.
    pub change: ChangeType,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// What became of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeType {
    /// It was made.
    Created,
    /// It was written.
    #[default]
    Updated,
    /// It is gone.
    Deleted,
}

impl ChangeType {
    /// Its name: `created`, `updated`, `deleted`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// See [`ItemBody::StepError`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StepError {
    /// For people.
    pub message: String,
    /// For programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The block that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_name: Option<String>,
    /// Whether something else took its place.
    pub recovered: bool,
}
