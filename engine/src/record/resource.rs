//! Changes of resources. Bodies follow a line of JSON, as they are.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::state::{ChangeItem, ScopeKind, StateChanged};
use super::{framed, is_zero_position};
use crate::item::ChangeType;
use crate::scope::{Fields, StateOp};

/// Which resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceAt {
    /// Whose: a session's, a user's or a project's.
    pub scope: ScopeKind,
    /// Of a user or project: the kind of flow whose resource it is; absent if all flows share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// Name of the resource, or pattern of the collection.
    pub resource: String,
    /// Of a collection: which of its instances, as `files/readme.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of a collection: position of the record that made the instance. What is about an instance of that key that was deleted means nothing
    /// for a later one. Absent: whichever there is.
    #[serde(skip_serializing_if = "is_zero_position")]
    pub of: u64,
}

impl ResourceAt {
    /// Its name; of a collection's instance, the key.
    pub fn path(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.resource)
    }
}

/// See [`super::Fact::ResourceCreated`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceCreated {
    /// Which.
    pub at: ResourceAt,
    /// What its state begins as: an object.
    pub state: Value,
    /// How clients are told, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<ChangeItem>,
}

/// See [`super::Fact::ResourceChanged`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceChanged {
    /// Which.
    pub at: ResourceAt,
    /// What was done to its state.
    pub op: StateOp,
    /// What the named fields begin as that it does not have.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub base: Fields,
    /// How clients are told, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<ChangeItem>,
}

impl ResourceChanged {
    pub(crate) fn new(at: ResourceAt, change: StateChanged, item: Option<ChangeItem>) -> Self {
        Self {
            at,
            op: change.op,
            base: change.base,
            item,
        }
    }
}

/// See [`super::Fact::ResourceWritten`]. Its payload is a line of JSON, then the text.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceWritten {
    /// Which.
    pub at: ResourceAt,
    /// How clients are told, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<ChangeItem>,
    /// The body as it was, because the record that has it is about to be given up: no version of its own, and no access.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub carried: bool,
    /// The body from now on: UTF-8.
    #[serde(skip)]
    pub text: Bytes,
}

impl ResourceWritten {
    pub(super) fn encode(&self) -> Result<Bytes, serde_json::Error> {
        framed::encode(self, &self.text)
    }

    /// Shares the payload's memory.
    pub(super) fn decode(payload: &Bytes) -> Result<Self, serde_json::Error> {
        let (head, text) = framed::decode::<Self>(payload)?;
        Ok(Self { text, ..head })
    }
}

/// See [`super::Fact::ResourceDeleted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceDeleted {
    /// Which.
    pub at: ResourceAt,
    /// It made room for another one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub evicted: bool,
    /// How clients are told, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<ChangeItem>,
}

/// See [`super::Fact::ResourceAccessed`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceAccessed {
    /// Which.
    pub at: ResourceAt,
}

/// See [`super::Fact::ResourceNoted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceNoted {
    /// Whose.
    pub scope: ScopeKind,
    /// [`ResourceAt::path`].
    pub path: String,
    /// What became of it.
    pub change: ChangeType,
    /// How clients are told.
    pub item: ChangeItem,
}
