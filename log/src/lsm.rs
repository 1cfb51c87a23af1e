//! The control: the literal reading of an LSM-backed log. Records are keys of one fjall tree, and one batch has the records of a group of
//! appends together with every row that they change. It keeps the same promises as the segment log (`verbs/conformance`), so that what
//! our own segments are worth can be measured, and so that two independent implementations check each other.
//!
//! What it does not have: segments of its own, and so no clustering, chain, backup or evidence of lost commits. It trusts fjall's `open`.

mod folds;
mod read;
mod retention;
mod rows;
mod sequence;
mod sync;
mod tree;
mod verbs;
mod waiters;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use fjall::PersistMode;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use crate::append::{Append, Appending};
use crate::codec::COMMIT_FRAME;
use crate::codec::v1::FRAME;
use crate::env::{Env, SystemEnv};
use crate::error::{AppendError, OpenError};
use crate::handle::Log;
use crate::limits::Limits;
use crate::log::Durability;
use crate::poison::Poison;
use crate::record::{Name, StreamId};
use crate::stats::Stats;
use crate::view::View;
use crate::view_store::{StoreError, keys};
use crate::writer::queued;
use folds::Folds;
use rows::{FORMAT, Meta};
use sync::Syncing;
use tree::{Changes, Tree};
use waiters::Waiters;
use writer::{Command, Queued};

/// Rows that one batch of a rebuild removes.
const REMOVED_AT_ONCE: usize = 10_000;

/// What the control is opened with.
#[derive(Clone)]
pub struct LsmOptions {
    /// Where the tree lies; the folder belongs to it wholly.
    pub folder: PathBuf,
    /// Time and ids.
    pub env: Arc<dyn Env>,
    /// Bounds. Those of segments, runs and their views' lag have no meaning here.
    pub limits: Limits,
    /// The views to fold.
    pub views: Vec<Arc<dyn View>>,
    /// What an acknowledgement promises.
    pub durability: Durability,
}

impl LsmOptions {
    /// A tree in a folder, which is made if it is missing, with the bounds of any log.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            env: Arc::new(SystemEnv::new()),
            limits: Limits::default(),
            views: Vec::new(),
            durability: Durability::Sync,
        }
    }
}

/// What the threads of an open control share.
struct Shared {
    store: [u8; 16],
    env: Arc<dyn Env>,
    stats: Arc<Stats>,
    limits: Limits,
    durability: Durability,
    poison: Poison,
    tree: Tree,
    folds: Folds,
    /// Who waits for a stream's next record.
    waiting: Waiters<StreamId>,
    /// Who waits for a sub-stream that is not open yet.
    waiting_names: Waiters<Name>,
    /// Told of every commit.
    committed: Notify,
    /// Last commit that is visible.
    visible: AtomicU64,
    /// Last commit that survives a power cut.
    synced: AtomicU64,
    syncing: Syncing,
}

/// A log whose records are keys of an LSM tree. Cheap to clone; closed when the last clone goes.
#[derive(Clone)]
pub struct LsmLog {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
}

struct Handle {
    queue: Option<mpsc::Sender<Command>>,
    room: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The writer ends when no sender is left, and ends the other thread; then the folder is free for another open.
        self.queue.take();
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }
}

impl LsmLog {
    /// Opens the tree in `options.folder`, making it if there is none. Blocks.
    pub fn open(options: LsmOptions) -> Result<Log, OpenError> {
        check_limits(&options.limits)?;
        let limits = options.limits;
        let tree = Tree::open(&options.folder)?;
        let folds = Folds::new(options.views, limits.idle_streams_max);
        let failed = |error: StoreError| OpenError::Damaged(error.0);
        let meta = tree.now().meta().map_err(failed)?;
        let last = tree.now().last_commit().map_err(failed)?;
        let (store, stale) = match &meta {
            Some(meta) if meta.format == FORMAT => (meta.store, meta.views != folds.versions()),
            Some(meta) => {
                let told = format!("the tree is of format {}; this version reads {FORMAT}", meta.format);
                return Err(OpenError::Format(told));
            }
            None if last > 0 => return Err(OpenError::Damaged("the tree's row about itself is missing".to_owned())),
            None => (options.env.mint(), true),
        };
        let shared = Arc::new(Shared {
            store,
            stats: Stats::new(options.env.clone()),
            env: options.env,
            durability: options.durability,
            poison: Poison::default(),
            tree,
            folds,
            waiting: Waiters::default(),
            waiting_names: Waiters::default(),
            committed: Notify::new(),
            visible: AtomicU64::new(last),
            synced: AtomicU64::new(last),
            syncing: Syncing::default(),
            limits,
        });
        if stale {
            shared.rebuild_views().map_err(failed)?;
        }
        // What the last process wrote may be in the page cache only.
        shared.tree.sync().map_err(failed)?;
        retention::sweep(&shared).map_err(failed)?;
        Self::start(shared).map(|log| Log::over(Arc::new(log)))
    }

