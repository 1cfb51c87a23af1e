//! Reading at an instant: a stream's range is a range of keys, through its ancestors if it is a fork.

use std::ops::Bound;

use bytes::Bytes;

use super::rows::{self, StreamRow};
use super::tree::At;
use crate::codec;
use crate::codec::v1::{RECORD_HEADER_FRAME, RecordHeader};
use crate::cursor::CommitCursor;
use crate::error::ReadError;
use crate::limits::Limits;
use crate::record::{Extras, Record, StreamId, SubStreamId};
use crate::verbs::{CommitFilter, CommitPage, ListedStream, StreamOrder, StreamQuery, SubPage};
use crate::view_store::{StoreError, keys};

/// Which records one call returns at most.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Bounds {
    pub(super) fn of(limits: &Limits, limit: usize) -> Self {
        Self {
            records: limit.min(limits.read_records_max),
            bytes: limits.read_bytes_max,
        }
    }
}

fn corrupt(stream: StreamId, position: u64, what: &str) -> ReadError {
    ReadError::Corrupt {
        stream,
        position,
        what: what.to_owned(),
    }
}

/// A stored record. Of an erased stream the header alone is looked at.
fn decode(stream: StreamId, position: u64, value: &Bytes, erased: bool) -> Result<Record, ReadError> {
    let failed = |what| corrupt(stream, position, what);
    let record = if erased || value.len() == RECORD_HEADER_FRAME {
        let header: RecordHeader = codec::v1::get_record_header(value).map_err(failed)?;
        Record {
            erased: true,
            ..header.into_record(Extras::default(), Bytes::new())
        }
    } else {
        codec::decode_record(value).map_err(failed)?.0
    };
    if record.stream != stream || record.position != position {
        return Err(failed("another record stands in its place"));
    }
    Ok(record)
}

impl At {
    /// A stream that can be read.
    pub(super) fn readable(&self, id: StreamId) -> Result<StreamRow, ReadError> {
        match self.stream(id)? {
            None => Err(ReadError::UnknownStream(id)),
            Some(row) if row.deleted => Err(ReadError::Deleted(id)),
            Some(row) => Ok(row),
        }
    }

    /// The stream that has a position: this one or one that it continues.
    pub(super) fn owner(
        &self,
        id: StreamId,
        row: &StreamRow,
        position: u64,
    ) -> Result<(StreamId, StreamRow), StoreError> {
        let (mut id, mut row) = (id, row.clone());
        while let Some((parent, shared)) = row.parent()
            && position <= shared
        {
            let parent_row = self.stream(parent)?;
            (id, row) = (
                parent,
                parent_row.ok_or_else(|| rows::malformed("the parent of a fork is missing"))?,
            );
        }
        Ok((id, row))
    }

    /// Records of a stream from `from` to at most `to`, up to where another stream has them.
    pub(super) fn records(
        &self,
        id: StreamId,
        row: &StreamRow,
        from: u64,
        to: u64,
        bounds: Bounds,
    ) -> Result<Vec<Record>, ReadError> {
        let trimmed = |trimmed: u64| match from > 0 && from <= trimmed {
            true => Err(ReadError::Trimmed {
                stream: id,
                oldest: trimmed + 1,
            }),
            false => Ok(()),
        };
        trimmed(row.trimmed)?;
        let mut to = to.min(row.last);
        if from == 0 || bounds.records == 0 || from > to {
            return Ok(Vec::new());
        }
        let (mut owner, mut owner_row) = (id, row.clone());
        while let Some((parent, shared)) = owner_row.parent()
            && from <= shared
        {
            to = to.min(shared);
            let parent_row = self.stream(parent)?;
            let missing = || ReadError::Store("the parent of a fork is missing".to_owned());
            (owner, owner_row) = (parent, parent_row.ok_or_else(missing)?);
        }
        trimmed(owner_row.trimmed)?;
        let (low, high) = (rows::record(owner, from), rows::record(owner, to));
        let (mut found, mut bytes): (Vec<Record>, usize) = (Vec::new(), 0);
        let stored = self.range(Bound::Included(&low), Bound::Included(&high));
        for (entry, position) in stored.zip(from..).take(bounds.records) {
            let (key, value) = entry?;
            if key != rows::record(owner, position) {
                return Err(corrupt(id, position, "it was not found"));
            }
            bytes += value.len();
            if bytes > bounds.bytes && !found.is_empty() {
                break;
            }
            let mut record = decode(owner, position, &value, owner_row.erased)?;
            // What a fork shares with its parent is shown as its own.
            record.stream = id;
            found.push(record);
        }
        match found.is_empty() {
            true => Err(corrupt(id, from, "it was not found")),
            false => Ok(found),
        }
    }

