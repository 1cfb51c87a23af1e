//! Waking who sends the buffer. Most records are made inside of what that polls, and it looks at the buffer afterwards; a task that a
//! block has spawned makes some while it sleeps.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::task::{AtomicWaker, Context};

/// See the module.
#[derive(Default)]
pub(super) struct Sender {
    waker: AtomicWaker,
    /// It will look at the buffer before it sleeps.
    awake: AtomicBool,
}

impl Sender {
    /// It begins to poll.
    pub(super) fn wakes(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
        self.awake.store(true, Ordering::SeqCst);
    }

    /// It sleeps unless there is something in the buffer, at which it has to look after this.
    pub(super) fn sleeps(&self) {
        self.awake.store(false, Ordering::SeqCst);
    }

    /// Something is in the buffer.
    pub(super) fn wake(&self) {
        if !self.awake.load(Ordering::SeqCst) {
            self.waker.wake();
        }
    }
}
