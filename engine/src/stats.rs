//! How many requests run in an engine, and how those ended that did.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::projection::RequestStatus;

/// Requests that an engine has run since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunCounts {
    /// They run now.
    pub running: u64,
    /// They gave their output.
    pub completed: u64,
    /// They failed.
    pub failed: u64,
    /// They were stopped.
    pub interrupted: u64,
}

#[derive(Default)]
pub(crate) struct Stats {
    running: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    interrupted: AtomicU64,
}

/// A request runs as long as this is there.
pub(crate) struct Running<'a>(&'a AtomicU64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stats {
    pub(crate) fn begin(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(&self.running)
    }

    pub(crate) fn ended(&self, status: RequestStatus) {
        let count = match status {
            RequestStatus::InProgress => return,
            RequestStatus::Completed => &self.completed,
            RequestStatus::Failed => &self.failed,
            RequestStatus::Interrupted => &self.interrupted,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> RunCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RunCounts {
            running: read(&self.running),
            completed: read(&self.completed),
            failed: read(&self.failed),
            interrupted: read(&self.interrupted),
        }
    }
}
