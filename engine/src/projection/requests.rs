//! The requests of a session, one row each; and the list of all open ones, which recovery reads.

use std::collections::{BTreeMap, BTreeSet};

use flowstate_log::Log;
use flowstate_log::error::ViewError;
use flowstate_log::record::{Kind, Name, Record, StreamId, SubStreamId};
use flowstate_log::view::{Fold, IndexRows, Row, View, ViewId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{from_json, json_row};
use crate::record::{
    CancelRequested, Fact, RequestAccepted, RequestCompleted, RequestFailed, RequestInterrupted, decode,
};

/// Its view.
pub(crate) const ID: ViewId = ViewId(2);
/// What the keys of open requests begin with. What follows: the principal, behind its length, and the sub-stream's id. The value is the
/// stream's id.
pub(crate) const OPEN: &[u8] = b"open/";

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestStatus {
    /// It runs, or will be closed at the next start.
    InProgress,
    /// It gave its output.
    Completed,
    /// It failed.
    Failed,
    /// It was stopped.
    Interrupted,
}

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRow {
    /// Its id.
    pub request: String,
    /// Kind of its flow.
    pub flow: String,
    /// Its action.
    pub action: String,
    /// Who asked.
    pub user: String,
    /// How far it is.
    pub status: RequestStatus,
    /// When it was accepted: milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_ms: Option<i64>,
    /// Someone asked that it be stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelled: bool,
    /// Position of its first record; 0 if a version wrote the row that did not keep it.
    #[serde(default)]
    pub position: u64,
    /// The request that this one does again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<String>,
}

impl RequestRow {
    /// When it last changed: milliseconds since the Unix epoch.
    pub fn updated_ms(&self) -> i64 {
        self.finished_ms.unwrap_or(self.started_ms)
    }

    /// It was stopped, and nobody asked for that.
    pub fn is_left(&self) -> bool {
        self.status == RequestStatus::Interrupted && !self.cancelled
    }
}

/// What the keys of the requests of a user begin with that were stopped without anybody asking, and not done again since; the sub-stream's
/// id follows. The value is the stream's id.
pub(crate) fn left_prefix(principal: &str, user: &str) -> Vec<u8> {
    [
        b"left/",
        &length(principal)[..],
        principal.as_bytes(),
        &length(user),
        user.as_bytes(),
    ]
    .concat()
}

/// What the keys of a principal's open requests begin with.
pub(crate) fn open_prefix(principal: &str) -> Vec<u8> {
    [OPEN, &length(principal), principal.as_bytes()].concat()
}

fn length(text: &str) -> [u8; 4] {
    u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// See the module.
pub(crate) struct RequestsView;

impl View for RequestsView {
    fn id(&self) -> ViewId {
        ID
    }

    fn name(&self) -> &'static str {
        "requests"
    }

    fn version(&self) -> u32 {
        4
    }

    fn folds(&self, kind: Kind) -> bool {
        [
            RequestAccepted::KIND,
            RequestCompleted::KIND,
            RequestFailed::KIND,
            RequestInterrupted::KIND,
            CancelRequested::KIND,
        ]
        .contains(&kind)
    }

    /// Versions before had the same rows, the first without positions, and other keys in the index.
    fn upgrade(&self, stream: StreamId, name: &Name, _version: u32, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        self.load(stream, name, rows)
    }

    fn empty(&self, stream: StreamId, name: &Name) -> Box<dyn Fold> {
        Box::new(RequestsFold {
            stream,
            principal: name.principal().into(),
            requests: BTreeMap::new(),
            changed: BTreeSet::new(),
        })
    }

    fn load(&self, stream: StreamId, name: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        let mut requests = BTreeMap::new();
        for Row { key, value } in rows {
            let sub = key
                .as_slice()
                .try_into()
                .map_err(|_| format!("the key {key:?} is no sub-stream's id"))?;
            if let Some(value) = value {
                requests.insert(SubStreamId(sub), from_json(&value)?);
            }
        }
        Ok(Box::new(RequestsFold {
            stream,
            principal: name.principal().into(),
            requests,
            changed: BTreeSet::new(),
        }))
    }
}

/// The requests of one session.
pub(crate) struct RequestsFold {
    stream: StreamId,
    principal: String,
    requests: BTreeMap<SubStreamId, RequestRow>,
    changed: BTreeSet<SubStreamId>,
}

impl RequestsFold {
    /// All requests, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (SubStreamId, &RequestRow)> {
        self.requests.iter().map(|(sub, row)| (*sub, row))
    }

    fn open_key(&self, sub: SubStreamId) -> Vec<u8> {
        [open_prefix(&self.principal), sub.0.to_vec()].concat()
    }

    fn left_key(&self, sub: SubStreamId, row: &RequestRow) -> Vec<u8> {
        [left_prefix(&self.principal, &row.user), sub.0.to_vec()].concat()
    }

    /// The request in this sub-stream.
    pub(crate) fn get(&self, sub: SubStreamId) -> Option<&RequestRow> {
        self.requests.get(&sub)
    }
}

