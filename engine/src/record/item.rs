//! Items and their content.

use serde::{Deserialize, Serialize};

use crate::item::{ContentPart, ItemBody, ItemStatus, Provenance, Visibility};

/// An item, at the time of the record that holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// Its number in the request, from 0.
    #[serde(default)]
    pub index: u32,
    /// When it was added: milliseconds since the Unix epoch.
    #[serde(default)]
    pub ts_ms: i64,
    /// How far it is.
    #[serde(default)]
    pub status: ItemStatus,
    /// What made it.
    #[serde(default)]
    pub provenance: Provenance,
    /// Who gets to see it.
    #[serde(default)]
    pub visibility: Visibility,
    /// Shown live only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
    /// The block instance of the container that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_by: Option<String>,
    /// What it says.
    pub body: ItemBody,
}

/// See [`super::Fact::ItemAdded`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemAdded {
    /// The item as it begins.
    pub item: ItemRecord,
}

/// See [`super::Fact::ContentAdded`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContentAdded {
    /// The item.
    #[serde(default)]
    pub item: u32,
    /// The part's number, from 0.
    #[serde(default)]
    pub part: u32,
    /// The part as it begins.
    pub content: ContentPart,
}

/// See [`super::Fact::ContentDelta`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContentDelta {
    /// The item.
    pub item: u32,
    /// The part.
    pub part: u32,
    /// What it has more.
    pub delta: String,
}

/// See [`super::Fact::ContentDone`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContentDone {
    /// The item.
    #[serde(default)]
    pub item: u32,
    /// The part.
    #[serde(default)]
    pub part: u32,
    /// The whole part.
    pub content: ContentPart,
}

/// See [`super::Fact::ItemCompleted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemCompleted {
    /// The complete, final item.
    pub item: ItemRecord,
}
