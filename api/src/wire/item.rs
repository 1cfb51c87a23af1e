//! Items as clients see them, alike in streams and snapshots: what all types have. What each has of its own is in `item/body`.

mod body;

use flowstate_engine::item::{self, Phase};
use serde::Serialize;

use body::Body;
pub(crate) use body::Content;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    owned_by: Option<String>,
    #[serde(flatten)]
    body: Body,
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
            owned_by: item.owned_by,
            body: item.body.into(),
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
