//! The records of a run with damage passed over: what can't be read is told in its place, and what lies behind it follows. By the index, if
//! the run could be opened; otherwise from the front, looking for the next block that checks.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::block::{BLOCK_HEAD, block_bytes, unpack};
use super::entry::Entry;
use super::{HEAD, Key, Run, name};
use crate::disk::DiskFile;
use crate::disk::ahead::Ahead;
use crate::record::StreamId;

/// Offsets that are tried by one look.
const SEARCH_BYTES: usize = 64 << 10;

/// A part of a run that can't be read.
#[derive(Debug)]
pub(crate) struct Hole {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// The first record that it can have held.
    pub(crate) from: Option<Key>,
    pub(crate) what: String,
}

/// The records of a run.
pub(crate) struct Salvage {
    number: u32,
    file: Ahead,
    by: By,
    block: Bytes,
    block_at: u64,
    stored_bytes: u64,
    at: usize,
    last: Option<Key>,
}

enum By {
    Index(Arc<Run>, Range<usize>),
    Search(u64),
}

impl Salvage {
    /// Of an open run: all records, or the blocks that can have those of one stream.
    pub(crate) fn of(run: &Arc<Run>, stream: Option<StreamId>) -> Self {
        let blocks = match stream {
            None => 0..run.records.len(),
            Some(stream) => {
                let first = run.records.partition_point(|place| place.key() <= (stream, 0));
                let end = run.records.partition_point(|place| place.key() <= (stream, u64::MAX));
                first.saturating_sub(1)..end
            }
        };
        Self::new(
            run.number,
            run.file.clone(),
            run.file_bytes,
            By::Index(run.clone(), blocks),
        )
    }

    /// Of a run that can't be opened.
    pub(crate) fn headless(number: u32, file: Arc<dyn DiskFile>, file_bytes: u64) -> Self {
        Self::new(number, file, file_bytes, By::Search(HEAD.len() as u64))
    }

    fn new(number: u32, file: Arc<dyn DiskFile>, file_bytes: u64, by: By) -> Self {
        Self {
            number,
            file: Ahead::new(file, file_bytes),
            by,
            block: Bytes::new(),
            block_at: 0,
            stored_bytes: 0,
            at: 0,
            last: None,
        }
    }

    /// The file's name.
    pub(crate) fn file(&self) -> String {
        name(self.number)
    }

    /// Goes on to the next block; `None` at the end.
    fn next_block(&mut self) -> Option<Result<(), Hole>> {
        match &mut self.by {
            By::Index(run, blocks) => {
                let place = run.records[blocks.next()?];
                let hole = |what: String| Hole {
                    offset: place.offset,
                    bytes: place.bytes.into(),
                    from: Some(place.key()),
                    what,
                };
                let read = self.file.get(place.offset, place.bytes as usize);
                let block = read
                    .map_err(|error| error.to_string())
                    .and_then(|stored| unpack(&stored).map_err(str::to_owned));
                Some(block.map_err(hole).map(|block| {
                    (self.block, self.at) = (block, 0);
                    (self.block_at, self.stored_bytes) = (place.offset, place.bytes.into());
                }))
            }
            By::Search(at) => {
                let start = *at;
                if let Some((block, bytes)) = block_at(&mut self.file, start) {
                    *at += bytes;
                    return self.begun(start, block, bytes).then_some(Ok(()));
                }
                let found = search(&mut self.file, start + 1);
                let next = found.unwrap_or(self.file.end());
                self.by = By::Search(next);
                (start < self.file.end()).then(|| {
                    Err(Hole {
                        offset: start,
                        bytes: next - start,
                        from: self.last,
                        what: "no block checks here".to_owned(),
                    })
                })
            }
        }
    }

    /// Behind the last block of records come those of other things: `false`.
    fn begun(&mut self, offset: u64, block: Bytes, bytes: u64) -> bool {
        let records = Entry::take(&block, 0).is_ok();
        if records {
            (self.block, self.at) = (block, 0);
            (self.block_at, self.stored_bytes) = (offset, bytes);
        } else {
            self.by = By::Search(self.file.end());
        }
        records
    }
}

/// The block at an offset, if one checks there, and its length.
fn block_at(file: &mut Ahead, offset: u64) -> Option<(Bytes, u64)> {
    let bytes = block_bytes(&file.get(offset, BLOCK_HEAD).ok()?).ok()?;
    let block = unpack(&file.get(offset, bytes).ok()?).ok()?;
    (!block.is_empty()).then_some((block, bytes as u64))
}

/// The next offset where a block checks.
fn search(file: &mut Ahead, from: u64) -> Option<u64> {
    let mut offset = from;
    while offset + (BLOCK_HEAD as u64) < file.end() {
        let Ok(some) = file.get(offset, SEARCH_BYTES + BLOCK_HEAD) else {
            offset += SEARCH_BYTES as u64;
            continue;
        };
        for at in 0..some.len().saturating_sub(BLOCK_HEAD - 1).min(SEARCH_BYTES) {
            let plausible = some[at + 8] <= 2 && some[at + 9..at + 12] == [0; 3];
            if plausible && block_at(file, offset + at as u64).is_some() {
                return Some(offset + at as u64);
            }
        }
        offset += SEARCH_BYTES as u64;
    }
    None
}

impl Iterator for Salvage {
    type Item = Result<Entry, Hole>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at == self.block.len() {
            if let Err(hole) = self.next_block()? {
                self.block = Bytes::new();
                self.at = 0;
                return Some(Err(hole));
            }
        }
        match Entry::take(&self.block, self.at) {
            Ok((entry, next)) => {
                self.at = next;
                self.last = Some(entry.key());
                Some(Ok(entry))
            }
            Err(what) => {
                self.at = self.block.len();
                Some(Err(Hole {
                    offset: self.block_at,
                    bytes: self.stored_bytes,
                    from: self.last,
                    what: what.to_owned(),
                }))
            }
        }
    }
}
