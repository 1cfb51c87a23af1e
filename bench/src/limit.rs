//! The machine's limit: zero-filled files that are overwritten, one write and one fdatasync for whatever waits, and no more.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use crate::committer::{Sink, Write};

const FILE_BYTES: u64 = 64 << 20;

/// A zero-filled file that is written round and round.
pub struct Limit {
    file: File,
    at: u64,
    buffer: Vec<u8>,
    durable: bool,
}

impl Limit {
    /// In `folder`; syncs every write if `durable`.
    pub fn create(folder: &Path, durable: bool) -> io::Result<Self> {
        let file = File::create(folder.join("limit"))?;
        for at in (0..FILE_BYTES).step_by(1 << 20) {
            file.write_all_at(&vec![0; 1 << 20], at)?;
        }
        file.sync_all()?;
        Ok(Self {
            file,
            at: 0,
            buffer: Vec::new(),
            durable,
        })
    }

    /// Writes some tokens, framed by length and checksum, and syncs once.
    pub fn write<'a>(&mut self, tokens: impl Iterator<Item = &'a Bytes>) -> io::Result<()> {
        self.buffer.clear();
        for token in tokens {
            self.buffer.extend_from_slice(&(token.len() as u32).to_le_bytes());
            self.buffer.extend_from_slice(&crc32fast::hash(token).to_le_bytes());
            self.buffer.extend_from_slice(token);
        }
        if self.at + self.buffer.len() as u64 > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        if self.durable { self.file.sync_data() } else { Ok(()) }
    }
}

impl Sink for Limit {
    fn commit(&mut self, batch: &[Write]) -> Result<(), Box<dyn std::error::Error>> {
        Ok(self.write(batch.iter().flat_map(|write| &write.tokens))?)
    }
}
