//! The log as its callers hold it: verbs only. Each is a few lines over `writer`, `read` and `view/inline`.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::append::{Append, Appending, Target};
use crate::disk::Disk;
use crate::disk::fs::FsDisk;
use crate::disk::memory::MemoryDisk;
use crate::env::{Env, SystemEnv};
use crate::error::{AppendError, OpenError, ReadError, ViewError};
use crate::index::{Cell, Streams};
use crate::keeper::Keeper;
use crate::limits::Limits;
use crate::poison::{Poison, PoisonReason};
use crate::read::{Follow, FollowSub};
use crate::record::{Name, Record, StreamId, SubStreamId};
use crate::recovery;
use crate::segment::Slots;
use crate::segment::supply::Supply;
use crate::tail::Tail;
use crate::view::inline::{Folds, Views};
use crate::view::{Fold, View, ViewId};
use crate::view_store::fjall::FjallViews;
use crate::view_store::memory::MemoryViews;
use crate::view_store::{Entry, OpenViewStore, StoreError};
use crate::writer::{self, Command, Queued};

/// What a log is opened with.
#[derive(Clone)]
pub struct Options {
    /// Where the truth lies.
    pub disk: Arc<dyn Disk>,
    /// Where the views lie.
    pub view_store: Arc<dyn OpenViewStore>,
    /// Time and ids.
    pub env: Arc<dyn Env>,
    /// Bounds.
    pub limits: Limits,
    /// The views to fold.
    pub views: Vec<Arc<dyn View>>,
}

impl Options {
    /// A log in a folder: the truth in `folder/log`, the views in `folder/views` (fjall). The folder is made if it is missing.
    pub fn in_folder(folder: &Path) -> Result<Self, OpenError> {
        let disk = FsDisk::open(&folder.join("log")).map_err(|source| OpenError::Io {
            what: format!("opening the folder {}", folder.display()),
            source,
        })?;
        Ok(Self {
            disk: Arc::new(disk),
            view_store: Arc::new(FjallViews::at(&folder.join("views"))),
            env: Arc::new(SystemEnv::new()),
            limits: Limits::default(),
            views: Vec::new(),
        })
    }

    /// A log in memory, which ends with the process.
    pub fn in_memory() -> Self {
        Self {
            disk: Arc::new(MemoryDisk::new()),
            view_store: Arc::new(MemoryViews::new()),
            env: Arc::new(SystemEnv::new()),
            limits: Limits {
                segment_bytes: 8 << 20,
                ..Limits::default()
            },
            views: Vec::new(),
        }
    }
}

/// Where a sub-stream stands. Positions and counts are durable ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubStreamInfo {
    /// The stream that it is part of.
    pub stream: StreamId,
    /// Its id.
    pub id: SubStreamId,
    /// Position of its record number 1.
    pub first: u64,
    /// Position of its last record.
    pub last: u64,
    /// Number of its last record.
    pub count: u64,
}

/// What the threads of an open log share.
pub(crate) struct Shared {
    pub(crate) store: [u8; 16],
    pub(crate) env: Arc<dyn Env>,
    pub(crate) limits: Limits,
    pub(crate) poison: Poison,
    pub(crate) streams: Streams,
    pub(crate) tail: Tail,
    pub(crate) slots: Slots,
    pub(crate) views: Views,
    pub(crate) supply: Supply,
    pub(crate) keeper: Keeper,
    /// Last commit that is durable and folded.
    pub(crate) durable: AtomicU64,
    /// The threads beside the writer; it ends them when it ends.
    pub(crate) helpers: Mutex<Vec<JoinHandle<()>>>,
    /// Given back when the log is closed.
    pub(crate) lock: Mutex<Option<Box<dyn Any + Send + Sync>>>,
}

