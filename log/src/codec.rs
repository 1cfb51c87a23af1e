//! Bytes on disk: the record frame and the commit frame, drawn in `docs/RECORDS.md`. Pure functions; no I/O.
//! A header is a fixed rkyv struct (its archived form is read in place), always behind a checksum that is checked first:
//! rkyv's own validation accepts most bit flips.
//!
//! Records are checked with crc32. A commit is checked, and linked to the one before, with xxh3: a crc over frames that carry their own
//! crc of the same polynomial comes out the same whatever the frames say.

pub(crate) mod v1;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::record::{Name, Opens, Record};
use v1::{COMMIT_FRAME, CommitHeader, FRAME, RecordHeader};

/// Commits start at multiples of this, so that a scan for them can stride.
pub(crate) const COMMIT_ALIGN: usize = 8;

/// Bytes that a record takes in a commit.
pub(crate) fn frame_bytes(names: usize, payload: usize) -> usize {
    FRAME + names + payload
}

/// Bytes of the names that a record introduces; 0 if it introduces none.
pub(crate) fn names_bytes(stream: Option<&Name>, sub_stream: Option<&Name>) -> usize {
    let one = |name: &Name| 4 + name.principal().len() + name.name().len();
    match (stream, sub_stream) {
        (None, None) => 0,
        (stream, sub_stream) => 1 + stream.map_or(0, one) + sub_stream.map_or(0, one),
    }
}

const OPENS_STREAM: u8 = 1;
const OPENS_SUB_STREAM: u8 = 2;

fn encode_names(into: &mut Vec<u8>, opens: &Opens) {
    if opens.stream.is_none() && opens.sub_stream.is_none() {
        return;
    }
    let flags =
        opens.stream.as_ref().map_or(0, |_| OPENS_STREAM) | opens.sub_stream.as_ref().map_or(0, |_| OPENS_SUB_STREAM);
    into.push(flags);
    for name in [&opens.stream, &opens.sub_stream].into_iter().flatten() {
        for text in [name.principal(), name.name()] {
            // Lengths are bounded by `Name::new`, far below u16::MAX.
            into.extend_from_slice(&(text.len() as u16).to_le_bytes());
            into.extend_from_slice(text.as_bytes());
        }
    }
}

fn decode_names(mut bytes: &[u8]) -> Option<Opens> {
    fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
        let (length, rest) = bytes.split_at_checked(2)?;
        let (text, rest) = rest.split_at_checked(u16::from_le_bytes([length[0], length[1]]) as usize)?;
        *bytes = rest;
        std::str::from_utf8(text).ok()
    }
    let mut opens = Opens::default();
    if bytes.is_empty() {
        return Some(opens);
    }
    let (flags, rest) = bytes.split_first()?;
    bytes = rest;
    for (flag, slot) in [
        (OPENS_STREAM, &mut opens.stream),
        (OPENS_SUB_STREAM, &mut opens.sub_stream),
    ] {
        if flags & flag != 0 {
            let principal = text(&mut bytes)?;
            *slot = Some(Name::new(principal, text(&mut bytes)?).ok()?);
        }
    }
    (bytes.is_empty() && flags & !(OPENS_STREAM | OPENS_SUB_STREAM) == 0).then_some(opens)
}

/// Appends one record frame; `header`'s two lengths are filled in here. Returns the frame's length.
pub(crate) fn encode_record(into: &mut Vec<u8>, header: &mut RecordHeader, opens: &Opens, payload: &[u8]) -> usize {
    let start = into.len();
    header.names_bytes = names_bytes(opens.stream.as_ref(), opens.sub_stream.as_ref()) as u16;
    header.payload_bytes = payload.len() as u32;
    v1::put_record_header(into, header);
    let body = into.len();
    encode_names(into, opens);
    into.extend_from_slice(payload);
    let crc = crc32fast::hash(&into[body..]);
    into.extend_from_slice(&crc.to_le_bytes());
    into.len() - start
}

/// A record's header, after its checksum held and its lengths were found to lie within `bytes`. Returns the frame's length with it.
pub(crate) fn decode_header(bytes: &[u8]) -> Result<(RecordHeader, usize), &'static str> {
    let header = v1::get_record_header(bytes)?;
    let length = frame_bytes(header.names_bytes as usize, header.payload_bytes as usize);
    if bytes.len() < length {
        return Err("the record is longer than what was stored");
    }
    Ok((header, length))
}

