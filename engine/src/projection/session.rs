//! What a session is, in one row; and the lists of sessions, newest first.

use flowstate_log::Log;
use flowstate_log::error::ViewError;
use flowstate_log::record::{Kind, Name, Record, StreamId};
use flowstate_log::view::{Fold, IndexRows, Row, View, ViewId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{json_bytes, json_row, single_row};
use crate::record::{
    Fact, RequestAccepted, RequestCompleted, RequestFailed, RequestInterrupted, ResourceChanged, ResourceCreated,
    ResourceDeleted, ResourceWritten, SessionCreated, SessionDescribed, decode,
};

/// Changes of its resources. Those that are in no request are what clients did.
const RESOURCES: [Kind; 4] = [
    ResourceCreated::KIND,
    ResourceChanged::KIND,
    ResourceWritten::KIND,
    ResourceDeleted::KIND,
];

/// Its view.
pub(crate) const ID: ViewId = ViewId(1);
const KEY: &[u8] = b"session";

/// What a list shows of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSummary {
    /// Its id.
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
    /// When it was created: milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When a request last began or ended, it was called otherwise, or a client changed a resource.
    pub updated_ms: i64,
    /// The commit of that: unlike its time, no other's.
    pub updated_commit: u64,
    /// The request that began last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_request: Option<String>,
    /// How many requests it has had.
    pub requests: u64,
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// What else callers want remembered with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

impl SessionSummary {
    /// The same, called otherwise.
    pub(crate) fn described(mut self, change: SessionDescribed) -> Self {
        let text = |text: &mut Option<String>, change: Option<String>| {
            if let Some(change) = change {
                *text = Some(change).filter(|change| !change.is_empty());
            }
        };
        text(&mut self.title, change.title);
        text(&mut self.description, change.description);
        if change.tags.is_some() {
            self.tags = change.tags;
        }
        if let Some(entries) = change.metadata {
            self.metadata.get_or_insert_default().extend(entries);
        }
        self
    }
}

/// See the module.
pub(crate) struct SessionView;

impl View for SessionView {
    fn id(&self) -> ViewId {
        ID
    }

    fn name(&self) -> &'static str {
        "session"
    }

    fn version(&self) -> u32 {
        3
    }

    fn folds(&self, kind: Kind) -> bool {
        [
            SessionCreated::KIND,
            SessionDescribed::KIND,
            RequestAccepted::KIND,
            RequestCompleted::KIND,
            RequestFailed::KIND,
            RequestInterrupted::KIND,
        ]
        .contains(&kind)
            || RESOURCES.contains(&kind)
    }

    /// Version 1 did not fold resources, which clients could not change then; version 2 no descriptions.
    fn upgrade(&self, stream: StreamId, name: &Name, _version: u32, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        let summary: Option<SessionSummary> = single_row(rows)?;
        Ok(Box::new(SessionFold {
            stream,
            principal: name.principal().into(),
            changed: summary.is_some(),
            summary,
        }))
    }

    fn empty(&self, stream: StreamId, name: &Name) -> Box<dyn Fold> {
        Box::new(SessionFold {
            stream,
            principal: name.principal().into(),
            summary: None,
            changed: false,
        })
    }

    fn load(&self, stream: StreamId, name: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        let summary = single_row(rows)?;
        Ok(Box::new(SessionFold {
            stream,
            principal: name.principal().into(),
            summary,
            changed: false,
        }))
    }
}

/// A session's row.
pub(crate) struct SessionFold {
    stream: StreamId,
    principal: String,
    summary: Option<SessionSummary>,
    changed: bool,
}

impl SessionFold {
    /// `None` for a stream that holds no session.
    pub(crate) fn summary(&self) -> Option<&SessionSummary> {
        self.summary.as_ref()
    }
}

