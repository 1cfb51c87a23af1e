//! The views of the control: their rows are in the batch of the records that they reflect. Folds in memory are a cache of them, held
//! locked from before a batch until it is durable, so that nobody sees a fold of records that are not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::read::Bounds;
use super::rows::{self, StreamRow};
use super::tree::{At, Changes};
use crate::fork::PastError;
use crate::record::{Name, StreamId, Subject};
use crate::snapshot::Snapshot;
use crate::view::inline::{Registered, Slot, Views};
use crate::view::{Row, View, ViewId};
use crate::view_store::memory::MemoryViews;
use crate::view_store::{Entry, StoreError, keys};

/// A stream's folds, if they are in memory.
type Cached = Arc<AsyncMutex<Option<Vec<Slot>>>>;
/// The same, held.
pub(super) type Held = OwnedMutexGuard<Option<Vec<Slot>>>;

/// All views, and the folds in memory.
pub(super) struct Folds {
    /// Drives them. Its own store stays empty: rows go into the writer's batches.
    pub(super) views: Views,
    cached: Mutex<HashMap<StreamId, Cached>>,
    streams_max: usize,
}

/// A stream's clock, versions and folds as they were.
pub(super) struct Past {
    pub(super) time_us: i64,
    pub(super) versions: BTreeMap<u16, u64>,
    pub(super) slots: Vec<Slot>,
}

impl Folds {
    pub(super) fn new(views: Vec<Arc<dyn View>>, streams_max: usize) -> Self {
        Self {
            views: Views::new(views, Box::new(MemoryViews::new())),
            cached: Mutex::default(),
            streams_max,
        }
    }

    /// The views' numbers and versions.
    pub(super) fn versions(&self) -> Vec<(u8, u32)> {
        let version = |of: Arc<Registered>| (of.view.id().0, of.view.version());
        self.views.registered().into_iter().map(version).collect()
    }

    /// Where a stream's folds are kept.
    pub(super) fn of(&self, stream: StreamId) -> Cached {
        let mut cached = self.cached.lock();
        if cached.len() > self.streams_max && !cached.contains_key(&stream) {
            cached.retain(|_, folds| Arc::strong_count(folds) > 1);
        }
        cached.entry(stream).or_default().clone()
    }

    /// Loads folds into where they are kept, unless they are there. They are held, so that no batch of theirs comes in between.
    pub(super) fn load(&self, at: &At, id: StreamId, row: &StreamRow, held: &mut Held) -> Result<(), StoreError> {
        if held.is_some() {
            return Ok(());
        }
        let name = row.name()?;
        let load = |of: Arc<Registered>| self.load_one(at, id, row, &name, of);
        let slots = self.views.registered().into_iter().map(load);
        **held = Some(slots.collect::<Result<_, _>>()?);
        Ok(())
    }

    fn load_one(
        &self,
        at: &At,
        id: StreamId,
        row: &StreamRow,
        name: &Name,
        of: Arc<Registered>,
    ) -> Result<Slot, StoreError> {
        let (view, space) = (of.view.clone(), of.space);
        let stamp = at.get(&keys::position(id, space))?;
        let Some(stamp) = stamp else {
            return Ok(Slot::new(view.empty(id, name), of, 0));
        };
        let position = rows::number(stamp.get(..8).unwrap_or_default())?;
        let failed = stamp.len() > 8;
        let row_of = |entry: Result<(Vec<u8>, Bytes), StoreError>| {
            let (key, value) = entry?;
            Ok(Row {
                key: key[keys::ROW_PREFIX..].to_vec(),
                value: Some(value.to_vec()),
            })
        };
        let prefix = keys::row(id, space, &[]);
        let stored = at.with_prefix(&prefix, None).map(row_of);
        let fold = match position {
            0 => view.empty(id, name),
            _ => view
                .load(id, name, stored.collect::<Result<_, StoreError>>()?)
                .map_err(|what| rows::malformed(&format!("the view {}: {what}", view.name())))?,
        };
        let mut slot = Slot::new(fold, of, if failed { position } else { row.last });
        // One that failed tries again, once, when it is loaded.
        while slot.position < row.last {
            let from = slot.position + 1;
            match at.records(id, row, from, row.last, PAGE) {
                Ok(page) => self.views.fold_one(name, &mut slot, &page, true),
                Err(error) => {
                    tracing::error!(view = view.name(), stream = %id, %error, "a fold that failed can't try again");
                    slot.failed = Some(from);
                    break;
                }
            }
        }
        Ok(slot)
    }