impl Shared {
    /// Ends the other threads, the keeper after a last checkpoint, and gives the folder back. Called by the writer, last of all.
    pub(crate) fn stop_helpers(&self) {
        self.supply.stop();
        self.keeper.stop();
        for helper in self.helpers.lock().drain(..) {
            if helper.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
        self.lock.lock().take();
    }

    /// Loads a stream's folds if they are not in memory, and brings them up to the stream's last record. May read the disk.
    pub(crate) fn load_folds(&self, cell: &Cell) -> Result<(), StoreError> {
        let mut folds = cell.folds.lock();
        if let Folds::Loaded(_) = *folds {
            return Ok(());
        }
        let mut slots = self.views.load(cell)?;
        let last = cell.index.read().len();
        let mut next = slots.iter().map(|slot| slot.position + 1).min().unwrap_or(last + 1);
        while next <= last {
            let records = self
                .fetch_blocking(cell, next)
                .map_err(|error| StoreError(error.to_string()))?;
            next += records.len() as u64;
            self.views.fold(cell, &mut slots, &records);
        }
        *folds = Folds::Loaded(slots);
        cell.loaded.store(true, Ordering::Release);
        Ok(())
    }

    /// The same while the log runs: rows that can't be read lead to a rebuild at the next open.
    fn load_or_invalidate(&self, cell: &Cell) -> Result<(), StoreError> {
        self.load_folds(cell).inspect_err(|error| self.views.invalidate(error))
    }

    /// The same from an async thread.
    async fn loaded(self: &Arc<Self>, cell: &Arc<Cell>) -> Result<(), StoreError> {
        if cell.loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        let (shared, cell) = (self.clone(), cell.clone());
        tokio::task::spawn_blocking(move || shared.load_or_invalidate(&cell))
            .await
            .unwrap_or_else(|_| Err(StoreError("the runtime is shutting down".to_owned())))
    }
}

/// An open log. Cheap to clone; closed by [`Log::close`] or when the last clone goes.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
}

struct Handle {
    queue: Option<mpsc::Sender<Command>>,
    room: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The writer ends when no sender is left; then the folder is free for another open.
        self.queue.take();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Log {
    /// Opens the log in `options.disk`, making it if there is none: locks, checks every commit, repairs a torn tail, brings the views up to date.
    /// Blocks; takes time with the size of the log.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let room = Arc::new(Semaphore::new(options.limits.queue_bytes_max));
        let (queue, commands) = mpsc::channel(options.limits.queue_appends_max);
        let (shared, writer) = recovery::open(options, commands)?;
        let handle = Handle {
            queue: Some(queue),
            room,
            writer: Some(writer),
        };
        Ok(Self {
            shared,
            handle: Arc::new(handle),
        })
    }

    /// Time and ids.
    pub fn env(&self) -> &Arc<dyn Env> {
        &self.shared.env
    }

    /// Queues an append; waits while too much is queued. Appends queued one after the other are sequenced in that order.
    /// Conditions are decided on what is sequenced before the append. The future returned resolves when it is durable, folded and visible.
    pub async fn append(&self, append: Append) -> Result<Appending, AppendError> {
        if let Some(reason) = self.shared.poison.get() {
            return Err(AppendError::Poisoned(reason.clone()));
        }
        let bytes = writer::bytes_in_commit(&self.shared, &append)?;
        for part in &append.parts {
            let cell = match &part.stream {
                Target::Name(name) => self.shared.streams.named(name),
                Target::Id(id) => self.shared.streams.get(*id),
            };
            if let Some(cell) = cell {
                let loaded = self.shared.loaded(&cell).await;
                loaded.map_err(|_| AppendError::ViewsFailed)?;
            }
        }
        let permits = bytes.min(self.shared.limits.queue_bytes_max) as u32;
        let room = self.handle.room.clone().acquire_many_owned(permits).await;
        let (outcome, answer) = oneshot::channel();
        let queued = Queued {
            append,
            bytes,
            _room: Some(room.map_err(|_| AppendError::Closed)?),
            outcome,
        };
        let queue = self.handle.queue.as_ref().ok_or(AppendError::Closed)?;
        queue
            .send(Command::Append(queued))
            .await
            .map_err(|_| AppendError::Closed)?;
        Ok(Appending { outcome: answer })
    }

    /// The stream of this name.
    pub fn stream(&self, name: &Name) -> Option<StreamId> {
        self.shared.streams.named(name).map(|cell| cell.id)
    }

    /// The name of a stream.
    pub fn stream_name(&self, stream: StreamId) -> Option<Name> {
        self.shared.streams.get(stream).map(|cell| cell.name.clone())
    }

    /// Position of a stream's last durable record.
    pub fn tail(&self, stream: StreamId) -> Option<u64> {
        let cell = self.shared.streams.get(stream)?;
        Some(self.shared.streams.tail(&cell))
    }

