//! What the writer and the thread beside it meet at: locks, signals, threads. In tests with the feature `schedules` these are a scheduler's, which
//! decides at each of them who goes on (`writer/schedules`).

#[cfg(all(test, feature = "schedules"))]
mod explored;

#[cfg(not(all(test, feature = "schedules")))]
mod real {
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::thread::{Builder, JoinHandle};

    /// Has a task of this runtime do something, some time.
    pub(crate) fn spawn_on(runtime: &tokio::runtime::Handle, work: impl FnOnce() + Send + 'static) {
        runtime.spawn(async move { work() });
    }
}

#[cfg(all(test, feature = "schedules"))]
pub(crate) use explored::*;
#[cfg(not(all(test, feature = "schedules")))]
pub(crate) use real::*;

/// Whether few do for a crowd: schedules are explored with a handful of callers.
pub(crate) const FEW: bool = cfg!(all(test, feature = "schedules"));
