//! Requests: as listed, how far one is, and those that run or were left.

use flowstate_engine::{ListedRequest, RequestRow, RequestStatus};
use serde::Serialize;
use serde_json::{Map, Value};

use super::item::Item;

/// The answer to GET /api/flows/sessions/{id}/requests.
#[derive(Debug, Serialize)]
pub(crate) struct RequestsBody {
    pub(crate) requests: Vec<RequestSummary>,
}

/// A request in a list. Never its input.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestSummary {
    id: String,
    flow_kind: String,
    action_name: String,
    user_id: String,
    session_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<String>,
    source: &'static str,
    status: &'static str,
    started_at_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interrupted_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aborted_at: Option<i64>,
    abort_requested: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<Item>>,
    /// It has more items than are here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_more_items: bool,
    version: u32,
    created_at: i64,
    updated_at: i64,
}

impl From<ListedRequest> for RequestSummary {
    fn from(listed: ListedRequest) -> Self {
        let status = status(&listed.row);
        let updated_at = listed.row.updated_ms();
        let RequestRow {
            request,
            flow,
            action,
            user,
            started_ms,
            finished_ms,
            cancelled,
            retry_of,
            ..
        } = listed.row;
        let ended_as = |name: &str| finished_ms.filter(|_| status == name);
        Self {
            id: request,
            flow_kind: flow,
            action_name: action,
            user_id: user,
            session_id: listed.session,
            project_id: listed.project.clone(),
            org_id: listed.project,
            source: "http",
            status,
            started_at_ms: started_ms,
            completed_at_ms: ended_as("completed"),
            failed_at_ms: ended_as("failed"),
            interrupted_at: ended_as("interrupted"),
            aborted_at: ended_as("aborted"),
            abort_requested: cancelled,
            retry_of,
            metadata: listed.metadata,
            items: listed.items.map(|items| items.into_iter().map(Into::into).collect()),
            has_more_items: listed.has_more_items,
            version: if finished_ms.is_some() { 2 } else { 1 },
            created_at: started_ms,
            updated_at,
        }
    }
}

/// How far a request is, as its record says: what was stopped is `aborted` if somebody asked for that, `interrupted` if nobody did.
pub(crate) fn status(row: &RequestRow) -> &'static str {
    match row.status {
        RequestStatus::InProgress => "in_progress",
        RequestStatus::Completed => "completed",
        RequestStatus::Failed => "failed",
        RequestStatus::Interrupted if row.cancelled => "aborted",
        RequestStatus::Interrupted => "interrupted",
    }
}

/// Which requests a status asks for: the engine's status, and for what was stopped whether somebody asked. `None` if no request is ever so.
pub(crate) fn asked_status(name: &str) -> Option<(RequestStatus, Option<bool>)> {
    Some(match name {
        "in_progress" => (RequestStatus::InProgress, None),
        "completed" => (RequestStatus::Completed, None),
        "failed" => (RequestStatus::Failed, None),
        "incomplete" => (RequestStatus::Interrupted, None),
        "aborted" => (RequestStatus::Interrupted, Some(true)),
        "interrupted" => (RequestStatus::Interrupted, Some(false)),
        _ => return None,
    })
}

/// The answer to GET /api/flows/{kind}/requests/{id}/status.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusBody {
    id: String,
    status: &'static str,
    started_at_ms: i64,
    age_ms: i64,
    last_heartbeat_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at_ms: Option<i64>,
}

impl StatusBody {
    /// As of `now` (milliseconds since the Unix epoch). What is in progress runs in this process, which has the store for itself: it is alive now.
    pub(crate) fn new(row: RequestRow, now: i64) -> Self {
        Self {
            status: status(&row),
            age_ms: now.saturating_sub(row.started_ms).max(0),
            last_heartbeat_at: row.finished_ms.unwrap_or(now),
            completed_at_ms: row.finished_ms,
            started_at_ms: row.started_ms,
            id: row.request,
        }
    }
}

/// The answer to GET /api/flows/active-requests.
#[derive(Debug, Serialize)]
pub(crate) struct ActiveBody {
    pub(crate) entries: Vec<ActiveRequest>,
}

/// A request that runs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActiveRequest {
    request_id: String,
    flow_kind: String,
    action_name: String,
    session_id: String,
    started_at: i64,
    last_heartbeat_at: i64,
    age_ms: i64,
}

impl ActiveRequest {
    /// As of `now`; see [`StatusBody::new`].
    pub(crate) fn new(listed: ListedRequest, now: i64) -> Self {
        Self {
            request_id: listed.row.request,
            flow_kind: listed.row.flow,
            action_name: listed.row.action,
            session_id: listed.session,
            started_at: listed.row.started_ms,
            last_heartbeat_at: now,
            age_ms: now.saturating_sub(listed.row.started_ms).max(0),
        }
    }
}

/// The answer to POST /api/flows/users/{id}/check-interrupted.
#[derive(Debug, Serialize)]
pub(crate) struct InterruptedBody {
    pub(crate) interrupted: Vec<InterruptedRequest>,
}

/// A request that was stopped without anybody asking, and not done again since.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InterruptedRequest {
    request_id: String,
    session_id: String,
    flow_kind: String,
    action_name: String,
    interrupted_at: i64,
}

impl From<ListedRequest> for InterruptedRequest {
    fn from(listed: ListedRequest) -> Self {
        Self {
            interrupted_at: listed.row.updated_ms(),
            request_id: listed.row.request,
            session_id: listed.session,
            flow_kind: listed.row.flow,
            action_name: listed.row.action,
        }
    }
}
