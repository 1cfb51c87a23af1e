//! Commits on their way. One is open while it is made, then it flies until it is written, then it has landed and is taken in. While one
//! flies the next is made, on what the one before will have changed; it is written only when that one has landed.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;

use super::ahead::Ahead;
use super::answers::{Answer, CROWD};
use super::sequence::Group;
use crate::codec::{self, COMMIT_ALIGN, COMMIT_FRAME, CommitHeader, TERMINATOR};
use crate::limits::Limits;
use crate::log::Shared;
use crate::record::Digest;
use crate::segment::Slot;
use crate::stats::Stats;

/// Bytes of a commit around this many of records, at most.
pub(super) fn frame(records: usize) -> usize {
    COMMIT_FRAME + records + COMMIT_ALIGN
}

/// Where the next commit goes: behind the one that flies.
pub(crate) struct Position {
    pub(crate) slot: Option<Arc<Slot>>,
    pub(crate) offset: u64,
    /// Last commit and its hash.
    pub(crate) commit: u64,
    pub(crate) hash: Digest,
    pub(crate) epoch: u64,
}

/// A commit in the making.
pub(super) struct Open {
    pub(super) group: Group,
    pub(super) answers: Vec<Answer>,
    pub(super) runtime: Option<Handle>,
    pub(super) slot: Arc<Slot>,
    /// Most bytes that its records take.
    pub(super) bytes: usize,
    pub(super) now_us: i64,
}

impl Open {
    /// Whether so many bytes of records more may come in, if it is to stand at `offset`.
    pub(super) fn takes(&self, limits: &Limits, offset: u64, bytes: usize) -> bool {
        let all = frame(self.bytes + bytes);
        let fits = all <= limits.commit_bytes_max && offset + all as u64 <= self.slot.bytes;
        self.answers.is_empty() || (fits && self.answers.len() < limits.commit_appends_max)
    }
}

/// A commit that is being written.
pub(super) struct Flying {
    pub(super) group: Group,
    pub(super) answers: Vec<Answer>,
    pub(super) runtime: Option<Handle>,
    pub(super) slot: Arc<Slot>,
    pub(super) offset: u64,
    /// Without what is behind it.
    pub(super) length: usize,
    pub(super) commit: u64,
    pub(super) hash: Digest,
}

/// What has to be done for it.
pub(super) struct Job {
    slot: Arc<Slot>,
    offset: u64,
    bytes: Vec<u8>,
    sync: bool,
    stats: Arc<Stats>,
}

/// What became of it, with its bytes.
pub(super) struct Landed {
    pub(super) bytes: Vec<u8>,
    pub(super) written: io::Result<()>,
}

impl Job {
    /// Does it, here and now.
    pub(super) fn run(self) -> Landed {
        let Self {
            slot,
            offset,
            bytes,
            sync,
            stats,
        } = self;
        let write = || {
            slot.file.write_at(offset, &bytes)?;
            if !sync {
                return Ok(());
            }
            let began = stats.now();
            slot.file.sync()?;
            stats.synced(began);
            Ok(())
        };
        let written = catch_unwind(AssertUnwindSafe(write));
        Landed {
            written: written.unwrap_or_else(|_| Err(io::Error::other("writing panicked"))),
            bytes,
        }
    }
}

/// One of each, in this order, and where the next one goes.
pub(crate) struct Pipeline {
    pub(super) store: [u8; 16],
    /// Whether a commit has landed only when it is synced.
    pub(super) sync: bool,
    stats: Arc<Stats>,
    /// Of a log that does not sync each commit: the last one that is known to be synced.
    pub(super) synced: u64,
    pub(super) at: Position,
    pub(super) open: Option<Open>,
    pub(super) flying: Option<Flying>,
    /// Those that are to be taken in, oldest first.
    pub(super) landed: VecDeque<(Flying, Landed)>,
    /// Appends in the commit that was issued last.
    before: usize,
    /// One could not be written: no other will be.
    failed: bool,
    /// One was taken out of `landed`, and is not visible yet.
    pub(super) taking_in: bool,
    /// The thread beside the writer is to write what is open.
    pub(super) handed: bool,
    pub(super) stop: bool,
}

