//! Reading: from memory near the tail, from the segments before it, every checksum checked. A reader is a cursor, not a queue:
//! it scans to the tail and waits there, and lag is only a longer scan.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec;
use crate::error::ReadError;
use crate::index::{Cell, Loc};
use crate::log::Shared;
use crate::record::{Record, StreamId, SubStreamId};

/// Frames nearer than this are fetched by one read, gap included.
const COALESCE_GAP: u32 = 32 << 10;
/// Longest such read.
const COALESCE_BYTES: u32 = 1 << 20;

impl Shared {
    /// Places of up to `limit` visible records from `from` on, within the bounds of one read.
    fn places(&self, cell: &Cell, from: u64, limit: usize) -> Vec<Loc> {
        let tail = self.streams.tail(cell);
        let limit = limit.min(self.limits.read_records_max) as u64;
        if from == 0 || limit == 0 {
            return Vec::new();
        }
        let to = tail.min(from.saturating_add(limit - 1));
        let index = cell.index.read();
        let mut bytes = 0;
        let within = |loc: &&Loc| {
            let first = bytes == 0;
            bytes += loc.bytes as usize;
            first || bytes <= self.limits.read_bytes_max
        };
        index.range(from, to).iter().take_while(within).copied().collect()
    }

    /// The records at these places, which hold the positions given, off the async threads if the disk is needed.
    async fn fetch(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        locs: Vec<Loc>,
        positions: Vec<u64>,
    ) -> Result<Vec<Record>, ReadError> {
        let mut frames = vec![None; locs.len()];
        self.tail.lookup(&locs, &mut frames);
        if frames.iter().all(Option::is_some) {
            return decode(cell.id, frames, &positions);
        }
        let (shared, stream) = (self.clone(), cell.id);
        let read = move || {
            shared.read_frames(&locs, &mut frames)?;
            decode(stream, frames, &positions)
        };
        tokio::task::spawn_blocking(read)
            .await
            .unwrap_or(Err(ReadError::Closed))
    }

    /// The same on a thread that may block.
    pub(crate) fn fetch_blocking(&self, cell: &Cell, from: u64) -> Result<Vec<Record>, ReadError> {
        let locs = {
            let index = cell.index.read();
            let to = index.len().min(from + self.limits.read_records_max as u64 - 1);
            index.range(from, to).to_vec()
        };
        let positions: Vec<u64> = (from..from + locs.len() as u64).collect();
        let mut frames = vec![None; locs.len()];
        self.tail.lookup(&locs, &mut frames);
        self.read_frames(&locs, &mut frames)?;
        decode(cell.id, frames, &positions)
    }

    /// Reads the missing frames from their segments, near ones together.
    fn read_frames(&self, locs: &[Loc], frames: &mut [Option<Bytes>]) -> Result<(), ReadError> {
        let mut missing: Vec<usize> = (0..locs.len()).filter(|at| frames[*at].is_none()).collect();
        missing.sort_by_key(|at| locs[*at]);
        let mut rest = &missing[..];
        while let Some(first) = rest.first() {
            let start = locs[*first];
            let mut end = start.offset + start.bytes;
            let together = rest
                .iter()
                .take_while(|at| {
                    let loc = locs[**at];
                    let near = loc.generation == start.generation
                        && loc.offset <= end.saturating_add(COALESCE_GAP)
                        && (loc.offset + loc.bytes - start.offset <= COALESCE_BYTES || loc == start);
                    if near {
                        end = end.max(loc.offset + loc.bytes);
                    }
                    near
                })
                .count();
            let mut bytes = vec![0; (end - start.offset) as usize];
            let failed = |error: std::io::Error| ReadError::Io {
                name: format!("the segment of generation {}", start.generation),
                message: error.to_string(),
            };
            let slot = self.slots.get(start.generation).map_err(failed)?;
            slot.file.read_at(u64::from(start.offset), &mut bytes).map_err(failed)?;
            let bytes = Bytes::from(bytes);
            for at in &rest[..together] {
                let from = (locs[*at].offset - start.offset) as usize;
                frames[*at] = Some(bytes.slice(from..from + locs[*at].bytes as usize));
            }
            rest = &rest[together..];
        }
        Ok(())
    }

