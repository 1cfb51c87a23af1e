//! The streams in use, in memory: where their unclustered records lie, who waits for them, and what conditions are decided on.
//! A stream that nobody uses and whose records are all in runs is let go; `catalog` brings it back from its rows.

mod flights;
mod sub_stream;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Notify;

pub(crate) use flights::{Flight, Flights};
pub(crate) use sub_stream::SubStream;

use crate::record::{IdempotencyKey, Kind, Name, Record, Repeatable, StreamId, SubStreamId, Subject};
use crate::verbs::SubStreamInfo;
use crate::view::inline::Folds;

/// Where a record's frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Loc {
    pub(crate) generation: u32,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

/// What is known of a stream as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Time of its last record.
    pub(crate) time_us: i64,
    /// Positions up to this one were given up.
    pub(crate) trimmed: u64,
    /// Position of the last record with the folds' rows; 0 if there is none.
    pub(crate) snapshot: u64,
    /// The commits that said the last trim and the deletion.
    pub(crate) trimmed_commit: u64,
    pub(crate) deleted_commit: u64,
    pub(crate) deleted: bool,
    pub(crate) erased: bool,
    /// Position of the last record about each subject.
    pub(crate) versions: BTreeMap<u16, u64>,
    /// Live forks and the last position that each shares.
    pub(crate) forks: BTreeMap<StreamId, u64>,
}

/// An append that may be sent again, and the commit that carried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) commit: u64,
    pub(crate) repeatable: Repeatable,
}

impl Answered {
    /// Position of the append's first record in the stream that keeps the key.
    pub(crate) fn first(&self) -> u64 {
        self.repeatable.parts.first().map_or(0, |part| part.first)
    }
}

/// One stream's records.
#[derive(Default)]
pub(crate) struct Index {
    /// Records up to this position are in runs, in the parent, or given up.
    clustered: u64,
    /// The ones after it.
    locs: VecDeque<Loc>,
    pub(crate) head: Head,
    /// Up to which position `head`, `subs` and `answered` reflect the records.
    applied: u64,
    subs: FxHashMap<SubStreamId, Kept<SubStream>>,
    answered: HashMap<IdempotencyKey, Kept<Answered>>,
    /// What the catalog's rows lack.
    pub(crate) changed: Changed,
}

/// Something that is forgotten when no append on its way has looked for it.
#[derive(Default)]
struct Kept<T> {
    value: T,
    /// The epoch of [`Flights`] in which it was last looked for.
    touched: AtomicU64,
}

/// Stamp of what was made since the last pass that forgets: an append may have looked for it in this very epoch, before it was there.
const NEW: u64 = u64::MAX;

impl<T> Kept<T> {
    fn new(value: T, epoch: u64) -> Self {
        Self {
            value,
            touched: AtomicU64::new(epoch),
        }
    }

