//! A log in segments and runs: what its threads share, and the way into the writer. The verbs over it are in `log/verbs`.

mod verbs;

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::append::{Append, Appending};
use crate::blob::Blobs;
use crate::cluster::{Cluster, Clustered, Effort};
use crate::disk::Disk;
use crate::disk::fs::FsDisk;
use crate::disk::memory::MemoryDisk;
use crate::env::{Env, SystemEnv};
use crate::error::{AppendError, ClusterError, OpenError, ReadError};
use crate::index::{Cell, Flights, Streams};
use crate::keeper::Keeper;
use crate::levels::PresentLevels;
use crate::limits::Limits;
use crate::poison::{Poison, PoisonReason};
use crate::record::{Name, StreamId, SubStreamId};
use crate::recovery;
use crate::run::BlockCache;
use crate::segment::files::Files;
use crate::segment::supply::Supply;
use crate::segment::{Slot, Slots};
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::tail::Tail;
use crate::view::View;
use crate::view::inline::{Folds, Views};
use crate::view_store::fjall::FjallViews;
use crate::view_store::memory::MemoryViews;
use crate::view_store::{OpenViewStore, StoreError};
use crate::writer::front::Front;
use crate::writer::prepare;
use crate::writer::queued::{self, Command, Queued};

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
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// Whether commits carry a SHA-256 over their records, so that nothing can be altered, left out or put in order anew unnoticed.
    pub chain: bool,
}

/// What an acknowledged append survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process and of the machine: every commit is synced before anyone is told or can see it.
    Sync,
    /// The death of the process. A power cut may take back what was appended in the last so many milliseconds, all of it
    /// from some commit on.
    Buffered {
        /// Longest time between a write and its sync.
        sync_every_ms: u64,
    },
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
            durability: Durability::Sync,
            chain: true,
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
            durability: Durability::Sync,
            chain: true,
        }
    }
}

/// What the threads of an open log share.
pub(crate) struct Shared {
    pub(crate) store: [u8; 16],
    pub(crate) env: Arc<dyn Env>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) limits: Limits,
    pub(crate) durability: Durability,
    pub(crate) chain: bool,
    pub(crate) poison: Poison,
    pub(crate) streams: Streams,
    /// Appends between their lookups and their turn.
    pub(crate) flights: Arc<Flights>,
    /// Held to write while streams are let go of, so that nothing read from a row goes back in over something newer.
    pub(crate) eviction: RwLock<()>,
    pub(crate) tail: Tail,
    pub(crate) slots: Slots,
    pub(crate) levels: PresentLevels,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) blobs: Blobs,
    pub(crate) files: Files,
    pub(crate) views: Views,
    pub(crate) supply: Supply,
    pub(crate) cluster: Cluster,
    pub(crate) keeper: Keeper,
    /// Held by an erasure.
    pub(crate) erasing: tokio::sync::Mutex<()>,
    /// Last commit that is visible: folded, and durable as far as the log promises.
    pub(crate) visible: AtomicU64,
    /// Last commit that is synced.
    pub(crate) synced: AtomicU64,
    /// The slot that is written to, and the last commit in it.
    active: Mutex<Option<(Arc<Slot>, u64)>>,
    /// Told of every commit.
    pub(crate) committed: Notify,
    /// The threads beside the writer; it ends them when it ends.
    pub(crate) helpers: Mutex<Vec<JoinHandle<()>>>,
    /// Given back when the log is closed.
    pub(crate) lock: Mutex<Option<Box<dyn Any + Send + Sync>>>,
}

