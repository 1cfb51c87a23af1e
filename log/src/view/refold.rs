//! Folding forks anew when what they continue is erased: what their views made of its payloads goes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::inline::Folds;
use crate::catalog;
use crate::index::{Cell, Fork};
use crate::log::Shared;
use crate::record::StreamId;
use crate::view_store::{Change, StoreError, keys};

impl Shared {
    /// Folds every live fork anew that shares records with an erased stream. One that was trimmed since keeps what its own record of
    /// that says.
    pub(crate) fn refold_forks(self: &Arc<Self>) -> Result<(), StoreError> {
        let in_use = self.streams.all();
        let forks = in_use.iter().filter(|cell| cell.parent.is_some());
        let mut ids: HashSet<StreamId> = forks.map(|cell| cell.id).collect();
        catalog::each_stream(&*self.views.store, |id, row| {
            if row.is_fork() {
                ids.insert(id);
            }
        })?;
        for id in ids {
            if let Some(fork) = self.load_stream(id)?
                && !fork.index.read().head.deleted
                && continues_erased(&fork)
            {
                self.refold(&fork)?;
            }
        }
        Ok(())
    }

    /// Folds what is left of a stream. Its views are held meanwhile, so that none of its records becomes visible.
    fn refold(self: &Arc<Self>, cell: &Arc<Cell>) -> Result<(), StoreError> {
        let views = &self.views;
        let _writing = views.writing.lock();
        let mut folds = cell.folds.lock();
        let last = cell.index.read().last();
        let mut slots = self.past(cell, last, cell.id, &cell.name)?.folds;
        match &*folds {
            Folds::Loaded(old) => views.unlist(old),
            Folds::Stored => views.unlist(&views.load(cell)?),
        }
        // Without their position rows are made anew, should the new ones not come to be written.
        let mut gone: Vec<Change> = Vec::new();
        for slot in &mut slots {
            let rows = catalog::with_prefix(&*views.store, &keys::row(cell.id, slot.of.space, &[]))?;
            gone.extend(rows.into_iter().map(|(key, _)| (key, None)));
            gone.push((keys::position(cell.id, slot.of.space), None));
            slot.whole = true;
            slot.dirty = true;
        }
        views.store.write(gone)?;
        views.list(&slots);
        *folds = Folds::Loaded(slots);
        cell.loaded.store(true, Ordering::Release);
        views.note_behind(cell);
        Ok(())
    }
}

fn continues_erased(fork: &Cell) -> bool {
    let parent = |fork: &Fork| fork.cell.clone();
    let mut above = fork.parent.as_ref().map(parent);
    while let Some(cell) = above {
        if cell.index.read().head.erased {
            return true;
        }
        above = cell.parent.as_ref().map(parent);
    }
    false
}
