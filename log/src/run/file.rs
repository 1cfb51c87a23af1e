//! An open run. In memory are its footer and one line per block; everything else is read when it is asked for.

use std::sync::Arc;

use bytes::Bytes;

use super::block::unpack;
use super::cache::BlockCache;
use super::entry::{Place, Span, find_span, take_records};
use super::footer::{Footer, Section, TRAILER, parse_trailer};
use super::scan::{Blocks, Items};
use super::{FORMAT, HEAD, READ_BYTES, RunError, name};
use crate::disk::{Disk, DiskFile};
use crate::record::{Record, StreamId};

/// What opening reads in one go from the end of the file: most of the time all that it needs.
const TAIL_BYTES: u64 = 64 << 10;

/// Whether a call may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It may.
    Wait,
    /// It may not: what is not in memory is [`RunError::WouldBlock`].
    Now,
}

/// An open run.
pub(crate) struct Run {
    pub(super) number: u32,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) file_bytes: u64,
    pub(super) footer: Footer,
    pub(super) records: Vec<Place>,
    pub(super) streams: Vec<Place>,
    cache: Arc<BlockCache>,
}

impl Run {
    /// Opens and checks what leads to the records: trailer, footer, index. Waits for the disk.
    pub(crate) fn open(disk: &dyn Disk, number: u32, cache: Arc<BlockCache>) -> Result<Self, RunError> {
        let opening = |source| RunError::Io {
            what: format!("opening {} in {}", name(number), disk.describe()),
            source,
        };
        let file = disk.open(&name(number)).map_err(opening)?;
        let file_bytes = file.len().map_err(opening)?;
        let damaged = |offset: u64, what: &str| RunError::damaged(number, offset, what);
        if file_bytes < (HEAD.len() + TRAILER) as u64 {
            return Err(damaged(file_bytes, "the file is too short to be a run"));
        }
        let tail_at = file_bytes.saturating_sub(TAIL_BYTES);
        let tail = read(&file, number, tail_at, (file_bytes - tail_at) as usize)?;
        let trailer_at = file_bytes - TRAILER as u64;
        let (footer_at, footer_bytes) =
            parse_trailer(&tail[tail.len() - TRAILER..], file_bytes).map_err(|what| damaged(trailer_at, what))?;

        let from_tail = |offset: u64, bytes: usize| match offset.checked_sub(tail_at) {
            Some(at) => Ok(tail.slice(at as usize..at as usize + bytes)),
            None => read(&file, number, offset, bytes),
        };
        let json = unpack(&from_tail(footer_at, footer_bytes)?).map_err(|what| damaged(footer_at, what))?;
        let in_footer = |what: String| RunError::damaged(number, footer_at, what);
        let format = Footer::format(&json).map_err(in_footer)?;
        if format != FORMAT {
            return Err(RunError::Format { run: number, format });
        }
        let footer = Footer::parse(&json, number, footer_at).map_err(in_footer)?;

        // The sections were found to fill the file, so this is no longer than the file.
        let index = footer.sections.index;
        let bytes = from_tail(index.offset, index.bytes as usize)?;
        let blocks = Blocks::in_memory(number, file.clone(), index, bytes);
        let mut places = Items::new(blocks, Place::take);
        let records = index_of(&mut places, footer.sections.records, number, index.offset)?;
        let streams = index_of(&mut places, footer.sections.streams, number, index.offset)?;
        if let Some(place) = places.next() {
            place?;
            return Err(damaged(index.offset, "the index lists more blocks than there are"));
        }
        Ok(Self {
            number,
            file,
            file_bytes,
            footer,
            records,
            streams,
            cache,
        })
    }

    /// Its number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// What it says about itself.
    pub(crate) fn footer(&self) -> &Footer {
        &self.footer
    }

    /// Length of its file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// What it has of a stream; `None` if nothing.
    pub(crate) fn span(&self, stream: StreamId, access: Access) -> Result<Option<Span>, RunError> {
        let after = self.streams.partition_point(|place| place.stream <= stream);
        let Some(place) = after.checked_sub(1).map(|at| self.streams[at]) else {
            return Ok(None);
        };
        let block = match self.cache.get(self.number, place.offset) {
            Some(block) => block,
            None => self.fetch(&[place], access)?.remove(0),
        };
        find_span(&block, stream).map_err(|what| RunError::damaged(self.number, place.offset, what))
    }

