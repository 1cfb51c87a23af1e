//! The thread behind the acknowledgement: writes the views back and moves the watermark, each at its own pace.

use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::log::{Durability, Shared};
use crate::watermark::{Mark, Watermark};

#[derive(Default)]
struct Signals {
    stop: bool,
    urgent: bool,
}

/// Wakes the keeper.
#[derive(Default)]
pub(crate) struct Keeper {
    signals: Mutex<Signals>,
    changed: Condvar,
}

impl Keeper {
    /// Asks for a checkpoint now, if `urgent`; otherwise the next regular one does.
    pub(crate) fn nudge(&self, urgent: bool) {
        if urgent {
            self.signals.lock().urgent = true;
            self.changed.notify_all();
        }
    }

    pub(crate) fn stop(&self) {
        self.signals.lock().stop = true;
        self.changed.notify_all();
    }

    /// Runs until stopped; then writes everything back once more and marks the log as cleanly closed.
    pub(crate) fn run(&self, shared: &Shared, mut watermark: Watermark, mut mark: Mark) {
        let checkpoint_every = Duration::from_millis(shared.limits.checkpoint_interval_ms);
        let mark_every = Duration::from_millis(shared.limits.watermark_interval_ms);
        let sync_every = match shared.durability {
            Durability::Sync => Duration::MAX,
            Durability::Buffered { sync_every_ms } => Duration::from_millis(sync_every_ms),
        };
        let start = shared.env.monotonic();
        let (mut checkpointed, mut marked, mut synced) = (start, start, start);
        loop {
            let stopping = {
                let mut signals = self.signals.lock();
                if !signals.stop && !signals.urgent {
                    self.changed
                        .wait_for(&mut signals, checkpoint_every.min(mark_every).min(sync_every));
                }
                let urgent = std::mem::take(&mut signals.urgent);
                let now = shared.env.monotonic();
                if urgent || signals.stop || now.saturating_sub(checkpointed) >= checkpoint_every {
                    checkpointed = now;
                    let stopping = signals.stop;
                    drop(signals);
                    shared.checkpoint();
                    stopping
                } else {
                    signals.stop
                }
            };
            let now = shared.env.monotonic();
            let mut durable = shared.synced.load(Ordering::Acquire);
            if let Durability::Buffered { .. } = shared.durability
                && (stopping || now.saturating_sub(synced) >= sync_every)
            {
                synced = now;
                if shared.sync_written().is_ok() {
                    durable = shared.synced.load(Ordering::Acquire);
                }
            }
            let poisoned = shared.poison.get().is_some();
            let due = durable != mark.commit && now.saturating_sub(marked) >= mark_every;
            if !poisoned && (due || stopping) {
                marked = now;
                mark.commit = durable;
                mark.clean = stopping;
                if let Err(error) = watermark.write(&mark) {
                    shared.poison.set(format!("writing the watermark: {error}"));
                }
            }
            if stopping {
                if let Err(error) = shared.views.store.flush() {
                    tracing::error!(%error, "flushing the view store failed; it is rebuilt if that lost something");
                }
                return;
            }
        }
    }
}
