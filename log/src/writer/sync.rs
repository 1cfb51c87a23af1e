//! The thread beside the writer: writes and syncs one commit after the other, for as long as the writer has the next one open by then.

use std::sync::Arc;

use super::pipeline::{Job, Pipeline};
use super::queue::Queue;
use crate::threads::{self, Condvar, JoinHandle, Mutex};

/// What the two threads share.
pub(crate) struct Shared {
    pub(super) pipeline: Mutex<Pipeline>,
    handed: Condvar,
}

/// The thread, and what it shares with the writer.
pub(crate) struct Syncer {
    pub(super) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread; it tells `queue` what has landed.
    pub(crate) fn start(pipeline: Pipeline, queue: Arc<Queue>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            pipeline: Mutex::new(pipeline),
            handed: Condvar::new(),
        });
        let theirs = shared.clone();
        let run = move || {
            while let Some(job) = theirs.first() {
                let mut next = Some(job);
                while let Some(job) = next {
                    let landed = job.run();
                    let mut pipeline = theirs.pipeline.lock();
                    pipeline.land(landed);
                    next = pipeline.issue();
                    drop(pipeline);
                    queue.land();
                }
            }
        };
        let thread = threads::Builder::new().name("log-sync".to_owned()).spawn(run)?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// What it shares with others.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Has the open commit written.
    pub(super) fn hand(&self) {
        self.shared.pipeline.lock().handed = true;
        self.shared.handed.notify_one();
    }
}

impl Shared {
    /// The commit that was handed over while nothing was written; `None` at the end.
    fn first(&self) -> Option<Job> {
        let mut pipeline = self.pipeline.lock();
        loop {
            if pipeline.stop {
                return None;
            }
            if std::mem::take(&mut pipeline.handed)
                && let Some(job) = pipeline.issue()
            {
                return Some(job);
            }
            self.handed.wait(&mut pipeline);
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.pipeline.lock().stop = true;
        self.shared.handed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // Callers may hold what is shared for as long as they like: nobody waits for a writer that is gone.
        let left = {
            let mut pipeline = self.shared.pipeline.lock();
            (
                pipeline.open.take(),
                pipeline.flying.take(),
                std::mem::take(&mut pipeline.landed),
            )
        };
        drop(left);
    }
}
