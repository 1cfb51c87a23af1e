//! Background work of one run. It has no task of its own: whoever drives the run polls it beside the chain, and dropping that stops it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::Poll;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, task::Context};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::recorder::Recorder;
use crate::error::BlockError;

/// Most pieces of work of one run at a time.
const WORK_MAX: usize = 4_096;

/// The work that a run has started.
#[derive(Default)]
pub(super) struct Work {
    /// Started and not polled yet.
    started: Mutex<Vec<BoxFuture<'static, ()>>>,
    running: AtomicUsize,
    numbers: AtomicU32,
    ended: Notify,
}

impl Work {
    /// A number for a piece of work, from 1.
    pub(super) fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Starts a piece of work.
    pub(super) fn start(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<(), BlockError> {
        if self.running.load(Ordering::Relaxed) >= WORK_MAX {
            let what = format!("{WORK_MAX} pieces of background work run already: wait for them with wait_for_work");
            return Err(BlockError::new("too_much_work", what));
        }
        self.running.fetch_add(1, Ordering::Relaxed);
        self.started.lock().push(work.boxed());
        Ok(())
    }

    /// How much runs, or is about to.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.running.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    /// Waits until no work runs, that which other work starts included.
    pub(super) async fn quiet(&self) {
        loop {
            let ended = self.ended.notified();
            if self.running.load(Ordering::Relaxed) == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Polls `chain` to its end, and the work beside it. Whenever both wait, what they have recorded is sent to the log.
    /// Work that still runs at the end, or when this is dropped, is dropped.
    pub(super) async fn drive<T>(&self, recorder: &Recorder, chain: impl Future<Output = T>) -> T {
        // Of what was driven before, nothing is left.
        self.started.lock().clear();
        self.running.store(0, Ordering::Relaxed);
        let mut chain = pin!(chain);
        let mut running = FuturesUnordered::new();
        let mut sending: Option<BoxFuture<'_, ()>> = None;
        poll_fn(|cx| {
            recorder.sender_wakes(cx);
            let polled = chain.as_mut().poll(cx);
            if polled.is_pending() {
                self.poll_running(&mut running, cx);
                loop {
                    if sending.is_none() && recorder.has_buffered() {
                        sending = Some(recorder.send().boxed());
                    }
                    match sending.as_mut().map(|sending| sending.poll_unpin(cx)) {
                        Some(Poll::Ready(())) => sending = None,
                        // Whoever ends it wakes this one.
                        Some(Poll::Pending) => break,
                        None if recorder.sender_sleeps() => recorder.sender_wakes(cx),
                        None => break,
                    }
                }
            }
            polled
        })
        .await
    }

    fn poll_running(&self, running: &mut FuturesUnordered<BoxFuture<'static, ()>>, cx: &mut Context<'_>) {
        loop {
            running.extend(self.started.lock().drain(..));
            while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {
                self.running.fetch_sub(1, Ordering::Relaxed);
                self.ended.notify_waiters();
            }
            if self.started.lock().is_empty() {
                return;
            }
        }
    }
}
