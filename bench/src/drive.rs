//! W1: writers that each append to a stream of their own and wait for every acknowledgement.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flowstate_log::Log;
use flowstate_log::append::{Append, NewRecord, Part, Target};
use flowstate_log::env::{Env, SystemEnv};
use flowstate_log::record::{Kind, Name, Subject};
use tokio::runtime::Runtime;

use crate::words::Tokens;

/// Something that takes appends.
pub trait Store: Send + Sync + 'static {
    /// Appends tokens to a stream, the first of them under this number; resolves when they are durable.
    fn append(&self, stream: u64, number: u64, tokens: Vec<Bytes>) -> impl Future<Output = ()> + Send;
}

impl Store for Log {
    async fn append(&self, stream: u64, _: u64, tokens: Vec<Bytes>) {
        let append = append_of(stream_name(stream), tokens);
        Log::append(self, append).await.expect("queued").await.expect("durable");
    }
}

/// The name of a stream.
pub fn stream_name(stream: u64) -> Name {
    Name::new("", &format!("stream-{stream}")).expect("a valid name")
}

/// An append of these tokens to one stream.
pub fn append_of(stream: Name, tokens: Vec<Bytes>) -> Append {
    Append::of(vec![part_of(stream, tokens)])
}

/// These tokens as a part of an append.
pub fn part_of(stream: Name, tokens: Vec<Bytes>) -> Part {
    let record = |payload| NewRecord {
        kind: Kind(Kind::FIRST_OPEN),
        subject: Subject::NONE,
        sub: None,
        causation: [0; 16],
        origin: 0,
        payload,
    };
    Part {
        stream: Target::Name(stream),
        expect: Vec::new(),
        records: tokens.into_iter().map(record).collect(),
    }
}

/// How many writers, and how many records each sends for one acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Writers.
    pub writers: u64,
    /// Records for an acknowledgement.
    pub records: u64,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.writers, self.records)
    }
}

/// The shapes of W1.
pub const SHAPES: [Shape; 5] = [shape(1, 1), shape(8, 1), shape(64, 1), shape(1, 64), shape(8, 64)];

const fn shape(writers: u64, records: u64) -> Shape {
    Shape { writers, records }
}

/// What was reached.
#[derive(Default)]
pub struct Ran {
    /// Records.
    pub records: u64,
    /// In this time.
    pub elapsed: Duration,
    /// Of every acknowledgement, ascending.
    pub waits: Vec<Duration>,
    /// Processor time of the thread that commits.
    pub committing: Duration,
}

impl Ran {
    /// Records a second.
    pub fn rate(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64()
    }

    /// The wait that this share of the acknowledgements did not exceed, in microseconds.
    pub fn wait_us(&self, share: f64) -> f64 {
        let at = (self.waits.len().saturating_sub(1)) as f64 * share;
        self.waits.get(at as usize).map_or(0.0, |wait| wait.as_secs_f64() * 1e6)
    }
}

/// Tokens that a writer has at hand.
const READY: usize = 1_024;

/// Drives `store` for this long.
pub fn drive<S: Store>(runtime: &Runtime, store: &Arc<S>, shape: Shape, time: Duration) -> Ran {
    let clock = Arc::new(SystemEnv::new());
    let tokens: Vec<Vec<Bytes>> = (0..shape.writers)
        .map(|writer| Tokens::new(writer).take(READY).collect())
        .collect();
    runtime.block_on(async {
        let (mut ran, started) = (Ran::default(), clock.monotonic());
        let mut writers = Vec::new();
        for (writer, tokens) in (0..).zip(tokens) {
            let (store, clock) = (store.clone(), clock.clone());
            writers.push(tokio::spawn(async move {
                let (mut number, mut waits) = (0, Vec::new());
                while clock.monotonic() - started < time {
                    let from = number as usize % READY;
                    let batch = tokens[from..from + shape.records as usize].to_vec();
                    let sent = clock.monotonic();
                    store.append(writer, number, batch).await;
                    waits.push(clock.monotonic() - sent);
                    number += shape.records;
                }
                (number, waits)
            }));
        }
        for writer in writers {
            let (number, waits) = writer.await.expect("a writer");
            ran.records += number;
            ran.waits.extend(waits);
        }
        ran.elapsed = clock.monotonic() - started;
        ran.waits.sort_unstable();
        ran
    })
}
