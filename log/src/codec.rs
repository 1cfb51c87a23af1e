//! Bytes on disk: the record frame and the commit frame, drawn in `docs/RECORDS.md`. Pure functions; no I/O.
//! A header is a fixed rkyv struct (its archived form is read in place), always behind a checksum that is checked first:
//! rkyv's own validation accepts most bit flips.
//!
//! Records are checked with crc32. A commit is checked, and linked to the one before, with xxh3: a crc over frames that carry their own
//! crc of the same polynomial comes out the same whatever the frames say.

mod extras;
pub(crate) mod v1;
pub(crate) mod v2;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use extras::extras_bytes;
pub(crate) use v2::{COMMIT_FRAME, FORMAT};

use crate::record::{Carried, Digest, Record};
use v1::{FRAME, RECORD_HEADER_FRAME, RecordHeader};

/// Commits start at multiples of this, so that a scan for them can stride.
pub(crate) const COMMIT_ALIGN: usize = 8;

/// Zeroes behind every commit, written with it: where nothing was begun after a commit, these bytes are found, whatever
/// the slot held before.
pub(crate) const TERMINATOR: usize = 16;

/// A commit's header, of either format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CommitHeader {
    pub(crate) store: [u8; 16],
    /// Of the segment slot, so that what a recycled slot held before is not taken for new.
    pub(crate) generation: u64,
    /// Raised at each open.
    pub(crate) epoch: u64,
    /// Dense, from 1.
    pub(crate) commit: u64,
    /// The highest commit known durable when this one was encoded: evidence for recovery.
    pub(crate) durable_through: u64,
    pub(crate) records: u32,
    pub(crate) body_bytes: u32,
    /// xxh3 of the records: finds accidents, fast.
    pub(crate) body_hash: u64,
    /// SHA-256 over the records' digests in order; zero in a log without the chain, and in format 1.
    pub(crate) records_digest: Digest,
    /// Hash of the whole header of the commit before, and so of everything before; zero for the first.
    pub(crate) previous: Digest,
}

/// SHA-256 of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Bytes that a record takes in a commit.
pub(crate) fn frame_bytes(extras: usize, payload: usize) -> usize {
    FRAME + extras + payload
}

/// A record's digest: of its header and of the digest of its body, so that it can be told without the body.
pub(crate) fn record_digest(header: &[u8], body: &Digest) -> Digest {
    let mut hash = Sha256::new();
    hash.update(&header[..RECORD_HEADER_FRAME - 4]);
    hash.update(body.0);
    Digest(hash.finalize().into())
}

/// A commit's digest of its records' digests, given in order.
pub(crate) fn records_digest<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> Digest {
    let mut hash = Sha256::new();
    for digest in digests {
        hash.update(digest.0);
    }
    Digest(hash.finalize().into())
}

/// Appends one record frame; `header`'s two lengths are filled in here. Returns the frame's length.
pub(crate) fn encode_record(into: &mut Vec<u8>, header: &mut RecordHeader, extras: &Carried, payload: &[u8]) -> usize {
    let start = into.len();
    header.extras_bytes = extras_bytes(extras) as u16;
    header.payload_bytes = payload.len() as u32;
    v1::put_record_header(into, header);
    let body = into.len();
    extras::encode(into, extras);
    into.extend_from_slice(payload);
    let crc = crc32fast::hash(&into[body..]);
    into.extend_from_slice(&crc.to_le_bytes());
    into.len() - start
}

/// The body of a whole record frame: its extras and payload.
pub(crate) fn body(frame: &[u8]) -> &[u8] {
    &frame[RECORD_HEADER_FRAME..frame.len() - 4]
}

/// A record's header, after its checksum held and its lengths were found to lie within `bytes`. Returns the frame's length with it.
pub(crate) fn decode_header(bytes: &[u8]) -> Result<(RecordHeader, usize), &'static str> {
    let header = v1::get_record_header(bytes)?;
    let length = frame_bytes(header.extras_bytes as usize, header.payload_bytes as usize);
    if bytes.len() < length {
        return Err("the record is longer than what was stored");
    }
    Ok((header, length))
}

/// A whole record from the start of `bytes`, every checksum checked. The payload shares `bytes`.
pub(crate) fn decode_record(bytes: &Bytes) -> Result<(Record, usize), &'static str> {
    decode_record_at(bytes, 0, |record| record)
}