    /// From the next epoch on nobody who looked before it was there is on the way.
    fn settle(&self) {
        let _ = self
            .touched
            .compare_exchange(NEW, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn touch(&self, epoch: u64) -> &T {
        self.touched.fetch_max(epoch, Ordering::Relaxed);
        &self.value
    }
}

/// What of a stream has changed since its rows were written.
#[derive(Default)]
pub(crate) struct Changed {
    pub(crate) head: bool,
    pub(crate) subs: FxHashSet<SubStreamId>,
    pub(crate) answered: HashSet<IdempotencyKey>,
    /// Commits by which records went or lost their payloads.
    pub(crate) removals: Vec<u64>,
    /// Commits whose removals a later one stands for.
    pub(crate) superseded: Vec<u64>,
    /// Sub-streams and keys of records that were given up are to leave the rows.
    pub(crate) trimmed: bool,
    /// Names of such sub-streams, until they are not found in memory any more.
    freed: Vec<Name>,
    /// The time under which the rows list it; 0 if they do not.
    pub(crate) listed_us: i64,
}

impl Index {
    /// Of a stream that begins after `base`: 0, or the position at which it was forked.
    pub(crate) fn new(base: u64) -> Self {
        Self {
            clustered: base,
            applied: base,
            ..Self::default()
        }
    }

    /// Of a stream as its rows describe it: everything up to `last` is in runs.
    pub(crate) fn stored(last: u64, head: Head, listed_us: i64) -> Self {
        Self {
            clustered: last,
            applied: last,
            head,
            changed: Changed {
                listed_us,
                ..Changed::default()
            },
            ..Self::default()
        }
    }

    /// For recovery: the first record that is not in a run is the one after `position`.
    pub(crate) fn begin_after(&mut self, position: u64) {
        debug_assert!(self.locs.is_empty());
        self.clustered = position;
    }

    /// Position of the last record.
    pub(crate) fn last(&self) -> u64 {
        self.clustered + self.locs.len() as u64
    }

    /// Records up to this position are not here.
    pub(crate) fn clustered(&self) -> u64 {
        self.clustered
    }

    /// Position of the last record that the head reflects.
    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    /// Takes in the next record. `Err` if it is not the next one, which only damage can cause.
    pub(crate) fn push(&mut self, record: &Record, loc: Loc) -> Result<(), String> {
        if record.position != self.last() + 1 {
            return Err(format!("position {} follows {}", record.position, self.last()));
        }
        self.apply(record)?;
        self.locs.push_back(loc);
        Ok(())
    }

    /// Takes in what a record says about its stream; nothing if that is known already.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), String> {
        if record.position <= self.applied {
            return Ok(());
        }
        if let Some((id, number)) = record.sub {
            let sub = self
                .subs
                .entry(id)
                .or_insert_with(|| Kept::new(SubStream::default(), NEW));
            sub.value.push(record.position, number)?;
            if let Some(name) = &record.extras.sub_stream {
                sub.value.name = Some(name.clone());
            }
            self.changed.subs.insert(id);
        }
        if record.subject != Subject::NONE {
            self.head.versions.insert(record.subject.0, record.position);
        }
        if let Some(repeatable) = &record.extras.repeatable {
            let answered = Answered {
                commit: record.commit,
                repeatable: repeatable.clone(),
            };
            self.changed.answered.insert(repeatable.key.clone());
            self.answered.insert(repeatable.key.clone(), Kept::new(answered, NEW));
        }
        match record.kind {
            Kind::STREAM_TRIMMED => {
                self.head.trimmed = self.head.trimmed.max(record.origin.saturating_sub(1));
                self.head.snapshot = record.position;
                let before = self.head.trimmed_commit;
                if before > 0 {
                    self.changed.removals.retain(|commit| *commit != before);
                    self.changed.superseded.push(before);
                }
                self.head.trimmed_commit = record.commit;
                self.changed.removals.push(record.commit);
                self.drop_trimmed();
            }
            Kind::STREAM_DELETED => {
                self.head.deleted = true;
                self.head.deleted_commit = record.commit;
                self.head.erased |= record.origin == ERASED;
                self.changed.removals.push(record.commit);
            }
            _ => {}
        }
        self.head.time_us = self.head.time_us.max(record.time_us);
        self.applied = record.position;
        self.changed.head = true;
        Ok(())
    }

    /// Gives up the sub-streams that ended, and the keys of appends that began, at or below what is trimmed.
    fn drop_trimmed(&mut self) {
        let (trimmed, changed) = (self.head.trimmed, &mut self.changed);
        self.subs.retain(|id, kept| {
            let stays = kept.value.last > trimmed;
            if !stays {
                changed.subs.remove(id);
                changed.freed.extend(kept.value.name.take());
            }
            stays
        });
        self.answered.retain(|key, kept| {
            let stays = kept.value.first() > trimmed;
            if !stays {
                changed.answered.remove(key);
            }
            stays
        });
        changed.trimmed = true;
    }

    /// For a rebuild from a snapshot, which has no keys: that of a record which is there and which it reflects.
    pub(crate) fn recall(&mut self, record: &Record) {
        if let Some(repeatable) = &record.extras.repeatable
            && record.position > self.head.trimmed
            && record.position <= self.applied
        {
            self.changed.answered.insert(repeatable.key.clone());
            let answered = Answered {
                commit: record.commit,
                repeatable: repeatable.clone(),
            };
            self.answered.insert(repeatable.key.clone(), Kept::new(answered, NEW));
        }
    }

    /// Places of the unclustered records from position `from` to `to`, both included.
    pub(crate) fn range(&self, from: u64, to: u64) -> impl DoubleEndedIterator<Item = Loc> + '_ {
        let from = from.saturating_sub(self.clustered + 1) as usize;
        let to = (to.min(self.last()).saturating_sub(self.clustered)) as usize;
        self.locs.range(from.min(to)..to).copied()
    }

