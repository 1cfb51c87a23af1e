//! The seam for sorted, rebuildable state: ordered keys, an atomic batch, range scans. It holds nothing that the log can't give back.
//! Implementations: `view_store/fjall` and `view_store/memory`; `view_store/conformance` is run by both. The keys are in `view_store/keys`.

pub mod conformance;
pub mod fjall;
pub(crate) mod keys;
pub mod memory;

use std::ops::Bound;

/// A failure of the store, in its own words. It stops the views, never the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A change to one key: `None` removes it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// An entry: key and value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Ordered keys and values. Keys are at most [`crate::limits::KEY_BYTES_MAX`] bytes.
pub trait ViewStore: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Applies all changes or none. Survives the process when this returns, and a power cut after the next `flush`.
    fn write(&self, batch: Vec<Change>) -> Result<(), StoreError>;

    /// Up to `limit` entries in `from..to`, ascending.
    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Makes earlier writes survive a power cut.
    fn flush(&self) -> Result<(), StoreError>;

    /// Makes what was removed or replaced leave the disk.
    fn compact(&self) -> Result<(), StoreError>;
}

/// Opens a view store, and puts a broken one out of the way. Called by recovery, after the segments were checked.
pub trait OpenViewStore: Send + Sync + 'static {
    /// Opens what is there, or makes it. `Err` leads to `discard` and a second try.
    fn open(&self) -> Result<Box<dyn ViewStore>, StoreError>;

    /// Removes everything, so that `open` starts empty.
    fn discard(&self) -> Result<(), StoreError>;

    /// Where it is, for messages.
    fn describe(&self) -> String;
}
