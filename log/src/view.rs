//! What a view is: a pure fold of a stream's records into rows. No clock, no I/O, no minted ids.
//! How folds are driven, written back and rebuilt is in `view/inline` and `view/checkpoint`.

pub(crate) mod checkpoint;
pub(crate) mod inline;

use std::any::Any;

use crate::record::{Kind, Name, Record, StreamId};

/// Number of a view, part of its rows' keys; pinned for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewId(pub u8);

/// A kind of view. For each stream it has one [`Fold`], which holds that stream's rows in memory while they are in use.
pub trait View: Send + Sync + 'static {
    /// Its number.
    fn id(&self) -> ViewId;

    /// Its name, for messages.
    fn name(&self) -> &'static str;

    /// Raised whenever the same records would give other rows; a change rebuilds all views at the next open.
    fn version(&self) -> u32;

    /// Whether records of this kind change it. Others are skipped on their header.
    fn folds(&self, kind: Kind) -> bool;

    /// The fold of a stream that has no rows yet.
    fn empty(&self, stream: StreamId, name: &Name) -> Box<dyn Fold>;

    /// The fold that wrote these rows. `Err` says what is wrong with them; the views are then rebuilt.
    fn load(&self, stream: StreamId, name: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String>;
}

/// One stream's rows of one view.
pub trait Fold: Any + Send + Sync {
    /// Takes in one record, in stream order, each exactly once. Total: what can't be applied changes nothing.
    /// Rows that are found across streams (lists, open work) go to `index`.
    fn apply(&mut self, record: &Record, index: &mut dyn IndexRows);

    /// Writes the rows that changed since the last call. Rows over 256 KiB should be split by key.
    fn changed(&mut self, rows: &mut dyn FnMut(Row));
}

/// A row of one stream and view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Key within the stream and view, at most [`crate::limits::KEY_BYTES_MAX`] bytes.
    pub key: Vec<u8>,
    /// Value; `None` removes the row.
    pub value: Option<Vec<u8>>,
}

/// Ordered rows of one view across all streams.
pub trait IndexRows {
    /// Sets a row.
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>);
    /// Removes a row.
    fn delete(&mut self, key: Vec<u8>);
}