impl Pipeline {
    pub(crate) fn new(store: [u8; 16], sync: bool, at: Position, stats: Arc<Stats>) -> Self {
        Self {
            store,
            sync,
            stats,
            synced: at.commit,
            at,
            open: None,
            flying: None,
            landed: VecDeque::new(),
            before: 0,
            failed: false,
            taking_in: false,
            handed: false,
            stop: false,
        }
    }

    /// Opens a commit behind the one that is being written, with room for at least this many bytes of records; `None` if that has to wait
    /// for it. `likely`: how many there will be.
    pub(super) fn begin_behind(&mut self, shared: &Shared, bytes: usize, likely: usize) -> Option<Open> {
        let fits = |slot: &&Arc<Slot>| self.at.offset + frame(bytes) as u64 <= slot.bytes;
        let slot = self.at.slot.as_ref().filter(fits)?.clone();
        // One that has landed is taken in first: what is made is made on one other commit at most.
        let may = self.landed.is_empty() && shared.views.behind_bytes() <= shared.limits.view_lag_bytes_max;
        may.then(|| self.begin(shared, slot, likely))
    }

    /// Opens a commit in this slot.
    pub(super) fn begin(&mut self, shared: &Shared, slot: Arc<Slot>, likely: usize) -> Open {
        self.synced = shared.synced.load(Ordering::Acquire);
        Open {
            group: Group::new(frame(likely).min(shared.limits.commit_bytes_max) + TERMINATOR),
            answers: Vec::new(),
            runtime: None,
            slot,
            bytes: 0,
            now_us: shared.env.now_us(),
        }
    }

    /// Whether nothing is on its way but what is open.
    pub(super) fn is_idle(&self) -> bool {
        self.flying.is_none() && self.landed.is_empty()
    }

    /// What the newest commit that is not taken in changes; the open one is made on it.
    pub(super) fn before(&self) -> Option<&Ahead> {
        let landed = || self.landed.back().map(|(flying, _)| flying);
        self.flying.as_ref().or_else(landed).map(|flying| &flying.group.ahead)
    }

    /// Whether nothing in the open commit is to be written.
    pub(super) fn open_is_empty(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.group.records.is_empty())
    }

    /// Whether others are likely to come while the open commit is written.
    pub(super) fn is_crowded(&self) -> bool {
        let crowd = |open: &Open| open.answers.len().max(self.before) > CROWD;
        self.sync && self.open.as_ref().is_some_and(crowd)
    }

    /// Completes the open commit, which flies from now on. `None` if there is none, or nothing in it, or the one before failed.
    pub(super) fn issue(&mut self) -> Option<Job> {
        if self.failed || self.flying.is_some() {
            return None;
        }
        let Open {
            mut group,
            answers,
            runtime,
            slot,
            ..
        } = self.open.take_if(|open| !open.group.records.is_empty())?;
        let commit = self.at.commit + 1;
        let records_digest = group.records_digest();
        let (hash, length) = codec::finish_commit(
            &mut group.buffer,
            CommitHeader {
                store: self.store,
                generation: u64::from(slot.generation),
                epoch: self.at.epoch,
                commit,
                // If each is synced, all before: it is written when the one before has landed.
                durable_through: if self.sync { self.at.commit } else { self.synced },
                records: group.records.len() as u32,
                records_digest,
                previous: self.at.hash,
                ..CommitHeader::default()
            },
        );
        let offset = self.at.offset;
        // The last commit of a slot may leave no room for zeroes behind it.
        group.buffer.truncate((slot.bytes - offset) as usize);
        let job = Job {
            slot: slot.clone(),
            offset,
            bytes: std::mem::take(&mut group.buffer),
            sync: self.sync,
            stats: self.stats.clone(),
        };
        self.before = answers.len();
        self.at.offset += length as u64;
        self.at.commit = commit;
        self.at.hash = hash;
        self.flying = Some(Flying {
            group,
            answers,
            runtime,
            slot,
            offset,
            length,
            commit,
            hash,
        });
        Some(job)
    }

    /// The one that flies was written, or could not be.
    pub(super) fn land(&mut self, landed: Landed) {
        self.failed |= landed.written.is_err();
        if let Some(flying) = self.flying.take() {
            self.landed.push_back((flying, landed));
        }
    }
}