    /// Forgets the places of the records up to `position`: they are in runs now.
    pub(crate) fn release(&mut self, position: u64) {
        let count = position.saturating_sub(self.clustered).min(self.locs.len() as u64);
        self.locs.drain(..count as usize);
        self.clustered += count;
        self.locs.shrink_to(self.locs.len() * 2);
    }

    /// What is here now may be forgotten once every append of this epoch and before has arrived. Called before the next epoch begins.
    pub(crate) fn settle(&self) {
        self.subs.values().for_each(Kept::settle);
        self.answered.values().for_each(Kept::settle);
    }

    /// Forgets what its rows say as well, unless an append looked for it in or after `epoch`. Returns the names of what went.
    pub(crate) fn forget(&mut self, epoch: u64) -> Vec<Name> {
        let changed = &self.changed;
        let idle = |touched: &mut AtomicU64| *touched.get_mut() < epoch;
        self.answered
            .retain(|key, kept| changed.answered.contains(key) || !idle(&mut kept.touched));
        let mut names = Vec::new();
        self.subs.retain(|id, kept| {
            let keep = changed.subs.contains(id) || !idle(&mut kept.touched);
            if !keep {
                names.extend(kept.value.name.take());
            }
            keep
        });
        names
    }

    pub(crate) fn sub(&self, id: SubStreamId) -> Option<&SubStream> {
        self.subs.get(&id).map(|kept| &kept.value)
    }

    /// Keeps a sub-stream in memory for an append that set out in `epoch`; `false` if it is not there.
    pub(crate) fn touch_sub(&self, id: SubStreamId, epoch: u64) -> bool {
        self.subs.get(&id).map(|kept| kept.touch(epoch)).is_some()
    }

    /// Brings back a sub-stream from its rows; what is in memory is newer and stays.
    pub(crate) fn restore_sub(&mut self, id: SubStreamId, sub: SubStream, epoch: u64) {
        let name = sub.name.clone();
        let kept = self.subs.entry(id).or_insert_with(|| Kept::new(sub, epoch));
        kept.value.name = kept.value.name.take().or(name);
        kept.touch(epoch);
    }

    pub(crate) fn answered(&self, key: &IdempotencyKey) -> Option<&Answered> {
        self.answered.get(key).map(|kept| &kept.value)
    }

    /// Sub-streams in memory that have records from a position on.
    pub(crate) fn subs_from(&self, position: u64) -> Vec<(SubStreamId, SubStream)> {
        let from = |(_, kept): &(&SubStreamId, &Kept<SubStream>)| kept.value.last >= position;
        let mut subs: Vec<_> = self
            .subs
            .iter()
            .filter(from)
            .map(|(id, kept)| (*id, kept.value.clone()))
            .collect();
        subs.sort_unstable_by_key(|(id, _)| *id);
        subs
    }

    /// Sub-streams in memory, with their names.
    pub(crate) fn sub_names(&self) -> Vec<(SubStreamId, Name)> {
        let named = |(id, kept): (&SubStreamId, &Kept<SubStream>)| Some((*id, kept.value.name.clone()?));
        self.subs.iter().filter_map(named).collect()
    }

    /// The same as [`Index::touch_sub`], for a key.
    pub(crate) fn touch_answered(&self, key: &IdempotencyKey, epoch: u64) -> bool {
        self.answered.get(key).map(|kept| kept.touch(epoch)).is_some()
    }

    pub(crate) fn restore_answered(&mut self, answered: Answered, epoch: u64) {
        let key = answered.repeatable.key.clone();
        self.answered
            .entry(key)
            .or_insert_with(|| Kept::new(answered, epoch))
            .touch(epoch);
    }

    /// What the catalog's rows lack, which counts as written from now on.
    pub(crate) fn take_changed(&mut self) -> (Vec<(SubStreamId, SubStream, usize)>, Vec<Answered>) {
        let changed = (
            std::mem::take(&mut self.changed.subs),
            std::mem::take(&mut self.changed.answered),
        );
        self.changed.head = false;
        let mut subs = Vec::with_capacity(changed.0.len());
        for id in changed.0 {
            if let Some(kept) = self.subs.get_mut(&id) {
                let written = std::mem::replace(&mut kept.value.stride_written, kept.value.stride.len());
                subs.push((id, kept.value.clone(), written));
            }
        }
        let answered = changed.1.iter().filter_map(|key| self.answered(key).cloned()).collect();
        (subs, answered)
    }

