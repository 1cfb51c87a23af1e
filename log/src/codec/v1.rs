//! Format 1: the record header, which format 2 shares, and the commit header, which is only read any more.
//! A new format is a new file; readers keep all old ones.
//! All integers little-endian, no padding: pinned by rkyv's format features in the root manifest and by the asserts below.

use rkyv::rancor;
use rkyv::{Archive, Deserialize, Serialize};

use super::{CommitHeader, Digest};
use crate::record::{Extras, Kind, Record, StreamId, SubStreamId, Subject};

/// The format's number, in every commit header.
const FORMAT: u16 = 1;
const COMMIT_MAGIC: [u8; 4] = *b"FSc\x01";

/// A record's header on disk.
#[derive(Debug, Clone, Copy, Archive, Serialize, Deserialize)]
pub(crate) struct RecordHeader {
    pub(crate) stream: [u8; 16],
    pub(crate) position: u64,
    /// All zero outside any sub-stream; then the number is 0 too.
    pub(crate) sub_stream: [u8; 16],
    pub(crate) sub_number: u64,
    pub(crate) subject: u16,
    pub(crate) kind: u16,
    pub(crate) commit: u64,
    pub(crate) index: u32,
    pub(crate) time_us: i64,
    pub(crate) causation: [u8; 16],
    pub(crate) origin: u64,
    pub(crate) extras_bytes: u16,
    pub(crate) payload_bytes: u32,
}

/// A commit's header on disk.
#[derive(Debug, Clone, Copy, Archive, Serialize, Deserialize)]
struct Header {
    store: [u8; 16],
    generation: u64,
    epoch: u64,
    commit: u64,
    durable_through: u64,
    records: u32,
    body_bytes: u32,
    body_hash: u64,
    previous_hash: u64,
}

const MALFORMED: &str = "the header is malformed";

const RECORD_HEADER: usize = size_of::<ArchivedRecordHeader>();
const COMMIT_HEADER: usize = size_of::<ArchivedHeader>();
const _: () = assert!(RECORD_HEADER == 102 && COMMIT_HEADER == 72, "the format has changed");
const _: () = assert!(align_of::<ArchivedRecordHeader>() == 1 && align_of::<ArchivedHeader>() == 1);

/// Header and its checksum.
pub(crate) const RECORD_HEADER_FRAME: usize = RECORD_HEADER + 4;
/// What a record takes beside its extras and payload: header, header checksum, payload checksum.
pub(crate) const FRAME: usize = RECORD_HEADER_FRAME + 4;
/// What a commit takes beside its records: magic, format, header, header checksum.
pub(crate) const COMMIT_FRAME: usize = 4 + 2 + 2 + COMMIT_HEADER + 4;

impl RecordHeader {
    pub(crate) fn into_record(self, extras: Extras, payload: bytes::Bytes) -> Record {
        Record {
            stream: StreamId(self.stream),
            position: self.position,
            sub: (self.sub_number > 0).then_some((SubStreamId(self.sub_stream), self.sub_number)),
            subject: Subject(self.subject),
            kind: Kind(self.kind),
            commit: self.commit,
            index: self.index,
            time_us: self.time_us,
            causation: self.causation,
            origin: self.origin,
            extras,
            payload,
            erased: false,
        }
    }
}

macro_rules! archive {
    ($value:expr, $into:expr) => {
        // Fixed-size fields only: there is nothing that could fail.
        rkyv::api::high::to_bytes_in::<&mut Vec<u8>, rancor::Error>($value, $into)
            .expect("a fixed header always archives")
    };
}

pub(crate) fn put_record_header(into: &mut Vec<u8>, header: &RecordHeader) {
    let start = into.len();
    archive!(header, into);
    let crc = crc32fast::hash(&into[start..]);
    into.extend_from_slice(&crc.to_le_bytes());
}

pub(crate) fn get_record_header(bytes: &[u8]) -> Result<RecordHeader, &'static str> {
    let header = record_header(bytes)?;
    rkyv::deserialize::<RecordHeader, rancor::Error>(header).map_err(|_| MALFORMED)
}

/// The record header at the start of `bytes`, where it stands, after its checksum held.
#[inline(always)]
pub(super) fn record_header(bytes: &[u8]) -> Result<&ArchivedRecordHeader, &'static str> {
    let frame = bytes
        .get(..RECORD_HEADER_FRAME)
        .ok_or("the record is longer than what was stored")?;
    let (header, crc) = frame.split_at(RECORD_HEADER);
    if crc32fast::hash(header).to_le_bytes() != crc {
        return Err("the header's checksum does not hold");
    }
    rkyv::access::<ArchivedRecordHeader, rancor::Error>(header).map_err(|_| MALFORMED)
}

impl ArchivedRecordHeader {
    /// Lengths of what follows the header: extras and payload.
    #[inline(always)]
    pub(super) fn lengths(&self) -> (usize, usize) {
        (
            self.extras_bytes.to_native() as usize,
            self.payload_bytes.to_native() as usize,
        )
    }

    #[inline(always)]
    pub(super) fn record(&self, extras: Extras, payload: bytes::Bytes) -> Record {
        let sub_number = self.sub_number.to_native();
        Record {
            stream: StreamId(self.stream),
            position: self.position.to_native(),
            sub: (sub_number > 0).then_some((SubStreamId(self.sub_stream), sub_number)),
            subject: Subject(self.subject.to_native()),
            kind: Kind(self.kind.to_native()),
            commit: self.commit.to_native(),
            index: self.index.to_native(),
            time_us: self.time_us.to_native(),
            causation: self.causation,
            origin: self.origin.to_native(),
            extras,
            payload,
            erased: false,
        }
    }
}

/// The commit header at the start of `bytes`, if it checks.
pub(crate) fn get_commit_header(bytes: &[u8]) -> Option<CommitHeader> {
    let frame = bytes.get(..COMMIT_FRAME)?;
    if frame[..4] != COMMIT_MAGIC {
        return None;
    }
    let (head, crc) = frame.split_at(COMMIT_FRAME - 4);
    if crc32fast::hash(head).to_le_bytes() != crc || head[4..6] != FORMAT.to_le_bytes() {
        return None;
    }
    let header = rkyv::from_bytes::<Header, rancor::Error>(&head[8..]).ok()?;
    Some(CommitHeader {
        store: header.store,
        generation: header.generation,
        epoch: header.epoch,
        commit: header.commit,
        durable_through: header.durable_through,
        records: header.records,
        body_bytes: header.body_bytes,
        body_hash: header.body_hash,
        records_digest: Digest::default(),
        previous: Digest::of_hash(header.previous_hash),
    })
}
