//! What items of each type say.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::ScopeKind;

/// See [`super::ItemBody::ToolOutput`].
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

/// See [`super::ItemBody::Component`].
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

/// See [`super::ItemBody::Container`].
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

/// See [`super::ItemBody::Source`].
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

/// See [`super::ItemBody::Status`].
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
    /// All that clients see of it then, if it is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<Value>,
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

/// See [`super::ItemBody::StepError`].
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
