//! The terminal latch: after the first failed write or sync nothing is acknowledged any more. A sync is never retried,
//! because the kernel may have marked the failed pages clean and would report success for bytes that never reached the disk.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

/// Why the log stopped accepting appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoisonReason(pub Arc<str>);

impl std::fmt::Display for PoisonReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Set once, never cleared.
#[derive(Default)]
pub(crate) struct Poison {
    reason: OnceLock<PoisonReason>,
    set: Notify,
}

impl Poison {
    /// Latches; the first reason stays.
    pub(crate) fn set(&self, reason: String) -> PoisonReason {
        let reason = self.reason.get_or_init(|| PoisonReason(reason.into())).clone();
        tracing::error!(%reason, "the log is poisoned: no further append is accepted");
        self.set.notify_waiters();
        reason
    }

    pub(crate) fn get(&self) -> Option<&PoisonReason> {
        self.reason.get()
    }

    /// Resolves when the latch is set; at once if it is.
    pub(crate) async fn wait(&self) -> PoisonReason {
        let waiting = self.set.notified();
        tokio::pin!(waiting);
        loop {
            waiting.as_mut().enable();
            if let Some(reason) = self.get() {
                return reason.clone();
            }
            waiting.as_mut().await;
            waiting.set(self.set.notified());
        }
    }
}
