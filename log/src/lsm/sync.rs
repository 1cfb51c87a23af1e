//! The sync of a buffered log: behind the acknowledgement, at a steady pace.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Paces the syncs, and ends them.
#[derive(Default)]
pub(super) struct Syncing {
    stopped: Mutex<bool>,
    told: Condvar,
}

impl Syncing {
    /// Calls `sync` every so many milliseconds until stopped.
    pub(super) fn run(&self, every_ms: u64, sync: impl Fn()) {
        let mut stopped = self.stopped.lock();
        while !*stopped {
            let timed_out = self
                .told
                .wait_for(&mut stopped, Duration::from_millis(every_ms.max(1)))
                .timed_out();
            if timed_out {
                parking_lot::MutexGuard::unlocked(&mut stopped, &sync);
            }
        }
    }

    /// Ends it.
    pub(super) fn stop(&self) {
        *self.stopped.lock() = true;
        self.told.notify_all();
    }
}
