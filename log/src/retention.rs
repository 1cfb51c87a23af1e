//! Giving records up: trimming a stream, deleting it, erasing all of a principal. Each is a record; readers see it at once, the clustering
//! acts on it later.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use crate::append::{Append, Expect, NewRecord, Part, Target};
use crate::catalog;
use crate::codec;
use crate::error::{AppendError, OpenError, ReadError, RetentionError};
use crate::index::{Cell, ERASED};
use crate::log::{SegmentLog, Shared};
use crate::record::{Kind, Name, StreamId, Subject};
use crate::recovery::SYSTEM_STREAM;
use crate::segment::manifest::ERASING;
use crate::snapshot::Snapshot;
use crate::verbs::{Erase, Trim, Verbs};
use crate::view::inline::Folds;
use crate::view_store::StoreError;
use crate::writer::queued::Command;

/// Streams that one append of an erasure takes.
const ERASED_AT_ONCE: usize = 256;

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

impl SegmentLog {
    async fn append_own(&self, parts: Vec<Part>) -> Result<u64, RetentionError> {
        let appended = self.queue(Append::of(parts), true).await?.await?;
        Ok(appended.commit)
    }

    pub(crate) async fn trim_stream(&self, stream: StreamId, trim: Trim) -> Result<u64, RetentionError> {
        let shared = &self.shared;
        let cell = shared.cell(stream).await?;
        shared.readable(&cell)?;
        let tail = shared.streams.tail(&cell);
        let (oldest, forked) = (cell.oldest(), !cell.index.read().head.forks.is_empty());
        let below = match trim {
            Trim::Before(position) => position,
            Trim::KeepLast(count) => (tail + 1).saturating_sub(count),
            Trim::OlderThan(time_us) => self.first_since(&cell, oldest, tail, time_us).await?,
        };
        let below = below.min(tail + 1);
        if below <= oldest {
            return Ok(oldest);
        }
        if forked {
            return Err(AppendError::Forked(stream).into());
        }
        shared.loaded(&cell).await.map_err(ReadError::from)?;
        let owner = cell.clone();
        let snapshot = shared.blocking(move |shared| shared.snapshot(&owner, below)).await;
        let snapshot = snapshot.map_err(|error| RetentionError::Needed(error.0))?;
        let payload = serde_json::to_vec(&snapshot).map_err(|error| RetentionError::Needed(error.to_string()))?;
        self.append_own(vec![part(stream, own(Kind::STREAM_TRIMMED, below, payload.into()))])
            .await?;
        shared.cluster.nudge();
        Ok(below)
    }

