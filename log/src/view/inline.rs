//! Drives the folds: each durable record is taken in before its append is acknowledged, so that a caller reads its own writes.
//! A stream's folds are loaded from the view store when first needed, never by the writer.

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};

use super::checkpoint::Behind;
use super::{Fold, IndexRows, Row, Timing, View, ViewId};
use crate::error::ViewError;
use crate::index::Cell;
use crate::limits::KEY_BYTES_MAX;
use crate::record::{Kind, Name, Record, StreamId};
use crate::view_store::{Entry, StoreError, ViewStore, keys};

/// A stream's folds.
pub(crate) enum Folds {
    /// In the view store, as of the stream's last record.
    Stored,
    /// In memory, one per view.
    Loaded(Vec<Slot>),
}

/// A view, and under which number its rows are kept.
pub(crate) struct Registered {
    pub(crate) view: Arc<dyn View>,
    /// The view's own number, or that number with the highest bit set: a view that is built anew has its rows in the other place.
    pub(crate) space: ViewId,
}

impl Registered {
    /// The number under which another version's rows can be built.
    pub(crate) fn other_space(&self) -> ViewId {
        ViewId(self.space.0 ^ OTHER_SPACE)
    }
}

/// Tells a view's two places apart.
pub(crate) const OTHER_SPACE: u8 = 0x80;

/// One fold in memory.
pub(crate) struct Slot {
    pub(crate) of: Arc<Registered>,
    pub(crate) fold: Box<dyn Fold>,
    /// Last position that it took in.
    pub(crate) position: u64,
    /// It panicked here; its rows are not written back, so that the next open tries again.
    pub(crate) failed: Option<u64>,
    /// It has rows that the store lacks.
    pub(crate) dirty: bool,
    /// The store lacks all of them.
    pub(crate) whole: bool,
    /// Of a trailing view: records that it has not taken in yet.
    pub(crate) waiting: Vec<Record>,
}

/// Index rows that the store lacks: what was put last, or `None` for a removal, with a number that tells a later change from an earlier one.
#[derive(Default)]
pub(crate) struct Overlay {
    pub(crate) rows: BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>,
    changes: u64,
}

/// All views and the store behind them.
pub(crate) struct Views {
    registered: RwLock<Vec<Arc<Registered>>>,
    /// Held to read while records are taken in, to write while one version of a view takes another one's place.
    pub(crate) turn: RwLock<()>,
    /// Held while rows are written back.
    pub(crate) writing: Mutex<()>,
    /// Streams that were folded since a view began to be built anew; `None` if none is.
    pub(crate) touched: Mutex<Option<HashSet<StreamId>>>,
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

/// Keys that were put, for taking them away; rows that go nowhere.
struct Keys(Vec<Vec<u8>>);

impl IndexRows for Keys {
    fn put(&mut self, key: Vec<u8>, _: Vec<u8>) {
        self.0.push(key);
    }

    fn delete(&mut self, _: Vec<u8>) {}
}

impl Views {
    pub(crate) fn new(views: Vec<Arc<dyn View>>, store: Box<dyn ViewStore>) -> Self {
        let own = |view: Arc<dyn View>| {
            let space = view.id();
            Arc::new(Registered { view, space })
        };
        Self {
            registered: RwLock::new(views.into_iter().map(own).collect()),
            turn: RwLock::new(()),
            writing: Mutex::new(()),
            touched: Mutex::new(None),
            store,
            overlay: Mutex::default(),
            behind: Mutex::default(),
            caught_up: Condvar::new(),
            failed: OnceLock::new(),
        }
    }

    /// The views.
    pub(crate) fn registered(&self) -> Vec<Arc<Registered>> {
        self.registered.read().clone()
    }

    /// The view of this number.
    pub(crate) fn find(&self, view: ViewId) -> Option<Arc<Registered>> {
        let registered = self.registered.read();
        registered.iter().find(|of| of.view.id() == view).cloned()
    }