/// A whole record from the start of `bytes`, every checksum checked. The payload shares `bytes`.
pub(crate) fn decode_record(bytes: &Bytes) -> Result<(Record, usize), &'static str> {
    let (header, length) = decode_header(bytes)?;
    let body = v1::RECORD_HEADER_FRAME..length - 4;
    let stored = u32::from_le_bytes(bytes[length - 4..length].try_into().map_err(|_| "short record")?);
    if crc32fast::hash(&bytes[body.clone()]) != stored {
        return Err("the payload's checksum does not hold");
    }
    let names = body.start..body.start + header.names_bytes as usize;
    let opens = decode_names(&bytes[names.clone()]).ok_or("the names are malformed")?;
    Ok((header.into_record(opens, bytes.slice(names.end..body.end)), length))
}

/// Opens a commit frame: room for its header, which [`finish_commit`] fills in.
pub(crate) fn begin_commit(into: &mut Vec<u8>) {
    into.clear();
    into.resize(COMMIT_FRAME, 0);
}

/// Completes a commit frame around the records that follow the header's room, and pads it. Returns the commit's hash, which the next one links to.
pub(crate) fn finish_commit(buffer: &mut Vec<u8>, mut header: CommitHeader) -> u64 {
    header.body_bytes = (buffer.len() - COMMIT_FRAME) as u32;
    header.body_hash = xxh3_64(&buffer[COMMIT_FRAME..]);
    v1::put_commit_header(&mut buffer[..COMMIT_FRAME], &header);
    let hash = xxh3_64(&buffer[..COMMIT_FRAME]);
    buffer.resize(buffer.len().next_multiple_of(COMMIT_ALIGN), 0);
    hash
}

/// An intact commit frame found at the start of some bytes.
pub(crate) struct CommitFrame {
    pub(crate) header: CommitHeader,
    /// Of its header, and so of all of it.
    pub(crate) hash: u64,
    /// Length with padding.
    pub(crate) bytes: usize,
}

/// The commit at the start of `bytes`, if header and body check; says nothing about whose it is.
pub(crate) fn decode_commit(bytes: &[u8]) -> Option<CommitFrame> {
    let header = v1::get_commit_header(bytes)?;
    let body = bytes.get(COMMIT_FRAME..COMMIT_FRAME + header.body_bytes as usize)?;
    let length = (COMMIT_FRAME + body.len()).next_multiple_of(COMMIT_ALIGN);
    (xxh3_64(body) == header.body_hash && length <= bytes.len()).then_some(CommitFrame {
        header,
        hash: xxh3_64(&bytes[..COMMIT_FRAME]),
        bytes: length,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Kind, StreamId, SubStreamId, Subject};

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
            names_bytes: 0,
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
            let opens = Opens {
                stream: stream.map(|(p, n)| name(&p, &n)),
                sub_stream: sub.map(|(p, n)| name(&p, &n)),
            };
            let mut bytes = Vec::new();
            let length = encode_record(&mut bytes, &mut header(seed), &opens, &payload);
            bytes.extend_from_slice(b"what follows");
            let (record, read) = decode_record(&Bytes::from(bytes)).expect("an intact record");
            prop_assert_eq!(read, length);
            prop_assert_eq!(record.position, seed);
            prop_assert_eq!(record.stream, StreamId([seed as u8; 16]));
            prop_assert_eq!(record.sub, Some((SubStreamId([7; 16]), seed / 2 + 1)));
            prop_assert_eq!((record.kind, record.subject, record.time_us), (Kind(21), Subject(1), -5));
            prop_assert_eq!(record.opens, opens);
            prop_assert_eq!(&record.payload[..], &payload[..]);
        }
    }

    #[test]
    fn every_single_bit_flip_of_a_record_is_found() {
        let opens = Opens {
            stream: Some(name("p", "session/s")),
            sub_stream: None,
        };
        let mut intact = Vec::new();
        encode_record(&mut intact, &mut header(1), &opens, b"{\"delta\":\"hello \"}");
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
            encode_record(&mut buffer, &mut header(1), &Opens::default(), payload);
            (finish_commit(&mut buffer, CommitHeader::default()), buffer)
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
        encode_record(&mut buffer, &mut header(1), &Opens::default(), b"payload");
        let hash = finish_commit(&mut buffer, CommitHeader::default());
        let frame = decode_commit(&buffer).expect("an intact commit");
        assert_eq!((frame.bytes, frame.hash), (buffer.len(), hash));
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
