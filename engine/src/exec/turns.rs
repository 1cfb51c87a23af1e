//! Turns to change what is decided on what there is.

use flowstate_log::record::StreamId;
use tokio::sync::{Mutex, MutexGuard};

/// Streams share turns by the end of their ids, which is random: a fixed number of them is enough.
const TURNS: usize = 256;

/// See the module.
pub(crate) struct Turns(Vec<Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Mutex::default()).collect())
    }
}

impl Turns {
    /// The turn of a stream, until it is dropped.
    pub(crate) async fn of(&self, stream: StreamId) -> MutexGuard<'_, ()> {
        let [.., last] = stream.0;
        self.0[usize::from(last) % TURNS].lock().await
    }
}
