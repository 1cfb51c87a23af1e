//! Segments: files of fixed size and name in commit order, filled with zeroes before they are used, so that an append changes
//! neither a file's length nor its blocks. `segment/manifest` says which there are, `segment/supply` prepares them ahead.

pub(crate) mod manifest;
pub(crate) mod supply;

use std::collections::BTreeMap;
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
        }
    }
}

/// Every slot that holds commits, by generation: where readers find files.
#[derive(Default)]
pub(crate) struct Slots(RwLock<BTreeMap<u32, Arc<Slot>>>);

impl Slots {
    pub(crate) fn insert(&self, slot: Arc<Slot>) {
        self.0.write().insert(slot.generation, slot);
    }

    pub(crate) fn get(&self, generation: u32) -> io::Result<Arc<Slot>> {
        let found = self.0.read().get(&generation).cloned();
        found.ok_or_else(|| io::Error::other(format!("there is no segment of generation {generation}")))
    }
}
