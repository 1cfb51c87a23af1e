//! What a caller asks the writer to append, under which conditions, and what it is told.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::AppendError;
use crate::record::{IdempotencyKey, Kind, Name, StreamId, SubStreamId, Subject};

/// Records for one or several streams, appended as one: all of them or none, visible at once.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// Parts in order. Two parts may name the same stream.
    pub parts: Vec<Part>,
    /// Makes the append repeatable: sent again with the same key to the same first stream, it is not appended again but answered
    /// as it was the first time, conditions or not. The key is kept as long as the append's first record is.
    pub key: Option<IdempotencyKey>,
}

impl Append {
    /// An append of these parts, not repeatable.
    pub fn of(parts: Vec<Part>) -> Self {
        Self { parts, key: None }
    }
}

/// The records for one stream.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where they go.
    pub stream: Target,
    /// What must hold when they are sequenced; the first condition that fails refuses the whole append.
    pub expect: Vec<Expect>,
    /// The records, in order.
    pub records: Vec<NewRecord>,
}

/// A stream to append to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The stream of this name; opened by this append if there is none.
    Name(Name),
    /// This incarnation of a stream, which must exist.
    Id(StreamId),
    /// A new stream that goes on from a position of another one: it has that stream's records up to there, without a copy. The sub-streams of
    /// that stream are not its own: their records are read through it, and they are found and followed through that stream only.
    Fork {
        /// The new stream's name, which must be free.
        name: Name,
        /// The stream to go on from.
        parent: StreamId,
        /// The last position that both share, from 1 to the parent's tail.
        position: u64,
    },
}

/// A condition on a stream, decided on what is sequenced before the append: its own parts do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The stream does not exist.
    Absent,
    /// The stream exists.
    Exists,
    /// The stream's last position is this (0: it is absent).
    Position(u64),
    /// The position of the last record with this subject (0: there is none).
    Version(Subject, u64),
    /// The last number of this sub-stream (0: it is not open).
    SubStreamAt(SubStreamId, u64),
}

/// A record to append; its position, number and time are given by the writer.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// What it states; [`Kind::FIRST_OPEN`] or above.
    pub kind: Kind,
    /// What it is about.
    pub subject: Subject,
    /// The sub-stream that it belongs to, if any.
    pub sub: Option<Sub>,
    /// The sub-stream on whose behalf it is appended; all zero if none.
    pub causation: [u8; 16],
    /// The caller's number for what produced it; 0 if nothing did.
    pub origin: u64,
    /// What it says. Above `Limits::inline_bytes_max` it is kept as a file of its own, which changes nothing for readers.
    pub payload: Bytes,
}

/// How a record belongs to a sub-stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sub {
    /// It is the first of a new sub-stream with this name. A name that is taken refuses the append.
    Open(SubStreamId, Name),
    /// It is the next of an open sub-stream of the same stream.
    Next(SubStreamId),
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The commit that carries it.
    pub commit: u64,
    /// One entry per part, in order.
    pub parts: Vec<AppendedPart>,
    /// It was there already: an earlier append had the same idempotency key.
    pub repeated: bool,
}

/// Where one part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendedPart {
    /// The stream, opened by this append if it was absent.
    pub stream: StreamId,
    /// Position of the part's first record.
    pub first: u64,
    /// Position of its last record.
    pub last: u64,
}

/// An append that is queued, in order, and not yet durable. Resolves when it is durable, folded into the views and visible to
/// readers; dropping it changes nothing about the append.
#[must_use = "an append is durable only when this resolves"]
#[derive(Debug)]
pub struct Appending {
    pub(crate) sequenced: oneshot::Receiver<Appended>,
    pub(crate) outcome: oneshot::Receiver<Result<Appended, AppendError>>,
}

impl Appending {
    /// Resolves as soon as the append has its positions, which is before it is durable; `None` if it was refused, which awaiting the
    /// append itself explains. Nothing that depends on these positions may leave the process before the append itself resolves.
    pub async fn sequenced(&mut self) -> Option<Appended> {
        (&mut self.sequenced).await.ok()
    }
}

impl Future for Appending {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome)
            .poll(cx)
            .map(|sent| sent.unwrap_or(Err(AppendError::Closed)))
    }
}
