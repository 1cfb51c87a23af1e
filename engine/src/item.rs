//! What a flow shows or remembers: items, their parts, and their public ids.
//! The serde derives here are the form on disk (inside [`crate::record::ItemRecord`]); [`Item`] has none,
//! because what a client is sent is the API's own type.

mod audience;
mod body;
mod content;
pub(crate) mod emit;
mod handle;
mod kinds;
pub(crate) mod open;
mod provenance;

use flowstate_log::record::{Record, SubStreamId};
use serde::{Deserialize, Serialize};

pub use audience::{Audience, Visibility};
pub use body::ItemBody;
pub use content::{ContentPart, IntoParts, Role};
pub use emit::Emit;
pub use handle::{ComponentHandle, ContainerHandle, MessageHandle, ToolHandle};
pub use kinds::{
    ChangeType, Component, Container, Failure, ResourceChange, Source, StateChange, Status, StepError, ToolCall,
    ToolOutput,
};
pub use provenance::{Phase, Provenance};

use crate::record::{ChangeItem, Fact, ItemRecord, ResourceAt};

/// What the `detail.code` of the item is that says that a request was stopped because somebody asked.
pub const ABORTED: &str = "system.request_aborted";

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
    /// The block instance of the container that it is in.
    pub owned_by: Option<String>,
    /// What it says.
    pub body: ItemBody,
}

impl Item {
    /// The item that a record of request `request` (sub-stream `sub`) describes.
    pub fn new(sub: SubStreamId, request: impl Into<String>, record: ItemRecord) -> Self {
        let request = request.into();
        let id = match record.body.is_abort_notice() && record.provenance == Provenance::runtime() {
            // The id that clients give the notice which they show before it comes.
            true => format!("item_status_aborted_{request}"),
            false => item_id(sub, record.index),
        };
        Self {
            id,
            request,
            index: record.index,
            ts_ms: record.ts_ms,
            status: record.status,
            provenance: record.provenance,
            visibility: record.visibility,
            transient: record.transient,
            owned_by: record.owned_by,
            body: record.body,
        }
    }
}

impl Item {
    /// The item that tells clients of the change of a state or resource that `record` of request `request` states; `None` if it
    /// states none, or none that clients are told of.
    pub fn of_change(sub: SubStreamId, request: impl Into<String>, record: &Record, fact: &Fact) -> Option<Self> {
        let resource = |at: &ResourceAt, change, item: &ChangeItem| {
            ItemBody::ResourceChange(ResourceChange {
                scope: at.scope,
                resource_path: at.path().to_owned(),
                change,
                version: Some(record.position),
                delta: item.delta.clone(),
            })
        };
        let state = |scope, operation: &str, item: &ChangeItem, version| {
            ItemBody::StateChange(StateChange {
                scope,
                operation: operation.to_owned(),
                path: item.path.clone(),
                delta: item.delta.clone(),
                version,
            })
        };
        let (item, body) = match fact {
            Fact::StateChanged(change) => {
                let item = change.item.as_ref()?;
                (item, state(change.scope, change.op.name(), item, record.position))
            }
            Fact::StateNoted(noted) => {
                let item = &noted.item;
                (item, state(noted.scope, &noted.operation, item, record.commit))
            }
            Fact::ResourceCreated(made) => {
                let item = made.item.as_ref()?;
                (item, resource(&made.at, ChangeType::Created, item))
            }
            Fact::ResourceChanged(change) => {
                let item = change.item.as_ref()?;
                (item, resource(&change.at, ChangeType::Updated, item))
            }
            Fact::ResourceWritten(written) => {
                let item = written.item.as_ref()?;
                (item, resource(&written.at, ChangeType::Updated, item))
            }
            Fact::ResourceDeleted(deleted) => {
                let item = deleted.item.as_ref()?;
                (item, resource(&deleted.at, ChangeType::Deleted, item))
            }
            Fact::ResourceNoted(noted) => {
                let body = ItemBody::ResourceChange(ResourceChange {
                    scope: noted.scope,
                    resource_path: noted.path.clone(),
                    change: noted.change,
                    version: Some(record.commit),
                    delta: noted.item.delta.clone(),
                });
                (&noted.item, body)
            }
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
            owned_by: item.owned_by.clone(),
            body,
        })
    }
}

/// Public id of item `index` of the request in `sub`: the same in a stream, in a snapshot and after a restart.
pub fn item_id(sub: SubStreamId, index: u32) -> String {
    format!("item_{sub}_{index}")
}
