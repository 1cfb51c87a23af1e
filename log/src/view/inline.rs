//! Drives the folds: each durable record is taken in before its append is acknowledged, so that a caller reads its own writes.
//! A stream's folds are loaded from the view store when first needed, never by the writer.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};

use super::checkpoint::Behind;
use super::{Fold, IndexRows, Row, View, ViewId};
use crate::error::ViewError;
use crate::index::Cell;
use crate::limits::KEY_BYTES_MAX;
use crate::record::{Name, Record, StreamId};
use crate::view_store::{Entry, StoreError, ViewStore, keys};

/// A stream's folds.
pub(crate) enum Folds {
    /// In the view store, as of the stream's last record.
    Stored,
    /// In memory, one per view in the order of [`Views::views`].
    Loaded(Vec<Slot>),
}

/// One fold in memory.
pub(crate) struct Slot {
    pub(crate) fold: Box<dyn Fold>,
    /// Last position that it took in.
    pub(crate) position: u64,
    /// It panicked here; its rows are not written back, so that the next open tries again.
    pub(crate) failed: Option<u64>,
    /// It has rows that the store lacks.
    pub(crate) dirty: bool,
}

/// Index rows that the store lacks: what was put last, or `None` for a removal, with a number that tells a later change from an earlier one.
#[derive(Default)]
pub(crate) struct Overlay {
    pub(crate) rows: BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>,
    changes: u64,
}

/// All views and the store behind them.
pub(crate) struct Views {
    pub(crate) views: Vec<Arc<dyn View>>,
    pub(crate) store: Box<dyn ViewStore>,
    pub(crate) overlay: Mutex<Overlay>,
    pub(crate) behind: Mutex<Behind>,
    pub(crate) caught_up: Condvar,
    pub(crate) failed: OnceLock<StoreError>,
}

struct OverlayRows<'a> {
    view: ViewId,
    overlay: &'a mut Overlay,
}

impl OverlayRows<'_> {
    fn change(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        let key = keys::index(self.view, key);
        // Caught by the guard around the fold: a key that no store takes is the view's fault.
        assert!(
            key.len() <= KEY_BYTES_MAX,
            "an index row's key is {} bytes long",
            key.len()
        );
        self.overlay.changes += 1;
        self.overlay.rows.insert(key, (self.overlay.changes, value));
    }
}

impl IndexRows for OverlayRows<'_> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.change(&key, Some(value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.change(&key, None);
    }
}

impl Views {
    pub(crate) fn new(views: Vec<Arc<dyn View>>, store: Box<dyn ViewStore>) -> Self {
        Self {
            views,
            store,
            overlay: Mutex::default(),
            behind: Mutex::default(),
            caught_up: Condvar::new(),
            failed: OnceLock::new(),
        }
    }

    /// The folds of a stream without records.
    pub(crate) fn empty(&self, stream: StreamId, name: &Name) -> Folds {
        Folds::Loaded(
            self.views
                .iter()
                .map(|view| Slot::new(view.empty(stream, name), 0))
                .collect(),
        )
    }

    /// Takes in durable records of one stream, in order. `slots` must be loaded.
    pub(crate) fn fold(&self, cell: &Cell, slots: &mut [Slot], records: &[Record]) {
        for (view, slot) in self.views.iter().zip(slots) {
            let last = slot.position;
            for record in records.iter().filter(|record| record.position > last) {
                slot.position = record.position;
                if slot.failed.is_some() || !view.folds(record.kind) {
                    continue;
                }
                slot.dirty = true;
                let mut overlay = self.overlay.lock();
                let mut index = OverlayRows {
                    view: view.id(),
                    overlay: &mut overlay,
                };
                if catch_unwind(AssertUnwindSafe(|| slot.fold.apply(record, &mut index))).is_err() {
                    slot.failed = Some(record.position);
                    tracing::error!(view = view.name(), stream = ?cell.name, position = record.position, "a fold panicked");
                }
            }
        }
    }