    /// Up to as many records that end at `to`, the last one first.
    pub(super) fn records_back(&self, id: StreamId, to: u64, bounds: Bounds) -> Result<Vec<Record>, ReadError> {
        let row = self.readable(id)?;
        let (to, oldest) = (to.min(row.last), row.trimmed + 1);
        if to == 0 || bounds.records == 0 {
            return Ok(Vec::new());
        }
        if to < oldest {
            return Err(ReadError::Trimmed { stream: id, oldest });
        }
        let unbounded = Bounds {
            records: bounds.records,
            bytes: usize::MAX,
        };
        let mut next = oldest.max((to + 1).saturating_sub(bounds.records as u64));
        let mut records: Vec<Record> = Vec::new();
        while next <= to {
            let page = self.records(id, &row, next, to, unbounded)?;
            next += page.len() as u64;
            records.extend(page);
        }
        records.reverse();
        let mut bytes = 0;
        let within = |record: &Record| {
            bytes += record.payload.len();
            bytes <= bounds.bytes
        };
        let kept = records.iter().map(within).take_while(|within| *within).count().max(1);
        records.truncate(kept);
        Ok(records)
    }

    /// The records at these positions.
    pub(super) fn records_at(&self, id: StreamId, positions: &[u64]) -> Result<Vec<Record>, ReadError> {
        let row = self.readable(id)?;
        if let Some(position) = positions
            .iter()
            .find(|position| **position == 0 || **position > row.last)
        {
            return Err(ReadError::BeyondTail {
                stream: id,
                position: *position,
                tail: row.last,
            });
        }
        let one = Bounds {
            records: 1,
            bytes: usize::MAX,
        };
        let record = |position: &u64| {
            let mut found = self.records(id, &row, *position, *position, one)?;
            found.pop().ok_or_else(|| corrupt(id, *position, "it was not found"))
        };
        positions.iter().map(record).collect()
    }

    /// Records of a sub-stream with a number above `after`, looking from `from` on.
    pub(super) fn sub_page(
        &self,
        id: StreamId,
        sub: SubStreamId,
        after: u64,
        from: u64,
        limits: &Limits,
    ) -> Result<SubPage, ReadError> {
        let row = self.readable(id)?;
        let standing = self.sub(id, sub)?.ok_or(ReadError::UnknownSubStream(sub))?;
        let mut page = SubPage {
            records: Vec::new(),
            next: from,
            visited: 0,
            tail: row.last,
        };
        if standing.count <= after {
            return Ok(page);
        }
        let from = from
            .max(self.floor(id, sub, &standing, after + 1)?)
            .max(row.trimmed + 1);
        if from > standing.last {
            return Ok(page);
        }
        page.records = self.records(id, &row, from, standing.last, Bounds::of(limits, usize::MAX))?;
        page.visited = page.records.len() as u64;
        page.next = from + page.visited;
        page.records
            .retain(|record| record.sub.is_some_and(|(id, number)| id == sub && number > after));
        Ok(page)
    }

