//! The one framing of everything in a run: a head with lengths, form and checksum, and the content, compressed if that makes it smaller.

use bytes::Bytes;
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};
use xxhash_rust::xxh3::Xxh3;

use super::RAW_BYTES_MAX;
use super::apart::{put_together, set_apart};
use super::entry::u32_at;

/// Bytes of a block's head.
pub(super) const BLOCK_HEAD: usize = CHECKED + 8;
const CHECKED: usize = 12;

const STORED: u8 = 0;
const LZ4: u8 = 1;
const LZ4_APART: u8 = 2;

/// Frames blocks, reusing what compression needs.
#[derive(Default)]
pub(super) struct Packer {
    table: CompressTable,
    apart: Vec<u8>,
    compressed: Vec<u8>,
}

impl Packer {
    /// Appends `raw` as a block. `records`: where its entries start, if it is one of records. Returns the block's length.
    pub(super) fn pack(&mut self, raw: &[u8], records: Option<&[usize]>, into: &mut Vec<u8>) -> usize {
        let (form, content) = match records {
            Some(starts) => {
                set_apart(raw, starts, &mut self.apart);
                (LZ4_APART, &self.apart[..])
            }
            None => (LZ4, raw),
        };
        self.compressed.resize(get_maximum_output_size(content.len()), 0);
        let compressed = compress_into_with_table(content, &mut self.compressed, &mut self.table);
        let (form, raw_bytes, stored) = match compressed {
            Ok(bytes) if bytes < raw.len() => (form, content.len(), &self.compressed[..bytes]),
            _ => (STORED, raw.len(), raw),
        };
        let start = into.len();
        into.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        into.extend_from_slice(&(raw_bytes as u32).to_le_bytes());
        into.extend_from_slice(&[form, 0, 0, 0]);
        let hash = checksum(&into[start..], stored);
        into.extend_from_slice(&hash.to_le_bytes());
        into.extend_from_slice(stored);
        into.len() - start
    }
}

/// Not a crc: one over frames that end in their own crc of the same polynomial comes out the same whatever the frames say.
fn checksum(head: &[u8], stored: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(head);
    hash.update(stored);
    hash.digest()
}

/// Length of a block with its head, as its head says: unchecked, but bounded.
pub(super) fn block_bytes(head: &[u8]) -> Result<usize, &'static str> {
    let stored = u32_at(head, 0)? as usize;
    if stored > RAW_BYTES_MAX || u32_at(head, 4)? as usize > RAW_BYTES_MAX {
        return Err("the block says that it is larger than any that is written");
    }
    Ok(BLOCK_HEAD + stored)
}

/// The content of a block, which is all of `block`.
pub(super) fn unpack(block: &[u8]) -> Result<Bytes, &'static str> {
    if block.len() < BLOCK_HEAD || block_bytes(block)? != block.len() {
        return Err("the block is of another length than its head says");
    }
    let (head, stored) = block.split_at(BLOCK_HEAD);
    if checksum(&head[..CHECKED], stored).to_le_bytes() != head[CHECKED..] {
        return Err("the block's checksum does not hold");
    }
    let raw_bytes = u32_at(head, 4)? as usize;
    let decompress = || {
        let mut raw = vec![0; raw_bytes];
        match decompress_into(stored, &mut raw) {
            Ok(bytes) if bytes == raw_bytes => Ok(raw),
            _ => Err("the block can't be decompressed"),
        }
    };
    match head[8..CHECKED] {
        [STORED, 0, 0, 0] if stored.len() == raw_bytes => Ok(Bytes::copy_from_slice(stored)),
        [LZ4, 0, 0, 0] => decompress().map(Bytes::from),
        [LZ4_APART, 0, 0, 0] => put_together(&decompress()?).map(Bytes::from),
        _ => Err("the block is of a form that this version of the software does not know"),
    }
}
