//! The least that a store with many writers needs: a queue, one thread that drains it into one commit, a oneshot for each who waits.
//! The limit and every embedded peer are driven through it.

use std::error::Error;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::drive::Store;

/// The name of the committing thread.
pub const THREAD: &str = "committer";

/// Tokens on their way: their stream, the number of the first one there, and who waits.
pub struct Write {
    /// The stream.
    pub stream: u64,
    /// Number of the first token in the stream.
    pub number: u64,
    /// The tokens.
    pub tokens: Vec<Bytes>,
    done: oneshot::Sender<()>,
}

/// What makes a batch durable.
pub trait Sink: Send + 'static {
    /// Commits all of it; durable on return.
    fn commit(&mut self, batch: &[Write]) -> Result<(), Box<dyn Error>>;
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<(Vec<Write>, bool)>,
    changed: Condvar,
}

/// A committing thread; ends after what is queued when dropped.
pub struct Committer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread.
    pub fn start(mut sink: impl Sink) -> Self {
        let queue = Arc::new(Queue::default());
        let theirs = queue.clone();
        let named = std::thread::Builder::new().name(THREAD.to_owned());
        let run = move || {
            let mut batch = Vec::new();
            loop {
                {
                    let mut waiting = theirs.waiting.lock();
                    while waiting.0.is_empty() {
                        if waiting.1 {
                            return;
                        }
                        theirs.changed.wait(&mut waiting);
                    }
                    std::mem::swap(&mut waiting.0, &mut batch);
                }
                sink.commit(&batch).expect("a durable batch");
                for write in batch.drain(..) {
                    let _ = write.done.send(());
                }
            }
        };
        Self {
            queue,
            thread: Some(named.spawn(run).expect("a thread")),
        }
    }
}

impl Store for Committer {
    async fn append(&self, stream: u64, number: u64, tokens: Vec<Bytes>) {
        let (done, durable) = oneshot::channel();
        {
            let mut waiting = self.queue.waiting.lock();
            let write = Write {
                stream,
                number,
                tokens,
                done,
            };
            waiting.0.push(write);
            if waiting.0.len() == 1 {
                self.queue.changed.notify_one();
            }
        }
        durable.await.expect("durable");
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.queue.waiting.lock().1 = true;
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