    /// Records in commit order.
    pub(super) fn commits(
        &self,
        store: [u8; 16],
        after: CommitCursor,
        filter: &CommitFilter,
        bounds: Bounds,
    ) -> Result<CommitPage, ReadError> {
        if after.store != store && after.commit > 0 {
            return Err(ReadError::Cursor(format!("the cursor {after} is of another store")));
        }
        let last = self.last_commit()?;
        if after.commit > last {
            return Err(ReadError::Cursor(format!(
                "the cursor {after} is ahead of the log, which ends with commit {last}"
            )));
        }
        let mut page = CommitPage {
            records: Vec::new(),
            next: CommitCursor { store, ..after },
            at_tip: false,
        };
        let mut bytes = 0;
        let start = rows::commit(after.commit.max(1));
        for entry in self.range(Bound::Included(&start), Bound::Included(&rows::commit(u64::MAX))) {
            let (key, runs) = entry?;
            let commit = rows::number(&key[1..])?;
            let seen = if commit == after.commit { after.records } else { 0 };
            let mut index = 0u32;
            for run in rows::get_runs(&runs)? {
                let skipped = u64::from(seen.saturating_sub(index).min(run.count));
                let row = self
                    .stream(run.stream)?
                    .ok_or_else(|| rows::malformed("a stream's row is missing"))?;
                let low = rows::record(run.stream, run.first + skipped);
                let high = rows::record(run.stream, run.first + u64::from(run.count));
                // What was given up is not there any more.
                for entry in self.range(Bound::Included(&low), Bound::Excluded(&high)) {
                    let (key, value) = entry?;
                    let position = rows::number(&key[17..])?;
                    if page.records.len() >= bounds.records || bytes >= bounds.bytes {
                        return Ok(page);
                    }
                    page.next.commit = commit;
                    page.next.records = index + (position - run.first) as u32 + 1;
                    if let Some(wanted) = filter.stream
                        && wanted != run.stream
                    {
                        continue;
                    }
                    let record = decode(run.stream, position, &value, row.erased)?;
                    if filter.takes(record.kind, record.stream) {
                        bytes += record.payload.len().max(1);
                        page.records.push(record);
                    }
                }
                index += run.count;
            }
            page.next.commit = commit;
            page.next.records = u32::MAX;
            if page.records.len() >= bounds.records || bytes >= bounds.bytes {
                return Ok(page);
            }
        }
        page.at_tip = true;
        Ok(page)
    }

    /// Live streams, in the order asked for.
    pub(super) fn list(&self, query: &StreamQuery) -> Result<Vec<ListedStream>, StoreError> {
        let principal = query.principal.as_deref();
        let prefix = match query.order {
            StreamOrder::Name => keys::stream_names(principal.unwrap_or(""), &query.prefix),
            StreamOrder::LastActivity => vec![b'a'],
        };
        let after = query.after.as_ref().map(|after| match query.order {
            StreamOrder::Name => keys::stream_name(&after.name),
            StreamOrder::LastActivity => keys::activity(after.last_activity_us, after.stream),
        });
        let mut found = Vec::new();
        for entry in self.with_prefix(&prefix, after.as_deref()) {
            if found.len() >= query.limit {
                break;
            }
            let (key, value) = entry?;
            let stream = match query.order {
                StreamOrder::Name => rows::stream_id(&value)?,
                StreamOrder::LastActivity => keys::activity_of(&key).ok_or_else(|| rows::malformed("an activity"))?.1,
            };
            let row = self
                .stream(stream)?
                .ok_or_else(|| rows::malformed("a stream's row is missing"))?;
            let name = row.name()?;
            let of_principal = match query.order {
                StreamOrder::Name => true,
                StreamOrder::LastActivity => principal.is_none_or(|only| only == name.principal()),
            };
            if of_principal && name.name().starts_with(&query.prefix) && !name.name().starts_with('\0') {
                found.push(ListedStream {
                    stream,
                    name,
                    tail: row.last,
                    last_activity_us: row.time_us,
                });
            }
        }
        Ok(found)
    }

    /// Streams of a principal that are not erased, deleted ones too: a fork may still show what they hold.
    pub(super) fn streams_of(&self, principal: &str) -> Result<Vec<StreamId>, StoreError> {
        let mut found = Vec::new();
        for entry in self.with_prefix(b"s", None) {
            let (key, row) = entry?;
            let row: StreamRow = serde_json::from_slice(&row).map_err(|error| rows::malformed(&error.to_string()))?;
            if row.principal() == principal && !row.erased {
                found.push(rows::stream_id(&key[1..])?);
            }
        }
        Ok(found)
    }
}
