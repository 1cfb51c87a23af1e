//! Segments: files of fixed size and name in commit order, filled with zeroes before they are used, so that an append changes
//! neither a file's length nor its blocks. `segment/manifest` says which there are, `segment/supply` prepares them ahead.

pub(crate) mod files;
pub(crate) mod manifest;
pub(crate) mod supply;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::disk::DiskFile;

/// A prepared file.
pub(crate) struct Slot {
    /// Its number, part of its name.
    pub(crate) number: u32,
    /// Of this use of the slot; raised whenever a slot is (re)prepared, and in the order in which slots are used.
    pub(crate) generation: u32,
    pub(crate) bytes: u64,
    /// It held other commits before, and their bytes are still there behind its own.
    pub(crate) recycled: bool,
    /// First commit in it; 0 while there is none.
    pub(crate) base: AtomicU64,
    pub(crate) file: Arc<dyn DiskFile>,
}

impl Slot {
    pub(crate) fn name(number: u32) -> String {
        format!("slot-{number:06}")
    }

    pub(crate) fn is_name(name: &str) -> bool {
        name.starts_with("slot-")
    }

    pub(crate) fn entry(&self) -> manifest::Entry {
        manifest::Entry {
            slot: self.number,
            generation: self.generation,
            base: self.base.load(Ordering::Relaxed),
            bytes: self.bytes,
            recycled: self.recycled,
        }
    }
}

/// Where a commit lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommitPlace {
    pub(crate) commit: u64,
    pub(crate) generation: u32,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

/// Every slot that holds unclustered commits, by generation, and those commits, in order: where readers find files.
#[derive(Default)]
pub(crate) struct Slots {
    slots: RwLock<BTreeMap<u32, Arc<Slot>>>,
    commits: RwLock<VecDeque<CommitPlace>>,
}

impl Slots {
    pub(crate) fn insert(&self, slot: Arc<Slot>) {
        self.slots.write().insert(slot.generation, slot);
    }

    pub(crate) fn get(&self, generation: u32) -> io::Result<Arc<Slot>> {
        let found = self.slots.read().get(&generation).cloned();
        found.ok_or_else(|| io::Error::other(format!("there is no segment of generation {generation}")))
    }

    /// Every slot, oldest first. All but the last are full.
    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.read().values().cloned().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.read().len()
    }

    /// Notes where the next commit lies.
    pub(crate) fn note(&self, commit: u64, generation: u32, offset: u32, bytes: u32) {
        self.commits.write().push_back(CommitPlace {
            commit,
            generation,
            offset,
            bytes,
        });
    }

    /// Up to `limit` commits from number `from` on, with their slots, which stay as they are while they are held.
    pub(crate) fn commits(&self, from: u64, limit: usize) -> Vec<(CommitPlace, Arc<Slot>)> {
        let commits = self.commits.read();
        let first = commits.partition_point(|place| place.commit < from);
        let slots = self.slots.read();
        let held = |place: &CommitPlace| Some((*place, slots.get(&place.generation)?.clone()));
        commits.range(first..).take(limit).filter_map(held).collect()
    }

    /// Lets go of the slots whose commits, up to `through`, are in runs now.
    pub(crate) fn release(&self, through: u64, generations: &[u32]) {
        let mut commits = self.commits.write();
        while commits.front().is_some_and(|place| place.commit <= through) {
            commits.pop_front();
        }
        let mut slots = self.slots.write();
        for generation in generations {
            slots.remove(generation);
        }
    }
}
