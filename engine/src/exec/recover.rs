//! Closes, at start, the requests that were open when the process ended: their items as far as they came, then their last record.

use flowstate_log::append::{Append, Expect, NewRecord, Part, Sub, Target};
use flowstate_log::record::Subject;
use flowstate_log::{Log, SubStreamInfo};
use futures_util::future::try_join_all;

use crate::error::{RecordError, RecoverError};
use crate::item::ItemStatus;
use crate::item::open::OpenItems;
use crate::projection::requests;
use crate::record::{Fact, ItemCompleted, RequestInterrupted, decode};

/// Open requests that are closed at once.
const PAGE: usize = 64;
/// Records that are read at once.
const READ_RECORDS: usize = 1_000;
/// Why a request ends that someone asked to stop.
pub(super) const CANCELLED: &str = "it was cancelled";
const REASON: &str = "the process ended while the request ran";

/// Closes every open request; gives how many there were. Durable on return.
pub(crate) async fn close_open_requests(log: &Log) -> Result<usize, RecoverError> {
    let (mut closed, mut after) = (0, None::<Vec<u8>>);
    loop {
        let rows = log.index(requests::ID, requests::OPEN, after.as_deref(), PAGE).await?;
        let Some((last, _)) = rows.last() else {
            return Ok(closed);
        };
        after = Some(last.clone());
        // All of a page at once, so that they share a sync.
        try_join_all(rows.iter().map(|(key, value)| close_row(log, key, value))).await?;
        closed += rows.len();
    }
}

async fn close_row(log: &Log, key: &[u8], value: &[u8]) -> Result<(), RecoverError> {
    let (stream, sub) = requests::open_row(key, value).map_err(RecoverError::Row)?;
    let info = log.sub_stream_info(stream, sub).await?;
    let cancelled = requests::read(log, stream, |requests| {
        requests.get(sub).is_some_and(|row| row.cancelled)
    })
    .await?;
    close(log, &info, if cancelled { CANCELLED } else { REASON }).await
}

async fn close(log: &Log, request: &SubStreamInfo, reason: &str) -> Result<(), RecoverError> {
    let open = open_items(log, request).await?;
    let mut facts: Vec<Fact> = open
        .closed_as(ItemStatus::Incomplete)
        .map(|item| ItemCompleted { item }.into())
        .collect();
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
    let part = Part {
        stream: Target::Id(request.stream),
        expect: vec![Expect::SubStreamAt(request.id, request.count)],
        records,
    };
    let appending = log.append(Append::of(vec![part])).await.map_err(RecordError::from)?;
    appending.await.map_err(RecordError::from)?;
    Ok(())
}

/// The request's open items, as its durable records leave them.
pub(super) async fn open_items(log: &Log, request: &SubStreamInfo) -> Result<OpenItems, RecoverError> {
    let mut open = OpenItems::default();
    let mut from = request.first;
    while from <= request.last {
        let records = log.read(request.stream, from, READ_RECORDS).await?;
        let Some(last) = records.last() else { break };
        from = last.position + 1;
        for record in &records {
            if record.sub.is_some_and(|(sub, _)| sub == request.id) {
                open.apply(&decode(record)?);
            }
        }
    }
    Ok(open)
}