/// The same from within `bytes`, made where `put` wants it: records are large, and there may be many.
#[inline(always)]
pub(crate) fn decode_record_at<T>(
    bytes: &Bytes,
    at: usize,
    put: impl FnOnce(Record) -> T,
) -> Result<(T, usize), &'static str> {
    let frame = bytes.get(at..).unwrap_or_default();
    let header = v1::record_header(frame)?;
    let (extras, payload) = header.lengths();
    let length = frame_bytes(extras, payload);
    let rest = frame
        .get(RECORD_HEADER_FRAME..length)
        .ok_or("the record is longer than what was stored")?;
    let (body, stored) = rest.split_at(extras + payload);
    if crc32fast::hash(body).to_le_bytes() != stored {
        return Err("the payload's checksum does not hold");
    }
    let carried = extras::decode(&body[..extras]).ok_or("what it carries beside its payload is malformed")?;
    let start = at + RECORD_HEADER_FRAME + extras;
    Ok((put(header.record(carried, bytes.slice(start..start + payload))), length))
}

/// Opens a commit frame: room for its header, which [`finish_commit`] fills in.
pub(crate) fn begin_commit(into: &mut Vec<u8>) {
    into.clear();
    into.resize(COMMIT_FRAME, 0);
}

/// Completes a commit frame around the records that follow the header's room, pads and terminates it.
/// Returns the commit's hash, which the next one links to, and its length without the terminator.
pub(crate) fn finish_commit(buffer: &mut Vec<u8>, mut header: CommitHeader) -> (Digest, usize) {
    header.body_bytes = (buffer.len() - COMMIT_FRAME) as u32;
    header.body_hash = xxh3_64(&buffer[COMMIT_FRAME..]);
    v2::put_commit_header(&mut buffer[..COMMIT_FRAME], &header);
    let hash = digest(&buffer[..COMMIT_FRAME]);
    let length = buffer.len().next_multiple_of(COMMIT_ALIGN);
    buffer.resize(length + TERMINATOR, 0);
    (hash, length)
}

/// A commit's header with its frame.
#[derive(Debug, Clone)]
pub(crate) struct CommitHead {
    pub(crate) header: CommitHeader,
    /// Of its header, and so of all of it.
    pub(crate) hash: Digest,
    /// Length of the header's frame.
    pub(crate) bytes: usize,
}

/// The commit header at the start of `bytes`, of either format, if it checks. Says nothing about the records.
pub(crate) fn decode_commit_head(bytes: &[u8]) -> Option<CommitHead> {
    if let Some(header) = v2::get_commit_header(bytes) {
        return Some(CommitHead {
            header,
            hash: digest(&bytes[..v2::COMMIT_FRAME]),
            bytes: v2::COMMIT_FRAME,
        });
    }
    let header = v1::get_commit_header(bytes)?;
    Some(CommitHead {
        header,
        hash: Digest::of_hash(xxh3_64(&bytes[..v1::COMMIT_FRAME])),
        bytes: v1::COMMIT_FRAME,
    })
}

/// An intact commit frame found at the start of some bytes.
pub(crate) struct CommitFrame {
    pub(crate) header: CommitHeader,
    /// Of its header, and so of all of it.
    pub(crate) hash: Digest,
    /// Where its records begin.
    pub(crate) body: usize,
    /// Length with padding.
    pub(crate) bytes: usize,
}