    pub(crate) async fn read(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let locs = self.places(cell, from, limit);
        let positions = (from..from + locs.len() as u64).collect();
        self.fetch(cell, locs, positions).await
    }

    pub(crate) async fn read_positions(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        positions: &[u64],
    ) -> Result<Vec<Record>, ReadError> {
        let tail = self.streams.tail(cell);
        if let Some(position) = positions.iter().find(|position| **position == 0 || **position > tail) {
            return Err(ReadError::BeyondTail {
                stream: cell.id,
                position: *position,
                tail,
            });
        }
        let mut records = Vec::with_capacity(positions.len());
        // In pages, so that one call holds no more than a read's bound beyond what it returns.
        for page in positions.chunks(self.limits.read_records_max) {
            let locs = {
                let index = cell.index.read();
                page.iter()
                    .flat_map(|position| index.range(*position, *position))
                    .copied()
                    .collect()
            };
            records.extend(self.fetch(cell, locs, page.to_vec()).await?);
        }
        Ok(records)
    }

    /// Resolves when the stream's tail is at or beyond `position`.
    async fn wait_for(&self, cell: &Cell, position: u64) {
        loop {
            let published = cell.wake.notified();
            tokio::pin!(published);
            published.as_mut().enable();
            if self.streams.tail(cell) >= position {
                return;
            }
            published.await;
        }
    }
}

fn decode(stream: StreamId, frames: Vec<Option<Bytes>>, positions: &[u64]) -> Result<Vec<Record>, ReadError> {
    let one = |(frame, position): (Option<Bytes>, &u64)| {
        let corrupt = |what: &str| ReadError::Corrupt {
            stream,
            position: *position,
            what: what.to_owned(),
        };
        let frame = frame.ok_or_else(|| corrupt("it was not found"))?;
        let (record, _) = codec::decode_record(&frame).map_err(corrupt)?;
        if record.stream != stream || record.position != *position {
            return Err(corrupt("another record stands in its place"));
        }
        Ok(record)
    };
    frames.into_iter().zip(positions).map(one).collect()
}

/// A cursor over a stream. Holds a position and nothing else.
pub struct Follow {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cell: Arc<Cell>,
    pub(crate) next: u64,
}

impl Follow {
    /// The next records, at least one: scans to the tail, then waits there. Cancel-safe.
    pub async fn page(&mut self) -> Result<Vec<Record>, ReadError> {
        loop {
            let records = self.shared.read(&self.cell, self.next, usize::MAX).await?;
            if !records.is_empty() {
                self.next += records.len() as u64;
                return Ok(records);
            }
            self.shared.wait_for(&self.cell, self.next).await;
        }
    }
}

/// A cursor over one sub-stream.
pub struct FollowSub {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cell: Arc<Cell>,
    pub(crate) sub: SubStreamId,
    pub(crate) after: u64,
    pub(crate) next: u64,
    pub(crate) visited: u64,
}

impl FollowSub {
    /// The next records of the sub-stream, at least one; waits at the tail. Records of others are skipped. Cancel-safe.
    pub async fn page(&mut self) -> Result<Vec<Record>, ReadError> {
        loop {
            let published = self.cell.wake.notified();
            tokio::pin!(published);
            published.as_mut().enable();
            let wanted = self.cell.index.read().sub(self.sub).and_then(|sub| {
                let from = self.next.max(sub.floor(self.after + 1));
                (sub.count > self.after).then_some((from, sub.last))
            });
            let records = match wanted {
                Some((from, last)) => {
                    self.next = from;
                    self.shared.read(&self.cell, from, (last - from + 1) as usize).await?
                }
                None => Vec::new(),
            };
            if records.is_empty() {
                published.await;
                continue;
            }
            self.next += records.len() as u64;
            self.visited += records.len() as u64;
            let mine = |record: &Record| {
                record
                    .sub
                    .is_some_and(|(id, number)| id == self.sub && number > self.after)
            };
            let mine: Vec<Record> = records.into_iter().filter(mine).collect();
            if let Some((_, number)) = mine.last().and_then(|record| record.sub) {
                self.after = number;
                return Ok(mine);
            }
        }
    }

    /// Records read so far, those of others included: what a resume costs.
    pub fn visited(&self) -> u64 {
        self.visited
    }
}
