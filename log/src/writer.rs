//! The one thread that appends. It drains what waits into one commit: sequence, one write, one sync, fold, publish, acknowledge.
//! Callers may put what they append into the next commit themselves (`front`). It never reads a disk. Every outcome, a failed condition included, leaves it only after the sync of everything it was decided on.

mod ahead;
mod answers;
pub(crate) mod front;
pub(crate) mod pipeline;
pub(crate) mod prepare;
pub(crate) mod queue;
pub(crate) mod queued;
#[cfg(all(test, feature = "schedules"))]
mod schedules;
mod sequence;
pub(crate) mod sync;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::MutexGuard;
use tokio::sync::oneshot;

use crate::append::{Append, Appended, NewRecord, Part, Target};
use crate::error::AppendError;
use crate::index::{Batch, Loc};
use crate::log::{Durability, Shared};
use crate::record::{Kind, Name, SubStreamId, Subject};
use crate::segment::Slot;
use crate::segment::supply::Trouble;
use crate::threads;
use crate::view::inline::Folds;
use ahead::Base;
use answers::{Answer, Answers};
use pipeline::{Flying, Landed, Open, Pipeline, Position, frame};
use queue::{Queue, Until};
use queued::{Command, Held, Prepared, Queued};
use sequence::Wanted;
use sync::Syncer;

/// Who is to be told by a task of their runtime is told by the writer if it has nothing else to do and that task has not begun by then.
const PATIENCE: Duration = Duration::from_micros(200);
/// While a commit is written, the writer is woken to begin the next one for at least so many records.
const WORTH_BEGINNING: usize = if threads::FEW { 2 } else { 8 };