impl Fold for RequestsFold {
    fn apply(&mut self, record: &Record, index: &mut dyn IndexRows) {
        let Ok(fact) = decode(record) else { return };
        if let Fact::CancelRequested(_) = fact {
            let sub = SubStreamId(record.causation);
            if let Some(row) = self
                .requests
                .get_mut(&sub)
                .filter(|row| row.status == RequestStatus::InProgress)
            {
                row.cancelled = true;
                self.changed.insert(sub);
            }
            return;
        }
        let Some((sub, _)) = record.sub else { return };
        let status = match fact {
            Fact::RequestAccepted(accepted) => {
                if let Some(earlier) = &accepted.retry_of
                    && let Some((sub, row)) = self.requests.iter().find(|(_, row)| row.request == *earlier)
                {
                    index.delete(self.left_key(*sub, row));
                }
                let row = RequestRow {
                    request: accepted.request,
                    flow: accepted.flow,
                    action: accepted.action,
                    user: accepted.user,
                    status: RequestStatus::InProgress,
                    started_ms: accepted.at_ms,
                    finished_ms: None,
                    cancelled: false,
                    position: record.position,
                    retry_of: accepted.retry_of,
                };
                self.requests.insert(sub, row);
                self.changed.insert(sub);
                index.put(self.open_key(sub), self.stream.0.to_vec());
                return;
            }
            Fact::RequestCompleted(_) => RequestStatus::Completed,
            Fact::RequestFailed(_) => RequestStatus::Failed,
            Fact::RequestInterrupted(_) => RequestStatus::Interrupted,
            _ => return,
        };
        if let Some(row) = self.requests.get_mut(&sub) {
            row.status = status;
            row.finished_ms = Some(row.started_ms.max(record.time_us / 1_000));
            let row = row.clone();
            self.changed.insert(sub);
            index.delete(self.open_key(sub));
            if row.is_left() {
                index.put(self.left_key(sub, &row), self.stream.0.to_vec());
            }
        }
    }

    fn changed(&mut self, rows: &mut dyn FnMut(Row)) {
        for sub in std::mem::take(&mut self.changed) {
            if let Some(row) = self.requests.get(&sub) {
                rows(json_row(&sub.0, row));
            }
        }
    }

    fn index_rows(&self, index: &mut dyn IndexRows) {
        for (sub, _) in self
            .requests
            .iter()
            .filter(|(_, row)| row.status == RequestStatus::InProgress)
        {
            index.put(self.open_key(*sub), self.stream.0.to_vec());
        }
        let again: BTreeSet<&String> = self.requests.values().filter_map(|row| row.retry_of.as_ref()).collect();
        let left = self
            .all()
            .filter(|(_, row)| row.is_left() && !again.contains(&row.request));
        left.for_each(|(sub, row)| index.put(self.left_key(sub, row), self.stream.0.to_vec()));
    }

    fn rows(&self, rows: &mut dyn FnMut(Row)) {
        for (sub, row) in &self.requests {
            rows(json_row(&sub.0, row));
        }
    }
}

/// Which request an index row names. `Err` says what is wrong with the row.
pub(crate) fn open_row(key: &[u8], value: &[u8]) -> Result<(StreamId, SubStreamId), String> {
    let sub = key.strip_prefix(OPEN).and_then(|rest| rest.last_chunk());
    let (Some(sub), Ok(stream)) = (sub, value.try_into()) else {
        return Err(format!("{key:?} = {value:?}"));
    };
    Ok((StreamId(stream), SubStreamId(*sub)))
}

/// Reads the fold of a session's requests.
pub(crate) async fn read<R: Send>(
    log: &Log,
    stream: StreamId,
    read: impl FnOnce(&RequestsFold) -> R + Send,
) -> Result<R, ViewError> {
    log.view(stream, ID, read).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::testing::{A, B, Index, STREAM, as_any, fold, history, keeps_its_rows_over_any_split, name};

    #[test]
    fn rows_survive_any_split() {
        keeps_its_rows_over_any_split(&RequestsView, &history());
    }

    #[test]
    fn a_request_is_listed_as_open_until_its_last_record() {
        let records = history();
        let (mut requests, mut index) = (RequestsView.empty(STREAM, &name()), Index::default());
        fold(&RequestsView, &mut *requests, &records[..15], &mut index);
        let open: Vec<_> = index.0.iter().map(|(key, value)| open_row(key, value)).collect();
        assert_eq!(open, [Ok((STREAM, B))]);
        fold(&RequestsView, &mut *requests, &records[15..], &mut index);
        assert!(index.0.is_empty());
        let fold = as_any::<RequestsFold>(&*requests);
        assert_eq!(
            fold.get(A).map(|row| (row.status, row.finished_ms)),
            Some((RequestStatus::Completed, Some(15_000)))
        );
        assert_eq!(fold.get(B).map(|row| row.status), Some(RequestStatus::Failed));
    }
}
