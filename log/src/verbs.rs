//! What a log can do, whatever keeps its records: the seam between the engine and a store of records. [`crate::Log`] is the handle over it.
//! Implementations: `log` (segments and runs of our own) and `lsm` (records in fjall, the control). `verbs/conformance` is run by both.
//! A log over a network could keep these promises too: no verb hands out anything but values.

pub mod conformance;

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::append::{Append, Appending};
use crate::cursor::CommitCursor;
use crate::env::Env;
use crate::error::{AppendError, ReadError, RetentionError, ViewError};
use crate::poison::PoisonReason;
use crate::record::{Kind, Name, Record, StreamId, SubStreamId};
use crate::stats::Stats;
use crate::view::ViewId;
use crate::view_store::Entry;

/// What a verb gives when it is awaited.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Looks at a fold, whose type the caller knows.
pub type ReadFold<'a> = Box<dyn FnOnce(&dyn Any) + Send + 'a>;

/// Where a sub-stream stands. Positions and counts are visible ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubStreamInfo {
    /// The stream that it is part of.
    pub stream: StreamId,
    /// Its id.
    pub id: SubStreamId,
    /// Position of its record number 1, or of the first one that was not trimmed.
    pub first: u64,
    /// Position of its last record.
    pub last: u64,
    /// Number of its last record.
    pub count: u64,
}

/// Records of one sub-stream, with what it took to find them.
#[derive(Debug, Clone)]
pub struct SubPage {
    /// Those wanted, in order; others that stood between them are left out. May be empty though more follow.
    pub records: Vec<Record>,
    /// The position to go on from.
    pub next: u64,
    /// Records read, those left out included; 0 if the sub-stream has no further record yet.
    pub visited: u64,
    /// The stream's tail when this was read: to wait for more, wait for what comes after it.
    pub tail: u64,
}

/// Which streams to list.
#[derive(Debug, Clone, Default)]
pub struct StreamQuery {
    /// Only those of this principal. Needed for `StreamOrder::Name`; without it that order lists those without a principal.
    pub principal: Option<String>,
    /// Only those whose names start with this.
    pub prefix: String,
    /// In which order.
    pub order: StreamOrder,
    /// The stream that came last in the list before.
    pub after: Option<ListedStream>,
    /// Most streams.
    pub limit: usize,
}

/// An order of streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamOrder {
    /// By name, ascending.
    #[default]
    Name,
    /// By the time of the last record, newest first.
    LastActivity,
}

/// A stream in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedStream {
    /// Its id.
    pub stream: StreamId,
    /// Its name.
    pub name: Name,
    /// Position of its last record.
    pub tail: u64,
    /// Time of its last record, microseconds since the Unix epoch.
    pub last_activity_us: i64,
}

/// Which records to take from the order of everything.
#[derive(Debug, Clone, Default)]
pub struct CommitFilter {
    /// Only these kinds; all if empty.
    pub kinds: Vec<Kind>,
    /// Only this stream.
    pub stream: Option<StreamId>,
}

impl CommitFilter {
    /// Whether a record is wanted, by what its header says.
    pub fn takes(&self, kind: Kind, stream: StreamId) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&kind)) && self.stream.is_none_or(|only| only == stream)
    }
}

/// Records in the order in which they became durable.
#[derive(Debug, Clone)]
pub struct CommitPage {
    /// The wanted ones.
    pub records: Vec<Record>,
    /// Where the next page begins.
    pub next: CommitCursor,
    /// Nothing follows yet: wait for the next commit.
    pub at_tip: bool,
}

/// Which records of a stream to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trim {
    /// Those before this position.
    Before(u64),
    /// Those sequenced before this time (microseconds since the Unix epoch).
    OlderThan(i64),
    /// All but so many.
    KeepLast(u64),
}

/// What to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erase {
    /// Every stream of a principal, hidden ones too.
    Principal(String),
    /// These streams: a user's, where principals are not users.
    Streams(Vec<StreamId>),
}