/// The writer thread's state.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    queue: Arc<Queue>,
    /// Has the commits on their way, and a thread that writes them while this one makes the next.
    syncer: Syncer,
    answers: Answers,
    waiting: VecDeque<Box<Queued>>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, queue: Arc<Queue>, syncer: Syncer) -> Self {
        Self {
            shared,
            queue,
            syncer,
            answers: Answers::default(),
            waiting: VecDeque::new(),
        }
    }

    /// Runs until it is told to close or the queue is closed.
    pub(crate) fn run(mut self) {
        let mut commands = Vec::new();
        let (mut closing, mut sealing) = (Vec::new(), Vec::new());
        while closing.is_empty() {
            let more = self.queue.take(&mut commands);
            for command in commands.drain(..) {
                match command {
                    Command::Append(queued) if closing.is_empty() => self.waiting.push_back(queued),
                    // Dropped: who waits for it is told that the log is closed.
                    Command::Append(_) => {}
                    Command::Seal(done) => sealing.push(done),
                    Command::Close(done) => closing.push(done),
                }
            }
            if !(more && sealing.is_empty() && closing.is_empty()) {
                self.finish();
            }
            if !sealing.is_empty() {
                self.seal();
                for done in sealing.drain(..) {
                    let _ = done.send(());
                }
            }
            if !more {
                break;
            }
            if self.go_on() {
                self.rest(Until::Records(WORTH_BEGINNING));
            } else if closing.is_empty() {
                self.rest(Until::Anything);
            }
        }
        self.queue.close();
        self.queue.take(&mut commands);
        closing.extend(commands.into_iter().filter_map(|command| match command {
            Command::Close(done) => Some(done),
            Command::Append(_) | Command::Seal(_) => None,
        }));
        self.answers.tell();
        self.shared.stop_helpers();
        for done in closing {
            let _ = done.send(());
        }
    }

    /// Takes in what has landed, makes what waits into commits and has them written, as far as that goes now: until nothing waits and
    /// `false`, or until one has to land and `true`.
    fn go_on(&mut self) -> bool {
        loop {
            let mut pipeline = self.syncer.shared.pipeline.lock();
            if let Some((flying, landed)) = pipeline.landed.pop_front() {
                pipeline.taking_in = true;
                // From here until it is visible others find the pipeline without it.
                threads::MutexGuard::bump(&mut pipeline);
                drop(pipeline);
                self.land(flying, landed);
                continue;
            }
            drop(pipeline);
            self.fill();
            let mut pipeline = self.syncer.shared.pipeline.lock();
            if !pipeline.is_idle() {
                if pipeline.landed.is_empty() {
                    return true;
                }
            } else if pipeline.is_crowded() && !pipeline.open_is_empty() {
                drop(pipeline);
                self.syncer.hand();
                return true;
            } else if let Some(job) = pipeline.issue() {
                drop(pipeline);
                let landed = job.run();
                self.syncer.shared.pipeline.lock().land(landed);
            } else if let Some(Open { answers, runtime, .. }) = pipeline.open.take() {
                drop(pipeline);
                // Decided on what is visible alone: the commit before this is written, and synced if that is what is promised.
                self.answers.give(answers, runtime);
            } else if self.waiting.is_empty() {
                return false;
            }
        }
    }

    /// Goes on until everything that waits is answered.
    fn finish(&mut self) {
        while self.go_on() {
            self.rest(Until::Landed);
        }
    }

    /// Sleeps until there is something to do. Nobody is left without an answer meanwhile.
    fn rest(&self, until: Until) {
        if self.answers.are_waiting() {
            self.queue.sleep(until, Some(PATIENCE));
            self.answers.tell();
        } else {
            self.queue.sleep(until, None);
        }
    }

    /// Writes nothing more to the present slot.
    fn seal(&mut self) {
        let at = &mut self.syncer.shared.pipeline.lock().at;
        if at.offset == 0 || (self.shared.durability != Durability::Sync && self.shared.sync_written().is_err()) {
            return;
        }
        at.slot = None;
        at.offset = 0;
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
        self.queue.note_waiting();
        self.waiting.push_back(Box::new(Queued {
            append,
            prepared: vec![Prepared::default()],
            forks: Vec::new(),
            fingerprint: 0,
            bytes,
            held: Held::default(),
            sequenced: None,
            outcome,
            runtime: None,
        }));
        self.finish();
        answer.try_recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Sequences what waits, as far as the open commit takes it.
    fn fill(&mut self) {
        let syncer = self.syncer.shared.clone();
        let mut pipeline = syncer.pipeline.lock();
        while let Some(bytes) = self.waiting.front().map(|queued| queued.bytes) {
            if pipeline.open.is_none() {
                match self.begin(&mut pipeline, bytes) {
                    Ok(Some(open)) => pipeline.open = Some(open),
                    Ok(None) => return,
                    Err(refusal) => {
                        drop(pipeline);
                        return self.refuse(&refusal);
                    }
                }
            }
            let Some(mut open) = pipeline.open.take() else { return };
            if !open.takes(&self.shared.limits, pipeline.at.offset, bytes) {
                pipeline.open = Some(open);
                return;
            }
            if let Some(queued) = self.waiting.pop_front() {
                let base = Base {
                    shared: &self.shared,
                    before: pipeline.before(),
                };
                sequence(base, &mut open, *queued, pipeline.at.commit + 1);
                self.queue.note_taken(1);
            }
            pipeline.open = Some(open);
            // The one that flies may have landed: what is open follows it then, not when all of this is done.
            threads::MutexGuard::bump(&mut pipeline);
        }
    }

    /// Opens a commit with room for at least this many bytes of records; `None` if that has to wait for the one before.
    fn begin(&self, pipeline: &mut Pipeline, bytes: usize) -> Result<Option<Open>, AppendError> {
        if let Some(reason) = self.shared.poison.get() {
            return Err(AppendError::Poisoned(reason.clone()));
        }
        let likely = self.waiting.iter().map(|queued| queued.bytes).sum::<usize>();
        if !pipeline.is_idle() {
            return Ok(pipeline.begin_behind(&self.shared, bytes, likely));
        }
        if self
            .shared
            .views
            .wait_below(self.shared.limits.view_lag_bytes_max)
            .is_err()
        {
            return Err(AppendError::ViewsFailed);
        }
        let slot = self.room_for(&mut pipeline.at, frame(bytes) as u64)?;
        Ok(Some(pipeline.begin(&self.shared, slot, likely)))
    }

    /// Takes in a commit that was written, or stops the log.
    fn land(&mut self, mut flying: Flying, landed: Landed) {
        if let Err(error) = landed.written {
            let reason = format!(
                "writing commit {} to {}: {error}",
                flying.commit,
                Slot::name(flying.slot.number)
            );
            let refusal = AppendError::Poisoned(self.shared.poison.set(reason));
            let open = self.syncer.shared.pipeline.lock().open.take();
            let mut answers = flying.answers;
            answers.extend(open.map_or_else(Vec::new, |open| open.answers));
            for answer in &mut answers {
                answer.outcome = Err(refusal.clone());
            }
            self.answers.give(answers, None);
            return self.refuse(&refusal);
        }
        flying.group.buffer = landed.bytes;
        flying.group.buffer.truncate(flying.length);
        let (answers, runtime) = (std::mem::take(&mut flying.answers), flying.runtime.take());
        self.take_in(flying);
        self.syncer.shared.pipeline.lock().taking_in = false;
        self.answers.give(answers, runtime);
    }

    /// Refuses what waits.
    fn refuse(&mut self, refusal: &AppendError) {
        self.queue.note_taken(self.waiting.len());
        let refused = self.waiting.drain(..).map(|queued| Answer {
            to: queued.outcome,
            outcome: Err(refusal.clone()),
            held: queued.held,
        });
        let refused = refused.collect();
        self.answers.give(refused, None);
    }

    /// The slot to write to, changing to the next one if `bytes` do not fit into the present one.
    fn room_for(&self, at: &mut Position, bytes: u64) -> Result<Arc<Slot>, AppendError> {
        if let Some(slot) = &at.slot
            && at.offset + bytes <= slot.bytes
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
        slot.base.store(at.commit + 1, Ordering::Relaxed);
        // Before it can be found: what is written to is not full.
        self.shared.turn_to(&slot, at.commit);
        self.shared.slots.insert(slot.clone());
        at.slot = Some(slot.clone());
        at.offset = 0;
        self.shared.cluster.nudge();
        Ok(slot)
    }

    /// Folds, publishes and hands on what has just become durable.
    fn take_in(&self, flying: Flying) {
        let Flying {
            group,
            slot,
            offset,
            commit,
            hash,
            ..
        } = flying;
        let (shared, offset) = (&self.shared, offset as u32);
        let touched = group.ahead.streams.into_iter().map(|pending| Batch::of(pending.cell));
        let mut batches: Vec<Batch> = touched.collect();
        let bytes = Bytes::from(group.buffer);
        shared.tail.push(slot.generation, offset, bytes.clone());
        shared.slots.note(commit, slot.generation, offset, bytes.len() as u32);
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
        shared.views.folded(cells(), bytes.len(), commit, hash);
        drop(turn);
        shared.written(&slot, commit);
        shared.streams.wake(cells(), &opened);
        shared.committed.notify_waiters();
        shared
            .keeper
            .nudge(shared.views.behind_bytes() > shared.limits.view_lag_bytes_max / 2);
    }
}

/// Decides on one append, and puts it into a commit of this number if it is allowed.
fn sequence(base: Base<'_>, open: &mut Open, queued: Queued, commit: u64) {
    let wanted = Wanted {
        append: queued.append,
        prepared: queued.prepared,
        forks: queued.forks,
        fingerprint: queued.fingerprint,
        found: &queued.held.parts,
    };
    let outcome = open.group.sequence(base, wanted, commit, open.now_us);
    if let (Some(to), Ok(appended)) = (queued.sequenced, &outcome) {
        let _ = to.send(appended.clone());
    }
    open.bytes += queued.bytes;
    open.runtime = queued.runtime;
    open.answers.push(Answer {
        to: queued.outcome,
        outcome,
        held: queued.held,
    });
}

impl Drop for Writer {
    /// However it ends, nobody waits for a writer that is gone.
    fn drop(&mut self) {
        self.queue.close();
        self.queue.take(&mut Vec::new());
    }
}
