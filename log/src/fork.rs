//! Folding a stream up to some position of its past: what a fork begins with, and what a view was at a record.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::ReadError;
use crate::index::{Cell, Fork};
use crate::log::Shared;
use crate::record::{Name, StreamId, Subject};
use crate::snapshot::Snapshot;
use crate::view::inline::Slot;
use crate::view_store::StoreError;
use crate::writer::queued::ForkSeed;

/// A stream's folds, clock and versions as they were.
pub(crate) struct Past {
    pub(crate) time_us: i64,
    pub(crate) versions: BTreeMap<u16, u64>,
    pub(crate) folds: Vec<Slot>,
}

/// Why the past of a stream can't be told.
pub(crate) enum PastError {
    /// It was trimmed when it was at `as_of`; what it was before that is not known any more.
    Trimmed {
        stream: StreamId,
        as_of: u64,
    },
    Store(StoreError),
}

impl From<StoreError> for PastError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ReadError> for PastError {
    fn from(error: ReadError) -> Self {
        Self::Store(StoreError(error.to_string()))
    }
}

impl From<PastError> for StoreError {
    fn from(error: PastError) -> Self {
        match error {
            PastError::Trimmed { stream, as_of } => Self(format!(
                "stream {stream} was trimmed when it was at {as_of}: what it was before is not known any more"
            )),
            PastError::Store(error) => error,
        }
    }
}

impl Cell {
    /// The first position that the stream still has: a fork lacks what was given up before it was made.
    pub(crate) fn oldest(&self) -> u64 {
        let above = std::iter::successors(Some(self), |cell| cell.parent.as_ref().map(|fork| &*fork.cell));
        let trimmed = above.map(|cell| cell.index.read().head.trimmed).max();
        trimmed.unwrap_or(0) + 1
    }
}

impl Shared {
    /// What a new stream begins with that continues `parent` from `position` on, a position that `owner` has.
    pub(crate) fn fork_seed(
        self: &Arc<Self>,
        parent: &Arc<Cell>,
        owner: &Arc<Cell>,
        name: &Name,
        position: u64,
        part: usize,
    ) -> Result<ForkSeed, PastError> {
        let id = StreamId(self.env.mint());
        let snapshot = owner.index.read().head.snapshot;
        let past = self.past(owner, position, id, name)?;
        Ok(ForkSeed {
            part,
            parent: parent.clone(),
            id,
            owner: owner.clone(),
            snapshot,
            time_us: past.time_us,
            versions: past.versions,
            folds: past.folds,
        })
    }

    /// The same for a fork that is there.
    pub(crate) fn shared_with_parent(self: &Arc<Self>, cell: &Cell) -> Result<Past, StoreError> {
        match &cell.parent {
            Some(Fork { cell: owner, position }) => Ok(self.past(owner, *position, cell.id, &cell.name)?),
            None => Err(StoreError(format!("the stream {} is no fork", cell.id))),
        }
    }

    /// The stream `owner` as it was at `position`, folded as if it were the stream `id`. Index rows are not touched.
    pub(crate) fn past(
        self: &Arc<Self>,
        owner: &Arc<Cell>,
        position: u64,
        id: StreamId,
        name: &Name,
    ) -> Result<Past, PastError> {
        // Of the nearest stream up from this one whose beginning is known by a snapshot only.
        let mut cut = owner;
        let snapshot = loop {
            let snapshot = cut.index.read().head.snapshot;
            match &cut.parent {
                Some(fork) if snapshot == 0 => cut = &fork.cell,
                _ => break snapshot,
            }
        };
        let mut past = Past {
            time_us: 0,
            versions: BTreeMap::new(),
            folds: Vec::new(),
        };
        let mut next = 1;
        if snapshot > 0 {
            let records = self.read_blocking(cut, snapshot, snapshot)?;
            let record = records
                .first()
                .ok_or_else(|| StoreError(format!("the snapshot of {} was not found", cut.id)))?;
            let snapshot = Snapshot::read(record).map_err(StoreError)?;
            if snapshot.as_of > position {
                return Err(PastError::Trimmed {
                    stream: cut.id,
                    as_of: snapshot.as_of,
                });
            }
            past.folds = snapshot.folds(&self.views, id, name).map_err(StoreError)?;
            let index = snapshot.index(0).map_err(StoreError)?;
            past.versions = index.head.versions.clone();
            past.time_us = index.head.time_us;
            next = snapshot.as_of + 1;
        } else {
            past.folds = self.views.empty_slots(id, name);
        }
        while next <= position {
            let mut records = self.read_blocking(owner, next, position)?;
            let Some(last) = records.last() else {
                return Err(StoreError(format!("record {next} of stream {} was not found", owner.id)).into());
            };
            next = last.position + 1;
            past.time_us = past.time_us.max(last.time_us);
            for record in &mut records {
                record.stream = id;
                if record.subject != Subject::NONE {
                    past.versions.insert(record.subject.0, record.position);
                }
            }
            self.views.fold_quietly(name, &mut past.folds, &records);
        }
        Ok(past)
    }
}