    /// The first position whose record was sequenced at or after this time. Times do not go back within a stream.
    async fn first_since(&self, cell: &Arc<Cell>, oldest: u64, tail: u64, time_us: i64) -> Result<u64, ReadError> {
        let (mut low, mut high) = (oldest, tail + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let records = self.shared.read(cell, middle, 1).await?;
            match records.first() {
                Some(record) if record.time_us < time_us => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    pub(crate) async fn delete_stream(&self, stream: StreamId) -> Result<(), RetentionError> {
        let cell = self.shared.cell(stream).await?;
        self.shared.readable(&cell)?;
        self.append_own(vec![part(stream, own(Kind::STREAM_DELETED, 0, Bytes::new()))])
            .await?;
        self.shared.cluster.nudge();
        Ok(())
    }

    pub(crate) async fn erase_streams(&self, whose: Erase) -> Result<u64, RetentionError> {
        let shared = &self.shared;
        match &whose {
            Erase::Principal(principal) if principal.is_empty() => {
                return Err(AppendError::Invalid("an erasure needs a principal".to_owned()).into());
            }
            Erase::Principal(_) => {}
            Erase::Streams(streams) => {
                for stream in streams {
                    shared.cell(*stream).await?;
                }
            }
        }
        // One at a time: what the manifest says is about one.
        let _erasing = shared.erasing.lock().await;
        // First of all: whatever happens from here on, the next open folds forks anew, and a clustering clears what segments hold.
        self.note_erasing(ERASING)?;
        let erased = self.append_erasure(whose).await;
        let refolded = shared.blocking(|shared| shared.refold_forks()).await;
        refolded.map_err(ReadError::from)?;
        self.note_erasing(self.last_commit())?;
        let streams = erased?;
        self.seal().await?;
        shared.cluster.nudge();
        Ok(streams)
    }

    /// Appends what erases. Returns the number of streams.
    async fn append_erasure(&self, whose: Erase) -> Result<u64, RetentionError> {
        let (streams, told) = match whose {
            // The name itself is what is to be forgotten.
            Erase::Principal(principal) => {
                let told = codec::digest(principal.as_bytes()).to_string();
                let streams = self.shared.blocking(move |shared| shared.streams_of(&principal)).await;
                (streams.map_err(ReadError::from)?, Some(told))
            }
            Erase::Streams(streams) => (streams, None),
        };
        for some in streams.chunks(ERASED_AT_ONCE) {
            let parts = some
                .iter()
                .map(|stream| part(*stream, own(Kind::STREAM_DELETED, ERASED, Bytes::new())))
                .collect();
            self.append_own(parts).await?;
        }
        let system = Name::new("", SYSTEM_STREAM).map_err(|error| RetentionError::Needed(error.to_string()))?;
        let ids: Vec<String> = streams.iter().map(ToString::to_string).collect();
        let told = json!({ "principal_sha256": told, "streams": ids });
        let noted = Part {
            stream: Target::Name(system),
            expect: Vec::new(),
            records: vec![own(Kind::PRINCIPAL_ERASED, 0, told.to_string().into())],
        };
        self.append_own(vec![noted]).await?;
        Ok(streams.len() as u64)
    }

    fn note_erasing(&self, commit: u64) -> Result<(), RetentionError> {
        let noted = self.shared.note_erasing(commit);
        noted.map_err(|error| RetentionError::Files(format!("noting an erasure in the manifest: {error}")))
    }

    /// Ends the segment that is written to, so that it can be clustered.
    pub(crate) async fn seal(&self) -> Result<(), AppendError> {
        let (done, sealed) = tokio::sync::oneshot::channel();
        self.command(Command::Seal(done))?;
        sealed.await.map_err(|_| AppendError::Closed)
    }
}

impl Shared {
    fn note_erasing(&self, commit: u64) -> std::io::Result<()> {
        self.files.recluster(&[], |manifest| manifest.erasing = commit)
    }

    /// At an open: does again what an erasure may not have come to, after its records.
    pub(crate) fn go_on_erasing(self: &Arc<Self>, last: u64) -> Result<(), OpenError> {
        if self.files.manifest().erasing == ERASING {
            let refolded = self.refold_forks();
            refolded.map_err(|error| OpenError::ViewStore(format!("folding forks of what was erased: {}", error.0)))?;
            self.note_erasing(last).map_err(|source| OpenError::Io {
                what: "noting an erasure in the manifest".to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    /// What a stream was made by its records up to now, for a record that gives up those before `below`. The folds must be loaded.
    fn snapshot(self: &Arc<Self>, cell: &Arc<Cell>, below: u64) -> Result<Snapshot, StoreError> {
        let ids: Vec<_> = catalog::sub_ids(&*self.views.store, cell.id)?;
        for id in ids {
            self.load_sub(cell, id, 0)?;
        }
        let mut folds = cell.folds.lock();
        let Folds::Loaded(slots) = &mut *folds else {
            return Err(StoreError(
                "the stream's folds were let go meanwhile: try again".to_owned(),
            ));
        };
        slots.iter_mut().for_each(|slot| slot.catch_up(&cell.name, &self.views));
        // With the folds held no record of this stream can become visible.
        let index = cell.index.read();
        let subs = index.subs_from(below);
        Snapshot::of(&index.head, below, index.last(), slots, subs).map_err(StoreError)
    }

    /// Every stream of a principal that is not erased, deleted ones too: a fork may still show what they hold.
    fn streams_of(self: &Arc<Self>, principal: &str) -> Result<Vec<StreamId>, StoreError> {
        let mut found = Vec::new();
        for cell in self.streams.all() {
            if cell.name.principal() == principal && !cell.index.read().head.erased {
                found.push(cell.id);
            }
        }
        catalog::each_stream(&*self.views.store, |id, row| {
            if row.principal() == principal && !row.erased && self.streams.get(id).is_none() {
                found.push(id);
            }
        })?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}
