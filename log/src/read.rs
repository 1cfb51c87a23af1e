//! Reading: from memory near the tail, from the segments before it, from runs before that, every checksum checked. A reader is a
//! cursor, not a queue: it scans to the tail and waits there, and lag is only a longer scan.

mod follow;
pub(crate) mod frames;

use std::sync::Arc;

pub use follow::{Follow, FollowSub};

use crate::error::ReadError;
use crate::index::Cell;
use crate::log::Shared;
use crate::record::{Record, StreamId};
use crate::run::Access;
use frames::Segment;

/// Which records one call returns at most.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl Shared {
    pub(crate) fn bounds(&self, limit: usize) -> Bounds {
        Bounds {
            records: limit.min(self.limits.read_records_max),
            bytes: self.limits.read_bytes_max,
        }
    }

    /// Up to `limit` visible records from `from` on. Fewer where the storage changes; none only at the tail.
    pub(crate) async fn read(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        self.readable(cell)?;
        let tail = self.streams.tail(cell);
        self.read_range(cell, from, tail, self.bounds(limit)).await
    }

    /// Refuses what a caller may not see at all.
    pub(crate) fn readable(&self, cell: &Cell) -> Result<(), ReadError> {
        match cell.index.read().head.deleted {
            true => Err(ReadError::Deleted(cell.id)),
            false => Ok(()),
        }
    }

    /// Records from `from` to at most `to`, which is visible.
    async fn read_range(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        from: u64,
        to: u64,
        bounds: Bounds,
    ) -> Result<Vec<Record>, ReadError> {
        let segment = frames::locate(self, cell, from, to, bounds)?;
        if let Some(records) = segment.read(self, Access::Now)? {
            return Ok(relabelled(cell.id, records));
        }
        self.read_off_thread(cell.id, segment).await
    }

    async fn read_off_thread(self: &Arc<Self>, stream: StreamId, segment: Segment) -> Result<Vec<Record>, ReadError> {
        let shared = self.clone();
        let read = move || segment.read(&shared, Access::Wait);
        let records = tokio::task::spawn_blocking(read)
            .await
            .unwrap_or(Err(ReadError::Closed))?;
        Ok(relabelled(stream, records.unwrap_or_default()))
    }

    /// The same on a thread that may block, up to the last record that is durable. Deleted streams can be read here.
    pub(crate) fn read_blocking(&self, cell: &Arc<Cell>, from: u64, to: u64) -> Result<Vec<Record>, ReadError> {
        let to = to.min(cell.index.read().last());
        let segment = frames::locate(self, cell, from, to, self.bounds(usize::MAX))?;
        let records = segment.read(self, Access::Wait)?;
        Ok(relabelled(cell.id, records.unwrap_or_default()))
    }

    /// Up to `limit` visible records that end at `to`, in descending order.
    pub(crate) async fn read_back(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        to: u64,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        self.readable(cell)?;
        let to = to.min(self.streams.tail(cell));
        let oldest = cell.oldest();
        let Bounds { records: count, .. } = self.bounds(limit);
        if to < oldest || count == 0 {
            return match to {
                0 => Ok(Vec::new()),
                _ if count == 0 => Ok(Vec::new()),
                _ => Err(ReadError::Trimmed {
                    stream: cell.id,
                    oldest,
                }),
            };
        }
        let mut records: Vec<Record> = Vec::new();
        let (mut last, mut window, mut bytes) = (to, BACK_WINDOW, 0);
        while last >= oldest && records.len() < count {
            let wanted = window.min((count - records.len()) as u64);
            let first = oldest.max((last + 1).saturating_sub(wanted));
            let Some(page) = self.read_window(cell, first, last).await? else {
                // Large payloads: less at a time, so that what is read and not returned stays little.
                window = (window / 4).max(1);
                continue;
            };
            for record in page.into_iter().rev() {
                bytes += record.payload.len();
                if bytes > self.limits.read_bytes_max && !records.is_empty() {
                    return Ok(records);
                }
                records.push(record);
                if records.len() == count {
                    return Ok(records);
                }
            }
            if first == oldest {
                break;
            }
            last = first - 1;
        }
        Ok(records)
    }

    /// All records from `first` to `last`; `None` if they are more than a read's bytes and more than one.
    async fn read_window(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        first: u64,
        last: u64,
    ) -> Result<Option<Vec<Record>>, ReadError> {
        let mut records: Vec<Record> = Vec::new();
        let mut bytes = 0;
        let mut next = first;
        while next <= last {
            let page = self.read_range(cell, next, last, self.bounds(usize::MAX)).await?;
            let Some(end) = page.last() else { break };
            next = end.position + 1;
            bytes += page.iter().map(|record| record.payload.len()).sum::<usize>();
            records.extend(page);
            if bytes > self.limits.read_bytes_max && first < last {
                return Ok(None);
            }
        }
        Ok(Some(records))
    }

    pub(crate) async fn read_positions(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        positions: &[u64],
    ) -> Result<Vec<Record>, ReadError> {
        self.readable(cell)?;
        let tail = self.streams.tail(cell);
        if let Some(position) = positions.iter().find(|position| **position == 0 || **position > tail) {
            return Err(ReadError::BeyondTail {
                stream: cell.id,
                position: *position,
                tail,
            });
        }
        let mut sorted = positions.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut found = std::collections::HashMap::with_capacity(sorted.len());
        // Neighbours are fetched together, the gaps between them too if they are small.
        let mut rest = &sorted[..];
        while let Some(first) = rest.first() {
            let together = rest
                .windows(2)
                .take_while(|pair| pair[1] - pair[0] <= POSITIONS_GAP)
                .count()
                + 1;
            let page = self
                .read_range(cell, *first, rest[together - 1], self.bounds(usize::MAX))
                .await?;
            let Some(last) = page.last().map(|record| record.position) else {
                return Err(ReadError::Corrupt {
                    stream: cell.id,
                    position: *first,
                    what: "it was not found".to_owned(),
                });
            };
            for record in page {
                if rest[..together].binary_search(&record.position).is_ok() {
                    found.insert(record.position, record);
                }
            }
            rest = &rest[rest.partition_point(|position| *position <= last)..];
        }
        positions
            .iter()
            .map(|position| {
                found.get(position).cloned().ok_or_else(|| ReadError::Corrupt {
                    stream: cell.id,
                    position: *position,
                    what: "it was not found".to_owned(),
                })
            })
            .collect()
    }

    /// Resolves when the stream's tail is at or beyond `position`, or the stream is deleted.
    pub(crate) async fn wait_for(&self, cell: &Cell, position: u64) {
        loop {
            let published = cell.wake.notified();
            tokio::pin!(published);
            published.as_mut().enable();
            if self.streams.tail(cell) >= position || cell.index.read().head.deleted {
                return;
            }
            published.await;
        }
    }
}

/// Records that a read backwards fetches at once.
const BACK_WINDOW: u64 = 256;
/// Positions nearer than this are read through rather than skipped.
const POSITIONS_GAP: u64 = 16;

/// What a fork shares with its parent is shown as its own.
fn relabelled(stream: StreamId, mut records: Vec<Record>) -> Vec<Record> {
    for record in &mut records {
        record.stream = stream;
    }
    records
}