    pub(crate) fn version(&self, subject: Subject) -> u64 {
        self.head.versions.get(&subject.0).copied().unwrap_or(0)
    }
}

/// `origin` of a [`Kind::STREAM_DELETED`] record whose stream is erased.
pub(crate) const ERASED: u64 = 1;

/// A stream that another one continues: what is at or below `position` is read from `cell`.
pub(crate) struct Fork {
    pub(crate) cell: Arc<Cell>,
    pub(crate) position: u64,
}

/// One stream: its records, its folds and who waits for it.
pub(crate) struct Cell {
    pub(crate) id: StreamId,
    pub(crate) name: Name,
    pub(crate) parent: Option<Fork>,
    /// Last visible position. Read through [`Streams::tail`].
    tail: AtomicU64,
    pub(crate) wake: Notify,
    pub(crate) index: RwLock<Index>,
    pub(crate) folds: Mutex<Folds>,
    /// Whether the folds are in memory, to be asked without waiting for whoever loads them.
    pub(crate) loaded: AtomicBool,
}

impl Cell {
    pub(crate) fn new(id: StreamId, name: Name, parent: Option<Fork>, index: Index, folds: Folds) -> Arc<Self> {
        let loaded = AtomicBool::new(matches!(folds, Folds::Loaded(_)));
        Arc::new(Self {
            id,
            name,
            loaded,
            tail: AtomicU64::new(index.last()),
            parent,
            wake: Notify::new(),
            index: RwLock::new(index),
            folds: Mutex::new(folds),
        })
    }

    /// Last position that it shares with its parent; 0 if it has none.
    pub(crate) fn base(&self) -> u64 {
        self.parent.as_ref().map_or(0, |fork| fork.position)
    }

    fn sub_info(&self, id: SubStreamId) -> Option<SubStreamInfo> {
        self.index.read().sub(id).map(|sub| SubStreamInfo {
            stream: self.id,
            id,
            first: sub.first(),
            last: sub.last,
            count: sub.count,
        })
    }
}

/// Records of one stream that have become durable together.
pub(crate) struct Batch {
    pub(crate) cell: Arc<Cell>,
    pub(crate) records: Vec<Record>,
    pub(crate) locs: Vec<Loc>,
}

impl Batch {
    pub(crate) fn of(cell: Arc<Cell>) -> Self {
        Self {
            cell,
            records: Vec::new(),
            locs: Vec::new(),
        }
    }
}

/// A sub-stream's name, where it is, and its id.
pub(crate) type OpenedSub = (Name, StreamId, SubStreamId);

/// All streams in use.
#[derive(Default)]
pub(crate) struct Streams {
    by_id: RwLock<FxHashMap<StreamId, Arc<Cell>>>,
    by_name: RwLock<BTreeMap<Name, Arc<Cell>>>,
    subs: RwLock<HashMap<Name, (StreamId, SubStreamId)>>,
    /// Streams that may have forks: those that have a row of one, or had one since the log was opened.
    forked: RwLock<HashSet<StreamId>>,
    /// Held to write while a commit's streams become visible, so that an append to several shows in all or in none.
    visible: RwLock<()>,
    waiting: Waiting,
}

/// Who waits for a sub-stream that is not open yet.
#[derive(Default)]
struct Waiting {
    count: AtomicUsize,
    names: Mutex<HashMap<Name, (usize, Arc<Notify>)>>,
}

impl Streams {
    pub(crate) fn get(&self, id: StreamId) -> Option<Arc<Cell>> {
        self.by_id.read().get(&id).cloned()
    }

    pub(crate) fn named(&self, name: &Name) -> Option<Arc<Cell>> {
        self.by_name.read().get(name).cloned()
    }

    pub(crate) fn sub_named(&self, name: &Name) -> Option<(StreamId, SubStreamId)> {
        self.subs.read().get(name).copied()
    }

