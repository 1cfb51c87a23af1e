//! Where the records of a range lie, and fetching them: located under the stream's lock, which pins the files, then read without it.

use std::sync::Arc;

use bytes::Bytes;

use super::Bounds;
use crate::codec;
use crate::error::ReadError;
use crate::index::{Cell, Loc};
use crate::levels::Levels;
use crate::log::Shared;
use crate::record::Record;
use crate::run::Access;
use crate::segment::Slot;

/// Frames nearer than this are fetched by one read, gap included.
const COALESCE_GAP: u32 = 32 << 10;
/// Longest such read.
const COALESCE_BYTES: u32 = 1 << 20;
/// Longest read that an async thread may try by itself, from what the system has in memory.
const NOW_BYTES: usize = 256 << 10;

/// A range of one stream's records in one kind of place.
pub(crate) struct Segment {
    /// Whose records they are: the stream that was asked for, or one that it continues.
    cell: Arc<Cell>,
    from: u64,
    erased: bool,
    bytes_max: usize,
    place: Place,
}

enum Place {
    Nowhere,
    /// In segments, which stay as they are while they are held.
    Slots(Vec<Loc>, Vec<Arc<Slot>>),
    /// In runs.
    Runs {
        levels: Arc<Levels>,
        to: u64,
        bounds: Bounds,
    },
}

/// Where the records from `from` on lie, up to `to` or to where the kind of place changes.
pub(crate) fn locate(
    shared: &Shared,
    cell: &Arc<Cell>,
    from: u64,
    to: u64,
    bounds: Bounds,
) -> Result<Segment, ReadError> {
    let trimmed = cell.index.read().head.trimmed;
    if from > 0 && from <= trimmed {
        return Err(ReadError::Trimmed {
            stream: cell.id,
            oldest: trimmed + 1,
        });
    }
    // Up through the streams that this one continues, to the one that has the record.
    let (mut owner, mut to) = (cell, to);
    while let Some(fork) = &owner.parent
        && from <= fork.position
    {
        to = to.min(fork.position);
        owner = &fork.cell;
    }
    let index = owner.index.read();
    let mut segment = Segment {
        cell: owner.clone(),
        from,
        erased: index.head.erased,
        bytes_max: bounds.bytes,
        place: Place::Nowhere,
    };
    let to = to.min(from.saturating_add(bounds.records as u64).saturating_sub(1));
    if from == 0 || bounds.records == 0 || from > to {
        return Ok(segment);
    }
    if from <= index.head.trimmed {
        return Err(ReadError::Trimmed {
            stream: cell.id,
            oldest: index.head.trimmed + 1,
        });
    }
    segment.place = if from <= index.clustered() {
        // After the lock was taken: these runs have all that the index has let go.
        Place::Runs {
            levels: shared.levels.get(),
            to: to.min(index.clustered()),
            bounds,
        }
    } else {
        let mut bytes = 0;
        let within = |loc: &Loc| {
            let first = bytes == 0;
            bytes += loc.bytes as usize;
            first || bytes <= bounds.bytes
        };
        let locs: Vec<Loc> = index.range(from, to).take_while(within).collect();
        let mut slots: Vec<Arc<Slot>> = Vec::new();
        for loc in &locs {
            if slots.last().is_none_or(|slot| slot.generation != loc.generation) {
                slots.push(
                    shared
                        .slots
                        .get(loc.generation)
                        .map_err(|error| failed(loc.generation, &error))?,
                );
            }
        }
        Place::Slots(locs, slots)
    };
    Ok(segment)
}

fn failed(generation: u32, error: &std::io::Error) -> ReadError {
    ReadError::Io {
        name: format!("the segment of generation {generation}"),
        message: error.to_string(),
    }
}

impl Segment {
    /// The records; `None` if that would block and `access` is `Now`.
    pub(crate) fn read(&self, shared: &Shared, access: Access) -> Result<Option<Vec<Record>>, ReadError> {
        let records = match &self.place {
            Place::Nowhere => return Ok(Some(Vec::new())),
            Place::Slots(locs, slots) => {
                let mut found = Found {
                    records: Vec::with_capacity(locs.len()),
                    allowed: NOW_BYTES,
                };
                match found.fill(shared, locs, slots, access) {
                    Ok(true) => found.records,
                    Ok(false) => return Ok(None),
                    // To go on, ask again after the last.
                    Err(_) if !found.records.is_empty() => found.records,
                    Err(Failed::Io(error)) => return Err(error),
                    Err(Failed::Damaged(what)) => return Err(self.corrupt(self.from, what)),
                }
            }
            Place::Runs { levels, to, bounds } => match levels.read(&self.cell, self.from, *to, *bounds, access)? {
                Some(records) => records,
                None => return Ok(None),
            },
        };
        self.whole(shared, records, access)
    }