    /// Puts a version of a view, with its rows where they are, in place of the present one.
    pub(crate) fn register(&self, new: Arc<Registered>) {
        for of in self.registered.write().iter_mut() {
            if of.view.id() == new.view.id() {
                *of = new.clone();
            }
        }
    }

    /// The folds of a stream without records.
    pub(crate) fn empty(&self, stream: StreamId, name: &Name) -> Folds {
        Folds::Loaded(self.empty_slots(stream, name))
    }

    pub(crate) fn empty_slots(&self, stream: StreamId, name: &Name) -> Vec<Slot> {
        let slot = |of: Arc<Registered>| Slot::new(of.view.empty(stream, name), of, 0);
        self.registered().into_iter().map(slot).collect()
    }

    /// Takes in durable records of one stream, in order. `slots` must be loaded.
    pub(crate) fn fold(&self, name: &Name, slots: &mut [Slot], records: &[Record]) {
        for slot in &mut *slots {
            slot.catch_up(name, self);
            self.fold_one(name, slot, records, true);
        }
        if records.last().is_some_and(|last| last.kind == Kind::STREAM_DELETED) {
            self.unlist(slots);
        }
    }

    /// The same for records that were folded under another name before: rows across streams are not touched.
    pub(crate) fn fold_quietly(&self, name: &Name, slots: &mut [Slot], records: &[Record]) {
        for slot in slots {
            self.fold_one(name, slot, records, false);
        }
    }

    /// The same for records that have just become durable: a trailing view takes them in later.
    pub(crate) fn fold_now(&self, name: &Name, slots: &mut [Slot], records: &[Record]) {
        for slot in &mut *slots {
            if slot.of.view.timing() == Timing::Trailing {
                slot.waiting.extend_from_slice(records);
            } else {
                self.fold_one(name, slot, records, true);
            }
        }
        if records.last().is_some_and(|last| last.kind == Kind::STREAM_DELETED) {
            slots.iter_mut().for_each(|slot| slot.catch_up(name, self));
            self.unlist(slots);
        }
    }

    /// Puts the index rows of a stream whose records were not folded one by one.
    pub(crate) fn list(&self, slots: &[Slot]) {
        for slot in slots {
            let view = &slot.of.view;
            let mut overlay = self.overlay.lock();
            let mut index = OverlayRows {
                view: slot.of.space,
                overlay: &mut overlay,
            };
            if catch_unwind(AssertUnwindSafe(|| slot.fold.index_rows(&mut index))).is_err() {
                tracing::error!(view = view.name(), "listing a stream's index rows panicked");
            }
        }
    }

    /// Takes the index rows of a deleted stream away.
    pub(crate) fn unlist(&self, slots: &[Slot]) {
        for slot in slots {
            let view = &slot.of.view;
            let mut keys = Keys(Vec::new());
            if catch_unwind(AssertUnwindSafe(|| slot.fold.index_rows(&mut keys))).is_err() {
                tracing::error!(view = view.name(), "listing a stream's index rows panicked");
            }
            let mut overlay = self.overlay.lock();
            let mut index = OverlayRows {
                view: slot.of.space,
                overlay: &mut overlay,
            };
            keys.0.into_iter().for_each(|key| index.delete(key));
        }
    }

    pub(crate) fn fold_one(&self, name: &Name, slot: &mut Slot, records: &[Record], listed: bool) {
        let view = slot.of.view.clone();
        let last = slot.position;
        for record in records.iter().filter(|record| record.position > last) {
            slot.position = record.position;
            if slot.failed.is_some() || !view.folds(record.kind) {
                continue;
            }
            slot.dirty = true;
            let mut overlay = self.overlay.lock();
            let mut index = OverlayRows {
                view: slot.of.space,
                overlay: &mut overlay,
            };
            let index: &mut dyn IndexRows = if listed { &mut index } else { &mut Keys(Vec::new()) };
            if catch_unwind(AssertUnwindSafe(|| slot.fold.apply(record, index))).is_err() {
                slot.failed = Some(record.position);
                tracing::error!(view = view.name(), stream = ?name, position = record.position, "a fold panicked");
            }
        }
    }

