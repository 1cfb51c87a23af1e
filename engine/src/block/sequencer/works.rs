//! The work that one run of a sequencer has started beside its chain, as `wait_for_work` sees it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::{BlockError, TimeoutError};
use crate::exec::Ctx;

/// See the module.
#[derive(Default)]
pub(super) struct Works {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Default)]
struct State {
    running: usize,
    failure: Option<BlockError>,
}

impl Works {
    pub(super) fn begin(&self) {
        self.state.lock().running += 1;
    }

    pub(super) fn end(&self, failure: Option<&BlockError>) {
        let mut state = self.state.lock();
        state.running -= 1;
        if let Some(failure) = failure {
            state.failure.get_or_insert_with(|| failure.clone());
        }
        drop(state);
        self.ended.notify_waiters();
    }

    /// Waits until nothing runs; with `fail` the first failure since the last such wait is the answer.
    pub(super) async fn wait(&self, fail: bool, timeout: Option<Duration>, ctx: &Ctx) -> Result<(), BlockError> {
        if let Some(after) = timeout {
            let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            tokio::select! {
                biased;
                () = self.quiet() => {}
                () = ctx.wait(after) => return Err(BlockError::of(TimeoutError { after_ms })),
            }
        } else {
            self.quiet().await;
        }
        match self.state.lock().failure.take_if(|_| fail) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    async fn quiet(&self) {
        loop {
            let ended = self.ended.notified();
            if self.state.lock().running == 0 {
                return;
            }
            ended.await;
        }
    }
}
