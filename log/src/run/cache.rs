//! Decompressed blocks of all runs of one log, bounded by bytes: those read again stay.

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::BLOCK_BYTES;

/// What a cached block takes beside its content.
const OVERHEAD: u64 = 96;

/// Blocks by run and offset. A run's number may not come to mean another file while its blocks can be here.
pub(crate) struct BlockCache(Cache<(u32, u64), Bytes, ByBytes>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<(u32, u64), Bytes> for ByBytes {
    fn weight(&self, _: &(u32, u64), block: &Bytes) -> u64 {
        block.len() as u64 + OVERHEAD
    }
}

impl BlockCache {
    /// Empty. A block that is larger than its share (a few per cent of a large cache) is not kept.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let blocks = usize::try_from(bytes_max / BLOCK_BYTES as u64).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(blocks, bytes_max, ByBytes))
    }

    /// Bytes that it holds.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.0.weight()
    }

    pub(super) fn get(&self, run: u32, offset: u64) -> Option<Bytes> {
        self.0.get(&(run, offset))
    }

    pub(super) fn holds(&self, run: u32, offset: u64) -> bool {
        self.0.contains_key(&(run, offset))
    }

    pub(super) fn put(&self, run: u32, offset: u64, block: Bytes) {
        self.0.insert((run, offset), block);
    }

    /// Drops the blocks of a run that is gone.
    pub(crate) fn forget(&self, run: u32) {
        self.0.retain(|(of, _), _| *of != run);
    }
}
