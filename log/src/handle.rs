//! The log as its callers hold it: the verbs, typed, over whatever keeps the records.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::append::{Append, Appending};
use crate::cursor::{CommitCursor, StreamCursor};
use crate::env::Env;
use crate::error::{AppendError, OpenError, ReadError, RetentionError, ViewError};
use crate::log::{Options, SegmentLog};
use crate::poison::PoisonReason;
use crate::read::{Follow, FollowSub};
use crate::record::{Name, Record, StreamId, SubStreamId};
use crate::stats::Stats;
use crate::verbs::{CommitFilter, CommitPage, Erase, ListedStream, StreamQuery, SubStreamInfo, Trim, Verbs};
use crate::view::{Fold, ViewId};
use crate::view_store::Entry;

/// An open log. Cheap to clone; closed by [`Log::close`] or when the last clone goes.
#[derive(Clone)]
pub struct Log {
    verbs: Arc<dyn Verbs>,
    segments: Option<SegmentLog>,
}

impl Log {
    /// Opens the log in `options.disk`, making it if there is none: locks, checks every commit that is not in a run, repairs a torn tail,
    /// brings the views up to date. Blocks; takes time with what is not clustered yet, not with the size of the log.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let segments = SegmentLog::open(options)?;
        Ok(Self {
            verbs: Arc::new(segments.clone()),
            segments: Some(segments),
        })
    }

    /// A log whose records are kept by something else.
    pub fn over(verbs: Arc<dyn Verbs>) -> Self {
        Self { verbs, segments: None }
    }

    /// What only a log with files of its own can do: clustering, checking, copying. `None` for another one.
    pub fn segments(&self) -> Option<&SegmentLog> {
        self.segments.as_ref()
    }

    /// Time and ids.
    pub fn env(&self) -> &Arc<dyn Env> {
        self.verbs.env()
    }

    /// What it has counted since it was opened.
    pub fn stats(&self) -> &Arc<Stats> {
        self.verbs.stats()
    }

    /// Queues an append; waits while too much is queued. Appends queued one after the other are sequenced in that order.
    /// Conditions are decided on what is sequenced before the append. The future returned resolves when it is durable, folded and visible.
    pub async fn append(&self, append: Append) -> Result<Appending, AppendError> {
        self.verbs.append(append).await
    }

    /// The live stream of this name.
    pub async fn stream(&self, name: &Name) -> Result<Option<StreamId>, ReadError> {
        self.verbs.stream(name).await
    }

    /// The name of a live stream.
    pub async fn stream_name(&self, stream: StreamId) -> Result<Name, ReadError> {
        self.verbs.stream_name(stream).await
    }

    /// Position of a stream's last visible record.
    pub async fn tail(&self, stream: StreamId) -> Result<u64, ReadError> {
        Ok(self.verbs.bounds(stream).await?.1)
    }

    /// The first position that a stream still has. Above its tail plus 1 never; above 1 if it was trimmed.
    pub async fn oldest(&self, stream: StreamId) -> Result<u64, ReadError> {
        Ok(self.verbs.bounds(stream).await?.0)
    }

    /// Up to `query.limit` live streams, by name or by last activity. The log's own stream is not among them.
    pub async fn list(&self, query: StreamQuery) -> Result<Vec<ListedStream>, ReadError> {
        self.verbs.list(query).await
    }

    /// The sub-stream of this name, as far as it is visible.
    pub async fn sub_stream(&self, name: &Name) -> Result<Option<SubStreamInfo>, ReadError> {
        self.left_of(self.verbs.sub_stream(name).await?).await
    }

    /// The same, waiting up to `within` for it to be opened.
    pub async fn sub_stream_within(&self, name: &Name, within: Duration) -> Result<Option<SubStreamInfo>, ReadError> {
        self.left_of(self.verbs.sub_stream_within(name, within).await?).await
    }

    /// Where a sub-stream stands now.
    pub async fn sub_stream_info(&self, stream: StreamId, sub: SubStreamId) -> Result<SubStreamInfo, ReadError> {
        self.first_left(self.verbs.sub_stream_info(stream, sub).await?).await
    }

    async fn left_of(&self, found: Option<SubStreamInfo>) -> Result<Option<SubStreamInfo>, ReadError> {
        match found {
            Some(info) => self.first_left(info).await.map(Some),
            None => Ok(None),
        }
    }

    /// Looks for the first record that is left of a sub-stream whose beginning was trimmed.
    async fn first_left(&self, mut info: SubStreamInfo) -> Result<SubStreamInfo, ReadError> {
        let mut from = 1;
        while info.first < self.oldest(info.stream).await? {
            let page = self.verbs.read_sub(info.stream, info.id, 0, from).await?;
            match page.records.first() {
                Some(record) => info.first = record.position,
                None if page.visited == 0 => return Err(ReadError::UnknownSubStream(info.id)),
                None => from = page.next,
            }
        }
        Ok(info)
    }

    /// Up to `limit` records from position `from` on, in order, up to the tail. Bounded by `Limits::read_*`, and sometimes fewer
    /// than there are; empty only at the tail.
    pub async fn read(&self, stream: StreamId, from: u64, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.verbs.read(stream, from, limit).await
    }

    /// Up to `limit` records that end at position `to` (or at the tail, if that is before), the last one first.
    pub async fn read_back(&self, stream: StreamId, to: u64, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.verbs.read_back(stream, to, limit).await
    }

    /// The records at these positions, in the order given. Every position must be at or below the tail.
    pub async fn read_positions(&self, stream: StreamId, positions: &[u64]) -> Result<Vec<Record>, ReadError> {
        self.verbs.read_positions(stream, positions).await
    }

    /// A cursor over a stream, from position `from` (1 is the first) on, that waits at the tail.
    pub async fn follow(&self, stream: StreamId, from: u64) -> Result<Follow, ReadError> {
        self.verbs.bounds(stream).await?;
        Ok(Follow {
            verbs: self.verbs.clone(),
            stream,
            next: from.max(1),
        })
    }

    /// The same, from what a client saw last.
    pub async fn follow_from(&self, cursor: &StreamCursor) -> Result<Follow, ReadError> {
        let (_, tail) = self.verbs.bounds(cursor.stream).await?;
        match cursor.position <= tail {
            true => self.follow(cursor.stream, cursor.position + 1).await,
            false => Err(ReadError::BeyondTail {
                stream: cursor.stream,
                position: cursor.position,
                tail,
            }),
        }
    }

    /// A cursor over one sub-stream: its records with a number above `after`, waiting at the tail.
    /// Starts at a computed position: what it reads is what was asked for and what other sub-streams put between.
    pub async fn follow_sub(&self, sub: &SubStreamInfo, after: u64) -> Result<FollowSub, ReadError> {
        self.verbs.bounds(sub.stream).await?;
        Ok(FollowSub {
            verbs: self.verbs.clone(),
            stream: sub.stream,
            sub: sub.id,
            after,
            next: 1,
            visited: 0,
        })
    }

    /// The start of the order of everything in this log.
    pub fn commits_start(&self) -> CommitCursor {
        CommitCursor::start(self.verbs.store())
    }

    /// Up to `limit` records after a cursor, in commit order, those that the filter takes. What is in runs is read run by run, so that far
    /// back a page costs a run; near the tip it costs what it shows.
    pub async fn commits(
        &self,
        after: CommitCursor,
        filter: &CommitFilter,
        limit: usize,
    ) -> Result<CommitPage, ReadError> {
        self.verbs.commits(after, filter, limit).await
    }

    /// Resolves when a commit after this one is visible.
    pub async fn wait_commit(&self, after: u64) {
        self.verbs.wait_commit(after).await;
    }

    /// Gives up the first records of a stream, by a record of its own, never more than all of them. Views keep what they made of them.
    /// Refused while the stream has forks. The space comes back with the clustering. Returns the first position that is left.
    pub async fn trim(&self, stream: StreamId, trim: Trim) -> Result<u64, RetentionError> {
        self.verbs.trim(stream, trim).await
    }

    /// Deletes a stream, by a record of its own: its name is free, its rows go at once, its records with the clustering, unless a fork
    /// needs them, then with the last fork.
    pub async fn delete(&self, stream: StreamId) -> Result<(), RetentionError> {
        self.verbs.delete(stream).await
    }

    /// Deletes streams for good: nobody can read their payloads any more, in forks and their views neither, and they leave the disk
    /// with the next clustering. Returns how many there were. Repeat one that failed: what it left undone is done then.
    pub async fn erase(&self, whose: Erase) -> Result<u64, RetentionError> {
        self.verbs.erase(whose).await
    }

    /// Reads a stream's fold of a view; it reflects every acknowledged append. `F` must be the type that the view makes.
    /// `read` should only take out what is needed: the writer waits for it.
    pub async fn view<F: Fold, R: Send>(
        &self,
        stream: StreamId,
        view: ViewId,
        read: impl FnOnce(&F) -> R + Send,
    ) -> Result<R, ViewError> {
        let mut found = None;
        let shown = self.verbs.view(stream, view, Box::new(typed(read, &mut found)));
        shown.await?;
        found.ok_or_else(|| not_of_type(view))
    }

    /// The same as it was at a position: everything up to there, and nothing after.
    pub async fn view_at<F: Fold, R: Send>(
        &self,
        stream: StreamId,
        view: ViewId,
        position: u64,
        read: impl FnOnce(&F) -> R + Send,
    ) -> Result<R, ViewError> {
        let mut found = None;
        let shown = self
            .verbs
            .view_at(stream, view, position, Box::new(typed(read, &mut found)));
        shown.await?;
        found.ok_or_else(|| not_of_type(view))
    }

    /// Up to `limit` index rows of a view whose keys start with `prefix` and, if given, come after `after`; ascending.
    pub async fn index(
        &self,
        view: ViewId,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, ViewError> {
        self.verbs.index(view, prefix, after, limit).await
    }

    /// Number of the last visible commit.
    pub fn last_commit(&self) -> u64 {
        self.verbs.last_commit()
    }

    /// Number of the last commit that survives a power cut: unless the log is buffered, the last visible one.
    pub fn last_synced_commit(&self) -> u64 {
        self.verbs.last_synced_commit()
    }

    /// Resolves when a write or sync failed and the log accepts nothing more.
    pub async fn poisoned(&self) -> PoisonReason {
        self.verbs.poisoned().await
    }

    /// Ends the writer after what is queued, writes the views back and an exact watermark. Later appends are refused; reads go on.
    pub async fn close(&self) {
        self.verbs.close().await;
    }
}

fn typed<'a, F: Fold, R>(read: impl FnOnce(&F) -> R + 'a, found: &'a mut Option<R>) -> impl FnOnce(&dyn Any) + 'a {
    move |fold: &dyn Any| *found = fold.downcast_ref().map(read)
}

fn not_of_type(view: ViewId) -> ViewError {
    ViewError::Store(format!("the view {} is not of the type asked for", view.0))
}
