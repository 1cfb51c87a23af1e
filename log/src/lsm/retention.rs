//! Giving records up: a trim, a deletion and an erasure are records, as in the segment log; their keys are removed behind the acknowledgement.

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;
use fjall::PersistMode;
use serde_json::json;

use super::rows::{self, StreamRow, SubRow};
use super::tree::{At, Changes};
use super::{LsmLog, Shared};
use crate::append::{Append, Expect, NewRecord, Part, Target};
use crate::codec;
use crate::codec::v1::RECORD_HEADER_FRAME;
use crate::error::{AppendError, ReadError, RetentionError};
use crate::index::{ERASED, Head, SubStream};
use crate::record::{Kind, Name, StreamId, SubStreamId, Subject};
use crate::recovery::SYSTEM_STREAM;
use crate::snapshot::Snapshot;
use crate::verbs::{Erase, Trim};
use crate::view_store::{StoreError, keys};

/// Streams that one append of an erasure takes.
const ERASED_AT_ONCE: usize = 256;
/// Keys that one batch removes.
const SWEPT_AT_ONCE: usize = 10_000;

fn own(kind: Kind, origin: u64, payload: Bytes) -> NewRecord {
    NewRecord {
        kind,
        subject: Subject::NONE,
        sub: None,
        causation: [0; 16],
        origin,
        payload,
    }
}

fn part(stream: StreamId, record: NewRecord) -> Part {
    Part {
        stream: Target::Id(stream),
        expect: vec![Expect::Exists],
        records: vec![record],
    }
}

impl LsmLog {
    async fn append_own(&self, parts: Vec<Part>) -> Result<(), RetentionError> {
        self.queue(Append::of(parts), true).await?.await?;
        Ok(())
    }

    pub(super) async fn trim_stream(&self, stream: StreamId, trim: Trim) -> Result<u64, RetentionError> {
        let below = self.ask(move |_, at| at.first_kept(stream, trim)).await?;
        let (below, oldest, forked) = below;
        if below <= oldest {
            return Ok(oldest);
        }
        if forked {
            return Err(AppendError::Forked(stream).into());
        }
        let mut folds = self.shared.folds.of(stream).lock_owned().await;
        let snapshot = self.ask(move |shared, at| {
            // With the folds held no record of this stream can become visible.
            let row = at.readable(stream)?;
            shared.folds.load(at, stream, &row, &mut folds)?;
            let mut subs = Vec::new();
            for (id, sub) in at.subs(stream)? {
                if sub.last >= below {
                    subs.push((id, standing(at, stream, id, &sub)?));
                }
            }
            let slots = folds.as_deref().unwrap_or_default();
            Ok(Snapshot::of(&head(&row), below, row.last, slots, subs))
        });
        let snapshot = snapshot.await?.map_err(RetentionError::Needed)?;
        let payload = serde_json::to_vec(&snapshot).map_err(|error| RetentionError::Needed(error.to_string()))?;
        self.append_own(vec![part(stream, own(Kind::STREAM_TRIMMED, below, payload.into()))])
            .await?;
        Ok(below)
    }

    pub(super) async fn delete_stream(&self, stream: StreamId) -> Result<(), RetentionError> {
        self.ask(move |_, at| at.readable(stream)).await?;
        self.append_own(vec![part(stream, own(Kind::STREAM_DELETED, 0, Bytes::new()))])
            .await
    }

    pub(super) async fn erase_streams(&self, whose: Erase) -> Result<u64, RetentionError> {
        let (streams, told) = match whose {
            Erase::Principal(principal) if principal.is_empty() => {
                return Err(AppendError::Invalid("an erasure needs a principal".to_owned()).into());
            }
            // The name itself is what is to be forgotten.
            Erase::Principal(principal) => {
                let told = codec::digest(principal.as_bytes()).to_string();
                let streams = self.ask(move |_, at| Ok(at.streams_of(&principal)?)).await?;
                (streams, Some(told))
            }
            Erase::Streams(streams) => {
                let known = self.ask(move |_, at| match streams.iter().find_map(|id| at.missing(*id)) {
                    Some(error) => Err(error),
                    None => Ok(streams),
                });
                (known.await?, None)
            }
        };
        for some in streams.chunks(ERASED_AT_ONCE) {
            let erased = |stream: &StreamId| part(*stream, own(Kind::STREAM_DELETED, ERASED, Bytes::new()));
            self.append_own(some.iter().map(erased).collect()).await?;
        }
        let system = Name::new("", SYSTEM_STREAM).map_err(|error| RetentionError::Needed(error.to_string()))?;
        let ids: Vec<String> = streams.iter().map(ToString::to_string).collect();
        let told = json!({ "principal_sha256": told, "streams": ids });
        self.append_own(vec![Part {
            stream: Target::Name(system),
            expect: Vec::new(),
            records: vec![own(Kind::PRINCIPAL_ERASED, 0, told.to_string().into())],
        }])
        .await?;
        // Their keys were swept before that last record was sequenced.
        self.ask(|shared, _| Ok(shared.tree.compact()?)).await?;
        Ok(streams.len() as u64)
    }
}

/// A stream's row in the words of a snapshot.
fn head(row: &StreamRow) -> Head {
    Head {
        time_us: row.time_us,
        trimmed: row.trimmed,
        snapshot: row.snapshot,
        versions: row.versions.clone(),
        ..Head::default()
    }
}