/// The commit at the start of `bytes`, if header and body check; says nothing about whose it is.
pub(crate) fn decode_commit(bytes: &[u8]) -> Option<CommitFrame> {
    let CommitHead {
        header,
        hash,
        bytes: head,
    } = decode_commit_head(bytes)?;
    let body = bytes.get(head..head + header.body_bytes as usize)?;
    let length = (head + body.len()).next_multiple_of(COMMIT_ALIGN);
    (xxh3_64(body) == header.body_hash && length <= bytes.len()).then_some(CommitFrame {
        header,
        hash,
        body: head,
        bytes: length,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Kind, Name, StreamId, SubStreamId, Subject};

    fn header(seed: u64) -> RecordHeader {
        RecordHeader {
            stream: [seed as u8; 16],
            position: seed,
            sub_stream: [7; 16],
            sub_number: seed / 2 + 1,
            subject: 1,
            kind: 21,
            commit: 3,
            index: 4,
            time_us: -5,
            causation: [9; 16],
            origin: u64::MAX,
            extras_bytes: 0,
            payload_bytes: 0,
        }
    }

    fn name(principal: &str, name: &str) -> Name {
        Name::new(principal, name).expect("a valid name")
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_written(
            seed: u64, payload in proptest::collection::vec(any::<u8>(), 0..300),
            stream in proptest::option::of(("[a-zé]{0,9}", "\\PC{1,40}")), sub in proptest::option::of(("", "[a-z:/]{1,20}")),
        ) {
            let extras = Carried {
                stream: stream.map(|(p, n)| name(&p, &n)),
                sub_stream: sub.map(|(p, n)| name(&p, &n)),
                ..Carried::default()
            };
            let mut bytes = Vec::new();
            let length = encode_record(&mut bytes, &mut header(seed), &extras, &payload);
            bytes.extend_from_slice(b"what follows");
            let (record, read) = decode_record(&Bytes::from(bytes)).expect("an intact record");
            prop_assert_eq!(read, length);
            prop_assert_eq!(record.position, seed);
            prop_assert_eq!(record.stream, StreamId([seed as u8; 16]));
            prop_assert_eq!(record.sub, Some((SubStreamId([7; 16]), seed / 2 + 1)));
            prop_assert_eq!((record.kind, record.subject, record.time_us), (Kind(21), Subject(1), -5));
            prop_assert_eq!(&*record.extras, &extras);
            prop_assert_eq!(&record.payload[..], &payload[..]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), seed: u64, at: prop::sample::Index) {
            let _ = decode_record(&Bytes::from(bytes.clone()));
            let _ = decode_commit(&bytes);
            let _ = extras::decode(&bytes);
            // Behind checksums that hold, too: what they cover is not thereby what was meant.
            let mut frame = Vec::new();
            encode_record(&mut frame, &mut header(seed), &Carried::default(), &bytes);
            let at = at.index(bytes.len() + 1);
            let extras_bytes = u16::try_from(at).expect("few bytes").to_le_bytes();
            frame[96..98].copy_from_slice(&extras_bytes);
            let payload_bytes = ((bytes.len() - at) as u32).to_le_bytes();
            frame[98..102].copy_from_slice(&payload_bytes);
            let crc = crc32fast::hash(&frame[..102]).to_le_bytes();
            frame[102..106].copy_from_slice(&crc);
            if let Ok((record, length)) = decode_record(&Bytes::from(frame.clone())) {
                prop_assert_eq!(length, frame.len());
                prop_assert_eq!(record.payload.len(), bytes.len() - at);
            }
        }
    }

    #[test]
    fn every_single_bit_flip_of_a_record_is_found() {
        let extras = Carried {
            stream: Some(name("p", "session/s")),
            ..Carried::default()
        };
        let mut intact = Vec::new();
        encode_record(&mut intact, &mut header(1), &extras, b"{\"delta\":\"hello \"}");
        for bit in 0..intact.len() * 8 {
            let mut damaged = intact.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                decode_record(&Bytes::from(damaged)).is_err(),
                "flip of bit {bit} went unnoticed"
            );
        }
    }

    #[test]
    fn commits_that_say_different_things_have_different_hashes() {
        let commit = |payload: &[u8]| {
            let mut buffer = Vec::new();
            begin_commit(&mut buffer);
            encode_record(&mut buffer, &mut header(1), &Carried::default(), payload);
            (finish_commit(&mut buffer, CommitHeader::default()).0, buffer)
        };
        let (one, two) = (commit(b"one"), commit(b"two"));
        assert_ne!(one.0, two.0);
        // A frame in place of another, each whole by itself, is damage of the commit.
        let mut mixed = one.1.clone();
        mixed[COMMIT_FRAME..].copy_from_slice(&two.1[COMMIT_FRAME..]);
        assert!(decode_commit(&mixed).is_none());
    }

    #[test]
    fn a_commit_is_intact_only_whole() {
        let mut buffer = Vec::new();
        begin_commit(&mut buffer);
        encode_record(&mut buffer, &mut header(1), &Carried::default(), b"payload");
        let (hash, _) = finish_commit(&mut buffer, CommitHeader::default());
        let frame = decode_commit(&buffer).expect("an intact commit");
        assert_eq!((frame.bytes + TERMINATOR, frame.hash), (buffer.len(), hash));
        assert_eq!(buffer.len() % COMMIT_ALIGN, 0);
        let body_end = COMMIT_FRAME + frame.header.body_bytes as usize;
        for cut in 0..body_end {
            let mut torn = buffer.clone();
            torn[cut..].fill(0);
            // Zeroing zeroes changes nothing: only a tail that differs must be found.
            if torn != buffer {
                assert!(
                    decode_commit(&torn).is_none(),
                    "a tail zeroed from {cut} went unnoticed"
                );
            }
        }
    }
}
