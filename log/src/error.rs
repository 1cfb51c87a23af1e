//! One error per public operation. `kind()` says what the caller should do about it.

use std::io;

use crate::poison::PoisonReason;
use crate::record::{Name, StreamId, SubStreamId, Subject};

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The call itself is wrong or lost a race: change it.
    FixRequest,
    /// The same call may succeed later.
    Retry,
    /// This log accepts nothing more: stop the process and open it again.
    Reopen,
    /// Stored bytes are not what was written: a person must look.
    Report,
}

/// Why an append was refused. Nothing of it was written, except as said at `Poisoned`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The stream must not exist, and does.
    #[error("the stream {0:?} exists already")]
    StreamExists(Name),
    /// The stream must exist, and does not.
    #[error("there is no stream {0:?}")]
    StreamAbsent(Name),
    /// No stream has this id.
    #[error("there is no stream with the id {0}")]
    UnknownStream(StreamId),
    /// The stream's last position is another one.
    #[error("the stream is at position {actual}, not {expected}")]
    PositionMismatch {
        /// What the caller expected.
        expected: u64,
        /// Where the stream is.
        actual: u64,
    },
    /// The subject's version is another one.
    #[error("{subject:?} is at version {actual}, not {expected}")]
    VersionMismatch {
        /// The subject.
        subject: Subject,
        /// What the caller expected.
        expected: u64,
        /// Its version.
        actual: u64,
    },
    /// The sub-stream's last number is another one.
    #[error("the sub-stream {sub_stream} is at {actual}, not {expected}")]
    SubStreamMismatch {
        /// The sub-stream.
        sub_stream: SubStreamId,
        /// What the caller expected.
        expected: u64,
        /// Its last number; 0 if it is not open in this stream.
        actual: u64,
    },
    /// A sub-stream of this name exists.
    #[error("the name {0:?} is taken by another sub-stream")]
    SubStreamTaken(Name),
    /// A record names a sub-stream that its stream does not have.
    #[error("the stream has no sub-stream {0}")]
    UnknownSubStream(SubStreamId),
    /// The append is malformed or over a bound.
    #[error("{0}")]
    Invalid(String),
    /// The disk is full, or no file can be opened for want of descriptors. Reads go on; appends are accepted again when there is room.
    #[error("no further segment can be prepared: {0}")]
    Full(String),
    /// The view store failed and the views may not fall further behind.
    #[error("the view store failed and has fallen too far behind: restart to rebuild it")]
    ViewsFailed,
    /// A write or sync failed. The records may or may not be found after a restart.
    #[error("the log stopped accepting appends: {0}")]
    Poisoned(PoisonReason),
    /// The log was closed, or the writer is gone.
    #[error("the log is closed")]
    Closed,
}

impl AppendError {
    /// What to do about it.
    pub fn kind(&self) -> Remedy {
        match self {
            Self::StreamExists(_)
            | Self::StreamAbsent(_)
            | Self::UnknownStream(_)
            | Self::PositionMismatch { .. }
            | Self::VersionMismatch { .. }
            | Self::SubStreamMismatch { .. }
            | Self::SubStreamTaken(_)
            | Self::UnknownSubStream(_)
            | Self::Invalid(_) => Remedy::FixRequest,
            Self::Full(_) => Remedy::Retry,
            Self::ViewsFailed | Self::Poisoned(_) | Self::Closed => Remedy::Reopen,
        }
    }
}

/// Why a read failed. Bytes that do not check are never returned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// No stream has this id.
    #[error("there is no stream with the id {0}")]
    UnknownStream(StreamId),
    /// The stream has no such position yet.
    #[error("stream {stream} ends at {tail}; there is no record {position}")]
    BeyondTail {
        /// The stream.
        stream: StreamId,
        /// The position that was asked for.
        position: u64,
        /// The last one there is.
        tail: u64,
    },
    /// A stored record is damaged.
    #[error("record {position} of stream {stream} is damaged: {what}")]
    Corrupt {
        /// The stream.
        stream: StreamId,
        /// The position that was asked for.
        position: u64,
        /// What did not hold.
        what: String,
    },
    /// The disk failed.
    #[error("reading {name} failed: {message}")]
    Io {
        /// The file.
        name: String,
        /// What the system said.
        message: String,
    },
    /// The runtime is shutting down.
    #[error("the log is closed")]
    Closed,
}

impl ReadError {
    /// What to do about it.
    pub fn kind(&self) -> Remedy {
        match self {
            Self::UnknownStream(_) | Self::BeyondTail { .. } => Remedy::FixRequest,
            Self::Io { .. } => Remedy::Retry,
            Self::Corrupt { .. } => Remedy::Report,
            Self::Closed => Remedy::Reopen,
        }
    }
}

/// Why a view's rows could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ViewError {
    /// No stream has this id.
    #[error("there is no stream with the id {0}")]
    UnknownStream(StreamId),
    /// The fold panicked at this position; its rows are not to be trusted.
    #[error("the view {view} of stream {stream} failed at position {position}")]
    Failed {
        /// The view.
        view: &'static str,
        /// The stream.
        stream: StreamId,
        /// The record that it failed on.
        position: u64,
    },
    /// The view store failed.
    #[error("the view store failed: {0}")]
    Store(String),
    /// The runtime is shutting down.
    #[error("the log is closed")]
    Closed,
}

/// Why a log could not be opened. Nothing was changed, unless a message says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the folder.
    #[error("{0} is in use by another process")]
    Locked(String),
    /// The folder can't be made, read or written.
    #[error("{what} failed: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// What is on disk can't be what an intact log leaves behind; acknowledged records may be missing.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// The files are of a format that this version does not know.
    #[error("{0}")]
    Format(String),
    /// The view store can't be opened, and can't be rebuilt.
    #[error("the view store failed: {0}")]
    ViewStore(String),
    /// The options contradict each other.
    #[error("{0}")]
    Invalid(String),
}
