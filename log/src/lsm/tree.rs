//! The LSM tree that holds everything: one fjall database with one keyspace, written in batches, read at an instant.
//! No `clear`, no weak deletes, no FIFO compaction, no filters, keys far below fjall's bound: each avoids a known fault of the engine.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;
use fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use fjall::{
    CompressionType, Database, Error, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Snapshot,
};

use crate::error::OpenError;
use crate::view_store::{StoreError, keys};

const KEYSPACE: &str = "log";
const BLOCK_BYTES: u32 = 16 << 10;
const CACHE_BYTES: u64 = 64 << 20;
const MEMTABLE_BYTES: u64 = 64 << 20;
/// Bounds what an open has to replay.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;

/// What one batch changes; the last word about a key counts, because fjall leaves open which of two in one batch wins.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The open tree.
pub(super) struct Tree {
    database: Database,
    keyspace: Keyspace,
}

/// The tree as it is after some batch, whatever comes after it.
pub(super) struct At {
    snapshot: Snapshot,
    keyspace: Keyspace,
}

impl Tree {
    /// Opens the tree in a folder, which is made if it is missing.
    pub(super) fn open(folder: &Path) -> Result<Self, OpenError> {
        let failed = |error: Error| match error {
            Error::Locked => OpenError::Locked(folder.display().to_string()),
            Error::Io(source) => OpenError::Io {
                what: format!("opening the tree in {}", folder.display()),
                source,
            },
            other => OpenError::Damaged(format!(
                "the tree in {} can't be opened ({other}): restore it from a copy",
                folder.display()
            )),
        };
        std::fs::create_dir_all(folder).map_err(|source| OpenError::Io {
            what: format!("making the folder {}", folder.display()),
            source,
        })?;
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(2)
            .open()
            .map_err(failed)?;
        let keyspace = database.keyspace(KEYSPACE, || {
            KeyspaceCreateOptions::default()
                .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
                .filter_policy(FilterPolicy::disabled())
                .max_memtable_size(MEMTABLE_BYTES)
        });
        Ok(Self {
            keyspace: keyspace.map_err(failed)?,
            database,
        })
    }

    /// The tree as it is now.
    pub(super) fn now(&self) -> At {
        At {
            snapshot: self.database.snapshot(),
            keyspace: self.keyspace.clone(),
        }
    }

    /// Applies all changes or none. Nobody sees any of them before they are as durable as `mode` says.
    pub(super) fn commit(&self, changes: Changes, mode: PersistMode) -> Result<(), StoreError> {
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), changes.len()).durability(Some(mode));
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&self.keyspace, key, value),
                None => batch.remove(&self.keyspace, key),
            }
        }
        Ok(batch.commit()?)
    }

    /// Makes every batch so far survive a power cut.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    /// Makes what was removed or replaced leave the tables.
    pub(super) fn compact(&self) -> Result<(), StoreError> {
        self.keyspace.rotate_memtable_and_wait()?;
        Ok(self.keyspace.major_compact()?)
    }
}

impl At {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.snapshot.get(&self.keyspace, key)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Entries in a range, ascending or, from its other end, descending. None if it is empty or the wrong way round.
    pub(super) fn range<'a>(
        &self,
        from: Bound<&'a [u8]>,
        to: Bound<&'a [u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<(Vec<u8>, Bytes), StoreError>> + use<> {
        let (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) = (from, to)
        else {
            return Some(self.snapshot.range::<&[u8], _>(&self.keyspace, (from, to)))
                .into_iter()
                .flatten()
                .map(entry);
        };
        let empty = low > high || (low == high && (from, to) != (Bound::Included(low), Bound::Included(high)));
        let found = (!empty).then(|| self.snapshot.range::<&[u8], _>(&self.keyspace, (from, to)));
        found.into_iter().flatten().map(entry)
    }

    /// Entries whose keys start with `prefix` and come after `after`.
    pub(super) fn with_prefix(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<(Vec<u8>, Bytes), StoreError>> + use<> {
        let end = keys::after_prefix(prefix);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.range(from, to)
    }
}

fn entry(guard: fjall::Guard) -> Result<(Vec<u8>, Bytes), StoreError> {
    let (key, value) = guard.into_inner()?;
    Ok((key.to_vec(), Bytes::copy_from_slice(&value)))
}
