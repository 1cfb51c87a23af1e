//! Builds a view anew, with other code, while the present one goes on serving; then the new one takes its place, in one step. The rows are
//! built from the records, stream by stream, in the view's other place; streams that change meanwhile are brought up again until few
//! are left, and the last of them while the writer waits.

use std::collections::HashSet;
use std::sync::Arc;

use super::inline::{Folds, Registered, Slot};
use super::{IndexRows, Row, View};
use crate::catalog;
use crate::error::ViewError;
use crate::index::Cell;
use crate::log::{SegmentLog, Shared};
use crate::record::StreamId;
use crate::view_store::{Change, StoreError, keys};

/// With at most so many streams left to bring up, the writer may wait for them.
const LAST_STREAMS: usize = 64;
/// Rounds after which the writer waits however many are left: more come as fast as they are brought up.
const ROUNDS_MAX: usize = 8;

/// What a view was built anew from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// Streams that were folded.
    pub streams: u64,
    /// Streams that were brought up while the writer waited.
    pub streams_at_last: u64,
}

impl SegmentLog {
    /// Puts another version of a view in the place of the one with its number. Until this returns the present one serves, and takes in what is
    /// appended; from then on the new one does, for every stream, and after a restart if it is among the views that the log is opened with.
    /// Takes as long as reading the whole log. One at a time.
    pub async fn replace_view(&self, view: Arc<dyn View>) -> Result<Replaced, ViewError> {
        let replaced = self.shared.blocking(move |shared| shared.replace_view(view)).await;
        replaced.map_err(|error| ViewError::Store(error.0))
    }
}

/// Index rows of one stream, as a fold says that they are.
#[derive(Default)]
struct Listed(Vec<(Vec<u8>, Vec<u8>)>);

impl IndexRows for Listed {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.push((key, value));
    }

    fn delete(&mut self, _: Vec<u8>) {}
}

impl Shared {
    fn replace_view(self: &Arc<Self>, view: Arc<dyn View>) -> Result<Replaced, StoreError> {
        let old = self
            .views
            .find(view.id())
            .ok_or_else(|| StoreError(format!("there is no view {} to replace", view.id().0)))?;
        let new = Arc::new(Registered {
            space: old.other_space(),
            view,
        });
        {
            let mut touched = self.views.touched.lock();
            if touched.is_some() {
                return Err(StoreError("another view is being built anew: wait for it".to_owned()));
            }
            *touched = Some(HashSet::new());
        }
        let replaced = self.build(&old, &new);
        *self.views.touched.lock() = None;
        if replaced.is_ok() {
            self.remove_space(&old)?;
        }
        replaced
    }

    fn build(self: &Arc<Self>, old: &Arc<Registered>, new: &Arc<Registered>) -> Result<Replaced, StoreError> {
        // What an attempt that did not end may have left.
        self.remove_space(new)?;
        let mut streams = self.all_streams()?;
        let mut replaced = Replaced {
            streams: streams.len() as u64,
            streams_at_last: 0,
        };
        for round in 0.. {
            for stream in streams {
                self.bring_up(stream, new)?;
            }
            streams = self.take_touched();
            if streams.len() <= LAST_STREAMS || round == ROUNDS_MAX {
                break;
            }
        }
        let _turn = self.views.turn.write();
        let _writing = self.views.writing.lock();
        streams.extend(self.take_touched());
        replaced.streams_at_last = streams.len() as u64;
        for stream in streams {
            self.bring_up(stream, new)?;
        }
        let mut loaded = Vec::new();
        for cell in self.streams.all() {
            if let Folds::Loaded(_) = &*cell.folds.lock() {
                loaded.push((cell.clone(), self.views.load_one(&cell, new.clone())?));
            }
        }
        // From here on nothing fails.
        for (cell, slot) in loaded {
            if let Folds::Loaded(slots) = &mut *cell.folds.lock()
                && let Some(place) = slots.iter_mut().find(|slot| slot.of.view.id() == old.view.id())
            {
                *place = slot;
            }
        }
        self.views.register(new.clone());
        self.views.note_versions()?;
        Ok(replaced)
    }

    fn take_touched(&self) -> Vec<StreamId> {
        let mut touched = self.views.touched.lock();
        let streams: Vec<StreamId> = touched.iter_mut().flat_map(std::mem::take).collect();
        streams
    }