/// What recovery hands over, beside what is made anew.
pub(crate) struct Parts {
    pub(crate) store: [u8; 16],
    pub(crate) env: Arc<dyn Env>,
    pub(crate) limits: Limits,
    pub(crate) durability: Durability,
    pub(crate) chain: bool,
    pub(crate) slots: Slots,
    pub(crate) levels: PresentLevels,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) blobs: Blobs,
    pub(crate) files: Files,
    pub(crate) views: Views,
    pub(crate) supply: Supply,
    pub(crate) lock: Box<dyn Any + Send + Sync>,
    /// Last commit, which is synced.
    pub(crate) last: u64,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            store: parts.store,
            stats: Stats::new(parts.env.clone()),
            env: parts.env,
            poison: Poison::default(),
            streams: Streams::default(),
            flights: Arc::default(),
            eviction: RwLock::new(()),
            tail: Tail::new(parts.limits.tail_bytes_max),
            limits: parts.limits,
            durability: parts.durability,
            chain: parts.chain,
            slots: parts.slots,
            levels: parts.levels,
            cache: parts.cache,
            blobs: parts.blobs,
            files: parts.files,
            views: parts.views,
            supply: parts.supply,
            cluster: Cluster::default(),
            keeper: Keeper::default(),
            erasing: tokio::sync::Mutex::default(),
            visible: AtomicU64::new(parts.last),
            synced: AtomicU64::new(parts.last),
            active: Mutex::new(None),
            committed: Notify::new(),
            helpers: Mutex::default(),
            lock: Mutex::new(Some(parts.lock)),
        }
    }

    /// Ends the other threads, the keeper after a last checkpoint, and gives the folder back. Called by the writer, last of all.
    pub(crate) fn stop_helpers(&self) {
        self.supply.stop();
        self.cluster.stop();
        self.keeper.stop();
        for helper in self.helpers.lock().drain(..) {
            if helper.join().is_err() {
                tracing::error!("a thread of the log panicked");
            }
        }
        self.lock.lock().take();
    }

    /// The slot that is written to.
    pub(crate) fn active_slot(&self) -> Option<Arc<Slot>> {
        self.active.lock().as_ref().map(|(slot, _)| slot.clone())
    }

    /// From now on this slot is written to; what was written before is synced.
    pub(crate) fn turn_to(&self, slot: &Arc<Slot>, commit: u64) {
        *self.active.lock() = Some((slot.clone(), commit));
    }

    /// No slot is written to.
    pub(crate) fn turn_to_none(&self) {
        *self.active.lock() = None;
    }

    /// A commit is written, and synced if that is what is promised.
    pub(crate) fn written(&self, slot: &Arc<Slot>, commit: u64) {
        *self.active.lock() = Some((slot.clone(), commit));
        if self.durability == Durability::Sync {
            self.synced.store(commit, Ordering::Release);
        }
        self.visible.store(commit, Ordering::Release);
    }

    /// Syncs what is written and is not synced. A failure poisons the log.
    pub(crate) fn sync_written(&self) -> Result<(), PoisonReason> {
        let Some((slot, commit)) = self.active.lock().clone() else {
            return Ok(());
        };
        if self.synced.load(Ordering::Acquire) >= commit {
            return Ok(());
        }
        if let Some(reason) = self.poison.get() {
            return Err(reason.clone());
        }
        let began = self.stats.now();
        match slot.file.sync() {
            Ok(()) => {
                self.stats.synced(began);
                self.synced.fetch_max(commit, Ordering::AcqRel);
                Ok(())
            }
            Err(error) => Err(self.poison.set(format!("syncing {}: {error}", Slot::name(slot.number)))),
        }
    }

    /// Writes the views back.
    pub(crate) fn checkpoint(&self) {
        self.views.checkpoint(self.store, &|| {
            self.sync_written().map_err(|reason| StoreError(reason.to_string()))
        });
    }

    /// Loads a stream's folds if they are not in memory, and brings them up to the stream's last record. May read the disk.
    pub(crate) fn load_folds(&self, cell: &Arc<Cell>) -> Result<(), StoreError> {
        let mut folds = cell.folds.lock();
        if let Folds::Loaded(_) = *folds {
            return Ok(());
        }
        let slots = self.views.load(cell)?;
        let last = cell.index.read().last();
        *folds = Folds::Loaded(self.folded_to(cell, slots, last)?);
        cell.loaded.store(true, Ordering::Release);
        Ok(())
    }

    /// Folds that end before the first record that is left of their stream go on from what the record says that gave up those before.
    fn begin_behind_trim(&self, cell: &Arc<Cell>, slots: &mut [crate::view::inline::Slot]) -> Result<(), StoreError> {
        let (trimmed, snapshot) = {
            let head = &cell.index.read().head;
            (head.trimmed, head.snapshot)
        };
        if slots.iter().all(|slot| slot.position >= trimmed) {
            return Ok(());
        }
        let records = self.read_blocking(cell, snapshot, snapshot);
        let records = records.map_err(|error| StoreError(error.to_string()))?;
        let missing = || StoreError(format!("the snapshot of {} was not found", cell.id));
        let snapshot = Snapshot::read(records.first().ok_or_else(missing)?).map_err(StoreError)?;
        for slot in slots.iter_mut().filter(|slot| slot.position < trimmed) {
            *slot = snapshot
                .fold_of(slot.of.clone(), cell.id, &cell.name)
                .map_err(StoreError)?;
            self.views.list(std::slice::from_ref(slot));
        }
        Ok(())
    }

    /// Brings folds up to a record of their stream.
    pub(crate) fn folded_to(
        &self,
        cell: &Arc<Cell>,
        mut slots: Vec<crate::view::inline::Slot>,
        last: u64,
    ) -> Result<Vec<crate::view::inline::Slot>, StoreError> {
        self.begin_behind_trim(cell, &mut slots)?;
        let mut next = slots.iter().map(|slot| slot.position + 1).min().unwrap_or(last + 1);
        while next <= last {
            let records = self
                .read_blocking(cell, next, last)
                .map_err(|error| StoreError(error.to_string()))?;
            next += records.len() as u64;
            if records.is_empty() {
                return Err(StoreError(format!("record {next} of {:?} was not found", cell.name)));
            }
            self.views.fold(&cell.name, &mut slots, &records);
        }
        Ok(slots)
    }

    /// The same while the log runs: rows that can't be read lead to a rebuild at the next open.
    fn load_or_invalidate(&self, cell: &Arc<Cell>) -> Result<(), StoreError> {
        self.load_folds(cell).inspect_err(|error| self.views.invalidate(error))
    }

    /// The same from an async thread.
    pub(crate) async fn loaded(self: &Arc<Self>, cell: &Arc<Cell>) -> Result<(), StoreError> {
        if cell.loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        let cell = cell.clone();
        self.blocking(move |shared| shared.load_or_invalidate(&cell)).await
    }

    /// Asks the rows of the view store off the async threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&Arc<Self>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.clone();
        tokio::task::spawn_blocking(move || ask(&shared))
            .await
            .unwrap_or_else(|_| Err(StoreError("the runtime is shutting down".to_owned())))
    }

    /// A stream that may be in use or not.
    pub(crate) async fn cell(self: &Arc<Self>, stream: StreamId) -> Result<Arc<Cell>, ReadError> {
        if let Some(cell) = self.streams.get(stream) {
            return Ok(cell);
        }
        let found = self.blocking(move |shared| shared.load_stream(stream)).await;
        found.map_err(ReadError::from)?.ok_or(ReadError::UnknownStream(stream))
    }

    /// The live stream of this name.
    pub(crate) async fn cell_named(self: &Arc<Self>, name: &Name) -> Result<Option<Arc<Cell>>, StoreError> {
        if let Some(cell) = self.streams.named(name) {
            return Ok(Some(cell));
        }
        let name = name.clone();
        self.blocking(move |shared| shared.find_stream(&name)).await
    }

    /// Brings a sub-stream back into memory.
    pub(crate) async fn sub_in_memory(self: &Arc<Self>, cell: &Arc<Cell>, id: SubStreamId) -> Result<(), ReadError> {
        let owner = cell.clone();
        let found = self.blocking(move |shared| shared.load_sub(&owner, id, 0)).await?;
        found.then_some(()).ok_or(ReadError::UnknownSubStream(id))
    }
}

