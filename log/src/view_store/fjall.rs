//! The view store on fjall, an LSM engine. It stands behind the acknowledgement and holds only what the log can give back, because
//! its `open` repairs damage by deleting and its commits stall at journal rotation. No `clear`, no weak deletes, no FIFO
//! compaction, one keyspace, one writer: each avoids a known fault of the engine.

use std::fs;
use std::io::ErrorKind;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Change, Entry, OpenViewStore, StoreError, ViewStore};

const KEYSPACE: &str = "views";
const BLOCK_BYTES: u32 = 16 << 10;
const CACHE_BYTES: u64 = 32 << 20;
const MEMTABLE_BYTES: u64 = 16 << 20;
/// The smallest that fjall takes; it bounds what its recovery has to replay.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// Where a fjall view store lies.
pub struct FjallViews {
    folder: PathBuf,
}

impl FjallViews {
    /// The store in `folder`, which is made when opened and belongs to it wholly.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    fn open_engine(&self) -> Result<Open, StoreError> {
        let database = Database::builder(&self.folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(1)
            .open()?;
        let keyspace = database.keyspace(KEYSPACE, || {
            KeyspaceCreateOptions::default()
                .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
                .filter_policy(FilterPolicy::disabled())
                .max_memtable_size(MEMTABLE_BYTES)
        })?;
        Ok(Open { database, keyspace })
    }

    /// Stands while fjall opens: its `open` can abort the process on damage, and then finding this leads to a rebuild.
    fn opening_marker(&self) -> PathBuf {
        self.folder.with_extension("opening")
    }
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> StoreError {
    move |error| StoreError(format!("{what}: {error}"))
}

impl OpenViewStore for FjallViews {
    fn open(&self) -> Result<Box<dyn ViewStore>, StoreError> {
        let marker = self.opening_marker();
        if marker.exists() {
            tracing::warn!(folder = %self.folder.display(), "the view store was not opened to the end last time: it is rebuilt");
            self.discard()?;
        }
        fs::write(&marker, b"").map_err(failed("marking the view store"))?;
        // On some damage it panics.
        let opened = catch_unwind(AssertUnwindSafe(|| self.open_engine()));
        let opened = opened.unwrap_or_else(|_| Err(StoreError("the engine panicked while it opened".to_owned())))?;
        fs::remove_file(&marker).map_err(failed("unmarking the view store"))?;
        Ok(Box::new(opened))
    }

    fn discard(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("removing the view store")(error)),
            _ => {}
        }
        match fs::remove_file(self.opening_marker()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("unmarking the view store")(error)),
            _ => Ok(()),
        }
    }

    fn describe(&self) -> String {
        self.folder.display().to_string()
    }
}

struct Open {
    database: Database,
    keyspace: Keyspace,
}

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        Self(error.to_string())
    }
}

impl ViewStore for Open {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.keyspace.get(key)?.map(|value| value.to_vec()))
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut batch = self.database.batch();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&self.keyspace, key, value),
                None => batch.remove(&self.keyspace, key),
            }
        }
        Ok(batch.commit()?)
    }

    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.keyspace
            .range::<&[u8], _>((from, to))
            .take(limit)
            .map(|guard| {
                let (key, value) = guard.into_inner()?;
                Ok((key.to_vec(), value.to_vec()))
            })
            .collect()
    }

    fn compact(&self) -> Result<(), StoreError> {
        self.keyspace.rotate_memtable_and_wait()?;
        Ok(self.keyspace.major_compact()?)
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fjall_keeps_the_contract_and_its_rows() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let views = FjallViews::at(&folder.path().join("views"));
        let store = views.open().expect("open");
        super::super::conformance::run(&*store);
        store.write(vec![(b"k".to_vec(), Some(b"v".to_vec()))]).expect("write");
        drop(store);
        assert_eq!(
            views.open().expect("reopen").get(b"k").expect("get"),
            Some(b"v".to_vec())
        );
        fs::write(views.opening_marker(), b"").expect("mark");
        assert_eq!(
            views.open().expect("reopen").get(b"k").expect("get"),
            None,
            "an unfinished open leads to an empty store"
        );
    }
}