    /// The rows of a stream's folds that the tree lacks. Those that it has are as of `before`; 0 if it has none.
    pub(super) fn put_rows(&self, id: StreamId, before: u64, slots: &mut [Slot], changes: &mut Changes) {
        for slot in slots {
            let space = slot.of.space;
            if let Some(position) = slot.failed {
                if position > before {
                    changes.insert(keys::position(id, space), Some(failed_stamp(before)));
                }
                continue;
            }
            let fresh = std::mem::take(&mut slot.whole);
            let dirty = std::mem::take(&mut slot.dirty);
            let mut put = |row: Row| drop(changes.insert(keys::row(id, space, &row.key), row.value));
            if fresh {
                slot.fold.rows(&mut put);
                slot.fold.changed(&mut |_| {});
            } else if dirty {
                slot.fold.changed(&mut put);
            }
            if fresh || dirty {
                changes.insert(keys::position(id, space), Some(slot.position.to_be_bytes().to_vec()));
            }
        }
    }

    /// Folds what is left of a stream anew. The rows that this changes.
    pub(super) fn refold(
        &self,
        at: &At,
        id: StreamId,
        row: &StreamRow,
        held: &mut Held,
    ) -> Result<Changes, StoreError> {
        self.load(at, id, row, held)?;
        let name = row.name()?;
        let mut slots = self.past(at, (id, row), row.last, (id, &name))?.slots;
        self.views.unlist(held.as_deref().unwrap_or_default());
        let mut changes = Changes::new();
        for slot in &mut slots {
            for entry in at.with_prefix(&keys::row(id, slot.of.space, &[]), None) {
                changes.insert(entry?.0, None);
            }
            slot.whole = true;
        }
        self.put_rows(id, 0, &mut slots, &mut changes);
        self.views.list(&slots);
        self.put_index_rows(&mut changes);
        **held = Some(slots);
        Ok(changes)
    }

    /// The index rows that changed.
    pub(super) fn put_index_rows(&self, changes: &mut Changes) {
        let moved = std::mem::take(&mut self.views.overlay.lock().rows);
        changes.extend(moved.into_iter().map(|(key, (_, value))| (key, value)));
    }

    /// Index rows of a view.
    pub(super) fn index(
        &self,
        at: &At,
        view: ViewId,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let Some(of) = self.views.find(view) else {
            return Err(StoreError(format!("there is no view {}", view.0)));
        };
        let after = after.map(|key| keys::index(of.space, key));
        let row = |entry: Result<(Vec<u8>, Bytes), StoreError>| {
            let (key, value) = entry?;
            Ok((key[keys::INDEX_PREFIX..].to_vec(), value.to_vec()))
        };
        let found = at.with_prefix(&keys::index(of.space, prefix), after.as_deref());
        found.take(limit).map(row).collect()
    }

    /// A stream as it was at `position`, folded as if it were the stream `id`. Index rows are not touched.
    pub(super) fn past(
        &self,
        at: &At,
        (stream, row): (StreamId, &StreamRow),
        position: u64,
        (id, name): (StreamId, &Name),
    ) -> Result<Past, PastError> {
        let mut past = Past {
            time_us: 0,
            versions: BTreeMap::new(),
            slots: self.views.empty_slots(id, name),
        };
        let mut next = 1;
        // Of the nearest stream up from this one whose beginning is known by a snapshot only.
        let (mut trimmed, mut trimmed_row) = (stream, row.clone());
        while let (0, Some((parent, _))) = (trimmed_row.snapshot, trimmed_row.parent()) {
            let parent_row = at.stream(parent)?;
            (trimmed, trimmed_row) = (
                parent,
                parent_row.ok_or_else(|| rows::malformed("the parent of a fork is missing"))?,
            );
        }
        if trimmed_row.snapshot > 0 {
            let position_of = trimmed_row.snapshot;
            let records = at.records(trimmed, &trimmed_row, position_of, position_of, PAGE)?;
            let record = records
                .first()
                .ok_or_else(|| rows::malformed("a snapshot is missing"))?;
            let snapshot = Snapshot::read(record).map_err(StoreError)?;
            if snapshot.as_of > position {
                return Err(PastError::Trimmed {
                    stream: trimmed,
                    as_of: snapshot.as_of,
                });
            }
            past.slots = snapshot.folds(&self.views, id, name).map_err(StoreError)?;
            let head = snapshot.index(0).map_err(StoreError)?.head;
            (past.versions, past.time_us) = (head.versions, head.time_us);
            next = snapshot.as_of + 1;
        }
        while next <= position {
            let mut records = at.records(stream, row, next, position, PAGE)?;
            for record in &mut records {
                next = record.position + 1;
                past.time_us = past.time_us.max(record.time_us);
                record.stream = id;
                if record.subject != Subject::NONE {
                    past.versions.insert(record.subject.0, record.position);
                }
            }
            self.views.fold_quietly(name, &mut past.slots, &records);
        }
        Ok(past)
    }
}

/// Records that are folded in one go.
const PAGE: Bounds = Bounds {
    records: 1_000,
    bytes: 4 << 20,
};

/// Of a fold that panicked: as of where its rows are, with a mark.
fn failed_stamp(before: u64) -> Vec<u8> {
    let mut stamp = before.to_be_bytes().to_vec();
    stamp.push(1);
    stamp
}
