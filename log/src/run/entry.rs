//! What the sections of a run hold, one by one, and their bytes.

use std::cmp::Ordering;

use bytes::Bytes;

use super::Key;
use crate::codec;
use crate::codec::v1::{RECORD_HEADER_FRAME, RecordHeader, get_record_header};
use crate::record::{Extras, Record, StreamId};

/// Bytes of a record's tag.
pub(super) const TAG: usize = 1;
/// Bytes of the digest that stands for what was erased.
const DIGEST: usize = 32;
/// Where a record's header says which position it has.
const POSITION_AT: usize = 16;
/// Where a record's header says how long extras and payload are.
const EXTRAS_BYTES_AT: usize = 96;
const PAYLOAD_BYTES_AT: usize = 98;
const CRC: usize = 4;

pub(super) const SPAN_BYTES: usize = 52;
pub(super) const STUB_BYTES: usize = 44;
pub(super) const BLOB_BYTES: usize = 56;
pub(super) const PLACE_BYTES: usize = 36;

const SHORT: &str = "an entry is longer than its block";

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], &'static str> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or(SHORT)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, &'static str> {
    array(bytes, at).map(u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, &'static str> {
    array(bytes, at).map(u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, &'static str> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// What is left of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Its frame, byte for byte as in its segment.
    Whole,
    /// Its header with the header's checksum, and 32 bytes of digest of what was erased.
    Erased,
}

impl Form {
    pub(super) fn tag(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::Erased => 1,
        }
    }

    fn of(tag: u8) -> Result<Self, &'static str> {
        match tag {
            0 => Ok(Self::Whole),
            1 => Ok(Self::Erased),
            _ => Err("a record is of a form that this version of the software does not know"),
        }
    }
}

/// A record in a run. Its header was checked; whoever decodes the frame checks the rest (`codec::decode_record`).
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) header: RecordHeader,
    pub(crate) form: Form,
    /// Shares the memory of its block: to keep one for long, copy it.
    pub(crate) frame: Bytes,
}

impl Entry {
    pub(crate) fn stream(&self) -> StreamId {
        StreamId(self.header.stream)
    }

    pub(crate) fn position(&self) -> u64 {
        self.header.position
    }

    pub(super) fn key(&self) -> Key {
        (self.stream(), self.position())
    }

    /// The entry at `at`, and where the next one starts.
    pub(super) fn take(block: &Bytes, at: usize) -> Result<(Self, usize), &'static str> {
        let form = Form::of(*block.get(at).ok_or(SHORT)?)?;
        let rest = &block[at + TAG..];
        let header = get_record_header(rest)?;
        let bytes = frame_bytes(form, &header);
        if rest.len() < bytes {
            return Err(SHORT);
        }
        let next = at + TAG + bytes;
        let frame = block.slice(at + TAG..next);
        Ok((Self { header, form, frame }, next))
    }

    /// Its record, every checksum checked.
    pub(crate) fn record(&self) -> Result<Record, &'static str> {
        match self.form {
            Form::Whole => codec::decode_record(&self.frame).map(|(record, _)| record),
            Form::Erased => Ok(erased(self.header)),
        }
    }
}

fn erased(header: RecordHeader) -> Record {
    let mut record = header.into_record(Extras::default(), Bytes::new());
    record.erased = true;
    record
}

/// Whose entry is at `at`, and where the next one starts. The block was checked, the entry is not: only for passing it over.
fn glance(block: &[u8], at: usize) -> Result<(Key, usize), &'static str> {
    let header = block.get(at + TAG..at + TAG + RECORD_HEADER_FRAME).ok_or(SHORT)?;
    let stream = StreamId(array(header, 0)?);
    let next = at + TAG + RECORD_HEADER_FRAME + body_bytes(block[at], header)?;
    Ok(((stream, u64_at(header, POSITION_AT)?), next))
}

/// Adds the records of a block from one to another, both included, as long as their frames fit into `bytes_left`; the very first one
/// always comes. `false` if no further block has more.
pub(super) fn take_records(
    block: &Bytes,
    from: Key,
    to: Key,
    bytes_left: &mut usize,
    found: &mut Vec<Record>,
) -> Result<bool, &'static str> {
    let mut at = 0;
    while at < block.len() {
        let (key, next) = glance(block, at)?;
        if key >= from {
            let bytes = next - at - TAG;
            if key > to || (bytes > *bytes_left && !found.is_empty()) {
                return Ok(false);
            }
            match Form::of(block[at])? {
                Form::Whole => codec::decode_record_at(block, at + TAG, |record| found.push(record)).map(|_| ())?,
                Form::Erased => found.push(erased(get_record_header(&block[at + TAG..])?)),
            }
            *bytes_left = bytes_left.saturating_sub(bytes);
        }
        at = next;
    }
    Ok(true)
}

