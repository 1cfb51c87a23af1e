//! Which streams there are, by id and by name, and where each of their records lies. In memory, rebuilt from the segments.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::codec::v1::RecordHeader;
use crate::limits::SUB_STREAM_STRIDE;
use crate::log::SubStreamInfo;
use crate::record::{Name, StreamId, SubStreamId, Subject};
use crate::view::inline::Folds;

/// Where a record's frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Loc {
    pub(crate) generation: u32,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

/// Where a sub-stream's records stand in their stream.
#[derive(Debug, Clone)]
pub(crate) struct SubStream {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) count: u64,
    /// Positions of the records numbered 1, 257, 513, ...
    stride: Vec<u64>,
}

impl SubStream {
    /// A position at or before that of record `number`, found without reading: at most the records that others put between are too many.
    pub(crate) fn floor(&self, number: u64) -> u64 {
        let before = number.saturating_sub(1);
        let step = (before / SUB_STREAM_STRIDE).min(self.stride.len() as u64 - 1);
        self.stride[step as usize] + (before - step * SUB_STREAM_STRIDE)
    }
}

/// One stream's records.
#[derive(Default)]
pub(crate) struct Index {
    locs: Vec<Loc>,
    subs: HashMap<SubStreamId, SubStream>,
    versions: HashMap<Subject, u64>,
    pub(crate) time_us: i64,
}

impl Index {
    pub(crate) fn len(&self) -> u64 {
        self.locs.len() as u64
    }

    /// Takes in the next record. `Err` if it is not the next one, which only damage can cause.
    pub(crate) fn push(&mut self, header: &RecordHeader, loc: Loc) -> Result<(), String> {
        if header.position != self.len() + 1 {
            return Err(format!("position {} follows {}", header.position, self.len()));
        }
        if header.sub_number > 0 {
            let sub = self.subs.entry(SubStreamId(header.sub_stream)).or_insert(SubStream {
                first: header.position,
                last: header.position,
                count: 0,
                stride: Vec::new(),
            });
            if header.sub_number != sub.count + 1 {
                return Err(format!(
                    "number {} follows {} in a sub-stream",
                    header.sub_number, sub.count
                ));
            }
            sub.count += 1;
            sub.last = header.position;
            if (sub.count - 1).is_multiple_of(SUB_STREAM_STRIDE) {
                sub.stride.push(header.position);
            }
        }
        if header.subject != 0 {
            self.versions.insert(Subject(header.subject), header.position);
        }
        self.time_us = self.time_us.max(header.time_us);
        self.locs.push(loc);
        Ok(())
    }

    /// Places of the records from position `from` (1 or above) to `to`, both included.
    pub(crate) fn range(&self, from: u64, to: u64) -> &[Loc] {
        let to = to.min(self.len());
        if from == 0 || from > to {
            return &[];
        }
        &self.locs[from as usize - 1..to as usize]
    }

    pub(crate) fn sub(&self, id: SubStreamId) -> Option<&SubStream> {
        self.subs.get(&id)
    }

    pub(crate) fn version(&self, subject: Subject) -> u64 {
        self.versions.get(&subject).copied().unwrap_or(0)
    }
}

/// One stream: its records, its folds and who waits for it.
pub(crate) struct Cell {
    pub(crate) id: StreamId,
    pub(crate) name: Name,
    /// Last visible position. Read through [`Streams::tail`].
    tail: AtomicU64,
    pub(crate) wake: Notify,
    pub(crate) index: RwLock<Index>,
    pub(crate) folds: Mutex<Folds>,
    /// Whether the folds are in memory, to be asked without waiting for whoever loads them.
    pub(crate) loaded: AtomicBool,
}

impl Cell {
    pub(crate) fn new(id: StreamId, name: Name, folds: Folds) -> Arc<Self> {
        let loaded = AtomicBool::new(matches!(folds, Folds::Loaded(_)));
        Arc::new(Self {
            id,
            name,
            loaded,
            tail: AtomicU64::new(0),
            wake: Notify::new(),
            index: RwLock::default(),
            folds: Mutex::new(folds),
        })
    }

    fn sub_info(&self, id: SubStreamId) -> Option<SubStreamInfo> {
        self.index.read().sub(id).map(|sub| SubStreamInfo {
            stream: self.id,
            id,
            first: sub.first,
            last: sub.last,
            count: sub.count,
        })
    }
}

