//! What callers do with sessions and their requests besides asking for something: make, describe, list, delete; stop and do again.

use flowstate_log::record::{StreamId, SubStreamId};
use serde_json::{Map, Value};

use super::snapshot::{self, ItemPage};
use super::{Engine, SessionDetail};
use crate::error::{QueryError, RetryError, SessionError};
use crate::exec::submit::{create, describe};
use crate::exec::{Accepted, NewSession, Submission, delete};
use crate::item::Item;
use crate::principal::Principal;
use crate::projection::{RequestRow, RequestStatus, SessionSummary, requests, session};
use crate::record::{Fact, RequestAccepted, SessionDescribed, decode};

/// Once the metadata of a list of requests has this many bytes, it ends.
const METADATA_BYTES_MAX: usize = 4 << 20;
/// Most requests that one list has.
const REQUESTS_MAX: usize = 1_000;
/// Most that it has with their items.
const REQUESTS_WITH_ITEMS_MAX: usize = 100;
/// Once the items of such a list have this many bytes, as they are stored, it ends.
const ITEMS_BYTES_MAX: usize = 8 << 20;

/// Which requests of a session to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestQuery {
    /// That are so far only; those that were stopped because somebody asked are told apart from those that were not by [`RequestRow::cancelled`].
    pub status: Option<RequestStatus>,
    /// With [`RequestStatus::Interrupted`]: that somebody asked to stop, or that nobody did.
    pub cancelled: Option<bool>,
    /// At most so many, and never more than 1,000.
    pub limit: Option<usize>,
    /// After so many.
    pub offset: usize,
    /// With these of the items of each, and then never more than 100 requests; without items if absent.
    pub items: Option<ItemPage>,
}

/// A request in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedRequest {
    /// What is known of it.
    pub row: RequestRow,
    /// Its session.
    pub session: String,
    /// Its session's project.
    pub project: Option<String>,
    /// What its caller wanted remembered; `None` also where only what runs or was left is listed.
    pub metadata: Option<Map<String, Value>>,
    /// Its items, if they were asked for, by time and number.
    pub items: Option<Vec<Item>>,
    /// It has more of them than are here.
    pub has_more_items: bool,
}

impl Engine {
    /// Makes a session, before anything is asked of it. Durable on return.
    pub async fn create_session(&self, new: NewSession) -> Result<SessionDetail, SessionError> {
        let principal = new.principal.clone();
        let session = create(&self.core, new).await?;
        let made = self.session(&principal, &session).await?;
        made.ok_or(SessionError::UnknownSession(session))
    }

    /// Changes what a session is called: what is absent stays, entries of the metadata are added or replaced. Durable on return.
    pub async fn describe_session(
        &self,
        principal: &Principal,
        session: &str,
        change: SessionDescribed,
    ) -> Result<SessionDetail, SessionError> {
        let unknown = || SessionError::UnknownSession(session.to_owned());
        let (stream, _) = self.summary(principal, session).await?.ok_or_else(unknown)?;
        // One at a time: what there may be of it is decided on what there is.
        let _turn = self.core.describing.of(stream).await;
        let (stream, summary) = self.summary(principal, session).await?.ok_or_else(unknown)?;
        // What says nothing is not recorded.
        if change != SessionDescribed::default() {
            describe(&self.core, stream, &summary, change).await?;
        }
        self.session(principal, session).await?.ok_or_else(unknown)
    }

    /// Deletes a session and everything in it. What runs in it is stopped first, and waited for, up to 5 s. Its id may be used again, for
    /// another session. Durable on return.
    pub async fn delete_session(&self, principal: &Principal, session: &str) -> Result<(), SessionError> {
        let unknown = || SessionError::UnknownSession(session.to_owned());
        let (stream, _) = self.summary(principal, session).await?.ok_or_else(unknown)?;
        delete::delete(&self.core, stream, session).await
    }

    /// The requests of a session, the most recently changed first. `None` if there is no such session.
    pub async fn requests(
        &self,
        principal: &Principal,
        session: &str,
        query: &RequestQuery,
    ) -> Result<Option<Vec<ListedRequest>>, QueryError> {
        let Some((stream, summary)) = self.summary(principal, session).await? else {
            return Ok(None);
        };
        let mut rows = requests::read(&self.core.log, stream, |requests| {
            let wanted = requests.all().filter(|(_, row)| query.takes(row));
            wanted.map(|(sub, row)| (sub, row.clone())).collect::<Vec<_>>()
        })
        .await?;
        rows.sort_by_key(|(_, row)| std::cmp::Reverse((row.updated_ms(), row.position)));
        let most = match query.items {
            Some(_) => REQUESTS_WITH_ITEMS_MAX,
            None => REQUESTS_MAX,
        };
        let limit = query.limit.unwrap_or(most).min(most);
        let rows: Vec<_> = rows.into_iter().skip(query.offset).take(limit).collect();
        let mut listed = Vec::with_capacity(rows.len());
        let (mut bytes, mut item_bytes) = (0, 0);
        for (sub, row) in rows {
            let items = match &query.items {
                Some(page) => Some(snapshot::of_request(&self.core.log, stream, sub, page).await?),
                None => None,
            };
            let asked = self.asked(stream, &row).await?;
            bytes += asked
                .as_ref()
                .map_or(0, |asked| asked.metadata.as_ref().map_or(0, json_bytes));
            listed.push(ListedRequest {
                row,
                session: summary.session.clone(),
                project: summary.project.clone(),
                metadata: asked.and_then(|asked| asked.metadata),
                has_more_items: items.as_ref().is_some_and(|items| items.has_more),
                items: items.map(|items| {
                    item_bytes += items.bytes;
                    items.items
                }),
            });
            if bytes > METADATA_BYTES_MAX || item_bytes > ITEMS_BYTES_MAX {
                break;
            }
        }
        Ok(Some(listed))
    }

