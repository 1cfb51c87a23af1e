//! Writes the views back: behind the acknowledgement, coalesced, one atomic batch that says which commit it reflects.
//! A stream's rows carry the position that they reflect, so taking in a record that they contain already changes nothing.

use std::collections::HashMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::inline::{Folds, OTHER_SPACE, Registered, Views};
use super::{Row, ViewId};
use crate::catalog;
use crate::index::Cell;
use crate::record::{Digest, StreamId};
use crate::segment::manifest::Hex;
use crate::view_store::{StoreError, keys};

/// Rows that are removed at once when the store is emptied.
const CLEAR_ROWS: usize = 10_000;

/// The catalog's number among the views' ones; no view may have it.
pub(crate) const CATALOG: u8 = 0;

/// What the store lacks.
#[derive(Default)]
pub(crate) struct Behind {
    cells: HashMap<StreamId, Arc<Cell>>,
    /// Those whose rows are on their way to the store. They stay here if that fails: the store then lacks them for good.
    writing: HashMap<StreamId, Arc<Cell>>,
    /// Bytes of commits, those being written back included.
    bytes: u64,
    /// The last commit that was folded and its hash.
    folded: (u64, Digest),
    /// The commit that the store reflects.
    written: u64,
}

/// The store's one row about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) store: [u8; 16],
    /// Every commit up to this one is reflected.
    pub(crate) folded: u64,
    /// That commit's hash: tells a store of this log from one of its restored past.
    pub(crate) hash: Hex,
    /// The views' numbers and versions, and the numbers under which their rows are kept.
    pub(crate) views: Vec<(u8, u32, u8)>,
}

impl Views {
    /// Reads the store's row about itself; `None` if it has none or an unreadable one.
    pub(crate) fn meta(&self) -> Result<Option<Meta>, StoreError> {
        let row = self.store.get(keys::META)?;
        let meta: Option<Meta> = row.and_then(|json| serde_json::from_slice(&json).ok());
        // A view that was built anew has its rows in its other place.
        for (id, version, space) in meta.iter().flat_map(|meta| &meta.views) {
            if let Some(of) = self.find(ViewId(*id))
                && of.view.version() == *version
                && space & !OTHER_SPACE == *id
            {
                let (view, space) = (of.view.clone(), ViewId(*space));
                self.register(Arc::new(Registered { view, space }));
            }
        }
        Ok(meta)
    }

    /// Gives up on the store: its rows can't be read. The next open rebuilds it.
    pub(crate) fn invalidate(&self, error: &StoreError) {
        tracing::error!(%error, "rows of the view store can't be read: it is rebuilt at the next start");
        let _ = self.failed.set(error.clone());
        if let Err(error) = self.store.write(vec![(keys::META.to_vec(), None)]) {
            tracing::error!(%error, "the view store can't be marked for a rebuild");
        }
    }

    /// Removes everything from the store, so that all folds start empty.
    pub(crate) fn clear(&self) -> Result<(), StoreError> {
        self.overlay.lock().rows.clear();
        *self.behind.lock() = Behind::default();
        loop {
            let some = self.store.scan(Bound::Unbounded, Bound::Unbounded, CLEAR_ROWS)?;
            if some.is_empty() {
                return Ok(());
            }
            self.store
                .write(some.into_iter().map(|(key, _)| (key, None)).collect())?;
        }
    }

