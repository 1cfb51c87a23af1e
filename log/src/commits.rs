//! The order of everything: records by commit, across streams. Near the tip straight from the segments; what is in runs is sorted by
//! stream there, so that a page of it takes one look through a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::codec;
use crate::cursor::CommitCursor;
use crate::error::ReadError;
use crate::log::Shared;
use crate::record::{Extras, Record};
use crate::run::Run;
use crate::verbs::{CommitFilter, CommitPage};

/// Commits whose places are looked up in one go.
const COMMITS_AT_ONCE: usize = 256;

pub(crate) async fn page(
    shared: &Arc<Shared>,
    after: CommitCursor,
    filter: &CommitFilter,
    limit: usize,
) -> Result<CommitPage, ReadError> {
    if after.store != shared.store && after.commit > 0 {
        return Err(ReadError::Cursor(format!("the cursor {after} is of another store")));
    }
    let (shared, filter) = (shared.clone(), filter.clone());
    let read = move || page_blocking(&shared, after, &filter, limit);
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or(Err(ReadError::Closed))
}

/// The same on a thread that may block.
pub(crate) fn page_blocking(
    shared: &Arc<Shared>,
    after: CommitCursor,
    filter: &CommitFilter,
    limit: usize,
) -> Result<CommitPage, ReadError> {
    let last = shared.visible.load(std::sync::atomic::Ordering::Acquire);
    if after.commit > last {
        return Err(ReadError::Cursor(format!(
            "the cursor {after} is ahead of the log, which ends with commit {last}"
        )));
    }
    let mut page = CommitPage {
        records: Vec::new(),
        next: CommitCursor {
            store: shared.store,
            ..after
        },
        at_tip: false,
    };
    let bounds = shared.bounds(limit);
    let mut room = Room {
        records: bounds.records,
        bytes: bounds.bytes,
        last,
    };
    loop {
        // Segments first: what they let go of meanwhile is in a run by then.
        let held = shared.slots.commits(page.next.commit.max(1), COMMITS_AT_ONCE);
        let first = held.first().map(|(place, _)| place.commit);
        let levels = shared.levels.get();
        let clustered = levels.runs.last().map_or(0, |run| run.footer().last_commit);
        if page.next.commit <= clustered && first.is_none_or(|first| page.next.commit < first) && clustered > 0 {
            let run = levels.runs.iter().find(|run| {
                let footer = run.footer();
                page.next.commit < footer.last_commit
                    || (page.next.commit == footer.last_commit && page.next.records != u32::MAX)
            });
            if let Some(run) = run {
                from_run(shared, run, filter, &mut room, &mut page)?;
                if room.is_full() {
                    break;
                }
                continue;
            }
        }
        let before = page.next;
        for (place, slot) in held {
            if place.commit > room.last || room.is_full() {
                break;
            }
            let mut bytes = vec![0; place.bytes as usize];
            slot.file
                .read_at(place.offset.into(), &mut bytes)
                .map_err(|error| ReadError::Io {
                    name: crate::segment::Slot::name(slot.number),
                    message: error.to_string(),
                })?;
            from_commit(shared, place.commit, &Bytes::from(bytes), filter, &mut room, &mut page)?;
        }
        if room.is_full() {
            break;
        }
        if page.next == before || page.next.commit >= room.last {
            page.at_tip = page.next.commit >= room.last;
            break;
        }
    }
    Ok(page)
}

/// What a page may still take.
struct Room {
    records: usize,
    bytes: usize,
    /// The last visible commit.
    last: u64,
}

impl Room {
    fn is_full(&self) -> bool {
        self.records == 0 || self.bytes == 0
    }

    fn take(&mut self, record: &Record) {
        self.records -= 1;
        self.bytes = self.bytes.saturating_sub(record.payload.len().max(1));
    }
}

fn from_commit(
    shared: &Arc<Shared>,
    commit: u64,
    bytes: &Bytes,
    filter: &CommitFilter,
    room: &mut Room,
    page: &mut CommitPage,
) -> Result<(), ReadError> {
    let corrupt = |what: &str| ReadError::CorruptCommit {
        commit,
        what: what.to_owned(),
    };
    let seen = if page.next.commit == commit {
        page.next.records
    } else {
        0
    };
    let frame = codec::decode_commit_head(bytes).ok_or_else(|| corrupt("its header does not check"))?;
    if frame.header.commit != commit {
        return Err(corrupt("another commit stands in its place"));
    }
    let end = (frame.bytes + frame.header.body_bytes as usize).min(bytes.len());
    let mut at = frame.bytes;
    while at < end {
        let (record, length) = codec::decode_record(&bytes.slice(at..end)).map_err(corrupt)?;
        at += length;
        if record.index < seen {
            continue;
        }
        if room.is_full() {
            return Ok(());
        }
        page.next.commit = commit;
        page.next.records = record.index + 1;
        if filter.takes(record.kind, record.stream) {
            let record = shown(shared, record)?;
            room.take(&record);
            page.records.push(record);
        }
    }
    page.next.commit = commit;
    page.next.records = u32::MAX;
    Ok(())
}

/// The next records of a run in commit order: one look through it, keeping the first ones that there is room for.
fn from_run(
    shared: &Arc<Shared>,
    run: &Run,
    filter: &CommitFilter,
    room: &mut Room,
    page: &mut CommitPage,
) -> Result<(), ReadError> {
    let failed = |error: crate::run::RunError| ReadError::CorruptCommit {
        commit: page.next.commit,
        what: error.to_string(),
    };
    let after = (page.next.commit, page.next.records);
    let mut kept: BTreeMap<(u64, u32), Record> = BTreeMap::new();
    let (mut bytes, mut cut) = (0, false);
    for entry in run.scan() {
        let entry = entry.map_err(failed)?;
        let key = (entry.header.commit, entry.header.index);
        let wanted = filter.takes(crate::record::Kind(entry.header.kind), entry.stream());
        if key < after || !wanted {
            continue;
        }
        if cut && kept.last_key_value().is_some_and(|(last, _)| key > *last) {
            continue;
        }
        let record = entry.record().map_err(|what| ReadError::Corrupt {
            stream: entry.stream(),
            position: entry.position(),
            what: what.to_owned(),
        })?;
        bytes += record.payload.len();
        kept.insert(key, record);
        while kept.len() > room.records || (bytes > room.bytes && kept.len() > 1) {
            cut = true;
            if let Some((_, dropped)) = kept.pop_last() {
                bytes -= dropped.payload.len();
            }
        }
    }
    for (_, record) in kept {
        page.next.commit = record.commit;
        page.next.records = record.index + 1;
        let record = shown(shared, record)?;
        room.take(&record);
        page.records.push(record);
    }
    if cut {
        room.records = 0;
    } else {
        page.next.commit = run.footer().last_commit;
        page.next.records = u32::MAX;
    }
    Ok(())
}

/// A record as a reader of its stream would see it.
fn shown(shared: &Arc<Shared>, mut record: Record) -> Result<Record, ReadError> {
    let cell = shared.load_stream(record.stream)?;
    if cell.as_ref().is_some_and(|cell| cell.index.read().head.erased) {
        record.erased = true;
        record.payload = Bytes::new();
        record.extras = Extras::default();
    }
    if let (Some(blob), Some(cell)) = (record.extras.blob, cell) {
        record.payload = shared
            .blobs
            .read(cell.name.principal(), &blob)
            .map_err(|what| ReadError::Corrupt {
                stream: record.stream,
                position: record.position,
                what,
            })?;
    }
    Ok(record)
}