    fn all_streams(&self) -> Result<Vec<StreamId>, StoreError> {
        let mut ids: HashSet<StreamId> = self.streams.all().iter().map(|cell| cell.id).collect();
        catalog::each_stream(&*self.views.store, |id, _| {
            ids.insert(id);
        })?;
        Ok(ids.into_iter().collect())
    }

    /// Folds what the new rows of a stream do not reflect, and writes them.
    fn bring_up(self: &Arc<Self>, stream: StreamId, new: &Arc<Registered>) -> Result<(), StoreError> {
        let Some(cell) = self.load_stream(stream)? else {
            return Ok(());
        };
        let mut before = Listed::default();
        let mut batch: Vec<Change> = Vec::new();
        if cell.index.read().head.deleted {
            let slot = self.views.load_one(&cell, new.clone())?;
            slot.fold.index_rows(&mut before);
            batch.extend(
                before
                    .0
                    .into_iter()
                    .map(|(key, _)| (keys::index(new.space, &key), None)),
            );
            return self.views.store.write(batch);
        }
        let mut slot = self.views.load_one(&cell, new.clone())?;
        if slot.position > 0 {
            slot.fold.index_rows(&mut before);
        }
        let last = cell.index.read().last();
        if slot.position == last {
            return Ok(());
        }
        let trimmed = cell.index.read().head.trimmed;
        if slot.position < trimmed {
            slot = self.from_snapshot(&cell, new)?;
        }
        let failed = |error: crate::error::ReadError| StoreError(error.to_string());
        while slot.position < last {
            let records = self.read_blocking(&cell, slot.position + 1, last).map_err(failed)?;
            if records.is_empty() {
                return Err(StoreError(format!(
                    "record {} of {stream} was not found",
                    slot.position + 1
                )));
            }
            self.views.fold_one(&cell.name, &mut slot, &records, false);
        }
        if let Some(position) = slot.failed {
            return Err(StoreError(format!(
                "the new version of the view {} fails at record {position} of stream {stream}: the present one stays",
                new.view.name()
            )));
        }
        let mut after = Listed::default();
        slot.fold.index_rows(&mut after);
        let mut row = |row: Row| batch.push((keys::row(cell.id, new.space, &row.key), row.value));
        if slot.whole {
            slot.fold.rows(&mut row);
        } else {
            slot.fold.changed(&mut row);
        }
        batch.push((
            keys::position(cell.id, new.space),
            Some(slot.position.to_be_bytes().to_vec()),
        ));
        batch.extend(
            before
                .0
                .into_iter()
                .map(|(key, _)| (keys::index(new.space, &key), None)),
        );
        batch.extend(
            after
                .0
                .into_iter()
                .map(|(key, value)| (keys::index(new.space, &key), Some(value))),
        );
        self.views.store.write(batch)
    }

    fn from_snapshot(self: &Arc<Self>, cell: &Arc<Cell>, new: &Arc<Registered>) -> Result<Slot, StoreError> {
        let position = cell.index.read().head.snapshot;
        let records = self.read_blocking(cell, position, position);
        let records = records.map_err(|error| StoreError(error.to_string()))?;
        let record = records
            .first()
            .ok_or_else(|| StoreError(format!("the snapshot of {} was not found", cell.id)))?;
        let snapshot = crate::snapshot::Snapshot::read(record).map_err(StoreError)?;
        snapshot.fold_of(new.clone(), cell.id, &cell.name).map_err(StoreError)
    }

    /// Takes away all rows of a view in one of its places.
    fn remove_space(&self, of: &Registered) -> Result<(), StoreError> {
        let store = &*self.views.store;
        for stream in self.all_streams()? {
            let mut gone = catalog::with_prefix(store, &keys::row(stream, of.space, &[]))?;
            gone.extend(
                store
                    .get(&keys::position(stream, of.space))?
                    .map(|row| (keys::position(stream, of.space), row)),
            );
            if !gone.is_empty() {
                store.write(gone.into_iter().map(|(key, _)| (key, None)).collect())?;
            }
        }
        self.views.forget_index(of.space);
        let rows = catalog::with_prefix(store, &keys::index(of.space, &[]))?;
        store.write(rows.into_iter().map(|(key, _)| (key, None)).collect())
    }
}
