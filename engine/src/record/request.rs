//! A request from its first record to its last, and the session that it is in.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// See [`super::Fact::SessionCreated`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionCreated {
    /// The session's id.
    pub session: String,
    /// Its user.
    pub user: String,
    /// Its project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Kind of its flow.
    pub flow: String,
    /// Instance of its flow.
    pub flow_id: String,
    /// Its state before anything changed it.
    pub state: Value,
    /// What it is called, and what else its caller wants to find it by.
    #[serde(flatten)]
    pub description: SessionDescribed,
}

/// See [`super::Fact::SessionDescribed`]. What is absent stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionDescribed {
    /// Its title; empty takes it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is about; empty takes that away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its tags, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Entries that are added to its metadata, or replace those of the same key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// See [`super::Fact::RequestAccepted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestAccepted {
    /// The request's id.
    pub request: String,
    /// Its session.
    pub session: String,
    /// Kind of its flow.
    pub flow: String,
    /// Instance of its flow.
    pub flow_id: String,
    /// What was asked for.
    pub action: String,
    /// Who asked.
    pub user: String,
    /// The session's project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The input as it was sent.
    pub input: Value,
    /// What the caller wants remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// The `traceparent` that it was asked with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// When it was asked: milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The request, of the same session, that this one does again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<String>,
}

/// See [`super::Fact::RequestStarted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestStarted {}

/// See [`super::Fact::RequestResumed`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestResumed {
    /// The blocks that ran when the process ended, by the numbers of the records that say that they began. They are closed as cancelled
    /// and run again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<u64>,
}

/// See [`super::Fact::CancelRequested`]. The record's causation is the request's sub-stream.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CancelRequested {
    /// The request's id.
    pub request: String,
}

/// See [`super::Fact::RequestCompleted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestCompleted {
    /// What the action's block gave, unless `same_as` or `item` says where that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Number, in the request, of the record whose `output` is what it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<u64>,
    /// The item whose text is what it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
}

/// See [`super::Fact::RequestFailed`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestFailed {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// What else is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether the same request may succeed later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retryable: bool,
}

/// See [`super::Fact::RequestInterrupted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestInterrupted {
    /// What stopped it.
    pub reason: String,
}

impl RequestInterrupted {
    /// Somebody asked that it be stopped.
    pub fn was_asked_for(&self) -> bool {
        self.reason == CANCELLED
    }
}

/// The reason of a request that was stopped because somebody asked.
pub(crate) const CANCELLED: &str = "it was cancelled";