/// A sub-stream's name, where it is, and its id.
pub(crate) type OpenedSub = (Name, Arc<Cell>, SubStreamId);

/// All streams.
#[derive(Default)]
pub(crate) struct Streams {
    by_id: RwLock<HashMap<StreamId, Arc<Cell>>>,
    by_name: RwLock<HashMap<Name, Arc<Cell>>>,
    subs: RwLock<HashMap<Name, (Arc<Cell>, SubStreamId)>>,
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

    pub(crate) fn sub_named(&self, name: &Name) -> Option<(Arc<Cell>, SubStreamId)> {
        self.subs.read().get(name).cloned()
    }

    /// Last visible position of a stream.
    pub(crate) fn tail(&self, cell: &Cell) -> u64 {
        let _visible = self.visible.read();
        cell.tail.load(Ordering::Acquire)
    }

    /// Makes a new stream findable.
    pub(crate) fn insert(&self, cell: &Arc<Cell>) {
        self.by_id.write().insert(cell.id, cell.clone());
        self.by_name.write().insert(cell.name.clone(), cell.clone());
    }

    /// Makes a new sub-stream findable.
    pub(crate) fn insert_sub(&self, name: Name, cell: &Arc<Cell>, id: SubStreamId) {
        self.subs.write().insert(name, (cell.clone(), id));
    }

    /// Makes durable records visible, in all their streams at once: places, tails and names together.
    /// Whoever may see them folded must not be let in before this is done. [`Streams::wake`] follows.
    pub(crate) fn publish(&self, records: &[(Arc<Cell>, RecordHeader, Loc)], opened: &[OpenedSub]) {
        let _visible = self.visible.write();
        for (cell, header, loc) in records {
            let taken = cell.index.write().push(header, *loc);
            assert!(taken.is_ok(), "the writer numbers records densely: {taken:?}");
            if cell.tail.swap(header.position, Ordering::Release) == 0 {
                self.insert(cell);
            }
        }
        for (name, cell, id) in opened {
            self.insert_sub(name.clone(), cell, *id);
        }
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
            cell.tail.store(cell.index.read().len(), Ordering::Release);
        }
    }

    /// Where a sub-stream stands, as far as it is visible.
    pub(crate) fn sub_info(&self, cell: &Cell, id: SubStreamId) -> Option<SubStreamInfo> {
        let _visible = self.visible.read();
        cell.sub_info(id)
    }

    /// Resolves when a sub-stream of this name is visible; `None` at once if `waiters_max` callers wait already.
    pub(crate) async fn wait_for_sub(&self, name: &Name, waiters_max: usize) -> Option<(Arc<Cell>, SubStreamId)> {
        if self.waiting.count.fetch_add(1, Ordering::AcqRel) >= waiters_max {
            self.waiting.count.fetch_sub(1, Ordering::AcqRel);
            return self.sub_named(name);
        }
        let registered = Registered::new(&self.waiting, name);
        loop {
            let opened = registered.notify.notified();
            tokio::pin!(opened);
            opened.as_mut().enable();
            if let Some(found) = self.sub_named(name) {
                return Some(found);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_starts_at_or_before_its_record_and_never_far_before() {
        // Two sub-streams, one record in three is the second's.
        let mut index = Index::default();
        let (mut counts, mut places) = ([0u64; 2], [Vec::new(), Vec::new()]);
        let loc = Loc {
            generation: 1,
            offset: 0,
            bytes: 1,
        };
        for position in 1..=3_000u64 {
            let which = usize::from(position % 3 == 0);
            counts[which] += 1;
            places[which].push(position);
            let header = RecordHeader {
                stream: [0; 16],
                position,
                sub_stream: [which as u8 + 1; 16],
                sub_number: counts[which],
                subject: 0,
                kind: 20,
                commit: position,
                index: 0,
                time_us: 0,
                causation: [0; 16],
                origin: 0,
                names_bytes: 0,
                payload_bytes: 0,
            };
            index.push(&header, loc).expect("the next record");
        }
        for (id, places) in (1u8..).zip(&places) {
            let sub = index.sub(SubStreamId([id; 16])).expect("the sub-stream");
            for (number, position) in (1u64..).zip(places) {
                let floor = sub.floor(number);
                assert!(floor <= *position, "record {number} would be missed");
                let interleaved = position - floor;
                assert!(
                    interleaved <= SUB_STREAM_STRIDE * 3,
                    "{interleaved} records too many before {number}"
                );
            }
        }
    }
}