    /// The requests of a principal that run now, in no order.
    pub async fn active_requests(&self, principal: &Principal) -> Result<Vec<ListedRequest>, QueryError> {
        self.indexed(principal, requests::open_prefix(principal.as_str())).await
    }

    /// The requests of a user that were stopped without anybody asking, by a crash or the end of the process, and not done again since.
    pub async fn interrupted_requests(
        &self,
        principal: &Principal,
        user: &str,
    ) -> Result<Vec<ListedRequest>, QueryError> {
        self.indexed(principal, requests::left_prefix(principal.as_str(), user))
            .await
    }

    /// Does a request again that failed, or was stopped without anybody asking: a new request in the same session, of the same action, with
    /// the same input or `input`, under the id `id` or a new one. It is durable on return.
    pub async fn retry(
        &self,
        principal: &Principal,
        session: &str,
        request: &str,
        input: Option<Value>,
        id: Option<String>,
    ) -> Result<Accepted, RetryError> {
        let unknown = || RetryError::UnknownRequest(request.to_owned());
        let found = self.session_stream(principal, session).await?.ok_or_else(unknown)?;
        let row = requests::read(&self.core.log, found, |requests| {
            let mut all = requests.all().map(|(_, row)| row);
            all.find(|row| row.request == request).cloned()
        });
        let row = row.await.map_err(QueryError::from)?.ok_or_else(unknown)?;
        let is_again = row.status == RequestStatus::Failed || row.is_left();
        if !is_again {
            return Err(RetryError::NotRetryable {
                request: request.to_owned(),
                status: row.status,
            });
        }
        let asked = self.asked(found, &row).await?.ok_or_else(unknown)?;
        let submission = Submission {
            input: input.or(Some(asked.input.clone())),
            request: id,
            retry_of: Some(request.to_owned()),
            ..Submission::again(asked, principal)
        };
        Ok(self.submit(submission).await?)
    }

    /// What was asked for under this request id, in any flow; `None` if nothing was.
    pub async fn asked_for(&self, principal: &Principal, request: &str) -> Result<Option<RequestAccepted>, QueryError> {
        let Ok(name) = principal.request_sub_stream(request) else {
            return Ok(None);
        };
        let Some(sub) = self.core.log.sub_stream(&name).await? else {
            return Ok(None);
        };
        let records = self.core.log.read_positions(sub.stream, &[sub.first]).await?;
        match records.first().map(decode).transpose()? {
            Some(Fact::RequestAccepted(asked)) => Ok(Some(asked)),
            _ => Ok(None),
        }
    }

    /// The first record of a request.
    async fn asked(&self, stream: StreamId, row: &RequestRow) -> Result<Option<RequestAccepted>, QueryError> {
        if row.position < self.core.log.oldest(stream).await? {
            return Ok(None);
        }
        let records = self.core.log.read_positions(stream, &[row.position]).await?;
        match records.first().map(decode).transpose()? {
            Some(Fact::RequestAccepted(asked)) => Ok(Some(asked)),
            _ => Ok(None),
        }
    }

    /// The requests that an index names, as far as they are the principal's: at most 1,000.
    async fn indexed(&self, principal: &Principal, prefix: Vec<u8>) -> Result<Vec<ListedRequest>, QueryError> {
        let log = &self.core.log;
        let rows = log.index(requests::ID, &prefix, None, usize::MAX).await?;
        let mut listed = Vec::new();
        for (key, value) in rows {
            let (Some(sub), Ok(stream)) = (key.last_chunk::<16>(), <[u8; 16]>::try_from(&value[..])) else {
                continue;
            };
            let (sub, stream) = (SubStreamId(*sub), StreamId(stream));
            // It may be gone since.
            let Ok(name) = log.stream_name(stream).await else {
                continue;
            };
            if name.principal() != principal.as_str() {
                continue;
            }
            let row = requests::read(log, stream, |requests| requests.get(sub).cloned()).await?;
            let summary = session::read(log, stream, |session| session.summary().cloned()).await?;
            if let (Some(row), Some(summary)) = (row, summary)
                && principal.may_use(summary.project.as_deref())
            {
                listed.push(ListedRequest {
                    row,
                    session: summary.session,
                    project: summary.project,
                    metadata: None,
                    items: None,
                    has_more_items: false,
                });
            }
            if listed.len() == REQUESTS_MAX {
                break;
            }
        }
        Ok(listed)
    }

    async fn summary(
        &self,
        principal: &Principal,
        session: &str,
    ) -> Result<Option<(StreamId, SessionSummary)>, QueryError> {
        let Some(stream) = self.session_stream(principal, session).await? else {
            return Ok(None);
        };
        let summary = session::read(&self.core.log, stream, |fold| fold.summary().cloned()).await?;
        Ok(summary.map(|summary| (stream, summary)))
    }
}

impl RequestQuery {
    fn takes(&self, row: &RequestRow) -> bool {
        let status = self.status.is_none_or(|status| row.status == status);
        let is_stopped = row.status == RequestStatus::Interrupted;
        status
            && self
                .cancelled
                .is_none_or(|cancelled| !is_stopped || row.cancelled == cancelled)
    }
}

/// Bytes of its JSON.
fn json_bytes(metadata: &Map<String, Value>) -> usize {
    serde_json::to_vec(metadata).map_or(0, |json| json.len())
}