    /// Adds a stream's records, positions `from` to `to`, both included, every checksum checked. Ends early once the frames have taken
    /// `bytes_left` (the very first record always comes), where going on would wait and may not, or where something is damaged: to go on,
    /// ask again after the last. An error only if `found` is still empty; nothing only if there is none, or no room for it.
    pub(crate) fn read(
        &self,
        stream: StreamId,
        from: u64,
        to: u64,
        bytes_left: &mut usize,
        access: Access,
        found: &mut Vec<Record>,
    ) -> Result<(), RunError> {
        let (from, to) = ((stream, from), (stream, to));
        let after = self.records.partition_point(|place| place.key() <= from);
        let end = self.records.partition_point(|place| place.key() <= to);
        let mut places = self.records.get(after.saturating_sub(1)..end).unwrap_or_default();
        while let Some(first) = places.first() {
            let blocks = match self.cache.get(self.number, first.offset) {
                Some(block) => vec![block],
                None => match self.fetch(&places[..self.together(places, *bytes_left)], access) {
                    Err(_) if !found.is_empty() => return Ok(()),
                    fetched => fetched?,
                },
            };
            for (place, block) in places.iter().zip(&blocks) {
                match take_records(block, from, to, bytes_left, found) {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(_) if !found.is_empty() => return Ok(()),
                    Err(what) => return Err(RunError::damaged(self.number, place.offset, what)),
                }
            }
            places = &places[blocks.len()..];
            if *bytes_left == 0 && !found.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One record of a stream, if the run has it.
    pub(crate) fn record(&self, stream: StreamId, position: u64) -> Result<Option<Record>, RunError> {
        let mut found = Vec::new();
        self.read(stream, position, position, &mut 0, Access::Wait, &mut found)?;
        Ok(found.pop())
    }

    /// How many of these blocks to read at once: no more than are likely to be wanted, and none that is in memory. At least one.
    fn together(&self, places: &[Place], bytes_wanted: usize) -> usize {
        let block_bytes = self.footer.raw_bytes / (self.records.len() as u64).max(1);
        let likely = (bytes_wanted as u64 / block_bytes.max(1)).saturating_add(1);
        let mut bytes = 0;
        let count = places
            .iter()
            .take(usize::try_from(likely).unwrap_or(usize::MAX))
            .take_while(|place| {
                bytes += place.bytes as usize;
                bytes <= READ_BYTES && !self.cache.holds(self.number, place.offset)
            })
            .count();
        count.max(1)
    }

    /// The content of blocks that follow each other, by one read: at least one, and all up to the first that is damaged.
    fn fetch(&self, places: &[Place], access: Access) -> Result<Vec<Bytes>, RunError> {
        let start = places[0].offset;
        let bytes: usize = places.iter().map(|place| place.bytes as usize).sum();
        let mut stored = vec![0; bytes];
        let read = match access {
            Access::Wait => self.file.read_at(start, &mut stored).map(|()| true),
            Access::Now => self.file.try_read_at(start, &mut stored),
        };
        if !read.map_err(RunError::reading(self.number, start))? {
            return Err(RunError::WouldBlock { run: self.number });
        }
        let mut blocks = Vec::with_capacity(places.len());
        for place in places {
            let at = (place.offset - start) as usize;
            let block = match unpack(&stored[at..at + place.bytes as usize]) {
                Ok(block) => block,
                Err(_) if !blocks.is_empty() => break,
                Err(what) => return Err(RunError::damaged(self.number, place.offset, what)),
            };
            self.cache.put(self.number, place.offset, block.clone());
            blocks.push(block);
        }
        Ok(blocks)
    }
}

fn read(file: &Arc<dyn DiskFile>, number: u32, offset: u64, bytes: usize) -> Result<Bytes, RunError> {
    let mut read = vec![0; bytes];
    file.read_at(offset, &mut read)
        .map_err(RunError::reading(number, offset))?;
    Ok(Bytes::from(read))
}

/// The places of a section's blocks: as many as it has, in order, and without gaps from its start to its end.
fn index_of(places: &mut Items<Place>, section: Section, number: u32, index_at: u64) -> Result<Vec<Place>, RunError> {
    let damaged = |what: &str| RunError::damaged(number, index_at, what);
    let mut index: Vec<Place> = Vec::new();
    let mut at = section.offset;
    for _ in 0..section.blocks {
        let place = places
            .next()
            .unwrap_or_else(|| Err(damaged("the index lists fewer blocks than there are")))?;
        if place.offset != at || index.last().is_some_and(|last| last.key() >= place.key()) {
            return Err(damaged("the index does not list the blocks in their order"));
        }
        at = place.end();
        index.push(place);
    }
    if at != section.end() {
        return Err(damaged("the index and the footer disagree about a section's length"));
    }
    Ok(index)
}