/// A log whose records lie in segments and runs of its own. Cheap to clone.
#[derive(Clone)]
pub struct SegmentLog {
    pub(crate) shared: Arc<Shared>,
    handle: Arc<Handle>,
}

struct Handle {
    front: Front,
    /// Bytes of [`crate::limits::Limits::queue_bytes_max`] that are free.
    room: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The writer ends after what is queued; then the folder is free for another open.
        self.front.queue.close();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl SegmentLog {
    /// Opens the log in `options.disk`, making it if there is none.
    pub(crate) fn open(options: Options) -> Result<Self, OpenError> {
        let room = Arc::new(Semaphore::new(options.limits.queue_bytes_max));
        let (front, writer) = recovery::open(options)?;
        let shared = front.shared.clone();
        let handle = Handle {
            front,
            room,
            writer: Some(writer),
        };
        Ok(Self {
            shared,
            handle: Arc::new(handle),
        })
    }

    /// Tells the writer something in its turn.
    pub(crate) fn command(&self, command: Command) -> Result<(), AppendError> {
        let taken = self.handle.front.queue.push(command);
        taken.then_some(()).ok_or(AppendError::Closed)
    }

    /// Works out what can be worked out before the writer's turn, brings into memory what it decides on, and queues the append.
    pub(crate) async fn queue(&self, append: Append, own: bool) -> Result<Appending, AppendError> {
        if let Some(reason) = self.shared.poison.get() {
            return Err(AppendError::Poisoned(reason.clone()));
        }
        let bytes = queued::bytes_in_commit(&self.shared.limits, &append, own)?;
        let (prepared, forks, mut held) = prepare::prepare(&self.shared, &append).await?;
        let limits = &self.shared.limits;
        // A small one takes what leaves room for no more than may wait.
        let share = limits.queue_bytes_max.div_ceil(limits.queue_appends_max.max(1));
        let permits = bytes.max(share).min(limits.queue_bytes_max) as u32;
        held.waiting = Some(self.shared.stats.append());
        let room = self.handle.room.clone().acquire_many_owned(permits).await;
        held.room = Some(room.map_err(|_| AppendError::Closed)?);
        let (to_sequenced, sequenced) = oneshot::channel();
        let (outcome, answer) = oneshot::channel();
        let queued = Queued {
            fingerprint: append.key.as_ref().map_or(0, |_| queued::fingerprint(&append)),
            append,
            prepared,
            forks,
            bytes,
            held,
            sequenced: Some(to_sequenced),
            outcome,
            runtime: tokio::runtime::Handle::try_current().ok(),
        };
        if !self.handle.front.append(Box::new(queued)) {
            return Err(AppendError::Closed);
        }
        Ok(Appending {
            sequenced,
            outcome: answer,
        })
    }

    /// Clusters now: ends the present segment, makes runs of all full ones, and leaves out of all runs what was trimmed, deleted or erased.
    pub async fn cluster(&self) -> Result<Clustered, ClusterError> {
        self.seal().await.map_err(|_| ClusterError::Closed)?;
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || shared.cluster.pass(&shared, Effort::All))
            .await
            .unwrap_or(Err(ClusterError::Closed))
    }
}