fn standing(at: &At, stream: StreamId, id: SubStreamId, sub: &SubRow) -> Result<SubStream, StoreError> {
    Ok(SubStream {
        name: Some(sub.name()?),
        last: sub.last,
        count: sub.count,
        stride: at.strides(stream, id)?,
        stride_written: 0,
    })
}

impl At {
    /// What a trim would leave, what is there now, and whether the stream has forks.
    fn first_kept(&self, stream: StreamId, trim: Trim) -> Result<(u64, u64, bool), ReadError> {
        let row = self.readable(stream)?;
        let oldest = row.trimmed + 1;
        let below = match trim {
            Trim::Before(position) => position,
            Trim::KeepLast(count) => (row.last + 1).saturating_sub(count),
            Trim::OlderThan(time_us) => {
                // Times do not go back within a stream.
                let (mut low, mut high) = (oldest, row.last + 1);
                while low < high {
                    let middle = low + (high - low) / 2;
                    match self.records_at(stream, &[middle])?.first() {
                        Some(record) if record.time_us < time_us => low = middle + 1,
                        _ => high = middle,
                    }
                }
                low
            }
        };
        Ok((below.min(row.last + 1), oldest, self.has_forks(stream)?))
    }

    fn continues_erased(&self, fork: &StreamRow) -> Result<bool, StoreError> {
        let mut above = fork.parent();
        while let Some((parent, _)) = above {
            let Some(row) = self.stream(parent)? else { break };
            if row.erased {
                return Ok(true);
            }
            above = row.parent();
        }
        Ok(false)
    }

    fn missing(&self, stream: StreamId) -> Option<ReadError> {
        match self.stream(stream) {
            Ok(Some(_)) => None,
            Ok(None) => Some(ReadError::UnknownStream(stream)),
            Err(error) => Some(error.into()),
        }
    }

    /// Streams of which something is to be removed, and the rows that say so.
    fn removals(&self) -> Result<Vec<(Vec<u8>, StreamId)>, StoreError> {
        let removal = |entry: Result<(Vec<u8>, Bytes), StoreError>| {
            let key = entry?.0;
            let (_, stream) = keys::removal_of(&key).ok_or_else(|| rows::malformed("a removal"))?;
            Ok((key, stream))
        };
        self.with_prefix(b"d", None).map(removal).collect()
    }
}

/// Removes the keys of what was given up. Cut short, it goes on at the next open.
pub(super) fn sweep(shared: &Shared) -> Result<(), StoreError> {
    let removals = shared.tree.now().removals()?;
    let mut streams: BTreeSet<StreamId> = removals.iter().map(|(_, stream)| *stream).collect();
    let mut erased = false;
    while let Some(stream) = streams.pop_first() {
        let Some(row) = shared.tree.now().stream(stream)? else {
            continue;
        };
        erased |= row.erased;
        sweep_stream(shared, stream, &row)?;
        // The last fork of a deleted stream lets go of it.
        if row.deleted
            && let Some((parent, _)) = row.parent()
        {
            streams.insert(parent);
        }
    }
    if erased {
        refold_forks(shared)?;
    }
    let done = removals.into_iter().map(|(key, _)| (key, None)).collect();
    shared.tree.commit(done, PersistMode::Buffer)
}

/// Folds every live fork anew that shares records with an erased stream. One that was trimmed since keeps what its own record of that
/// says.
fn refold_forks(shared: &Shared) -> Result<(), StoreError> {
    let at = shared.tree.now();
    for entry in at.with_prefix(b"s", None) {
        let id = rows::stream_id(&entry?.0[1..])?;
        let Some(row) = at.stream(id)?.filter(|row| !row.deleted) else {
            continue;
        };
        if !at.continues_erased(&row)? {
            continue;
        }
        let folds = shared.folds.of(id);
        // At an open nobody else has them, and that may not block.
        let mut held = match folds.clone().try_lock_owned() {
            Ok(held) => held,
            Err(_) => folds.blocking_lock_owned(),
        };
        let changes = shared.folds.refold(&at, id, &row, &mut held)?;
        shared.tree.commit(changes, PersistMode::Buffer)?;
    }
    Ok(())
}

fn sweep_stream(shared: &Shared, stream: StreamId, row: &StreamRow) -> Result<(), StoreError> {
    let at = shared.tree.now();
    let forked = at.has_forks(stream)?;
    // Of a deleted stream the record that says so is left.
    let below = if row.deleted && !forked {
        row.last
    } else {
        row.trimmed + 1
    };
    let mut from = rows::record(stream, 0);
    let end = rows::record(stream, u64::MAX);
    loop {
        let mut changes = Changes::new();
        let mut last = None;
        for entry in at
            .range(Bound::Excluded(&from), Bound::Included(&end))
            .take(SWEPT_AT_ONCE)
        {
            let (key, value) = entry?;
            let position = rows::number(&key[17..])?;
            if position < below {
                changes.insert(key.clone(), None);
            } else if !row.erased {
                last = None;
                break;
            } else if value.len() > RECORD_HEADER_FRAME {
                changes.insert(key.clone(), Some(value[..RECORD_HEADER_FRAME].to_vec()));
            }
            last = Some(key);
        }
        if !changes.is_empty() {
            shared.tree.commit(changes, PersistMode::Buffer)?;
        }
        match last {
            Some(last) => from = last,
            None => return Ok(()),
        }
    }
}
