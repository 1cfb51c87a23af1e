//! The verbs of the control. Each reads the tree at one instant, off the async threads; the writer is the only one that changes it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::read::Bounds;
use super::writer::Command;
use super::{LsmLog, Shared};
use crate::append::{Append, Appending};
use crate::cursor::CommitCursor;
use crate::env::Env;
use crate::error::{AppendError, ReadError, RetentionError, ViewError};
use crate::poison::PoisonReason;
use crate::record::{Name, Record, StreamId, SubStreamId};
use crate::stats::Stats;
use crate::verbs::{
    Answer, CommitFilter, CommitPage, Erase, ListedStream, StreamQuery, SubPage, SubStreamInfo, Trim, Verbs,
};
use crate::view::ViewId;
use crate::view_store::{Entry, StoreError};

impl LsmLog {
    /// Asks the tree as it is now, on a thread that may block.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Shared, &super::tree::At) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = self.shared.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&shared, &shared.tree.now()));
        asked.await.unwrap_or(Err(ReadError::Closed))
    }
}

impl Verbs for LsmLog {
    fn env(&self) -> &Arc<dyn Env> {
        &self.shared.env
    }

    fn stats(&self) -> &Arc<Stats> {
        &self.shared.stats
    }

    fn store(&self) -> [u8; 16] {
        self.shared.store
    }

