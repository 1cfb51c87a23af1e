//! Changes of states.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::block::is_zero;
use crate::item::Provenance;
use crate::scope::{Fields, OpError, StateOp};

/// Whose state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScopeKind {
    /// One request's.
    Request,
    /// The session's.
    #[default]
    Session,
    /// The user's, in all sessions.
    User,
    /// The project's, for all users.
    Project,
}

impl ScopeKind {
    /// Its name: `request`, `session`, `user`, `project`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Session => "session",
            Self::User => "user",
            Self::Project => "project",
        }
    }
}

/// See [`super::Fact::StateChanged`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StateChanged {
    /// Whose state.
    pub scope: ScopeKind,
    /// What was done to it.
    pub op: StateOp,
    /// What the named fields begin as that it does not have.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub base: Fields,
    /// Of a user or project: the kind of flow whose state it is; absent if all flows share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// How clients are told; absent in a user's or project's stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<ChangeItem>,
}

impl StateChanged {
    /// Changes `state`, whole or not at all.
    pub(crate) fn apply_to(&self, state: &mut Fields) -> Result<(), OpError> {
        let missing = self.base.iter().filter(|(field, _)| !state.contains_key(*field));
        let missing: Vec<_> = missing.map(|(field, value)| (field.clone(), value.clone())).collect();
        for (field, value) in &missing {
            state.insert(field.clone(), value.clone());
        }
        let applied = self.op.apply_to(state);
        if applied.is_err() {
            missing.iter().for_each(|(field, _)| drop(state.remove(field)));
        }
        applied
    }
}

/// See [`super::Fact::StateNoted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StateNoted {
    /// Whose state.
    pub scope: ScopeKind,
    /// [`StateOp::name`] of what was done to it.
    pub operation: String,
    /// How clients are told.
    pub item: ChangeItem,
}

/// The item that tells clients of a change.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangeItem {
    /// Its number in the request, from 0.
    pub index: u32,
    /// When it was made: milliseconds since the Unix epoch.
    pub ts_ms: i64,
    /// What made it.
    pub provenance: Provenance,
    /// The block instance of the container that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owned_by: Option<String>,
    /// The field, or `field.key`; only of an exposed field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Of a state, what changed of exposed fields; of a live resource, all that clients see of it then, which may be nothing: `null`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub delta: Option<Value>,
}

/// What is there, `null` included.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// See [`super::Fact::InstanceStateChanged`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceStateChanged {
    /// Place of the sequencer.
    pub path: String,
    /// How often that was tried before, from 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// What was done to its state.
    pub op: StateOp,
}