/// A log. Every method's contract is that of the [`crate::Log`] method of the same name, but for [`SubStreamInfo::first`]: it stays
/// where record number 1 was, and the handle looks for the first one that is left.
pub trait Verbs: Send + Sync + 'static {
    /// Time and ids.
    fn env(&self) -> &Arc<dyn Env>;

    /// What it has counted since it was opened.
    fn stats(&self) -> &Arc<Stats>;

    /// Identity of the store.
    fn store(&self) -> [u8; 16];

    /// Queues an append.
    fn append(&self, append: Append) -> Answer<'_, Result<Appending, AppendError>>;

    /// The live stream of a name.
    fn stream<'a>(&'a self, name: &'a Name) -> Answer<'a, Result<Option<StreamId>, ReadError>>;

    /// The name of a live stream.
    fn stream_name(&self, stream: StreamId) -> Answer<'_, Result<Name, ReadError>>;

    /// The first position that a stream still has, and the last.
    fn bounds(&self, stream: StreamId) -> Answer<'_, Result<(u64, u64), ReadError>>;

    /// Streams by name or by last activity.
    fn list(&self, query: StreamQuery) -> Answer<'_, Result<Vec<ListedStream>, ReadError>>;

    /// The sub-stream of a name.
    fn sub_stream<'a>(&'a self, name: &'a Name) -> Answer<'a, Result<Option<SubStreamInfo>, ReadError>>;

    /// The same, waiting for it to be opened.
    fn sub_stream_within<'a>(
        &'a self,
        name: &'a Name,
        within: Duration,
    ) -> Answer<'a, Result<Option<SubStreamInfo>, ReadError>>;

    /// Where a sub-stream stands.
    fn sub_stream_info(&self, stream: StreamId, sub: SubStreamId) -> Answer<'_, Result<SubStreamInfo, ReadError>>;

    /// Records from a position on.
    fn read(&self, stream: StreamId, from: u64, limit: usize) -> Answer<'_, Result<Vec<Record>, ReadError>>;

    /// Records back from a position.
    fn read_back(&self, stream: StreamId, to: u64, limit: usize) -> Answer<'_, Result<Vec<Record>, ReadError>>;

    /// Records at positions.
    fn read_positions<'a>(
        &'a self,
        stream: StreamId,
        positions: &'a [u64],
    ) -> Answer<'a, Result<Vec<Record>, ReadError>>;

    /// Records of a sub-stream with a number above `after`, looking from position `from` on (1 at first).
    fn read_sub(
        &self,
        stream: StreamId,
        sub: SubStreamId,
        after: u64,
        from: u64,
    ) -> Answer<'_, Result<SubPage, ReadError>>;

    /// Resolves when a stream's tail is at or beyond a position; an error if the stream is deleted or unknown.
    fn wait(&self, stream: StreamId, position: u64) -> Answer<'_, Result<(), ReadError>>;

    /// Records in commit order.
    fn commits<'a>(
        &'a self,
        after: CommitCursor,
        filter: &'a CommitFilter,
        limit: usize,
    ) -> Answer<'a, Result<CommitPage, ReadError>>;

    /// Resolves when a commit after this one is visible.
    fn wait_commit(&self, after: u64) -> Answer<'_, ()>;

    /// Gives up records of a stream. The first position that is left.
    fn trim(&self, stream: StreamId, trim: Trim) -> Answer<'_, Result<u64, RetentionError>>;

    /// Deletes a stream.
    fn delete(&self, stream: StreamId) -> Answer<'_, Result<(), RetentionError>>;

    /// Erases streams for good. How many that were.
    fn erase(&self, whose: Erase) -> Answer<'_, Result<u64, RetentionError>>;

    /// Shows a stream's fold of a view.
    fn view<'a>(&'a self, stream: StreamId, view: ViewId, read: ReadFold<'a>) -> Answer<'a, Result<(), ViewError>>;

    /// Shows what the fold was at a position.
    fn view_at<'a>(
        &'a self,
        stream: StreamId,
        view: ViewId,
        position: u64,
        read: ReadFold<'a>,
    ) -> Answer<'a, Result<(), ViewError>>;

    /// Index rows of a view.
    fn index<'a>(
        &'a self,
        view: ViewId,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<Entry>, ViewError>>;

    /// Number of the last visible commit.
    fn last_commit(&self) -> u64;

    /// Number of the last commit that survives a power cut.
    fn last_synced_commit(&self) -> u64;

    /// Resolves when the log accepts nothing more.
    fn poisoned(&self) -> Answer<'_, PoisonReason>;

    /// Ends it.
    fn close(&self) -> Answer<'_, ()>;
}
