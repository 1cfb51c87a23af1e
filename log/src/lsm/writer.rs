//! The one thread that appends. It drains what waits into one batch: sequence, fold, one durable batch with the records, every row that
//! they change and the views' rows, then publish and acknowledge. Unlike the segment log's it may read the tree.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fjall::PersistMode;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Shared;
use super::folds::Held;
use super::rows::{self, AnsweredRow, Run};
use super::sequence::{Group, Pending, Refusal};
use super::tree::Changes;
use crate::append::{Append, Appended};
use crate::error::AppendError;
use crate::log::Durability;
use crate::record::{Kind, StreamId};
use crate::stats::Waiting;
use crate::view_store::{StoreError, keys};

/// What the writer is sent.
pub(super) enum Command {
    Append(Queued),
    /// Answered after everything that was sent before is durable; nothing is accepted after it.
    Close(oneshot::Sender<()>),
}

/// An append on its way.
pub(super) struct Queued {
    pub(super) append: Append,
    pub(super) fingerprint: u64,
    /// About as many bytes in the batch.
    pub(super) bytes: usize,
    /// Room in the queue, and what counts it: held until the outcome is known.
    pub(super) held: (OwnedSemaphorePermit, Waiting),
    pub(super) sequenced: oneshot::Sender<Appended>,
    pub(super) outcome: oneshot::Sender<Result<Appended, AppendError>>,
}

type Answer = (
    oneshot::Sender<Result<Appended, AppendError>>,
    Result<Appended, AppendError>,
    (OwnedSemaphorePermit, Waiting),
);

/// Runs until closed or until every sender is gone.
pub(super) fn run(shared: &Arc<Shared>, mut queue: mpsc::Receiver<Command>) {
    let (mut waiting, mut commands, mut closing) = (VecDeque::new(), Vec::new(), Vec::new());
    let max = shared.limits.commit_appends_max;
    loop {
        if waiting.is_empty() && queue.blocking_recv_many(&mut commands, max) == 0 {
            break;
        }
        while commands.len() + waiting.len() < max
            && let Ok(command) = queue.try_recv()
        {
            commands.push(command);
        }
        for command in commands.drain(..) {
            match command {
                Command::Append(queued) if closing.is_empty() => waiting.push_back(queued),
                Command::Append(queued) => drop(queued.outcome.send(Err(AppendError::Closed))),
                Command::Close(done) => closing.push(done),
            }
        }
        while !waiting.is_empty() {
            commit(shared, &mut waiting);
            if closing.is_empty() {
                break;
            }
        }
        if !closing.is_empty() {
            break;
        }
    }
    queue.close();
    while let Ok(command) = queue.try_recv() {
        match command {
            Command::Append(queued) => drop(queued.outcome.send(Err(AppendError::Closed))),
            Command::Close(done) => closing.push(done),
        }
    }
    shared.sync_written();
    shared.syncing.stop();
    for done in closing {
        let _ = done.send(());
    }
}

/// Makes one batch of what fits, and answers it.
fn commit(shared: &Arc<Shared>, waiting: &mut VecDeque<Queued>) {
    if let Some(reason) = shared.poison.get() {
        return refuse(waiting, &AppendError::Poisoned(reason.clone()));
    }
    let (mut bytes, mut count) = (0, 0);
    for queued in waiting.iter() {
        if count > 0 && bytes + queued.bytes > shared.limits.commit_bytes_max {
            break;
        }
        bytes += queued.bytes;
        count += 1;
    }
    let number = shared.visible.load(Ordering::Acquire) + 1;
    let mut group = Group::new(shared, number);
    let mut answers: Vec<Answer> = Vec::with_capacity(count);
    let mut broken = None;
    for queued in waiting.drain(..count) {
        let decided = match (&broken, group.sequence(queued.append, queued.fingerprint)) {
            (None, Ok(appended)) => {
                let _ = queued.sequenced.send(appended.clone());
                Ok(appended)
            }
            (None, Err(Refusal::Append(error))) => Err(error),
            (None, Err(Refusal::Store(error))) => {
                broken = Some(error);
                Err(AppendError::Closed)
            }
            (Some(_), _) => Err(AppendError::Closed),
        };
        answers.push((queued.outcome, decided, queued.held));
    }
    let written = match broken {
        Some(error) => Err(error),
        None if group.frames.is_empty() => return answer(answers),
        None => write(shared, &mut group, number),
    };
    let swept = match written {
        Err(error) => {
            let reason = format!("writing commit {number} to the tree: {error}");
            let refusal = AppendError::Poisoned(shared.poison.set(reason));
            answers
                .iter_mut()
                .for_each(|(_, outcome, _)| *outcome = Err(refusal.clone()));
            answer(answers);
            return refuse(waiting, &refusal);
        }
        Ok(swept) => swept,
    };
    if shared.durability == Durability::Sync {
        shared.synced.store(number, Ordering::Release);
    }
    shared.visible.store(number, Ordering::Release);
    shared.waiting.wake(group.order.iter());
    let opened = group.sub_names.iter().filter(|(_, sub)| sub.is_some());
    shared.waiting_names.wake(opened.map(|(name, _)| name));
    shared.committed.notify_waiters();
    answer(answers);
    drop(group);
    if swept && let Err(error) = super::retention::sweep(shared) {
        shared
            .poison
            .set(format!("removing what was given up from the tree: {error}"));
    }
}

