//! Items as clients see them, alike in streams and snapshots.

use flowstate_engine::item::{self, ContentPart, ItemBody, Phase};
use serde::Serialize;
use serde_json::Value;

/// An item.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item {
    id: String,
    r#type: &'static str,
    status: &'static str,
    request_id: String,
    item_index: u32,
    ts: i64,
    provenance: Provenance,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    transient: bool,
    item_visibility: Visibility,
    #[serde(flatten)]
    body: Body,
}

/// What a type of item has of its own.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Body {
    Message {
        role: &'static str,
        content: Vec<Content>,
    },
    StateChange {
        scope: &'static str,
        operation: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        delta: Option<Value>,
        version: u64,
    },
    Error {
        message: String,
        code: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        details: Option<Value>,
    },
}

/// One part of an item's content.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Content {
    /// Text, the only part that takes deltas.
    OutputText { text: String },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Provenance {
    block_name: String,
    block_instance_id: String,
    phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_definition_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_block_instance_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Visibility {
    client: bool,
    history: bool,
}

impl From<item::Item> for Item {
    fn from(item: item::Item) -> Self {
        Self {
            id: item.id,
            r#type: item.body.type_name(),
            status: item.status.as_str(),
            request_id: item.request,
            item_index: item.index,
            ts: item.ts_ms,
            provenance: item.provenance.into(),
            transient: item.transient,
            item_visibility: Visibility {
                client: item.visibility.client,
                history: item.visibility.history,
            },
            body: item.body.into(),
        }
    }
}

impl From<ItemBody> for Body {
    fn from(body: ItemBody) -> Self {
        match body {
            ItemBody::Message { role, content } => Self::Message {
                role: role.as_str(),
                content: content.into_iter().map(Content::from).collect(),
            },
            ItemBody::StateChange(change) => Self::StateChange {
                scope: change.scope.as_str(),
                operation: change.operation,
                path: change.path,
                delta: change.delta,
                version: change.version,
            },
            ItemBody::Error { message, code, details } => Self::Error { message, code, details },
        }
    }
}

impl From<ContentPart> for Content {
    fn from(part: ContentPart) -> Self {
        match part {
            ContentPart::OutputText { text } => Self::OutputText { text },
        }
    }
}

impl From<item::Provenance> for Provenance {
    fn from(provenance: item::Provenance) -> Self {
        Self {
            block_name: provenance.block_name,
            block_instance_id: provenance.instance,
            phase: match provenance.phase {
                Phase::Main => "main",
                Phase::Work => "work",
            },
            block_definition_id: provenance.definition,
            parent_block_instance_id: provenance.parent,
            step_index: provenance.step_index,
            attempt: provenance.attempt,
        }
    }
}
