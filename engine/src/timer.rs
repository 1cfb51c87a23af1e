//! The seam through which runs wait for time to pass. It decides when something goes on, never what is recorded.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// What runs wait on: the pauses of [`Retry`](crate::Retry) policies, the pauses before a `set` or `atomic` that lost a race is run
/// again, and the time that a `wait_for_work` has.
pub trait Timer: Send + Sync + 'static {
    /// Ends after so much time.
    fn wait(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// Real time.
pub(crate) struct TokioTimer;

impl Timer for TokioTimer {
    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(time).boxed()
    }
}