impl Fold for SessionFold {
    fn apply(&mut self, record: &Record, index: &mut dyn IndexRows) {
        let is_clients = RESOURCES.contains(&record.kind);
        // What a request does to resources moves nothing: its end does. Bodies are not read.
        let fact = match is_clients {
            true if record.sub.is_some() => return,
            true => None,
            false => match decode(record) {
                Ok(fact) => Some(fact),
                Err(_) => return,
            },
        };
        let now_ms = record.time_us / 1_000;
        let next = match (fact, self.summary.clone()) {
            (Some(Fact::SessionCreated(created)), _) => SessionSummary {
                session: created.session,
                user: created.user,
                project: created.project,
                flow: created.flow,
                flow_id: created.flow_id,
                created_ms: now_ms,
                updated_ms: now_ms,
                updated_commit: record.commit,
                latest_request: None,
                requests: 0,
                ..SessionSummary::default()
            }
            .described(created.description),
            (Some(Fact::SessionDescribed(description)), Some(summary)) => SessionSummary {
                updated_ms: now_ms,
                updated_commit: record.commit,
                ..summary.described(description)
            },
            (Some(Fact::RequestAccepted(accepted)), Some(summary)) => SessionSummary {
                updated_ms: now_ms,
                updated_commit: record.commit,
                latest_request: Some(accepted.request),
                requests: summary.requests + 1,
                ..summary
            },
            (fact, Some(summary)) if fact.as_ref().is_none_or(Fact::is_terminal) => SessionSummary {
                updated_ms: now_ms,
                updated_commit: record.commit,
                ..summary
            },
            _ => return,
        };
        if let Some(summary) = &self.summary {
            for list in [List::All, List::User(&summary.user)] {
                index.delete(list.key(&self.principal, summary.updated_commit, self.stream));
            }
        }
        let row = json_bytes(&next);
        for list in [List::All, List::User(&next.user)] {
            index.put(list.key(&self.principal, next.updated_commit, self.stream), row.clone());
        }
        self.summary = Some(next);
        self.changed = true;
    }

    fn changed(&mut self, rows: &mut dyn FnMut(Row)) {
        if let (true, Some(summary)) = (std::mem::take(&mut self.changed), &self.summary) {
            rows(json_row(KEY, summary));
        }
    }

    fn index_rows(&self, index: &mut dyn IndexRows) {
        if let Some(summary) = &self.summary {
            for list in [List::All, List::User(&summary.user)] {
                let key = list.key(&self.principal, summary.updated_commit, self.stream);
                index.put(key, json_bytes(summary));
            }
        }
    }

    fn rows(&self, rows: &mut dyn FnMut(Row)) {
        if let Some(summary) = &self.summary {
            rows(json_row(KEY, summary));
        }
    }
}

/// A list of sessions in the index; its keys ascend from the newest to the oldest.
pub(crate) enum List<'a> {
    /// All of a principal's.
    All,
    /// Those of one user.
    User(&'a str),
}

impl List<'_> {
    /// What all keys of the list begin with, and keys of no other list. Texts have their length before them,
    /// so that no choice of names makes one list part of another.
    pub(crate) fn prefix(&self, principal: &str) -> Vec<u8> {
        let mut key = Vec::new();
        let mut push = |text: &str| {
            key.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            key.extend_from_slice(text.as_bytes());
        };
        match self {
            Self::All => {
                push("all");
                push(principal);
            }
            Self::User(user) => {
                push("user");
                push(principal);
                push(user);
            }
        }
        key
    }

    fn key(&self, principal: &str, updated_commit: u64, stream: StreamId) -> Vec<u8> {
        let mut key = self.prefix(principal);
        key.extend_from_slice(&(u64::MAX - updated_commit).to_be_bytes());
        key.extend_from_slice(&stream.0);
        key
    }
}