/// Length of a frame.
pub(super) fn frame_bytes(form: Form, header: &RecordHeader) -> usize {
    match form {
        Form::Whole => codec::frame_bytes(header.extras_bytes as usize, header.payload_bytes as usize),
        Form::Erased => RECORD_HEADER_FRAME + DIGEST,
    }
}

/// Length of what follows a header, from its bytes.
pub(super) fn body_bytes(tag: u8, header: &[u8]) -> Result<usize, &'static str> {
    Ok(match Form::of(tag)? {
        Form::Whole => u16_at(header, EXTRAS_BYTES_AT)? as usize + u32_at(header, PAYLOAD_BYTES_AT)? as usize + CRC,
        Form::Erased => DIGEST,
    })
}

/// What a run has of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) stream: StreamId,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) records: u64,
    /// Number of the block with the first one.
    pub(crate) first_block: u32,
    /// Position of the last snapshot; 0 if there is none.
    pub(crate) snapshot: u64,
}

impl Span {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.stream.0);
        into.extend_from_slice(&self.first.to_le_bytes());
        into.extend_from_slice(&self.last.to_le_bytes());
        into.extend_from_slice(&self.records.to_le_bytes());
        into.extend_from_slice(&self.first_block.to_le_bytes());
        into.extend_from_slice(&self.snapshot.to_le_bytes());
    }

    pub(super) fn take(block: &Bytes, at: usize) -> Result<(Self, usize), &'static str> {
        let span = Self {
            stream: StreamId(array(block, at)?),
            first: u64_at(block, at + 16)?,
            last: u64_at(block, at + 24)?,
            records: u64_at(block, at + 32)?,
            first_block: u32_at(block, at + 40)?,
            snapshot: u64_at(block, at + 44)?,
        };
        Ok((span, at + SPAN_BYTES))
    }
}

/// What a block of spans has of a stream.
pub(super) fn find_span(block: &Bytes, stream: StreamId) -> Result<Option<Span>, &'static str> {
    let spans = block.len() / SPAN_BYTES;
    let (mut low, mut high) = (0, spans);
    while low < high {
        let middle = low + (high - low) / 2;
        match array::<16>(block, middle * SPAN_BYTES)?.cmp(&stream.0) {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => return Span::take(block, middle * SPAN_BYTES).map(|(span, _)| Some(span)),
        }
    }
    match block.len() % SPAN_BYTES {
        0 => Ok(None),
        _ => Err(SHORT),
    }
}

/// What stands for a record that was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stub {
    pub(crate) commit: u64,
    pub(crate) index: u32,
    pub(crate) digest: [u8; 32],
}

impl Stub {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.commit.to_le_bytes());
        into.extend_from_slice(&self.index.to_le_bytes());
        into.extend_from_slice(&self.digest);
    }

    pub(super) fn take(block: &Bytes, at: usize) -> Result<(Self, usize), &'static str> {
        let stub = Self {
            commit: u64_at(block, at)?,
            index: u32_at(block, at + 8)?,
            digest: array(block, at + 12)?,
        };
        Ok((stub, at + STUB_BYTES))
    }
}

/// A record's reference to a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlobRef {
    pub(crate) address: [u8; 32],
    pub(crate) stream: StreamId,
    pub(crate) position: u64,
}

impl BlobRef {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.address);
        into.extend_from_slice(&self.stream.0);
        into.extend_from_slice(&self.position.to_le_bytes());
    }

    pub(super) fn take(block: &Bytes, at: usize) -> Result<(Self, usize), &'static str> {
        let blob = Self {
            address: array(block, at)?,
            stream: StreamId(array(block, at + 32)?),
            position: u64_at(block, at + 48)?,
        };
        Ok((blob, at + BLOB_BYTES))
    }
}

/// Where a block is, and what it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) stream: StreamId,
    pub(super) position: u64,
    pub(super) offset: u64,
    /// With its head.
    pub(super) bytes: u32,
}

impl Place {
    pub(super) fn key(&self) -> Key {
        (self.stream, self.position)
    }

    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes.into())
    }

    pub(super) fn put(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.stream.0);
        into.extend_from_slice(&self.position.to_le_bytes());
        into.extend_from_slice(&self.offset.to_le_bytes());
        into.extend_from_slice(&self.bytes.to_le_bytes());
    }

    pub(super) fn take(block: &Bytes, at: usize) -> Result<(Self, usize), &'static str> {
        let place = Self {
            stream: StreamId(array(block, at)?),
            position: u64_at(block, at + 16)?,
            offset: u64_at(block, at + 24)?,
            bytes: u32_at(block, at + 32)?,
        };
        Ok((place, at + PLACE_BYTES))
    }
}

/// A commit's header frame, as it was given.
pub(super) fn take_commit(block: &Bytes, at: usize) -> Result<(Bytes, usize), &'static str> {
    let next = at + 2 + u16_at(block, at)? as usize;
    if next > block.len() {
        return Err(SHORT);
    }
    Ok((block.slice(at + 2..next), next))
}
