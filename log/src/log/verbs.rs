//! The verbs of a log in segments and runs. Each is a few lines over `writer`, `read`, `catalog`, `retention` and `view/inline`.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::SegmentLog;
use crate::append::{Append, Appending};
use crate::commits;
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
use crate::view_store::Entry;
use crate::writer::queued::Command;

impl Verbs for SegmentLog {
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
        Box::pin(async move { Ok(self.shared.cell_named(name).await?.map(|cell| cell.id)) })
    }

    fn stream_name(&self, stream: StreamId) -> Answer<'_, Result<Name, ReadError>> {
        Box::pin(async move {
            let cell = self.shared.cell(stream).await?;
            self.shared.readable(&cell)?;
            Ok(cell.name.clone())
        })
    }

    fn bounds(&self, stream: StreamId) -> Answer<'_, Result<(u64, u64), ReadError>> {
        Box::pin(async move {
            let cell = self.shared.cell(stream).await?;
            self.shared.readable(&cell)?;
            Ok((cell.oldest(), self.shared.streams.tail(&cell)))
        })
    }

    fn list(&self, query: StreamQuery) -> Answer<'_, Result<Vec<ListedStream>, ReadError>> {
        Box::pin(async move { Ok(self.shared.blocking(move |shared| shared.list(&query)).await?) })
    }

    fn sub_stream<'a>(&'a self, name: &'a Name) -> Answer<'a, Result<Option<SubStreamInfo>, ReadError>> {
        Box::pin(async move {
            let streams = &self.shared.streams;
            if let Some((stream, id)) = streams.sub_named(name)
                && let Some(cell) = streams.get(stream)
                && let Some(info) = streams.sub_info(&cell, id)
            {
                return Ok(Some(info));
            }
            let name = name.clone();
            let found = self.shared.blocking(move |shared| shared.find_sub_info(&name));
            Ok(found.await?)
        })
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
            let is_there = || async { !matches!(self.sub_stream(name).await, Ok(None)) };
            let opened = self.shared.streams.wait_for_sub(name, most, is_there);
            let _ = tokio::time::timeout(within, opened).await;
            self.sub_stream(name).await
        })
    }

    fn sub_stream_info(&self, stream: StreamId, sub: SubStreamId) -> Answer<'_, Result<SubStreamInfo, ReadError>> {
        Box::pin(async move {
            let cell = self.shared.cell(stream).await?;
            self.shared.readable(&cell)?;
            // What was brought back may be let go again before it is looked at.
            loop {
                if let Some(info) = self.shared.streams.sub_info(&cell, sub) {
                    return Ok(info);
                }
                self.shared.sub_in_memory(&cell, sub).await?;
            }
        })
    }

    fn read(&self, stream: StreamId, from: u64, limit: usize) -> Answer<'_, Result<Vec<Record>, ReadError>> {
        Box::pin(async move {
            let cell = self.shared.cell(stream).await?;
            self.shared.read(&cell, from, limit).await
        })
    }

    fn read_back(&self, stream: StreamId, to: u64, limit: usize) -> Answer<'_, Result<Vec<Record>, ReadError>> {
        Box::pin(async move {
            let cell = self.shared.cell(stream).await?;
            self.shared.read_back(&cell, to, limit).await
        })
    }

    fn read_positions<'a>(
        &'a self,
        stream: StreamId,
        positions: &'a [u64],
    ) -> Answer<'a, Result<Vec<Record>, ReadError>> {
        Box::pin(async move {
            let cell = self.shared.cell(stream).await?;
            self.shared.read_positions(&cell, positions).await
        })
    }

    fn read_sub(
        &self,
        stream: StreamId,
        sub: SubStreamId,
        after: u64,
        from: u64,
    ) -> Answer<'_, Result<SubPage, ReadError>> {
        Box::pin(async move {
            let cell = self.shared.cell(stream).await?;
            self.shared.readable(&cell)?;
            // Before the sub-stream is looked at: what comes later wakes who waits for more.
            let tail = self.shared.streams.tail(&cell);
            let wanted = loop {
                let standing = {
                    let index = cell.index.read();
                    let oldest = index.head.trimmed + 1;
                    index.sub(sub).map(|sub| {
                        let from = from.max(sub.floor(after + 1)).max(oldest);
                        (sub.count > after && from <= sub.last).then_some((from, sub.last))
                    })
                };
                match standing {
                    Some(wanted) => break wanted,
                    // It was let go, and may be again before it is looked at.
                    None => self.shared.sub_in_memory(&cell, sub).await?,
                }
            };
            let Some((from, last)) = wanted else {
                return Ok(SubPage {
                    records: Vec::new(),
                    next: from,
                    visited: 0,
                    tail,
                });
            };
            let mut records = self.shared.read(&cell, from, (last - from + 1) as usize).await?;
            let visited = records.len() as u64;
            records.retain(|record| record.sub.is_some_and(|(id, number)| id == sub && number > after));
            Ok(SubPage {
                records,
                next: from + visited,
                visited,
                tail,
            })
        })
    }

    fn wait(&self, stream: StreamId, position: u64) -> Answer<'_, Result<(), ReadError>> {
        Box::pin(async move {
            let cell = self.shared.cell(stream).await?;
            self.shared.wait_for(&cell, position).await;
            self.shared.readable(&cell)
        })
    }

    fn commits<'a>(
        &'a self,
        after: CommitCursor,
        filter: &'a CommitFilter,
        limit: usize,
    ) -> Answer<'a, Result<CommitPage, ReadError>> {
        Box::pin(commits::page(&self.shared, after, filter, limit))
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
            let cell = self.shared.cell(stream).await.map_err(view_error(stream))?;
            self.shared.readable(&cell).map_err(view_error(stream))?;
            let mut read = Some(read);
            // They may be let go between the two.
            for _ in 0..100 {
                let loaded = self.shared.loaded(&cell).await;
                loaded.map_err(|error| ViewError::Store(error.0))?;
                let once = &mut |fold: &dyn Any| {
                    if let Some(read) = read.take() {
                        read(fold);
                    }
                };
                if let Some(shown) = self.shared.views.show(&cell, view, once) {
                    return shown;
                }
            }
            Err(ViewError::Closed)
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
            let cell = self.shared.cell(stream).await.map_err(view_error(stream))?;
            self.shared.readable(&cell).map_err(view_error(stream))?;
            let tail = self.shared.streams.tail(&cell);
            if position > tail {
                return Err(ViewError::BeyondTail { position, tail });
            }
            let folded = self.shared.blocking(move |shared| {
                let past = shared.past(&cell, position, cell.id, &cell.name)?;
                Ok(past.folds)
            });
            let folds = folded.await.map_err(|error| ViewError::Store(error.0))?;
            self.shared.views.show_one(&folds, stream, view, read)
        })
    }

    fn index<'a>(
        &'a self,
        view: ViewId,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> Answer<'a, Result<Vec<Entry>, ViewError>> {
        Box::pin(async move {
            let (prefix, after) = (prefix.to_vec(), after.map(<[u8]>::to_vec));
            let rows = move |shared: &Arc<super::Shared>| shared.views.index(view, &prefix, after.as_deref(), limit);
            self.shared
                .blocking(rows)
                .await
                .map_err(|error| ViewError::Store(error.0))
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
            if self.command(Command::Close(done)).is_ok() {
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