    /// Number of the last durable commit.
    pub fn last_commit(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// The sub-stream of this name, as far as it is durable.
    pub fn sub_stream(&self, name: &Name) -> Option<SubStreamInfo> {
        let (cell, id) = self.shared.streams.sub_named(name)?;
        self.shared.streams.sub_info(&cell, id)
    }

    /// The same, waiting up to `within` for it to be opened.
    pub async fn sub_stream_within(&self, name: &Name, within: Duration) -> Option<SubStreamInfo> {
        if let Some(found) = self.sub_stream(name) {
            return Some(found);
        }
        let opened = self
            .shared
            .streams
            .wait_for_sub(name, self.shared.limits.name_waiters_max);
        let (cell, id) = tokio::time::timeout(within, opened).await.ok()??;
        self.shared.streams.sub_info(&cell, id)
    }

    /// Where a sub-stream stands now.
    pub fn sub_stream_info(&self, stream: StreamId, sub: SubStreamId) -> Option<SubStreamInfo> {
        self.shared.streams.sub_info(&*self.cell(stream)?, sub)
    }

    fn cell(&self, stream: StreamId) -> Option<Arc<Cell>> {
        self.shared.streams.get(stream)
    }

    /// Up to `limit` records from position `from` on, in order, up to the tail. Bounded by `Limits::read_*`; empty at the tail.
    pub async fn read(&self, stream: StreamId, from: u64, limit: usize) -> Result<Vec<Record>, ReadError> {
        let cell = self.cell(stream).ok_or(ReadError::UnknownStream(stream))?;
        self.shared.read(&cell, from, limit).await
    }

    /// The records at these positions, in the order given. Every position must be at or below the tail.
    pub async fn read_positions(&self, stream: StreamId, positions: &[u64]) -> Result<Vec<Record>, ReadError> {
        let cell = self.cell(stream).ok_or(ReadError::UnknownStream(stream))?;
        self.shared.read_positions(&cell, positions).await
    }

    /// A cursor over a stream, from position `from` (1 is the first) on, that waits at the tail.
    pub fn follow(&self, stream: StreamId, from: u64) -> Result<Follow, ReadError> {
        Ok(Follow {
            shared: self.shared.clone(),
            cell: self.cell(stream).ok_or(ReadError::UnknownStream(stream))?,
            next: from.max(1),
        })
    }

    /// A cursor over one sub-stream: its records with a number above `after`, waiting at the tail.
    /// Starts at a computed position: what it reads is what was asked for and what other sub-streams put between.
    pub fn follow_sub(&self, sub: &SubStreamInfo, after: u64) -> Result<FollowSub, ReadError> {
        Ok(FollowSub {
            shared: self.shared.clone(),
            cell: self.cell(sub.stream).ok_or(ReadError::UnknownStream(sub.stream))?,
            sub: sub.id,
            after,
            next: 1,
            visited: 0,
        })
    }

    /// Reads a stream's fold of a view; it reflects every acknowledged append. `F` must be the type that the view makes.
    /// `read` should only take out what is needed: the writer waits for it.
    pub async fn view<F: Fold, R>(
        &self,
        stream: StreamId,
        view: ViewId,
        read: impl FnOnce(&F) -> R,
    ) -> Result<R, ViewError> {
        let cell = self.cell(stream).ok_or(ViewError::UnknownStream(stream))?;
        let loaded = self.shared.loaded(&cell).await;
        loaded.map_err(|error| ViewError::Store(error.0))?;
        let mut read = Some(read);
        let once = &mut |fold: &F| read.take().map(|read| read(fold));
        match self.shared.views.read(&cell, view, once) {
            Some(Ok(Some(value))) => Ok(value),
            Some(Err(error)) => Err(error),
            Some(Ok(None)) | None => Err(ViewError::Closed),
        }
    }

    /// Up to `limit` index rows of a view whose keys start with `prefix` and, if given, come after `after`; ascending.
    pub async fn index(
        &self,
        view: ViewId,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, ViewError> {
        let (shared, prefix, after) = (self.shared.clone(), prefix.to_vec(), after.map(<[u8]>::to_vec));
        tokio::task::spawn_blocking(move || shared.views.index(view, &prefix, after.as_deref(), limit))
            .await
            .map_err(|_| ViewError::Closed)?
            .map_err(|error| ViewError::Store(error.0))
    }

    /// Resolves when a write or sync failed and the log accepts nothing more.
    pub async fn poisoned(&self) -> PoisonReason {
        self.shared.poison.wait().await
    }

    /// Ends the writer after what is queued, writes the views back and an exact watermark. Later appends are refused; reads go on.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if let Some(queue) = &self.handle.queue
            && queue.send(Command::Close(done)).await.is_ok()
        {
            let _ = closed.await;
        }
    }
}
