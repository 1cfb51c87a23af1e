//! Closes, at start, the requests that were open when the process ended: their items as far as they came, the blocks
//! that ran, then their last record.

use flowstate_log::append::{Append, Expect, NewRecord, Part, Sub, Target};
use flowstate_log::record::Subject;
use flowstate_log::{Log, SubStreamInfo};
use futures_util::future::try_join_all;

use super::left::{Left, in_appends};
use crate::error::{RecordError, RecoverError};
use crate::item::ItemStatus;
use crate::projection::requests;
use crate::record::CANCELLED;
use crate::record::RequestInterrupted;

/// Open requests that are closed at once.
const PAGE: usize = 64;
const REASON: &str = "the process ended while the request ran";

/// Closes every open request; gives how many there were. Durable on return.
pub(crate) async fn close_open_requests(log: &Log) -> Result<usize, RecoverError> {
    let (mut closed, mut after) = (0, None);
    loop {
        let page = open_requests(log, &mut after).await?;
        if page.is_empty() {
            return Ok(closed);
        }
        closed += page.len();
        // All of a page at once, so that they share a sync.
        try_join_all(page.iter().map(|request| async move {
            let cancelled = is_cancelled(log, request).await?;
            close(log, request, if cancelled { CANCELLED } else { REASON }).await
        }))
        .await?;
    }
}

/// The open requests after a key of their list, a page of them; `after` moves to the last. Empty when there are no more.
pub(super) async fn open_requests(log: &Log, after: &mut Option<Vec<u8>>) -> Result<Vec<SubStreamInfo>, RecoverError> {
    let rows = log.index(requests::ID, requests::OPEN, after.as_deref(), PAGE).await?;
    if let Some((last, _)) = rows.last() {
        *after = Some(last.clone());
    }
    let infos = rows.iter().map(|(key, value)| async move {
        let (stream, sub) = requests::open_row(key, value).map_err(RecoverError::Row)?;
        Ok::<_, RecoverError>(log.sub_stream_info(stream, sub).await?)
    });
    try_join_all(infos).await
}

/// Whether someone asked that it be stopped.
pub(super) async fn is_cancelled(log: &Log, request: &SubStreamInfo) -> Result<bool, RecoverError> {
    let asked = requests::read(log, request.stream, |requests| {
        requests.get(request.id).is_some_and(|row| row.cancelled)
    });
    Ok(asked.await?)
}

/// Closes an open request, for this reason. Durable on return.
pub(super) async fn close(log: &Log, request: &SubStreamInfo, reason: &str) -> Result<(), RecoverError> {
    let mut facts = Left::read(log, request).await?.closing(ItemStatus::Incomplete);
    facts.push(RequestInterrupted { reason: reason.into() }.into());
    let mut records = Vec::with_capacity(facts.len());
    for fact in &facts {
        records.push(NewRecord {
            kind: fact.kind(),
            subject: Subject::NONE,
            sub: Some(Sub::Next(request.id)),
            causation: request.id.0,
            origin: 0,
            payload: fact.encode().map_err(|error| RecordError::Encode(error.to_string()))?,
        });
    }
    let (mut count, mut appended) = (request.count, Vec::new());
    for records in in_appends(records, |record| record.payload.len()) {
        let expect = vec![Expect::SubStreamAt(request.id, count)];
        count += records.len() as u64;
        let part = Part {
            stream: Target::Id(request.stream),
            expect,
            records,
        };
        appended.push(log.append(Append::of(vec![part])).await.map_err(RecordError::from)?);
    }
    for appending in appended {
        appending.await.map_err(RecordError::from)?;
    }
    Ok(())
}
