//! Gathers the entries of a section into blocks.

use super::Key;
use super::block::Packer;
use super::entry::Place;
use crate::record::StreamId;

/// Gathers entries into blocks.
pub(super) struct Pages {
    pub(super) block_bytes: usize,
    packer: Packer,
    first: Key,
    pub(super) raw: Vec<u8>,
    starts: Vec<usize>,
    pub(super) packed: Vec<u8>,
    pub(super) blocks: usize,
}

impl Pages {
    pub(super) fn new(block_bytes: usize) -> Self {
        Self {
            block_bytes,
            packer: Packer::default(),
            first: (StreamId([0; 16]), 0),
            raw: Vec::new(),
            starts: Vec::new(),
            packed: Vec::new(),
            blocks: 0,
        }
    }

    /// Makes room for an entry of `bytes`, which is then appended to `raw`. Gives the block that was full, if one was.
    pub(super) fn begin(&mut self, key: Key, bytes: usize, records: bool) -> Option<Place> {
        let full = self.raw.len() + bytes > self.block_bytes;
        let place = if full { self.end(records) } else { None };
        if self.raw.is_empty() {
            self.first = key;
        }
        self.starts.push(self.raw.len());
        place
    }

    /// Adds an entry to a section that nothing is looked up in.
    pub(super) fn add(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        let start = self.raw.len();
        put(&mut self.raw);
        if start > 0 && self.raw.len() > self.block_bytes {
            let entry = self.raw.split_off(start);
            self.end(false);
            self.raw = entry;
        }
    }

    /// Packs what was gathered; its place is relative to the section.
    pub(super) fn end(&mut self, records: bool) -> Option<Place> {
        if self.raw.is_empty() {
            return None;
        }
        let offset = self.packed.len() as u64;
        let starts = records.then_some(&self.starts[..]);
        let bytes = self.packer.pack(&self.raw, starts, &mut self.packed);
        self.raw.clear();
        self.starts.clear();
        self.blocks += 1;
        let (stream, position) = self.first;
        Some(Place {
            stream,
            position,
            offset,
            bytes: bytes as u32,
        })
    }
}