    fn start(shared: Arc<Shared>) -> Result<Self, OpenError> {
        let room = Arc::new(Semaphore::new(shared.limits.queue_bytes_max));
        let (queue, commands) = mpsc::channel(shared.limits.queue_appends_max);
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
            spawned.map_err(|source| OpenError::Io {
                what: format!("starting the thread {name}"),
                source,
            })
        };
        let (writing, syncing) = (shared.clone(), shared.clone());
        let mut threads = Vec::new();
        if let Durability::Buffered { sync_every_ms } = shared.durability {
            let sync = Box::new(move || syncing.syncing.run(sync_every_ms, || syncing.sync_written()));
            threads.push(spawn("lsm-sync", sync)?);
        }
        let write = Box::new(move || {
            let _ended = Ended(&writing.syncing);
            writer::run(&writing, commands);
        });
        match spawn("lsm-writer", write) {
            Ok(writer) => threads.push(writer),
            Err(error) => {
                shared.syncing.stop();
                return Err(error);
            }
        }
        let handle = Handle {
            queue: Some(queue),
            room,
            threads: Mutex::new(threads),
        };
        Ok(Self {
            shared,
            handle: Arc::new(handle),
        })
    }

    async fn command(&self, command: Command) -> Result<(), AppendError> {
        let queue = self.handle.queue.as_ref().ok_or(AppendError::Closed)?;
        queue.send(command).await.map_err(|_| AppendError::Closed)
    }

    /// Measures and queues an append. `own` is one of the log itself.
    async fn queue(&self, append: Append, own: bool) -> Result<Appending, AppendError> {
        if let Some(reason) = self.shared.poison.get() {
            return Err(AppendError::Poisoned(reason.clone()));
        }
        let limits = &self.shared.limits;
        let mut bytes = queued::bytes_in_commit(limits, &append, own)?;
        for record in append.parts.iter().flat_map(|part| &part.records) {
            // Large payloads are not files of their own here.
            if record.payload.len() > limits.inline_bytes_max {
                bytes += record.payload.len();
            }
        }
        let waiting = self.shared.stats.append();
        let permits = bytes.min(limits.queue_bytes_max) as u32;
        let room = self.handle.room.clone().acquire_many_owned(permits).await;
        let (to_sequenced, sequenced) = oneshot::channel();
        let (outcome, answer) = oneshot::channel();
        self.command(Command::Append(Queued {
            fingerprint: append.key.as_ref().map_or(0, |_| queued::fingerprint(&append)),
            append,
            bytes,
            held: (room.map_err(|_| AppendError::Closed)?, waiting),
            sequenced: to_sequenced,
            outcome,
        }))
        .await?;
        Ok(Appending {
            sequenced,
            outcome: answer,
        })
    }
}

/// Ends the other thread however the writer ends.
struct Ended<'a>(&'a Syncing);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Shared {
    /// Syncs what is written and is not synced. A failure poisons the log.
    fn sync_written(&self) {
        let visible = self.visible.load(Ordering::Acquire);
        if self.synced.load(Ordering::Acquire) >= visible || self.poison.get().is_some() {
            return;
        }
        match self.tree.sync() {
            Ok(()) => drop(self.synced.fetch_max(visible, Ordering::AcqRel)),
            Err(error) => drop(self.poison.set(format!("syncing the tree: {error}"))),
        }
    }

    /// Folds every stream anew: the views are others than those that wrote the rows.
    fn rebuild_views(&self) -> Result<(), StoreError> {
        // Says first that the rows are of no view, so that a rebuild that is cut short is done again.
        self.put_meta(Vec::new())?;
        for family in [b"r", b"p", b"x"] {
            loop {
                let at = self.tree.now();
                let some = at.with_prefix(family, None).take(REMOVED_AT_ONCE);
                let changes: Changes = some
                    .map(|entry| Ok((entry?.0, None)))
                    .collect::<Result<_, StoreError>>()?;
                if changes.is_empty() {
                    break;
                }
                self.tree.commit(changes, PersistMode::Buffer)?;
            }
        }
        let at = self.tree.now();
        for entry in at.with_prefix(b"s", None) {
            let id = rows::stream_id(&entry?.0[1..])?;
            let Some(row) = at.stream(id)?.filter(|row| !row.deleted) else {
                continue;
            };
            let name = row.name()?;
            let past = self.folds.past(&at, (id, &row), row.last, (id, &name));
            let mut slots = past.map_err(StoreError::from)?.slots;
            slots.iter_mut().for_each(|slot| slot.whole = true);
            self.folds.views.list(&slots);
            let mut changes = Changes::new();
            self.folds.put_rows(id, 0, &mut slots, &mut changes);
            self.folds.put_index_rows(&mut changes);
            self.tree.commit(changes, PersistMode::Buffer)?;
        }
        self.put_meta(self.folds.versions())
    }

    fn put_meta(&self, views: Vec<(u8, u32)>) -> Result<(), StoreError> {
        let meta = Meta {
            format: FORMAT,
            store: self.store,
            views,
        };
        let row = Changes::from([(keys::META.to_vec(), Some(rows::json(&meta)?))]);
        self.tree.commit(row, PersistMode::SyncData)
    }
}

fn check_limits(limits: &Limits) -> Result<(), OpenError> {
    let invalid = if limits.commit_appends_max == 0 || limits.append_records_max == 0 {
        "commit_appends_max and append_records_max must be above 0"
    } else if limits.queue_bytes_max > u32::MAX as usize || limits.queue_bytes_max == 0 || limits.queue_appends_max == 0
    {
        "queue_bytes_max and queue_appends_max must be above 0, and the former below 4 GiB"
    } else if limits.inline_bytes_max + 2 * (COMMIT_FRAME + FRAME) > limits.commit_bytes_max {
        "inline_bytes_max must leave room for a commit's header within commit_bytes_max"
    } else if limits.read_records_max == 0 {
        "read_records_max must be above 0"
    } else {
        return Ok(());
    };
    Err(OpenError::Invalid(invalid.to_owned()))
}
