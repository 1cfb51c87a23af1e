//! What a view is: a pure fold of a stream's records into rows. No clock, no I/O, no minted ids.
//! How folds are driven, written back and rebuilt is in `view/inline` and `view/checkpoint`.

pub(crate) mod checkpoint;
pub(crate) mod inline;
mod refold;
pub(crate) mod replace;

use std::any::Any;

use crate::record::{Kind, Name, Record, StreamId};

/// Number of a view, 1 to 127, part of its rows' keys; pinned for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewId(pub u8);

/// When a view takes records in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Before their append is acknowledged: who appended reads it at once.
    Inline,
    /// Behind that, with the next write-back: it costs an append nothing, and shows what it reflects by its position.
    Trailing,
}

/// A kind of view. For each stream it has one [`Fold`], which holds that stream's rows in memory while they are in use.
pub trait View: Send + Sync + 'static {
    /// Its number.
    fn id(&self) -> ViewId;

    /// Its name, for messages.
    fn name(&self) -> &'static str;

    /// Raised whenever the same records would give other rows; a change rebuilds all views at the next open.
    fn version(&self) -> u32;

    /// When it takes records in.
    fn timing(&self) -> Timing {
        Timing::Inline
    }

    /// Whether records of this kind change it. Others are skipped on their header.
    fn folds(&self, kind: Kind) -> bool;

    /// The fold of a stream that has no rows yet.
    fn empty(&self, stream: StreamId, name: &Name) -> Box<dyn Fold>;

    /// The fold that an earlier version of this view would have made of these rows, brought up to this version. Asked only where the
    /// records that made them are gone, for a stream that was trimmed; elsewhere a changed view is rebuilt from the records.
    fn upgrade(&self, stream: StreamId, name: &Name, version: u32, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        let _ = (stream, name, rows);
        Err(format!(
            "the view {} can't read what its version {version} kept of a trimmed stream",
            self.name()
        ))
    }

    /// The fold of a stream that was trimmed before there was this view: what it would have kept of the records that are gone is not known. `Err` refuses to
    /// go on; only a view for which none of those records can have meant anything may begin empty.
    fn unkept(&self, stream: StreamId, name: &Name) -> Result<Box<dyn Fold>, String> {
        let _ = (stream, name);
        Err(format!("the view {} is newer than what was trimmed", self.name()))
    }

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

    /// Puts every index row that this stream has now, as `apply` would have left them. Asked when a stream appears with records that
    /// were not folded one by one (a fork, a rebuild from a snapshot), and when it is deleted, to take the rows away.
    /// A fold that puts none has nothing to say.
    fn index_rows(&self, index: &mut dyn IndexRows) {
        let _ = index;
    }

    /// All rows, changed or not: what a snapshot keeps.
    fn rows(&self, rows: &mut dyn FnMut(Row));
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
