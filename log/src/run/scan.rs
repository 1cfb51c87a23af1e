//! Walks through a section from front to back with long reads, past the cache.

use std::sync::Arc;

use bytes::Bytes;

use super::block::{BLOCK_HEAD, block_bytes, unpack};
use super::entry::{BlobRef, Entry, Span, Stub, take_commit};
use super::file::Run;
use super::footer::Section;
use super::{READ_BYTES, RunError};
use crate::disk::DiskFile;

/// All records of a run, in order.
pub(crate) type Scan = Items<Entry>;

impl Run {
    /// All records, in order.
    pub(crate) fn scan(&self) -> Scan {
        self.items(self.footer.sections.records, Entry::take)
    }

    /// What it has of each stream.
    pub(crate) fn streams(&self) -> Items<Span> {
        self.items(self.footer.sections.streams, Span::take)
    }

    /// The commits' header frames.
    pub(crate) fn commits(&self) -> Items<Bytes> {
        self.items(self.footer.sections.commits, take_commit)
    }

    /// What stands for the records that were dropped.
    pub(crate) fn stubs(&self) -> Items<Stub> {
        self.items(self.footer.sections.stubs, Stub::take)
    }

    /// The records' references to blobs.
    pub(crate) fn blobs(&self) -> Items<BlobRef> {
        self.items(self.footer.sections.blobs, BlobRef::take)
    }

    fn items<T>(&self, section: Section, take: Take<T>) -> Items<T> {
        Items::new(self.blocks(section), take)
    }

    pub(super) fn blocks(&self, section: Section) -> Blocks {
        Blocks::in_memory(self.number, self.file.clone(), section, Bytes::new())
    }
}

/// The entry at an offset of a block, and where the next one starts.
type Take<T> = fn(&Bytes, usize) -> Result<(T, usize), &'static str>;

/// The entries of a section. Ends after an error.
pub(crate) struct Items<T> {
    blocks: Blocks,
    take: Take<T>,
    block: Bytes,
    block_at: u64,
    at: usize,
}

impl<T> Items<T> {
    pub(super) fn new(blocks: Blocks, take: Take<T>) -> Self {
        Self {
            blocks,
            take,
            block: Bytes::new(),
            block_at: 0,
            at: 0,
        }
    }

    /// Where the block of the entry that came last starts, and how many blocks have begun.
    pub(super) fn block(&self) -> (u64, u32) {
        (self.block_at, self.blocks.count)
    }

    fn take_next(&mut self) -> Result<Option<T>, RunError> {
        while self.at == self.block.len() {
            let Some((offset, block)) = self.blocks.take_next()? else {
                return Ok(None);
            };
            (self.block_at, self.block, self.at) = (offset, block, 0);
        }
        let (entry, next) = (self.take)(&self.block, self.at)
            .map_err(|what| RunError::damaged(self.blocks.run, self.block_at, what))?;
        self.at = next;
        Ok(Some(entry))
    }
}

impl<T> Iterator for Items<T> {
    type Item = Result<T, RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.take_next();
        if next.is_err() {
            self.block = Bytes::new();
            self.at = 0;
            self.blocks.at = self.blocks.end;
        }
        next.transpose()
    }
}

/// The blocks of a section.
pub(super) struct Blocks {
    run: u32,
    file: Arc<dyn DiskFile>,
    at: u64,
    end: u64,
    count: u32,
    /// What was read, from `at` on.
    read: Bytes,
}

impl Blocks {
    /// With the first bytes of the section, which are not read again.
    pub(super) fn in_memory(run: u32, file: Arc<dyn DiskFile>, section: Section, read: Bytes) -> Self {
        Self {
            run,
            file,
            at: section.offset,
            end: section.end(),
            count: 0,
            read,
        }
    }

    fn take_next(&mut self) -> Result<Option<(u64, Bytes)>, RunError> {
        if self.at == self.end {
            return Ok(None);
        }
        let offset = self.at;
        let damaged = |run, what: &str| RunError::damaged(run, offset, what);
        self.ensure(BLOCK_HEAD)?;
        let bytes = block_bytes(&self.read).map_err(|what| damaged(self.run, what))?;
        self.ensure(bytes)?;
        let block = unpack(&self.read.split_to(bytes)).map_err(|what| damaged(self.run, what))?;
        if block.is_empty() {
            return Err(damaged(self.run, "the block holds nothing"));
        }
        self.at += bytes as u64;
        self.count += 1;
        Ok(Some((offset, block)))
    }

    /// Reads on if fewer than `bytes` are at hand.
    fn ensure(&mut self, bytes: usize) -> Result<(), RunError> {
        if self.read.len() >= bytes {
            return Ok(());
        }
        let left = self.end - self.at;
        if (bytes as u64) > left {
            return Err(RunError::damaged(
                self.run,
                self.at,
                "the block reaches beyond its section",
            ));
        }
        let wanted = bytes.max(READ_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut read = vec![0; wanted];
        self.file
            .read_at(self.at, &mut read)
            .map_err(RunError::reading(self.run, self.at))?;
        self.read = Bytes::from(read);
        Ok(())
    }
}