    /// Whether the store has no rows at all.
    pub(crate) fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.store.scan(Bound::Unbounded, Bound::Unbounded, 1)?.is_empty())
    }

    /// Says in the store which versions its rows are of, without writing anything else back.
    pub(crate) fn note_versions(&self) -> Result<(), StoreError> {
        let Some(row) = self.store.get(keys::META)? else {
            return Ok(());
        };
        let mut meta: Meta = serde_json::from_slice(&row).map_err(|error| StoreError(error.to_string()))?;
        meta.views = self.versions();
        let json = serde_json::to_vec(&meta).map_err(|error| StoreError(error.to_string()))?;
        self.store.write(vec![(keys::META.to_vec(), Some(json))])
    }

    /// Index rows under this number that are on their way go nowhere.
    pub(crate) fn forget_index(&self, space: ViewId) {
        let prefix = keys::index(space, &[]);
        self.overlay.lock().rows.retain(|key, _| !key.starts_with(&prefix));
    }

    /// What the row has to say for these views to go on from the rows.
    pub(crate) fn versions(&self) -> Vec<(u8, u32, u8)> {
        let own = |of: Arc<Registered>| (of.view.id().0, of.view.version(), of.space.0);
        let views = self.registered().into_iter().map(own);
        [(CATALOG, catalog::VERSION, CATALOG)]
            .into_iter()
            .chain(views)
            .collect()
    }

    /// Notes that a commit was folded.
    pub(crate) fn folded<'a>(
        &self,
        cells: impl Iterator<Item = &'a Arc<Cell>> + Clone,
        bytes: usize,
        commit: u64,
        hash: Digest,
    ) {
        let mut behind = self.behind.lock();
        if let Some(touched) = &mut *self.touched.lock() {
            touched.extend(cells.clone().map(|cell| cell.id));
        }
        behind.cells.extend(cells.map(|cell| (cell.id, cell.clone())));
        behind.bytes += bytes as u64;
        behind.folded = (commit, hash);
    }

    /// Notes that a stream has rows that the store lacks.
    pub(crate) fn note_behind(&self, cell: &Arc<Cell>) {
        self.behind.lock().cells.insert(cell.id, cell.clone());
    }

    /// Waits while the store is more than `bytes_max` behind. `Err` if it failed and won't catch up.
    pub(crate) fn wait_below(&self, bytes_max: u64) -> Result<(), StoreError> {
        let mut behind = self.behind.lock();
        while behind.bytes > bytes_max {
            if let Some(failed) = self.failed.get() {
                return Err(failed.clone());
            }
            self.caught_up.wait_for(&mut behind, Duration::from_millis(100));
        }
        Ok(())
    }

    /// The last commit that the store reflects.
    pub(crate) fn written(&self) -> u64 {
        self.behind.lock().written
    }

    /// Whether rows of this stream are still to be written, or are being written.
    pub(crate) fn is_behind(&self, stream: StreamId) -> bool {
        let behind = self.behind.lock();
        behind.cells.contains_key(&stream) || behind.writing.contains_key(&stream)
    }

    /// Streams whose rows are still to be written.
    pub(crate) fn behind(&self) -> Vec<Arc<Cell>> {
        let behind = self.behind.lock();
        behind.cells.values().chain(behind.writing.values()).cloned().collect()
    }

    /// Bytes that the store is behind.
    pub(crate) fn behind_bytes(&self) -> u64 {
        self.behind.lock().bytes
    }

    /// Writes back what the store lacks. After a failure the views go on in memory, and the next open rebuilds the store.
    /// `sync` is asked before anything is written: rows may not tell of commits that a power cut can take back.
    pub(crate) fn checkpoint(&self, store: [u8; 16], sync: &dyn Fn() -> Result<(), StoreError>) {
        if self.failed.get().is_some() {
            return;
        }
        let written = catch_unwind(AssertUnwindSafe(|| self.write_back(store, sync)));
        if let Err(error) = written.unwrap_or_else(|_| Err(StoreError("writing the views back panicked".to_owned()))) {
            tracing::error!(%error, "the view store failed: views are kept in memory only until the next start");
            let _ = self.failed.set(error);
        }
        self.caught_up.notify_all();
    }

    /// The same, telling the failure.
    pub(crate) fn write_back(
        &self,
        store: [u8; 16],
        sync: &dyn Fn() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock();
        let (cells, bytes, (commit, hash)) = {
            let mut behind = self.behind.lock();
            if behind.folded.0 == behind.written && behind.cells.is_empty() {
                return Ok(());
            }
            behind.writing = std::mem::take(&mut behind.cells);
            let cells: Vec<Arc<Cell>> = behind.writing.values().cloned().collect();
            (cells, behind.bytes, behind.folded)
        };
        // What was taken away comes first: a name that is free again may have been taken by another stream.
        let (mut removed, mut batch) = (Vec::new(), Vec::new());
        for cell in &cells {
            catalog::take_changes(cell, &*self.store, &mut removed, &mut batch)?;
            if cell.index.read().head.deleted {
                continue;
            }
            let mut folds = cell.folds.lock();
            let Folds::Loaded(slots) = &mut *folds else { continue };
            for slot in slots {
                slot.catch_up(&cell.name, self);
                let space = slot.of.space;
                if slot.failed.is_some() {
                    continue;
                }
                if std::mem::take(&mut slot.whole) {
                    slot.fold
                        .rows(&mut |row: Row| batch.push((keys::row(cell.id, space, &row.key), row.value)));
                    slot.fold.changed(&mut |_| {});
                    slot.dirty = false;
                }
                if std::mem::take(&mut slot.dirty) {
                    slot.fold
                        .changed(&mut |row: Row| batch.push((keys::row(cell.id, space, &row.key), row.value)));
                }
                let stamp = slot.position.to_be_bytes().to_vec();
                batch.push((keys::position(cell.id, space), Some(stamp)));
            }
        }
        // After the rows: whatever they reflect, the index rows of it are in the overlay by now.
        let moved: Vec<(Vec<u8>, u64)> = {
            let overlay = self.overlay.lock();
            batch.extend(
                overlay
                    .rows
                    .iter()
                    .map(|(key, (_, value))| (key.clone(), value.clone())),
            );
            overlay
                .rows
                .iter()
                .map(|(key, (change, _))| (key.clone(), *change))
                .collect()
        };
        let meta = Meta {
            store,
            folded: commit,
            hash: Hex(hash),
            views: self.versions(),
        };
        let json = serde_json::to_vec(&meta).map_err(|error| StoreError(error.to_string()))?;
        batch.push((keys::META.to_vec(), Some(json)));
        sync()?;
        removed.append(&mut batch);
        self.store.write(removed)?;

        let mut overlay = self.overlay.lock();
        for (key, change) in moved {
            if overlay.rows.get(&key).is_some_and(|(now, _)| *now == change) {
                overlay.rows.remove(&key);
            }
        }
        drop(overlay);
        let mut behind = self.behind.lock();
        behind.writing.clear();
        behind.bytes -= bytes;
        behind.written = commit;
        Ok(())
    }
}
