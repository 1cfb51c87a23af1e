//! The one thread that appends. It drains what waits into one commit: sequence, one write, one sync, fold, publish, acknowledge.
//! It never reads a disk. Every outcome, a failed condition included, leaves it only after the sync of everything it was decided on.

mod answers;
pub(crate) mod prepare;
pub(crate) mod queue;
pub(crate) mod queued;
mod sequence;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::MutexGuard;
use tokio::sync::oneshot;

use crate::append::{Append, Appended, NewRecord, Part, Target};
use crate::codec::{self, COMMIT_ALIGN, COMMIT_FRAME, CommitHeader, TERMINATOR};
use crate::error::AppendError;
use crate::index::{Batch, Loc};
use crate::log::{Durability, Shared};
use crate::record::{Digest, Kind, Name, SubStreamId, Subject};
use crate::segment::Slot;
use crate::segment::supply::Trouble;
use crate::view::inline::Folds;
use answers::{Answer, Answers};
use queue::Queue;
use queued::{Command, Held, Prepared, Queued};
use sequence::{Group, Wanted};

/// Who is to be told by a task of their runtime is told by the writer if it has nothing else to do and that task has not begun by then.
const PATIENCE: Duration = Duration::from_micros(200);

/// Where the writer goes on.
pub(crate) struct Position {
    pub(crate) slot: Option<Arc<Slot>>,
    pub(crate) offset: u64,
    /// Last commit and its hash.
    pub(crate) commit: u64,
    pub(crate) hash: Digest,
    pub(crate) epoch: u64,
}

