//! Sessions: as listed, in detail, and as snapshots of what clients may know of them. Raw state is in none of these.

use std::collections::BTreeMap;

use flowstate_engine::record::SessionDescribed;
use flowstate_engine::{ResourceEntry, Snapshot};
use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::Fields;
use super::item::Item;
use super::json::type_name;
use super::problem::Problem;
use super::resource::Instance;

/// The answer to GET /api/flows/sessions.
#[derive(Debug, Serialize)]
pub(crate) struct SessionsBody {
    pub(crate) sessions: Vec<SessionSummary>,
}

/// A session in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionSummary {
    id: String,
    flow_kind: String,
    flow_id: String,
    user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
    request_count: u64,
    created_at: i64,
    updated_at: i64,
}

/// The answer to GET /api/flows/sessions/{id}.
#[derive(Debug, Serialize)]
pub(crate) struct SessionBody {
    pub(crate) session: SessionDetail,
}

/// A session in detail.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionDetail {
    #[serde(flatten)]
    summary: SessionSummary,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_request_id: Option<String>,
}

/// The answer to GET /api/flows/sessions/{id}/state.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SnapshotBody {
    session_id: String,
    flow_kind: String,
    /// Always empty: typed clients read through it, but raw state is not theirs.
    state: Map<String, Value>,
    client_data: BTreeMap<String, Map<String, Value>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    resources: BTreeMap<String, BTreeMap<String, SnapshotResource>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<Item>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination: Option<Pagination>,
}

/// A resource in a snapshot.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotResource {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_data: Option<Value>,
    /// Null if it has none; absent if snapshots don't have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<String>>,
    /// Of a collection: how many instances it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    /// And the first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prefetched: Vec<Instance>,
}

impl From<ResourceEntry> for SnapshotResource {
    fn from(entry: ResourceEntry) -> Self {
        match entry {
            ResourceEntry::One { client_data, content } => Self {
                client_data,
                content,
                ..Self::default()
            },
            ResourceEntry::Collection { count, prefetched } => Self {
                count: Some(count),
                prefetched: prefetched.into_iter().map(Into::into).collect(),
                ..Self::default()
            },
        }
    }
}

impl From<flowstate_engine::SessionSummary> for SessionSummary {
    fn from(summary: flowstate_engine::SessionSummary) -> Self {
        Self {
            id: summary.session,
            flow_kind: summary.flow,
            flow_id: summary.flow_id,
            user_id: summary.user,
            project_id: summary.project.clone(),
            org_id: summary.project,
            title: summary.title,
            description: summary.description,
            tags: summary.tags,
            metadata: summary.metadata,
            request_count: summary.requests,
            created_at: summary.created_ms,
            updated_at: summary.updated_ms,
        }
    }
}

impl From<flowstate_engine::SessionDetail> for SessionDetail {
    fn from(detail: flowstate_engine::SessionDetail) -> Self {
        Self {
            version: detail.version,
            latest_request_id: detail.summary.latest_request.clone(),
            summary: detail.summary.into(),
        }
    }
}

impl SnapshotBody {
    /// `offset` and `limit` are those of the page of items, if one was asked for.
    pub(crate) fn new(snapshot: Snapshot, offset: usize, limit: usize) -> Self {
        let total = snapshot.total;
        let sent = snapshot.items.as_ref().map(Vec::len);
        let pagination = sent.map(|sent| Pagination::new(offset, limit, sent, total));
        let mut client_data = snapshot.client_data;
        let resources = snapshot.resources.into_iter().map(|(scope, entries)| {
            let entries = entries.into_iter().map(|(name, entry)| (name, entry.into()));
            (scope, entries.collect())
        });
        let mut resources: BTreeMap<String, BTreeMap<String, SnapshotResource>> = resources.collect();
        // One scope, two names: clients of either generation find it.
        if let Some(project) = client_data.get("project").cloned() {
            client_data.insert("org".to_owned(), project);
        }
        if let Some(project) = resources.get("project").cloned() {
            resources.insert("org".to_owned(), project);
        }
        Self {
            session_id: snapshot.session,
            flow_kind: snapshot.flow,
            state: Map::new(),
            client_data,
            resources,
            items: snapshot.items.map(|items| items.into_iter().map(Item::from).collect()),
            pagination,
        }
    }
}

/// Where a page of items stands among all.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pagination {
    offset: usize,
    limit: usize,
    total: usize,
    has_more: bool,
    next_offset: usize,
}

impl Pagination {
    /// The page of at most `limit` of `total` from `offset` on, of which `sent` are sent: a page of large items ends early.
    pub(crate) fn new(offset: usize, limit: usize, sent: usize, total: usize) -> Self {
        let end = offset.saturating_add(sent);
        Self {
            offset,
            limit,
            total,
            has_more: end < total,
            next_offset: end.min(total),
        }
    }
}

/// The body of a POST that makes a session.
#[derive(Debug, PartialEq)]
pub(crate) struct CreateSession {
    pub(crate) user_id: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) project_id: Option<String>,
    pub(crate) description: SessionDescribed,
    /// What fields of its state begin as.
    pub(crate) state: Option<Map<String, Value>>,
}

impl CreateSession {
    /// Reads the fields; every problem is told.
    pub(crate) fn from_fields(fields: Map<String, Value>, requires_user: bool) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::new(fields);
        let body = Self {
            user_id: fields.user(requires_user),
            session_id: fields.text("sessionId"),
            project_id: fields.project(),
            description: description(&mut fields),
            state: fields.given_object("state").filter(|state| !state.is_empty()),
        };
        fields.finish(body)
    }
}

/// The body of a PATCH of what a session is called: what is not there stays.
pub(crate) fn description_of(fields: Map<String, Value>) -> Result<SessionDescribed, Vec<Problem>> {
    let mut fields = Fields::new(fields);
    let read = description(&mut fields);
    fields.finish(read)
}

fn description(fields: &mut Fields) -> SessionDescribed {
    let texts = |tags: Vec<Value>| {
        let text = |tag: Value| tag.as_str().map(str::trim).map(str::to_owned);
        let texts = tags.into_iter().filter_map(text);
        texts.filter(|tag| !tag.is_empty()).collect()
    };
    SessionDescribed {
        title: fields.given_text("title"),
        description: fields.given_text("description"),
        tags: match fields.take("tags") {
            Some(Value::Array(tags)) => Some(texts(tags)),
            None | Some(Value::Null) => None,
            Some(other) => {
                fields.refuse(
                    "tags",
                    &format!("must be an array of strings, not {}", type_name(&other)),
                );
                None
            }
        },
        metadata: fields.given_object("metadata"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_advance_to_the_total_and_end_there() {
        let page = |offset, limit| {
            let page = Pagination::new(offset, limit, limit.min(250_usize.saturating_sub(offset)), 250);
            (page.has_more, page.next_offset)
        };
        assert_eq!(page(0, 100), (true, 100));
        assert_eq!(page(100, 100), (true, 200));
        assert_eq!(page(200, 100), (false, 250));
        assert_eq!(page(150, 100), (false, 250));
        assert_eq!(page(usize::MAX, 100), (false, 250));
    }
}
