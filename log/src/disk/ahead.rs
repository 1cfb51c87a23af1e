//! Reading a file from front to back in long reads, asked for in pieces of any size.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::DiskFile;

/// Bytes of one read, unless more is asked for at once.
const READ_BYTES: u64 = 1 << 20;

/// A file and the part of it that was read last.
pub(crate) struct Ahead {
    file: Arc<dyn DiskFile>,
    /// Nothing is read at or behind this offset.
    end: u64,
    start: u64,
    read: Bytes,
}

impl Ahead {
    pub(crate) fn new(file: Arc<dyn DiskFile>, end: u64) -> Self {
        Self {
            file,
            end,
            start: 0,
            read: Bytes::new(),
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// `bytes` from `offset`, or as many as there are before the end.
    pub(crate) fn get(&mut self, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let bytes = (bytes as u64).min(self.end.saturating_sub(offset));
        let held = self.start + self.read.len() as u64;
        if offset < self.start || offset + bytes > held {
            let wanted = bytes.max(READ_BYTES).min(self.end.saturating_sub(offset));
            let mut read = vec![0; usize::try_from(wanted).map_err(io::Error::other)?];
            self.file.read_at(offset, &mut read)?;
            (self.start, self.read) = (offset, Bytes::from(read));
        }
        let from = (offset - self.start) as usize;
        Ok(self.read.slice(from..from + bytes as usize))
    }
}