    /// A stream's folds from their rows, as of the positions in the slots; what came after is the caller's to fold.
    pub(crate) fn load(&self, cell: &Cell) -> Result<Vec<Slot>, StoreError> {
        self.registered()
            .into_iter()
            .map(|of| self.load_one(cell, of))
            .collect()
    }

    /// The same of one view.
    pub(crate) fn load_one(&self, cell: &Cell, of: Arc<Registered>) -> Result<Slot, StoreError> {
        let (view, space) = (&of.view, of.space);
        let stamp = self.store.get(&keys::position(cell.id, space))?;
        let position = match stamp.as_deref().map(<[u8; 8]>::try_from) {
            None => 0,
            Some(Ok(bytes)) => u64::from_be_bytes(bytes),
            Some(Err(_)) => return Err(StoreError(format!("a malformed position of the view {}", view.name()))),
        };
        if position == 0 {
            let fold = view.empty(cell.id, &cell.name);
            return Ok(Slot::new(fold, of, 0));
        }
        let prefix = keys::row(cell.id, space, &[]);
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
        Ok(Slot::new(fold, of, position))
    }

    /// Waits for the next write-back, at most this long.
    pub(crate) fn wait_for_write(&self, most: Duration) {
        let mut behind = self.behind.lock();
        self.caught_up.wait_for(&mut behind, most);
    }

    /// Entries of the store that start with `prefix` and come after `after`.
    fn stored(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let end = keys::after_prefix(prefix);
        if let (Some(after), Some(end)) = (after, &end)
            && after >= end.as_slice()
        {
            return Ok(Vec::new());
        }
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.store
            .scan(after.map_or(Bound::Included(prefix), Bound::Excluded), to, limit)
    }

    /// Shows one fold; `None` if the folds are not loaded.
    pub(crate) fn show(
        &self,
        cell: &Cell,
        view: ViewId,
        read: &mut dyn FnMut(&dyn Any),
    ) -> Option<Result<(), ViewError>> {
        let folds = cell.folds.lock();
        let Folds::Loaded(slots) = &*folds else { return None };
        Some(self.show_one(slots, cell.id, view, read))
    }

    /// Shows one of these folds.
    pub(crate) fn show_one(
        &self,
        slots: &[Slot],
        stream: StreamId,
        view: ViewId,
        read: impl FnOnce(&dyn Any),
    ) -> Result<(), ViewError> {
        match slots.iter().find(|slot| slot.of.view.id() == view) {
            Some(slot) if slot.failed.is_none() => {
                read(&*slot.fold as &dyn Any);
                Ok(())
            }
            Some(slot) => Err(ViewError::Failed {
                view: slot.of.view.name(),
                stream,
                position: slot.failed.unwrap_or_default(),
            }),
            None => Err(ViewError::Store(format!("there is no view {}", view.0))),
        }
    }

    /// Index rows of a view, memory over store. Memory is looked at first: a row that is on its way is then found in one of the two.
    pub(crate) fn index(
        &self,
        view: ViewId,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let Some(space) = self.find(view).map(|of| of.space) else {
            return Err(StoreError(format!("there is no view {}", view.0)));
        };
        let prefix = keys::index(space, prefix);
        let after = after.map(|key| keys::index(space, key));
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
    pub(crate) fn new(fold: Box<dyn Fold>, of: Arc<Registered>, position: u64) -> Self {
        Self {
            of,
            fold,
            position,
            failed: None,
            dirty: false,
            whole: false,
            waiting: Vec::new(),
        }
    }

    /// Takes in what a trailing view has left waiting.
    pub(crate) fn catch_up(&mut self, name: &Name, views: &Views) {
        let waiting = std::mem::take(&mut self.waiting);
        views.fold_one(name, self, &waiting, true);
    }
}