    /// Up to `limit` streams in use whose names come at or after `from`, while `wanted` says so.
    pub(crate) fn names_from(&self, from: &Name, limit: usize, wanted: impl Fn(&Name) -> bool) -> Vec<Arc<Cell>> {
        let names = self.by_name.read();
        let range = names.range(from.clone()..).take_while(|(name, _)| wanted(name));
        range.take(limit).map(|(_, cell)| cell.clone()).collect()
    }

    /// Last visible position of a stream.
    pub(crate) fn tail(&self, cell: &Cell) -> u64 {
        let _visible = self.visible.read();
        cell.tail.load(Ordering::Acquire)
    }

    /// Makes a stream findable; the one that is, if another caller was faster.
    pub(crate) fn insert(&self, cell: &Arc<Cell>) -> Arc<Cell> {
        let found = self
            .by_id
            .write()
            .entry(cell.id)
            .or_insert_with(|| cell.clone())
            .clone();
        if Arc::ptr_eq(&found, cell) && !found.index.read().head.deleted {
            self.by_name.write().insert(found.name.clone(), found.clone());
        }
        found
    }

    /// Makes a sub-stream findable.
    pub(crate) fn insert_sub(&self, name: Name, stream: StreamId, id: SubStreamId) {
        self.subs.write().insert(name, (stream, id));
    }

