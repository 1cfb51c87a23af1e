//! What an item says: one of the types; what is in most of them is in `item/kinds`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::kinds::{
    Component, Container, ResourceChange, Source, StateChange, Status, StepError, ToolCall, ToolOutput,
};
use super::{ContentPart, Role};

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
        !self.is_abort_notice() && self.is_transient_by_type()
    }

    /// Whether it says that the request was stopped because somebody asked.
    pub(crate) fn is_abort_notice(&self) -> bool {
        let Self::Status(status) = self else { return false };
        let code = status.detail.as_ref().and_then(|detail| detail.get("code"));
        code.and_then(serde_json::Value::as_str) == Some(super::ABORTED)
    }

    fn is_transient_by_type(&self) -> bool {
        matches!(
            self,
            Self::Status(_) | Self::ToolCallProgress(_) | Self::StateChange(_) | Self::ResourceChange(_)
        )
    }

    /// The parts of an item that has parts.
    pub(crate) fn parts(&self) -> Option<&Vec<ContentPart>> {
        match self {
            Self::Message { content: parts, .. } | Self::Reasoning { summary: parts } => Some(parts),
            _ => None,
        }
    }

    pub(crate) fn parts_mut(&mut self) -> Option<&mut Vec<ContentPart>> {
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