    /// Checks that the records are the ones asked for, fetches payloads that lie in blobs, and takes away what was erased.
    fn whole(
        &self,
        shared: &Shared,
        mut records: Vec<Record>,
        access: Access,
    ) -> Result<Option<Vec<Record>>, ReadError> {
        let spilled = |record: &Record| record.extras.blob.filter(|_| !self.erased);
        if access == Access::Now && records.iter().any(|record| spilled(record).is_some()) {
            return Ok(None);
        }
        let (mut bytes, mut whole) = (0, 0);
        for (position, record) in (self.from..).zip(&mut records) {
            bytes += spilled(record).map_or(0, |blob| usize::try_from(blob.bytes).unwrap_or(usize::MAX));
            if whole > 0 && bytes > self.bytes_max {
                break;
            }
            match self.complete(shared, position, record) {
                Ok(()) => whole += 1,
                Err(error) if whole == 0 => return Err(error),
                Err(_) => break,
            }
        }
        records.truncate(whole);
        Ok(Some(records))
    }

    fn complete(&self, shared: &Shared, position: u64, record: &mut Record) -> Result<(), ReadError> {
        if record.stream != self.cell.id || record.position != position {
            return Err(self.corrupt(position, "another record stands in its place"));
        }
        if self.erased {
            record.erased = true;
            record.payload = Bytes::new();
            record.extras = crate::record::Extras::default();
        } else if let Some(blob) = record.extras.blob {
            let content = shared.blobs.read(self.cell.name.principal(), &blob);
            record.payload = content.map_err(|what| self.corrupt(position, &what))?;
        }
        Ok(())
    }

    fn corrupt(&self, position: u64, what: &str) -> ReadError {
        ReadError::Corrupt {
            stream: self.cell.id,
            position,
            what: what.to_owned(),
        }
    }
}

/// Why a record can't be had.
enum Failed {
    Io(ReadError),
    Damaged(&'static str),
}

/// Records found in segments, and how much more may be read by who may not wait.
struct Found {
    records: Vec<Record>,
    allowed: usize,
}

impl Found {
    /// Takes them from memory where they are there, and from the segments otherwise; `false` if that would block.
    fn fill(&mut self, shared: &Shared, locs: &[Loc], slots: &[Arc<Slot>], access: Access) -> Result<bool, Failed> {
        // Older ones are on disk, newer ones in memory as well.
        let kept = shared.tail.keep(locs);
        let (stored, kept_locs) = locs.split_at(locs.len() - kept.len());
        let mut rest = stored;
        while let Some(start) = rest.first() {
            let together = together(rest);
            let Some(bytes) = self.fetch(start, &rest[together - 1], slots, access)? else {
                return Ok(false);
            };
            for loc in &rest[..together] {
                self.take(&bytes, (loc.offset - start.offset) as usize, loc)?;
            }
            rest = &rest[together..];
        }
        for ((commit, at), loc) in kept.iter().zip(kept_locs) {
            self.take(commit, *at, loc)?;
        }
        Ok(true)
    }

    fn take(&mut self, bytes: &Bytes, at: usize, loc: &Loc) -> Result<(), Failed> {
        let put = |record| self.records.push(record);
        match codec::decode_record_at(bytes, at, put).map_err(Failed::Damaged)? {
            ((), length) if length == loc.bytes as usize => Ok(()),
            _ => {
                self.records.pop();
                Err(Failed::Damaged("it is of another length than the index says"))
            }
        }
    }

    /// The bytes from one frame to the end of another of the same segment; `None` if that would block.
    fn fetch(&mut self, first: &Loc, last: &Loc, slots: &[Arc<Slot>], access: Access) -> Result<Option<Bytes>, Failed> {
        let unreadable = |error: &std::io::Error| Failed::Io(failed(first.generation, error));
        let slot = slots.iter().find(|slot| slot.generation == first.generation);
        let slot = slot.ok_or_else(|| unreadable(&std::io::Error::other("it is not held")))?;
        let mut bytes = vec![0; (last.offset + last.bytes - first.offset) as usize];
        let offset = u64::from(first.offset);
        let read = match access {
            Access::Wait => slot.file.read_at(offset, &mut bytes).map(|()| true),
            Access::Now if bytes.len() > self.allowed => Ok(false),
            Access::Now => {
                self.allowed -= bytes.len();
                slot.file.try_read_at(offset, &mut bytes)
            }
        };
        match read {
            Ok(true) => Ok(Some(Bytes::from(bytes))),
            Ok(false) => Ok(None),
            Err(error) => Err(unreadable(&error)),
        }
    }
}

/// How many frames from the first on are fetched by one read: a stream's records lie in the order of their positions.
fn together(locs: &[Loc]) -> usize {
    let start = locs[0];
    let mut end = start.offset + start.bytes;
    let near = |loc: &&Loc| {
        let near = loc.generation == start.generation
            && loc.offset <= end.saturating_add(COALESCE_GAP)
            && (loc.offset + loc.bytes - start.offset <= COALESCE_BYTES || **loc == start);
        end = loc.offset + loc.bytes;
        near
    };
    locs.iter().take_while(near).count()
}