    /// Makes durable records visible, in all their streams at once: places, tails and names together.
    /// Whoever may see them folded must not be let in before this is done. [`Streams::wake`] follows.
    pub(crate) fn publish<'a>(&self, batches: impl Iterator<Item = &'a Batch>, opened: &[OpenedSub]) {
        let _visible = self.visible.write();
        for Batch { cell, records, locs } in batches {
            let (new, deleted) = {
                let mut index = cell.index.write();
                let new = index.last() == cell.base();
                for (record, loc) in records.iter().zip(locs) {
                    let taken = index.push(record, *loc);
                    assert!(taken.is_ok(), "the writer numbers records densely: {taken:?}");
                }
                (new, index.head.deleted)
            };
            self.forget_trimmed(cell);
            if new {
                self.insert(cell);
                self.note_fork(cell, true);
            }
            if deleted {
                self.hide(cell);
            }
            if let Some(last) = records.last() {
                cell.tail.store(last.position, Ordering::Release);
            }
        }
        for (name, stream, id) in opened {
            self.insert_sub(name.clone(), *stream, *id);
        }
    }

    /// Whether rows have to be asked for a stream's forks.
    pub(crate) fn may_be_forked(&self, id: StreamId) -> bool {
        self.forked.read().contains(&id)
    }

    /// Notes streams that have rows of forks.
    pub(crate) fn note_forked(&self, ids: impl IntoIterator<Item = StreamId>) {
        self.forked.write().extend(ids);
    }

    /// Tells the parent of a fork that it is there, or is no longer.
    pub(crate) fn note_fork(&self, cell: &Cell, live: bool) {
        if let Some(fork) = &cell.parent {
            self.forked.write().insert(fork.cell.id);
            let mut index = fork.cell.index.write();
            match live {
                true => drop(index.head.forks.insert(cell.id, fork.position)),
                false => drop(index.head.forks.remove(&cell.id)),
            }
        }
    }

    /// Takes a deleted stream's names away.
    pub(crate) fn hide(&self, cell: &Arc<Cell>) {
        let mut names = self.by_name.write();
        if names.get(&cell.name).is_some_and(|named| named.id == cell.id) {
            names.remove(&cell.name);
        }
        drop(names);
        self.subs.write().retain(|_, (stream, _)| *stream != cell.id);
        self.note_fork(cell, false);
    }

    /// Wakes the readers of these streams, and who waits for these names.
    pub(crate) fn wake<'a>(&self, cells: impl Iterator<Item = &'a Arc<Cell>>, opened: &[OpenedSub]) {
        for cell in cells {
            cell.wake.notify_waiters();
        }
        if self.waiting.count.load(Ordering::Acquire) > 0 {
            let names = self.waiting.names.lock();
            for (_, notify) in opened.iter().filter_map(|(name, ..)| names.get(name)) {
                notify.notify_waiters();
            }
        }
    }

    /// Makes visible whatever the indexes hold, before anyone can look.
    pub(crate) fn publish_all(&self) {
        for cell in self.by_id.read().values() {
            cell.tail.store(cell.index.read().last(), Ordering::Release);
        }
    }

    /// Forgets everything, before anyone can look.
    pub(crate) fn clear(&self) {
        self.by_id.write().clear();
        self.by_name.write().clear();
        self.subs.write().clear();
        self.forked.write().clear();
    }

    /// Every stream in use.
    pub(crate) fn all(&self) -> Vec<Arc<Cell>> {
        self.by_id.read().values().cloned().collect()
    }

    /// Where a sub-stream stands, as far as it is visible.
    pub(crate) fn sub_info(&self, cell: &Cell, id: SubStreamId) -> Option<SubStreamInfo> {
        let _visible = self.visible.read();
        cell.sub_info(id)
    }

    /// Lets go of these streams, if nobody holds them and `idle` agrees. What it says under the lock is final: nobody gets in between.
    pub(crate) fn evict(&self, cells: Vec<StreamId>, idle: impl Fn(&Cell) -> bool) -> usize {
        let (mut by_id, mut by_name) = (self.by_id.write(), self.by_name.write());
        let mut gone = 0;
        for id in cells {
            let Some(cell) = by_id.get(&id) else { continue };
            let named = by_name.get(&cell.name).is_some_and(|named| named.id == id);
            if Arc::strong_count(cell) > 1 + usize::from(named) || !idle(cell) {
                continue;
            }
            if named {
                by_name.remove(&cell.name);
            }
            let subs = cell.index.read().sub_names();
            self.forget_names(id, subs.into_iter().map(|(_, name)| name));
            by_id.remove(&id);
            gone += 1;
        }
        gone
    }

    /// Forgets the sub-streams and keys of a stream that its rows have, if `written` says that nothing of them is on its way there.
    /// Asked under the stream's lock: what is not taken for its rows by then is still marked as changed.
    pub(crate) fn forget(&self, cell: &Cell, epoch: u64, written: impl Fn(&Cell) -> bool) {
        let names = {
            let mut index = cell.index.write();
            match written(cell) {
                true => index.forget(epoch),
                false => return,
            }
        };
        self.forget_names(cell.id, names.into_iter());
    }

    /// Takes away the names of sub-streams that were trimmed away.
    pub(crate) fn forget_trimmed(&self, cell: &Cell) {
        if cell.index.read().changed.freed.is_empty() {
            return;
        }
        let freed = std::mem::take(&mut cell.index.write().changed.freed);
        self.forget_names(cell.id, freed.into_iter());
    }

    /// Takes away names of a stream's sub-streams, but for those that another stream has by now.
    fn forget_names(&self, stream: StreamId, mut names: impl Iterator<Item = Name>) {
        let Some(first) = names.next() else { return };
        let mut subs = self.subs.write();
        for name in std::iter::once(first).chain(names) {
            if subs.get(&name).is_some_and(|(of, _)| *of == stream) {
                subs.remove(&name);
            }
        }
    }

    /// Resolves when a sub-stream of this name is opened; at once if `waiters_max` callers wait already. `is_there` looks beyond memory, too: what was
    /// opened before this waits may have been let go again.
    pub(crate) async fn wait_for_sub<F>(&self, name: &Name, waiters_max: usize, is_there: impl Fn() -> F + Send)
    where
        F: Future<Output = bool> + Send,
    {
        if self.waiting.count.fetch_add(1, Ordering::AcqRel) >= waiters_max {
            self.waiting.count.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let registered = Registered::new(&self.waiting, name);
        loop {
            let opened = registered.notify.notified();
            tokio::pin!(opened);
            opened.as_mut().enable();
            if self.sub_named(name).is_some() || is_there().await {
                return;
            }
            opened.await;
        }
    }
}

struct Registered<'a> {
    waiting: &'a Waiting,
    name: &'a Name,
    notify: Arc<Notify>,
}

impl<'a> Registered<'a> {
    fn new(waiting: &'a Waiting, name: &'a Name) -> Self {
        let mut names = waiting.names.lock();
        let (count, notify) = names.entry(name.clone()).or_default();
        *count += 1;
        Self {
            waiting,
            name,
            notify: notify.clone(),
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut names = self.waiting.names.lock();
        if let Some((count, _)) = names.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(self.name);
            }
        }
        self.waiting.count.fetch_sub(1, Ordering::AcqRel);
    }
}