    /// A stream's folds from their rows, as of the positions in the slots; what came after is the caller's to fold.
    pub(crate) fn load(&self, cell: &Cell) -> Result<Vec<Slot>, StoreError> {
        let load = |view: &Arc<dyn View>| {
            let stamp = self.store.get(&keys::position(cell.id, view.id()))?;
            let position = match stamp.as_deref().map(<[u8; 8]>::try_from) {
                None => 0,
                Some(Ok(bytes)) => u64::from_be_bytes(bytes),
                Some(Err(_)) => return Err(StoreError(format!("a malformed position of the view {}", view.name()))),
            };
            if position == 0 {
                return Ok(Slot::new(view.empty(cell.id, &cell.name), 0));
            }
            let prefix = keys::row(cell.id, view.id(), &[]);
            let rows = self
                .stored(&prefix, None, usize::MAX)?
                .into_iter()
                .map(|(key, value)| Row {
                    key: key[keys::ROW_PREFIX..].to_vec(),
                    value: Some(value),
                })
                .collect();
            let fold = view
                .load(cell.id, &cell.name, rows)
                .map_err(|what| StoreError(format!("rows of the view {} can't be read: {what}", view.name())))?;
            Ok(Slot::new(fold, position))
        };
        self.views.iter().map(load).collect()
    }

    /// Entries of the store that start with `prefix` and come after `after`.
    fn stored(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let end = keys::after_prefix(prefix);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.store
            .scan(after.map_or(Bound::Included(prefix), Bound::Excluded), to, limit)
    }

    /// Reads one fold; `None` if the folds are not loaded.
    pub(crate) fn read<F: Fold, R>(
        &self,
        cell: &Cell,
        view: ViewId,
        read: &mut dyn FnMut(&F) -> R,
    ) -> Option<Result<R, ViewError>> {
        let folds = cell.folds.lock();
        let Folds::Loaded(slots) = &*folds else { return None };
        let found = self
            .views
            .iter()
            .zip(slots)
            .find(|(candidate, _)| candidate.id() == view);
        Some(match found {
            Some((_, slot)) if slot.failed.is_none() => match (&*slot.fold as &dyn Any).downcast_ref::<F>() {
                Some(fold) => Ok(read(fold)),
                None => Err(ViewError::Store(format!(
                    "the view {} is not of the type asked for",
                    view.0
                ))),
            },
            Some((candidate, slot)) => Err(ViewError::Failed {
                view: candidate.name(),
                stream: cell.id,
                position: slot.failed.unwrap_or_default(),
            }),
            None => Err(ViewError::Store(format!("there is no view {}", view.0))),
        })
    }

    /// Index rows of a view, memory over store. Memory is looked at first: a row that is on its way is then found in one of the two.
    pub(crate) fn index(
        &self,
        view: ViewId,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let prefix = keys::index(view, prefix);
        let after = after.map(|key| keys::index(view, key));
        let from = after.as_deref().map_or(Bound::Included(&*prefix), Bound::Excluded);
        let mut merged: BTreeMap<Vec<u8>, Option<Vec<u8>>> = self
            .overlay
            .lock()
            .rows
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(key, (_, value))| (key.clone(), value.clone()))
            .collect();
        // Every removal may hide one stored row.
        let hidden = merged.values().filter(|value| value.is_none()).count();
        let stored = self.stored(&prefix, after.as_deref(), limit.saturating_add(hidden))?;
        for (key, value) in stored {
            merged.entry(key).or_insert(Some(value));
        }
        let rows = merged
            .into_iter()
            .filter_map(|(key, value)| Some((key[keys::INDEX_PREFIX..].to_vec(), value?)));
        Ok(rows.take(limit).collect())
    }
}

impl Slot {
    fn new(fold: Box<dyn Fold>, position: u64) -> Self {
        Self {
            fold,
            position,
            failed: None,
            dirty: false,
        }
    }
}
