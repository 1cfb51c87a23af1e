//! One error per public operation. `kind()` says what the caller should do about it.

use std::io;

use crate::poison::PoisonReason;
use crate::record::{IdempotencyKey, Name, StreamId, SubStreamId, Subject};
use crate::run::{BuildError, RunError};
use crate::view_store::StoreError;

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
    /// An earlier append with this idempotency key appended something else.
    #[error("the idempotency key {0:?} was used for another append")]
    KeyReused(IdempotencyKey),
    /// A stream that other streams continue can't be trimmed: they read all of it.
    #[error("the stream {0} has forks: delete them first")]
    Forked(StreamId),
    /// The position to fork at is not there.
    #[error("stream {parent} can't be forked at {position}: it has the positions {oldest} to {tail}")]
    ForkOutOfRange {
        /// The stream to fork.
        parent: StreamId,
        /// The position that was asked for.
        position: u64,
        /// The first one that it has.
        oldest: u64,
        /// The last one.
        tail: u64,
    },
    /// The append is malformed or over a bound.
    #[error("{0}")]
    Invalid(String),
    /// The disk is full, or no file can be opened for want of descriptors. Reads go on; appends are accepted again when there is room.
    #[error("no further segment can be prepared: {0}")]
    Full(String),
    /// What the append is decided on could not be read. Nothing was queued.
    #[error("looking up what the append is decided on failed: {0}; send it again")]
    Lookup(String),
    /// The view store failed, and the views may not fall further behind or can't be gone on from.
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
            | Self::KeyReused(_)
            | Self::Forked(_)
            | Self::ForkOutOfRange { .. }
            | Self::Invalid(_) => Remedy::FixRequest,
            Self::Full(_) | Self::Lookup(_) => Remedy::Retry,
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
    /// The stream was deleted.
    #[error("stream {0} was deleted")]
    Deleted(StreamId),
    /// The position was given up.
    #[error("stream {stream} begins at {oldest}: what came before was trimmed")]
    Trimmed {
        /// The stream.
        stream: StreamId,
        /// The first position that it still has.
        oldest: u64,
    },
    /// The stream has no such sub-stream.
    #[error("the stream has no sub-stream {0}")]
    UnknownSubStream(SubStreamId),
    /// The cursor is not one of this log, or of another kind.
    #[error("{0}")]
    Cursor(String),
    /// The rows that say where records are can't be read.
    #[error("the view store failed: {0}")]
    Store(String),
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
    /// A stored commit is damaged.
    #[error("commit {commit} is damaged: {what}")]
    CorruptCommit {
        /// The commit.
        commit: u64,
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

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.0)
    }
}

impl ReadError {
    /// What to do about it.
    pub fn kind(&self) -> Remedy {
        match self {
            Self::UnknownStream(_)
            | Self::UnknownSubStream(_)
            | Self::Deleted(_)
            | Self::Trimmed { .. }
            | Self::Cursor(_)
            | Self::BeyondTail { .. } => Remedy::FixRequest,
            Self::Io { .. } => Remedy::Retry,
            Self::Corrupt { .. } | Self::CorruptCommit { .. } => Remedy::Report,
            Self::Store(_) | Self::Closed => Remedy::Reopen,
        }
    }
}

/// Why records could not be given up.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RetentionError {
    /// The stream can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The record that says so could not be appended.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A fold can't do without them.
    #[error("{0}")]
    Needed(String),
    /// The files can't be changed.
    #[error("{0}")]
    Files(String),
}

impl RetentionError {
    /// What to do about it.
    pub fn kind(&self) -> Remedy {
        match self {
            Self::Read(error) => error.kind(),
            Self::Append(error) => error.kind(),
            Self::Needed(_) => Remedy::FixRequest,
            Self::Files(_) => Remedy::Retry,
        }
    }
}

/// Why a view's rows could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ViewError {
    /// No stream has this id.
    #[error("there is no stream with the id {0}")]
    UnknownStream(StreamId),
    /// The stream has no such position yet.
    #[error("the stream ends at {tail}; there is no position {position}")]
    BeyondTail {
        /// The position that was asked for.
        position: u64,
        /// The last one there is.
        tail: u64,
    },
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

/// Why segments could not be made into runs, or runs into others. Nothing is lost: what was there stays.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The disk failed.
    #[error("{what} failed: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// What is to be clustered does not check.
    #[error("{0}; export what can be read, or restore it from a backup")]
    Damaged(String),
    /// The view store failed.
    #[error("the view store failed: {0}")]
    Rows(String),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl ClusterError {
    pub(crate) fn io(what: &str) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_owned();
        move |source| Self::Io { what, source }
    }
}

impl From<RunError> for ClusterError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Io { what, source } => Self::Io { what, source },
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<BuildError> for ClusterError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Io { name, source } => Self::Io {
                what: format!("writing {name}"),
                source,
            },
            other => Self::Damaged(other.to_string()),
        }
    }
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
