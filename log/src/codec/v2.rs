//! Format 2: the commit header with the chain's digests. Record headers are those of format 1.

use rkyv::rancor;
use rkyv::{Archive, Deserialize, Serialize};

use super::{CommitHeader, Digest};

/// The format's number, in every commit header and in the manifest.
pub(crate) const FORMAT: u16 = 2;
const MAGIC: [u8; 4] = *b"FSc\x02";

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
    records_digest: [u8; 32],
    previous: [u8; 32],
}

const HEADER: usize = size_of::<ArchivedHeader>();
const _: () = assert!(
    HEADER == 128 && align_of::<ArchivedHeader>() == 1,
    "the format has changed"
);

/// What a commit takes beside its records: magic, format, header length, header, header checksum.
pub(crate) const COMMIT_FRAME: usize = 4 + 2 + 2 + HEADER + 4;

/// Fills `into`, which is [`COMMIT_FRAME`] long.
pub(crate) fn put_commit_header(into: &mut [u8], header: &CommitHeader) {
    let header = Header {
        store: header.store,
        generation: header.generation,
        epoch: header.epoch,
        commit: header.commit,
        durable_through: header.durable_through,
        records: header.records,
        body_bytes: header.body_bytes,
        body_hash: header.body_hash,
        records_digest: header.records_digest.0,
        previous: header.previous.0,
    };
    let mut bytes = Vec::with_capacity(COMMIT_FRAME);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&(HEADER as u16).to_le_bytes());
    // Fixed-size fields only: there is nothing that could fail.
    rkyv::api::high::to_bytes_in::<&mut Vec<u8>, rancor::Error>(&header, &mut bytes)
        .expect("a fixed header always archives");
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    into.copy_from_slice(&bytes);
}

/// The commit header at the start of `bytes`, if it checks.
pub(crate) fn get_commit_header(bytes: &[u8]) -> Option<CommitHeader> {
    let frame = bytes.get(..COMMIT_FRAME)?;
    let (head, crc) = frame.split_at(COMMIT_FRAME - 4);
    if frame[..4] != MAGIC
        || crc32fast::hash(head).to_le_bytes() != crc
        || head[4..6] != FORMAT.to_le_bytes()
        || head[6..8] != (HEADER as u16).to_le_bytes()
    {
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
        records_digest: Digest(header.records_digest),
        previous: Digest(header.previous),
    })
}
