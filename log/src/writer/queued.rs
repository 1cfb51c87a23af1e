//! An append on its way to the writer: measured, hashed, with everything in memory that it will be decided on.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use xxhash_rust::xxh3::Xxh3;

use crate::append::{Append, Appended, Sub, Target};
use crate::blob::Pinned;
use crate::codec::{self, COMMIT_ALIGN, COMMIT_FRAME};
use crate::error::AppendError;
use crate::index::{Cell, Flight};
use crate::limits::Limits;
use crate::record::{BlobRef, Carried, Digest, IdempotencyKey, Kind, Parent, Repeatable, StreamId};
use crate::stats::Waiting;
use crate::view::inline::Slot;

/// What the writer is sent.
pub(crate) enum Command {
    Append(Box<Queued>),
    /// Ends the present segment. Answered when everything that was sent before is durable.
    Seal(oneshot::Sender<()>),
    /// Answered after everything that was sent before is durable; nothing is accepted after it.
    Close(oneshot::Sender<()>),
}

/// An append on its way.
pub(crate) struct Queued {
    pub(crate) append: Append,
    /// One for each record, over all parts.
    pub(crate) prepared: Vec<Prepared>,
    /// One for each part that forks under a name that was free.
    pub(crate) forks: Vec<ForkSeed>,
    pub(crate) fingerprint: u64,
    /// At most this many bytes in a commit.
    pub(crate) bytes: usize,
    pub(crate) held: Held,
    pub(crate) sequenced: Option<oneshot::Sender<Appended>>,
    pub(crate) outcome: oneshot::Sender<Result<Appended, AppendError>>,
    /// Where its caller runs.
    pub(crate) runtime: Option<Handle>,
}

/// What an append holds until its outcome is known.
#[derive(Default)]
pub(crate) struct Held {
    /// Room in the queue.
    pub(crate) room: Option<OwnedSemaphorePermit>,
    /// The stream that each part names, if it was there when it was looked up.
    pub(crate) parts: Vec<Option<Arc<Cell>>>,
    /// Streams whose sub-streams it names.
    pub(crate) owners: Vec<Arc<Cell>>,
    /// Blobs that it refers to.
    pub(crate) blobs: Vec<Pinned>,
    pub(crate) flight: Option<Flight>,
    /// Counts it.
    pub(crate) waiting: Option<Waiting>,
}

/// What was worked out for a record before it was queued.
#[derive(Clone, Copy, Default)]
pub(crate) struct Prepared {
    /// SHA-256 of its payload as it is stored, if the chain is kept.
    pub(crate) digest: Option<Digest>,
    pub(crate) blob: Option<BlobRef>,
}

/// What a fork begins with.
pub(crate) struct ForkSeed {
    /// Number of the part that forks: not every one has a seed, for a name that was taken when it was looked up.
    pub(crate) part: usize,
    /// The stream that was asked for.
    pub(crate) parent: Arc<Cell>,
    /// Of the new stream.
    pub(crate) id: StreamId,
    /// The stream that has the shared position.
    pub(crate) owner: Arc<Cell>,
    /// Position of the record that trimmed the owner last when this was worked out; 0 if there was none.
    pub(crate) snapshot: u64,
    pub(crate) time_us: i64,
    pub(crate) versions: std::collections::BTreeMap<u16, u64>,
    pub(crate) folds: Vec<Slot>,
}

/// Most appends' parts with an idempotency key: their positions are kept with it.
const REPEATABLE_PARTS_MAX: usize = 1_000;

/// Most bytes that an append can take in a commit, or why no commit can take it. `own` is an append of the log itself.
pub(crate) fn bytes_in_commit(limits: &Limits, append: &Append, own: bool) -> Result<usize, AppendError> {
    let invalid = |what: String| Err(AppendError::Invalid(what));
    let records = append.parts.iter().map(|part| part.records.len()).sum::<usize>();
    if records == 0 || append.parts.iter().any(|part| part.records.is_empty()) {
        return invalid("an append and each of its parts need at least one record".to_owned());
    }
    if records > limits.append_records_max {
        return invalid(format!(
            "an append of {records} records; at most {} are allowed",
            limits.append_records_max
        ));
    }
    let mut bytes = 0;
    if let Some(key) = &append.key {
        if append.parts.len() > REPEATABLE_PARTS_MAX {
            return invalid(format!(
                "an append of {} parts with an idempotency key; at most {REPEATABLE_PARTS_MAX} are allowed",
                append.parts.len()
            ));
        }
        bytes += extras_of_key(key, append.parts.len());
    }
    for part in &append.parts {
        if let Target::Name(name) | Target::Fork { name, .. } = &part.stream {
            if name.name().starts_with('\0') && !own {
                return invalid("names that start with NUL belong to the log".to_owned());
            }
            bytes += codec::extras_bytes(&Carried {
                stream: Some(name.clone()),
                parent: matches!(part.stream, Target::Fork { .. }).then_some(Parent {
                    stream: StreamId([0; 16]),
                    position: 0,
                }),
                ..Carried::default()
            });
        }
        for record in &part.records {
            if record.payload.len() > limits.payload_bytes_max {
                return invalid(format!(
                    "a payload of {} bytes; at most {} are allowed",
                    record.payload.len(),
                    limits.payload_bytes_max
                ));
            }
            if record.kind.0 < Kind::FIRST_OPEN && !own {
                return invalid(format!("kind {} belongs to the log", record.kind.0));
            }
            let inline = record.payload.len() <= limits.inline_bytes_max;
            let extras = Carried {
                sub_stream: match &record.sub {
                    Some(Sub::Open(_, name)) => Some(name.clone()),
                    _ => None,
                },
                blob: (!inline).then_some(BlobRef {
                    address: Digest::default(),
                    bytes: 0,
                }),
                ..Carried::default()
            };
            let stored = if inline { record.payload.len() } else { 0 };
            bytes += codec::frame_bytes(codec::extras_bytes(&extras), stored);
        }
    }
    let most = limits.commit_bytes_max - COMMIT_FRAME - COMMIT_ALIGN;
    if bytes > most {
        return invalid(format!("an append of {bytes} bytes; at most {most} fit into a commit"));
    }
    Ok(bytes)
}

fn extras_of_key(key: &IdempotencyKey, parts: usize) -> usize {
    let part = crate::append::AppendedPart {
        stream: StreamId([0; 16]),
        first: 0,
        last: 0,
    };
    codec::extras_bytes(&Carried {
        repeatable: Some(Repeatable {
            key: key.clone(),
            fingerprint: 0,
            parts: vec![part; parts],
        }),
        ..Carried::default()
    })
}

/// What tells one append from another under the same idempotency key: its streams, kinds, subjects, sub-streams and payloads.
pub(crate) fn fingerprint(append: &Append) -> u64 {
    let mut hash = Xxh3::new();
    let mut text = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for part in &append.parts {
        match &part.stream {
            Target::Name(name) | Target::Fork { name, .. } => {
                text(name.principal().as_bytes());
                text(name.name().as_bytes());
            }
            Target::Id(id) => text(&id.0),
        }
        for record in &part.records {
            text(&record.kind.0.to_le_bytes());
            text(&record.subject.0.to_le_bytes());
            text(match &record.sub {
                Some(Sub::Open(_, name)) => name.name().as_bytes(),
                Some(Sub::Next(sub)) => &sub.0,
                None => b"",
            });
            text(&record.payload);
        }
    }
    hash.digest()
}