    fn append(&self, append: Append) -> Answer<'_, Result<Appending, AppendError>> {
        Box::pin(self.queue(append, false))
    }

    fn stream<'a>(&'a self, name: &'a Name) -> Answer<'a, Result<Option<StreamId>, ReadError>> {
        let name = name.clone();
        Box::pin(self.ask(move |_, at| Ok(at.named(&name)?)))
    }

    fn stream_name(&self, stream: StreamId) -> Answer<'_, Result<Name, ReadError>> {
        Box::pin(self.ask(move |_, at| Ok(at.readable(stream)?.name()?)))
    }

    fn bounds(&self, stream: StreamId) -> Answer<'_, Result<(u64, u64), ReadError>> {
        Box::pin(self.ask(move |_, at| {
            let row = at.readable(stream)?;
            Ok((row.trimmed + 1, row.last))
        }))
    }

    fn list(&self, query: StreamQuery) -> Answer<'_, Result<Vec<ListedStream>, ReadError>> {
        Box::pin(self.ask(move |_, at| Ok(at.list(&query)?)))
    }

    fn sub_stream<'a>(&'a self, name: &'a Name) -> Answer<'a, Result<Option<SubStreamInfo>, ReadError>> {
        let name = name.clone();
        Box::pin(self.ask(move |_, at| {
            let Some((stream, id)) = at.sub_named(&name)? else {
                return Ok(None);
            };
            Ok(at.sub(stream, id)?.map(|sub| sub.info(stream, id)))
        }))
    }

    fn sub_stream_within<'a>(
        &'a self,
        name: &'a Name,
        within: Duration,
    ) -> Answer<'a, Result<Option<SubStreamInfo>, ReadError>> {
        Box::pin(async move {
            if let Some(found) = self.sub_stream(name).await? {
                return Ok(Some(found));
            }
            let most = self.shared.limits.name_waiters_max;
            let opened = async {
                let waiting = self.shared.waiting_names.register(name, most)?;
                loop {
                    let opened = waiting.notify.notified();
                    tokio::pin!(opened);
                    opened.as_mut().enable();
                    match self.sub_stream(name).await {
                        Ok(None) => opened.await,
                        found => return Some(found),
                    }
                }
            };
            match tokio::time::timeout(within, opened).await {
                Ok(Some(found)) => found,
                _ => self.sub_stream(name).await,
            }
        })
    }

    fn sub_stream_info(&self, stream: StreamId, sub: SubStreamId) -> Answer<'_, Result<SubStreamInfo, ReadError>> {
        Box::pin(self.ask(move |_, at| {
            at.readable(stream)?;
            let row = at.sub(stream, sub)?.ok_or(ReadError::UnknownSubStream(sub))?;
            Ok(row.info(stream, sub))
        }))
    }

    fn read(&self, stream: StreamId, from: u64, limit: usize) -> Answer<'_, Result<Vec<Record>, ReadError>> {
        Box::pin(self.ask(move |shared, at| {
            let row = at.readable(stream)?;
            at.records(stream, &row, from, u64::MAX, Bounds::of(&shared.limits, limit))
        }))
    }

    fn read_back(&self, stream: StreamId, to: u64, limit: usize) -> Answer<'_, Result<Vec<Record>, ReadError>> {
        Box::pin(self.ask(move |shared, at| at.records_back(stream, to, Bounds::of(&shared.limits, limit))))
    }

    fn read_positions<'a>(
        &'a self,
        stream: StreamId,
        positions: &'a [u64],
    ) -> Answer<'a, Result<Vec<Record>, ReadError>> {
        let positions = positions.to_vec();
        Box::pin(self.ask(move |_, at| at.records_at(stream, &positions)))
    }

    fn read_sub(
        &self,
        stream: StreamId,
        sub: SubStreamId,
        after: u64,
        from: u64,
    ) -> Answer<'_, Result<SubPage, ReadError>> {
        Box::pin(self.ask(move |shared, at| at.sub_page(stream, sub, after, from, &shared.limits)))
    }

    fn wait(&self, stream: StreamId, position: u64) -> Answer<'_, Result<(), ReadError>> {
        Box::pin(async move {
            let Some(waiting) = self.shared.waiting.register(&stream, usize::MAX) else {
                return Ok(());
            };
            loop {
                let published = waiting.notify.notified();
                tokio::pin!(published);
                published.as_mut().enable();
                if self.ask(move |_, at| at.readable(stream)).await?.last >= position {
                    return Ok(());
                }
                published.await;
            }
        })
    }

    fn commits<'a>(
        &'a self,
        after: CommitCursor,
        filter: &'a CommitFilter,
        limit: usize,
    ) -> Answer<'a, Result<CommitPage, ReadError>> {
        let filter = filter.clone();
        Box::pin(
            self.ask(move |shared, at| at.commits(shared.store, after, &filter, Bounds::of(&shared.limits, limit))),
        )
    }

    fn wait_commit(&self, after: u64) -> Answer<'_, ()> {
        Box::pin(async move {
            loop {
                let committed = self.shared.committed.notified();
                tokio::pin!(committed);
                committed.as_mut().enable();
                if self.shared.visible.load(Ordering::Acquire) > after {
                    return;
                }
                committed.await;
            }
        })
    }

    fn trim(&self, stream: StreamId, trim: Trim) -> Answer<'_, Result<u64, RetentionError>> {
        Box::pin(self.trim_stream(stream, trim))
    }

    fn delete(&self, stream: StreamId) -> Answer<'_, Result<(), RetentionError>> {
        Box::pin(self.delete_stream(stream))
    }

    fn erase(&self, whose: Erase) -> Answer<'_, Result<u64, RetentionError>> {
        Box::pin(self.erase_streams(whose))
    }

    fn view<'a>(
        &'a self,
        stream: StreamId,
        view: ViewId,
        read: Box<dyn FnOnce(&dyn Any) + Send + 'a>,
    ) -> Answer<'a, Result<(), ViewError>> {
        Box::pin(async move {
            let mut held = self.shared.folds.of(stream).lock_owned().await;
            let loaded = self.ask(move |shared, at| {
                let row = at.readable(stream)?;
                shared.folds.load(at, stream, &row, &mut held)?;
                Ok(held)
            });
            let held = loaded.await.map_err(view_error(stream))?;
            let slots = held.as_deref().unwrap_or_default();
            self.shared.folds.views.show_one(slots, stream, view, read)
        })
    }

    fn view_at<'a>(
        &'a self,
        stream: StreamId,
        view: ViewId,
        position: u64,
        read: Box<dyn FnOnce(&dyn Any) + Send + 'a>,
    ) -> Answer<'a, Result<(), ViewError>> {
        Box::pin(async move {
            let past = self.ask(move |shared, at| {
                let row = at.readable(stream)?;
                if position > row.last {
                    return Ok(Err(ViewError::BeyondTail {
                        position,
                        tail: row.last,
                    }));
                }
                let name = row.name()?;
                let past = shared.folds.past(at, (stream, &row), position, (stream, &name));
                Ok(past
                    .map(|past| past.slots)
                    .map_err(|error| ViewError::Store(StoreError::from(error).0)))
            });
            let slots = past.await.map_err(view_error(stream))??;
            self.shared.folds.views.show_one(&slots, stream, view, read)
        })
    }

    fn index<'a>(
        &'a self,
        view: ViewId,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<Entry>, ViewError>> {
        let (prefix, after) = (prefix.to_vec(), after.map(<[u8]>::to_vec));
        Box::pin(async move {
            let rows =
                self.ask(move |shared, at| Ok(shared.folds.index(at, view, &prefix, after.as_deref(), limit)?));
            rows.await.map_err(|error| match error {
                ReadError::Closed => ViewError::Closed,
                ReadError::Store(what) => ViewError::Store(what),
                other => ViewError::Store(other.to_string()),
            })
        })
    }

    fn last_commit(&self) -> u64 {
        self.shared.visible.load(Ordering::Acquire)
    }

    fn last_synced_commit(&self) -> u64 {
        self.shared.synced.load(Ordering::Acquire)
    }

    fn poisoned(&self) -> Answer<'_, PoisonReason> {
        Box::pin(self.shared.poison.wait())
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let (done, closed) = oneshot::channel();
            if self.command(Command::Close(done)).await.is_ok() {
                let _ = closed.await;
            }
        })
    }
}

fn view_error(stream: StreamId) -> impl FnOnce(ReadError) -> ViewError {
    move |error| match error {
        ReadError::Store(what) => ViewError::Store(what),
        ReadError::Closed => ViewError::Closed,
        _ => ViewError::UnknownStream(stream),
    }
}