/// Reads a session's fold.
pub(crate) async fn read<R: Send>(
    log: &Log,
    stream: StreamId,
    read: impl FnOnce(&SessionFold) -> R + Send,
) -> Result<R, ViewError> {
    log.view(stream, ID, read).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::projection::testing::{
        A, Index, STREAM, as_any, fold, history, keeps_its_rows_over_any_split, name, record,
    };
    use crate::record::ResourceAccessed;

    #[test]
    fn rows_survive_any_split() {
        keeps_its_rows_over_any_split(&SessionView, &history());
    }

    #[test]
    fn a_summary_counts_requests_and_moves_with_their_ends() {
        let (mut session, mut index) = (SessionView.empty(STREAM, &name()), Index::default());
        fold(&SessionView, &mut *session, &history(), &mut index);
        let summary = as_any::<SessionFold>(&*session).summary().expect("a session").clone();
        assert_eq!((summary.requests, summary.latest_request.as_deref()), (2, Some("b")));
        assert_eq!((summary.created_ms, summary.updated_ms), (1_000, 16_000));
        assert_eq!(index.0.len(), 2, "one row per list, the old ones are gone");
        assert!(index.0.values().all(|row| *row == json_bytes(&summary)));
    }

    #[test]
    fn what_a_client_does_to_a_resource_moves_a_session_and_what_a_request_does_not() {
        let at = json!({"scope": "session", "resource": "files", "key": "files/a"});
        let change = |position, sub, kind: Kind| record(position, sub, kind.0, &json!({"at": at}));
        let after = |more: &[Record]| {
            let (mut session, mut index) = (SessionView.empty(STREAM, &name()), Index::default());
            let records = [&history(), more].concat();
            fold(&SessionView, &mut *session, &records, &mut index);
            assert_eq!(index.0.len(), 2, "one row per list, the old ones are gone");
            as_any::<SessionFold>(&*session).summary().expect("a session").clone()
        };
        let before = after(&[]);
        for (number, kind) in (1..).zip(RESOURCES) {
            let position = history().len() as u64 + number;
            let sub = Some((A, 100));
            assert_eq!(after(&[change(position, sub, kind)]), before);
            let moved = after(&[change(position, None, kind)]);
            let expected = SessionSummary {
                updated_ms: moved.updated_ms,
                updated_commit: moved.updated_commit,
                ..before.clone()
            };
            assert!(moved.updated_commit > before.updated_commit && moved.updated_ms > before.updated_ms);
            assert_eq!(moved, expected);
        }
        assert!(
            !SessionView.folds(ResourceAccessed::KIND),
            "what is looked at moves nothing"
        );
        // In the stream of a user there is no session to move.
        let mut user = SessionView.empty(STREAM, &name());
        fold(
            &SessionView,
            &mut *user,
            &[change(1, None, RESOURCES[0])],
            &mut Index::default(),
        );
        assert!(as_any::<SessionFold>(&*user).summary().is_none());
    }

    #[test]
    fn rows_of_version_1_of_a_trimmed_stream_are_taken_over() {
        let (mut session, mut rows) = (SessionView.empty(STREAM, &name()), Vec::new());
        fold(&SessionView, &mut *session, &history(), &mut Index::default());
        session.rows(&mut |row| rows.push(row));
        let mut upgraded = SessionView
            .upgrade(STREAM, &name(), 1, rows.clone())
            .expect("rows of version 1");
        let mut written = Vec::new();
        upgraded.changed(&mut |row| written.push(row));
        assert_eq!(written, rows);
    }

    #[test]
    fn no_user_is_in_the_list_of_another() {
        let key = List::User("a").key("bc", 5, STREAM);
        for other in [
            List::User("").prefix("abc"),
            List::User("bca").prefix(""),
            List::All.prefix("bc"),
            List::User("ab").prefix("c"),
        ] {
            assert!(!key.starts_with(&other));
        }
        assert!(key.starts_with(&List::User("a").prefix("bc")));
        assert!(
            List::All.key("", 2, STREAM) < List::All.key("", 1, STREAM),
            "newest first"
        );
    }
}