/// The writer thread's state.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) at: Position,
    answers: Answers,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, queue: Arc<Queue>, at: Position) -> Self {
        Self {
            shared,
            queue,
            at,
            answers: Answers::default(),
        }
    }

    /// Runs until it is told to close or the queue is closed.
    pub(crate) fn run(mut self) {
        let mut waiting = VecDeque::new();
        let mut commands = Vec::new();
        let (mut closing, mut sealing) = (Vec::new(), Vec::new());
        loop {
            let open = self.queue.take(&mut commands);
            if commands.is_empty() && waiting.is_empty() {
                if !open {
                    break;
                }
                self.rest();
                continue;
            }
            for command in commands.drain(..) {
                match command {
                    Command::Append(queued) if closing.is_empty() => waiting.push_back(queued),
                    Command::Append(_) => {}
                    Command::Seal(done) => sealing.push(done),
                    Command::Close(done) => closing.push(done),
                }
            }
            while !waiting.is_empty() {
                self.commit(&mut waiting);
                if closing.is_empty() && sealing.is_empty() {
                    break;
                }
            }
            if !sealing.is_empty() {
                self.seal();
                for done in sealing.drain(..) {
                    let _ = done.send(());
                }
            }
            if !closing.is_empty() {
                break;
            }
        }
        self.queue.close();
        self.queue.take(&mut commands);
        closing.extend(commands.into_iter().filter_map(|command| match command {
            Command::Close(done) => Some(done),
            // Dropped: who waits for it is told that the log is closed.
            Command::Append(_) | Command::Seal(_) => None,
        }));
        self.answers.tell();
        self.shared.stop_helpers();
        for done in closing {
            let _ = done.send(());
        }
    }

    /// Waits for something to do. Nobody is left without an answer meanwhile.
    fn rest(&self) {
        if self.answers.wait() {
            self.queue.wait(Some(PATIENCE));
            self.answers.tell();
        } else {
            self.queue.wait(None);
        }
    }

    /// Writes nothing more to the present slot.
    fn seal(&mut self) {
        if self.at.offset == 0 || (self.shared.durability != Durability::Sync && self.shared.sync_written().is_err()) {
            return;
        }
        self.at.slot = None;
        self.at.offset = 0;
        self.shared.turn_to_none();
    }

    /// Appends a record of the log's own, before the thread runs.
    pub(crate) fn append_own(&mut self, stream: Name, kind: Kind, payload: Bytes) -> Result<Appended, AppendError> {
        let (outcome, mut answer) = oneshot::channel();
        let record = NewRecord {
            kind,
            subject: Subject::NONE,
            sub: None,
            causation: [0; 16],
            origin: 0,
            payload,
        };
        let append = Append::of(vec![Part {
            stream: Target::Name(stream),
            expect: Vec::new(),
            records: vec![record],
        }]);
        let bytes = queued::bytes_in_commit(&self.shared.limits, &append, true)?;
        self.commit(&mut VecDeque::from([Queued {
            append,
            prepared: vec![Prepared::default()],
            forks: Vec::new(),
            fingerprint: 0,
            bytes,
            held: Held::default(),
            sequenced: None,
            outcome,
            runtime: None,
        }]));
        answer.try_recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Makes one commit of what fits, and answers it.
    fn commit(&mut self, waiting: &mut VecDeque<Queued>) {
        if let Some(reason) = self.shared.poison.get() {
            let refusal = AppendError::Poisoned(reason.clone());
            return self.refuse(waiting, &refusal);
        }
        let limits = &self.shared.limits;
        if self.shared.views.wait_below(limits.view_lag_bytes_max).is_err() {
            return self.refuse(waiting, &AppendError::ViewsFailed);
        }
        let most = limits.commit_bytes_max - COMMIT_FRAME - COMMIT_ALIGN;
        let (mut bytes, mut count) = (0, 0);
        for queued in waiting.iter().take(limits.commit_appends_max) {
            if count > 0 && bytes + queued.bytes > most {
                break;
            }
            bytes += queued.bytes;
            count += 1;
        }
        let slot = match self.room_for((COMMIT_FRAME + bytes + COMMIT_ALIGN) as u64) {
            Ok(slot) => slot,
            Err(refusal) => return self.refuse(waiting, &refusal),
        };

        let mut group = Group::new(COMMIT_FRAME + bytes + COMMIT_ALIGN + TERMINATOR);
        let commit = self.at.commit + 1;
        let now_us = self.shared.env.now_us();
        let mut runtime = None;
        let mut answers: Vec<Answer> = Vec::with_capacity(count);
        for queued in waiting.drain(..count) {
            let wanted = Wanted {
                append: queued.append,
                prepared: queued.prepared,
                forks: queued.forks,
                fingerprint: queued.fingerprint,
                found: &queued.held.parts,
            };
            let outcome = group.sequence(&self.shared, wanted, commit, now_us);
            if let (Some(to), Ok(appended)) = (queued.sequenced, &outcome) {
                let _ = to.send(appended.clone());
            }
            runtime = queued.runtime;
            answers.push(Answer {
                to: queued.outcome,
                outcome,
                held: queued.held,
            });
        }
        if group.records.is_empty() {
            // Decided on what is visible alone: the commit before this is written, and synced if that is what is promised.
            return self.answers.give(answers, runtime);
        }

        let records_digest = group.records_digest();
        let (hash, length) = codec::finish_commit(
            &mut group.buffer,
            CommitHeader {
                store: self.shared.store,
                generation: u64::from(slot.generation),
                epoch: self.at.epoch,
                commit,
                durable_through: self.shared.synced.load(Ordering::Acquire),
                records: group.records.len() as u32,
                records_digest,
                previous: self.at.hash,
                ..CommitHeader::default()
            },
        );
        // The last commit of a slot may leave no room for zeroes behind it.
        let room = (slot.bytes - self.at.offset) as usize;
        group.buffer.truncate(room);
        let sync = self.shared.durability == Durability::Sync;
        let written = slot
            .file
            .write_at(self.at.offset, &group.buffer)
            .and_then(|()| if sync { slot.file.sync() } else { Ok(()) });
        if let Err(error) = written {
            let reason = format!("writing commit {commit} to {}: {error}", Slot::name(slot.number));
            let refusal = AppendError::Poisoned(self.shared.poison.set(reason));
            for answer in &mut answers {
                answer.outcome = Err(refusal.clone());
            }
            self.answers.give(answers, None);
            return self.refuse(waiting, &refusal);
        }
        group.buffer.truncate(length);

        let offset = self.at.offset;
        self.at.offset += length as u64;
        self.at.commit = commit;
        self.at.hash = hash;
        self.take_in(&slot, offset as u32, group);
        self.answers.give(answers, runtime);
    }

    fn refuse(&self, waiting: &mut VecDeque<Queued>, refusal: &AppendError) {
        let refused = waiting.drain(..).map(|queued| Answer {
            to: queued.outcome,
            outcome: Err(refusal.clone()),
            held: queued.held,
        });
        self.answers.give(refused.collect(), None);
    }

    /// The slot to write to, changing to the next one if `bytes` do not fit into the present one.
    fn room_for(&mut self, bytes: u64) -> Result<Arc<Slot>, AppendError> {
        if let Some(slot) = &self.at.slot
            && self.at.offset + bytes <= slot.bytes
        {
            return Ok(slot.clone());
        }
        if self.shared.durability != Durability::Sync
            && let Err(error) = self.shared.sync_written()
        {
            return Err(AppendError::Poisoned(error));
        }
        let most = self.shared.limits.cluster_segments_max;
        self.shared.cluster.wait_while(|| self.shared.slots.len() > most);
        let slot = loop {
            let slot = self.shared.supply.take().map_err(|trouble| match trouble {
                Trouble::Full(what) => AppendError::Full(what),
                Trouble::Failed(what) => {
                    AppendError::Poisoned(self.shared.poison.set(format!("preparing a segment: {what}")))
                }
            })?;
            // One that was prepared when `segment_bytes` was smaller stays unused.
            if bytes <= slot.bytes {
                break slot;
            }
        };
        slot.base.store(self.at.commit + 1, Ordering::Relaxed);
        // Before it can be found: what is written to is not full.
        self.shared.turn_to(&slot, self.at.commit);
        self.shared.slots.insert(slot.clone());
        self.at.slot = Some(slot.clone());
        self.at.offset = 0;
        self.shared.cluster.nudge();
        Ok(slot)
    }

    /// Folds, publishes and hands on what has just become durable.
    fn take_in(&self, slot: &Arc<Slot>, offset: u32, group: Group) {
        let shared = &self.shared;
        let mut batches: Vec<Batch> = group.cells().map(|cell| Batch::of(cell.clone())).collect();
        let bytes = Bytes::from(group.buffer);
        shared.tail.push(slot.generation, offset, bytes.clone());
        shared
            .slots
            .note(self.at.commit, slot.generation, offset, bytes.len() as u32);
        let mut opened = Vec::new();
        for sequenced in group.records {
            let batch = &mut batches[sequenced.stream];
            if let Some(name) = sequenced.extras.sub_stream.clone() {
                opened.push((name, batch.cell.id, SubStreamId(sequenced.header.sub_stream)));
            }
            let payload = sequenced.spilled.unwrap_or_else(|| {
                let end = sequenced.offset + sequenced.bytes - 4;
                bytes.slice(end - sequenced.header.payload_bytes as usize..end)
            });
            batch.locs.push(Loc {
                generation: slot.generation,
                offset: offset + sequenced.offset as u32,
                bytes: sequenced.bytes as u32,
            });
            if let Some(blob) = &sequenced.extras.blob {
                shared.blobs.refer(&blob.address);
            }
            batch
                .records
                .push(sequenced.header.into_record(sequenced.extras, payload));
        }
        // What was only looked at, or only refused, stays out.
        batches.retain(|batch| !batch.records.is_empty());
        let turn = shared.views.turn.read();
        // Held until the records are visible: what a fold tells of can be read.
        let mut held: Vec<MutexGuard<'_, Folds>> = Vec::with_capacity(batches.len());
        for Batch { cell, records, .. } in &batches {
            let mut folds = cell.folds.lock();
            match &mut *folds {
                Folds::Loaded(slots) => {
                    if cell.parent.is_some() && records.first().is_some_and(|first| first.extras.stream.is_some()) {
                        shared.views.list(slots);
                    }
                    shared.views.fold_now(&cell.name, slots, records);
                }
                // The caller loads them before it queues an append; the next load reads these records from the log.
                Folds::Stored => tracing::error!(stream = ?cell.name, "an append found its stream's folds not loaded"),
            }
            held.push(folds);
        }
        shared.streams.publish(batches.iter(), &opened);
        drop(held);
        let cells = || batches.iter().map(|batch| &batch.cell);
        shared.views.folded(cells(), bytes.len(), self.at.commit, self.at.hash);
        drop(turn);
        shared.written(slot, self.at.commit);
        shared.streams.wake(cells(), &opened);
        shared.committed.notify_waiters();
        shared
            .keeper
            .nudge(shared.views.behind_bytes() > shared.limits.view_lag_bytes_max / 2);
    }
}

impl Drop for Writer {
    /// However it ends, nobody waits for a writer that is gone.
    fn drop(&mut self) {
        self.queue.close();
        self.queue.take(&mut Vec::new());
    }
}