/// Folds and writes a batch. Whether there is something to sweep afterwards.
fn write(shared: &Shared, group: &mut Group<'_>, number: u64) -> Result<bool, StoreError> {
    let mut changes = Changes::new();
    let mut held: Vec<Held> = Vec::with_capacity(group.order.len());
    let written = fold(shared, group, &mut held, &mut changes).and_then(|()| {
        let swept = put(group, number, &mut changes)?;
        let mode = match shared.durability {
            Durability::Sync => PersistMode::SyncData,
            Durability::Buffered { .. } => PersistMode::Buffer,
        };
        let began = shared.stats.now();
        shared.tree.commit(changes, mode)?;
        if shared.durability == Durability::Sync {
            shared.stats.synced(began);
        }
        Ok(swept)
    });
    if written.is_err() {
        // They have taken in records that nobody may see.
        held.iter_mut().for_each(|folds| **folds = None);
    }
    written
}

/// Takes the batch into the folds. They are held until it is durable.
fn fold(shared: &Shared, group: &mut Group<'_>, held: &mut Vec<Held>, changes: &mut Changes) -> Result<(), StoreError> {
    let views = &shared.folds.views;
    for id in &group.order {
        let Some(pending) = group.streams.get_mut(id) else {
            continue;
        };
        let mut folds = shared.folds.of(*id).blocking_lock_owned();
        match (&pending.before, pending.seed.take()) {
            (Some(before), _) if before.deleted => continue,
            (Some(before), _) => shared.folds.load(&group.at, *id, before, &mut folds)?,
            (None, Some(mut seed)) => {
                seed.iter_mut().for_each(|slot| slot.whole = true);
                views.list(&seed);
                *folds = Some(seed);
            }
            (None, None) => *folds = Some(views.empty_slots(*id, &pending.name)),
        }
        if let Some(slots) = &mut *folds {
            views.fold(&pending.name, slots, &pending.records);
            let before = pending.before.as_ref().map_or(0, |before| before.last);
            if !pending.row.deleted {
                shared.folds.put_rows(*id, before, slots, changes);
            }
        }
        held.push(folds);
    }
    shared.folds.put_index_rows(changes);
    Ok(())
}

/// The records and the rows that they change.
fn put(group: &mut Group<'_>, number: u64, changes: &mut Changes) -> Result<bool, StoreError> {
    let mut runs: Vec<Run> = Vec::new();
    for (stream, position, frame) in group.frames.drain(..) {
        match runs.last_mut() {
            Some(run) if run.stream == stream && run.first + u64::from(run.count) == position => run.count += 1,
            _ => runs.push(Run {
                stream,
                first: position,
                count: 1,
            }),
        }
        changes.insert(rows::record(stream, position), Some(frame));
    }
    changes.insert(rows::commit(number), Some(rows::put_runs(&runs)));
    changes.insert(rows::LAST_COMMIT.to_vec(), Some(number.to_be_bytes().to_vec()));
    for (name, stream) in &group.names {
        changes.insert(keys::stream_name(name), stream.map(|id| id.0.to_vec()));
    }
    for (name, sub) in &group.sub_names {
        let row = sub.map(|(stream, sub)| [stream.0, sub.0].concat());
        changes.insert(keys::sub_name(name), row);
    }
    let mut swept = false;
    for id in &group.order {
        let Some(pending) = group.streams.get_mut(id) else {
            continue;
        };
        let given_up = |kind| kind == Kind::STREAM_TRIMMED || kind == Kind::STREAM_DELETED;
        if pending.records.iter().any(|record| given_up(record.kind)) {
            changes.insert(keys::removal(number, *id), Some(Vec::new()));
            swept = true;
        }
        if let Some(before) = &pending.before
            && !before.deleted
        {
            changes.insert(keys::activity(before.time_us, *id), None);
        }
        if let Some((parent, shared)) = pending.row.parent() {
            let row = (!pending.row.deleted).then(|| shared.to_be_bytes().to_vec());
            changes.insert(keys::fork(parent, *id), row);
        }
        if pending.row.deleted {
            if pending.row.erased {
                pending.row.erase_name();
            }
            changes.insert(keys::stream(*id), Some(rows::json(&pending.row)?));
            for prefix in keys::of_stream(*id) {
                for entry in group.at.with_prefix(&prefix, None) {
                    changes.insert(entry?.0, None);
                }
            }
        } else {
            changes.insert(keys::stream(*id), Some(rows::json(&pending.row)?));
            put_live(*id, pending, changes)?;
        }
    }
    Ok(swept)
}

fn put_live(id: StreamId, pending: &Pending, changes: &mut Changes) -> Result<(), StoreError> {
    changes.insert(keys::activity(pending.row.time_us, id), Some(Vec::new()));
    for (sub, row) in &pending.subs {
        changes.insert(keys::sub(id, *sub), Some(rows::json(row)?));
    }
    for (sub, step, position) in &pending.strides {
        let key = keys::stride(id, *sub, *step);
        changes.insert(key, Some(position.to_be_bytes().to_vec()));
    }
    for answered in &pending.answered {
        let row = rows::json(&AnsweredRow::of(answered))?;
        changes.insert(keys::answered(id, &answered.repeatable.key), Some(row));
    }
    Ok(())
}

fn answer(answers: Vec<Answer>) {
    for (to, outcome, (_room, waiting)) in answers {
        // Counted before its caller goes on.
        drop(waiting);
        let _ = to.send(outcome);
    }
}

fn refuse(waiting: &mut VecDeque<Queued>, refusal: &AppendError) {
    for queued in waiting.drain(..) {
        let _ = queued.outcome.send(Err(refusal.clone()));
    }
}
