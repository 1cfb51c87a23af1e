//! Writes a commit and syncs it: on the writer's own thread, or on one beside it while the writer makes the next commit.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use super::queue::Queue;
use crate::segment::Slot;

/// A commit's bytes and where they go.
pub(crate) struct Job {
    pub(super) slot: Arc<Slot>,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// Whether it is synced, too.
    pub(super) sync: bool,
}

/// What became of it, with its bytes.
pub(super) struct Landed {
    pub(super) bytes: Vec<u8>,
    pub(super) written: io::Result<()>,
}

impl Job {
    /// Does it, here and now.
    pub(super) fn run(self) -> Landed {
        let Self {
            slot,
            offset,
            bytes,
            sync,
        } = self;
        let write = || {
            slot.file.write_at(offset, &bytes)?;
            if sync { slot.file.sync() } else { Ok(()) }
        };
        let written = catch_unwind(AssertUnwindSafe(write));
        Landed {
            written: written.unwrap_or_else(|_| Err(io::Error::other("writing panicked"))),
            bytes,
        }
    }
}

/// The thread beside the writer.
pub(crate) struct Syncer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread; what it did lands in `queue`.
    pub(crate) fn start(queue: Arc<Queue>) -> io::Result<Self> {
        let (jobs, given) = channel::<Job>();
        let run = move || {
            for job in given {
                queue.land(job.run());
            }
        };
        let thread = std::thread::Builder::new().name("log-sync".to_owned()).spawn(run)?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Has it done. Comes back if the thread is gone.
    pub(super) fn give(&self, job: Job) -> Result<(), Job> {
        match &self.jobs {
            Some(jobs) => jobs.send(job).map_err(|refused| refused.0),
            None => Err(job),
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
