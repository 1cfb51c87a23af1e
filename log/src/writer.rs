//! The one thread that appends. It drains what waits into one commit: sequence, one write, one sync, fold, publish, acknowledge.
//! It never reads a disk. Every outcome, a failed condition included, leaves it only after the sync of everything it was decided on.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::append::{Append, Appended, AppendedPart, Expect, NewRecord, Part, Sub, Target};
use crate::codec::v1::{COMMIT_FRAME, CommitHeader, RecordHeader};
use crate::codec::{self, COMMIT_ALIGN};
use crate::error::AppendError;
use crate::index::{Cell, Loc};
use crate::log::Shared;
use crate::record::{Kind, Name, Opens, Record, StreamId, SubStreamId, Subject};
use crate::segment::Slot;
use crate::segment::supply::Trouble;
use crate::view::inline::Folds;

/// What the writer is sent.
pub(crate) enum Command {
    Append(Queued),
    /// Answered after everything that was sent before is durable; nothing is accepted after it.
    Close(oneshot::Sender<()>),
}

/// An append on its way.
pub(crate) struct Queued {
    pub(crate) append: Append,
    /// At most this many bytes in a commit.
    pub(crate) bytes: usize,
    /// Room in the queue; given back when the outcome is known.
    pub(crate) _room: Option<OwnedSemaphorePermit>,
    pub(crate) outcome: oneshot::Sender<Result<Appended, AppendError>>,
}

/// Most bytes that an append can take in a commit, or why no commit can take it.
pub(crate) fn bytes_in_commit(shared: &Shared, append: &Append) -> Result<usize, AppendError> {
    let limits = &shared.limits;
    let records = append.parts.iter().map(|part| part.records.len()).sum::<usize>();
    if records == 0 || append.parts.iter().any(|part| part.records.is_empty()) {
        return Err(AppendError::Invalid(
            "an append and each of its parts need at least one record".to_owned(),
        ));
    }
    if records > limits.append_records_max {
        return Err(AppendError::Invalid(format!(
            "an append of {records} records; at most {} are allowed",
            limits.append_records_max
        )));
    }
    let mut bytes = 0;
    for part in &append.parts {
        if let Target::Name(name) = &part.stream {
            if name.name().starts_with('\0') {
                return Err(AppendError::Invalid(
                    "names that start with NUL belong to the log".to_owned(),
                ));
            }
            bytes += codec::names_bytes(Some(name), None);
        }
        for record in &part.records {
            if record.payload.len() > limits.payload_bytes_max {
                return Err(AppendError::Invalid(format!(
                    "a payload of {} bytes; at most {} are allowed",
                    record.payload.len(),
                    limits.payload_bytes_max
                )));
            }
            if record.kind.0 < Kind::FIRST_OPEN {
                return Err(AppendError::Invalid(format!(
                    "kind {} belongs to the log",
                    record.kind.0
                )));
            }
            let names = match &record.sub {
                Some(Sub::Open(_, name)) => codec::names_bytes(None, Some(name)),
                _ => 0,
            };
            bytes += codec::frame_bytes(names, record.payload.len());
        }
    }
    let most = limits.commit_bytes_max - COMMIT_FRAME - COMMIT_ALIGN;
    if bytes > most {
        return Err(AppendError::Invalid(format!(
            "an append of {bytes} bytes; at most {most} fit into a commit"
        )));
    }
    Ok(bytes)
}

/// Where the writer goes on.
pub(crate) struct Position {
    pub(crate) slot: Option<Arc<Slot>>,
    pub(crate) offset: u64,
    /// Last commit and its hash.
    pub(crate) commit: u64,
    pub(crate) hash: u64,
    pub(crate) epoch: u64,
}

/// The writer thread's state.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: mpsc::Receiver<Command>,
    pub(crate) at: Position,
}

/// A stream as it will be when the present commit is durable.
struct Pending {
    cell: Arc<Cell>,
    position: u64,
    time_us: i64,
    subs: HashMap<SubStreamId, u64>,
    versions: HashMap<Subject, u64>,
    opened: bool,
}

impl Pending {
    fn sub_count(&self, id: SubStreamId) -> u64 {
        self.subs
            .get(&id)
            .copied()
            .unwrap_or_else(|| self.cell.index.read().sub(id).map_or(0, |sub| sub.count))
    }

    fn version(&self, subject: Subject) -> u64 {
        self.versions
            .get(&subject)
            .copied()
            .unwrap_or_else(|| self.cell.index.read().version(subject))
    }
}

/// A record of the commit being made.
struct Sequenced {
    cell: Arc<Cell>,
    header: RecordHeader,
    opens: Opens,
    /// Its frame in the commit.
    offset: usize,
    bytes: usize,
}

/// One commit in the making.
#[derive(Default)]
struct Group {
    buffer: Vec<u8>,
    records: Vec<Sequenced>,
    streams: HashMap<StreamId, Pending>,
    names: HashMap<Name, StreamId>,
    subs: HashSet<Name>,
}

impl Writer {
    /// Runs until closed or until every sender is gone.
    pub(crate) fn run(mut self) {
        let mut waiting = VecDeque::new();
        let mut commands = Vec::new();
        let max = self.shared.limits.commit_appends_max;
        let mut closing = Vec::new();
        loop {
            if waiting.is_empty() && self.queue.blocking_recv_many(&mut commands, max) == 0 {
                break;
            }
            while commands.len() + waiting.len() < max
                && let Ok(command) = self.queue.try_recv()
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
                self.commit(&mut waiting);
                if closing.is_empty() {
                    break;
                }
            }
            if !closing.is_empty() {
                break;
            }
        }
        self.queue.close();
        while let Ok(command) = self.queue.try_recv() {
            match command {
                Command::Append(queued) => drop(queued.outcome.send(Err(AppendError::Closed))),
                Command::Close(done) => closing.push(done),
            }
        }
        self.shared.stop_helpers();
        for done in closing {
            let _ = done.send(());
        }
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
        let bytes = codec::frame_bytes(codec::names_bytes(Some(&stream), None), record.payload.len());
        let part = Part {
            stream: Target::Name(stream),
            expect: Vec::new(),
            records: vec![record],
        };
        let append = Append { parts: vec![part] };
        self.commit(&mut VecDeque::from([Queued {
            append,
            bytes,
            _room: None,
            outcome,
        }]));
        answer.try_recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Makes one commit of what fits, and answers it.
    fn commit(&mut self, waiting: &mut VecDeque<Queued>) {
        if let Some(reason) = self.shared.poison.get() {
            let refusal = AppendError::Poisoned(reason.clone());
            return refuse(waiting, &refusal);
        }
        if self
            .shared
            .views
            .wait_below(self.shared.limits.view_lag_bytes_max)
            .is_err()
        {
            return refuse(waiting, &AppendError::ViewsFailed);
        }
        let most = self.shared.limits.commit_bytes_max - COMMIT_FRAME - COMMIT_ALIGN;
        let (mut bytes, mut count) = (0, 0);
        for queued in waiting.iter() {
            if count > 0 && bytes + queued.bytes > most {
                break;
            }
            bytes += queued.bytes;
            count += 1;
        }
        let slot = match self.room_for((COMMIT_FRAME + bytes + COMMIT_ALIGN) as u64) {
            Ok(slot) => slot,
            Err(refusal) => return refuse(waiting, &refusal),
        };

        let mut group = Group::default();
        group.buffer.reserve(COMMIT_FRAME + bytes + COMMIT_ALIGN);
        codec::begin_commit(&mut group.buffer);
        let commit = self.at.commit + 1;
        let now_us = self.shared.env.now_us();
        let answers: Vec<_> = waiting
            .drain(..count)
            .map(|queued| {
                let outcome = self.sequence(&mut group, queued.append, commit, now_us);
                (queued.outcome, outcome, queued._room)
            })
            .collect();
        if group.records.is_empty() {
            // Decided on durable state alone: the commit before this is synced.
            for (to, outcome, _room) in answers {
                let _ = to.send(outcome);
            }
            return;
        }

        let hash = codec::finish_commit(
            &mut group.buffer,
            CommitHeader {
                store: self.shared.store,
                generation: u64::from(slot.generation),
                epoch: self.at.epoch,
                commit,
                durable_through: self.at.commit,
                records: group.records.len() as u32,
                previous_hash: self.at.hash,
                ..CommitHeader::default()
            },
        );
        let written = slot
            .file
            .write_at(self.at.offset, &group.buffer)
            .and_then(|()| slot.file.sync());
        if let Err(error) = written {
            let reason = format!("writing commit {commit} to {}: {error}", Slot::name(slot.number));
            let refusal = AppendError::Poisoned(self.shared.poison.set(reason));
            for (to, _, _room) in answers {
                let _ = to.send(Err(refusal.clone()));
            }
            return refuse(waiting, &refusal);
        }

        let offset = self.at.offset;
        self.at.offset += group.buffer.len() as u64;
        self.at.commit = commit;
        self.at.hash = hash;
        self.take_in(&slot, offset as u32, group);
        for (to, outcome, _room) in answers {
            let _ = to.send(outcome);
        }
    }

    /// The slot to write to, changing to the next one if `bytes` do not fit into the present one.
    fn room_for(&mut self, bytes: u64) -> Result<Arc<Slot>, AppendError> {
        if let Some(slot) = &self.at.slot
            && self.at.offset + bytes <= slot.bytes
        {
            return Ok(slot.clone());
        }
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
        self.shared.slots.insert(slot.clone());
        self.at.slot = Some(slot.clone());
        self.at.offset = 0;
        Ok(slot)
    }

    /// Checks an append against what is sequenced before it, and encodes its records. Nothing of it remains if it is refused.
    fn sequence(&self, group: &mut Group, append: Append, commit: u64, now_us: i64) -> Result<Appended, AppendError> {
        let mut ids = Vec::with_capacity(append.parts.len());
        let mut opened = Vec::new();
        let mut sub_names = HashSet::new();
        let mut sub_ids = HashSet::new();
        for part in &append.parts {
            let id = self.check(group, part, &mut opened, &mut sub_names, &mut sub_ids)?;
            ids.push(id);
        }
        // From here on nothing fails.
        for (name, cell) in opened {
            group.names.insert(name, cell.id);
            group.streams.insert(cell.id, pending(cell, true));
        }
        group.subs.extend(sub_names);
        let parts = append
            .parts
            .into_iter()
            .zip(ids)
            .map(|(part, id)| encode(group, part, id, commit, now_us))
            .collect();
        Ok(Appended { commit, parts })
    }

    fn check(
        &self,
        group: &mut Group,
        part: &Part,
        opened: &mut Vec<(Name, Arc<Cell>)>,
        sub_names: &mut HashSet<Name>,
        sub_ids: &mut HashSet<(StreamId, SubStreamId)>,
    ) -> Result<StreamId, AppendError> {
        let streams = &self.shared.streams;
        let found = match &part.stream {
            Target::Id(id) => {
                let known = group.streams.contains_key(id) || streams.get(*id).is_some();
                Some(known.then_some(*id).ok_or(AppendError::UnknownStream(*id))?)
            }
            Target::Name(name) => group
                .names
                .get(name)
                .copied()
                .or_else(|| streams.named(name).map(|cell| cell.id)),
        };
        if let Some(id) = found
            && let Entry::Vacant(vacant) = group.streams.entry(id)
        {
            let cell = streams.get(id).ok_or(AppendError::UnknownStream(id))?;
            vacant.insert(pending(cell, false));
        }
        let state = found.and_then(|id| group.streams.get(&id));
        for expect in &part.expect {
            check_expect(expect, state, &part.stream)?;
        }
        let id = match (found, &part.stream) {
            (Some(id), _) => id,
            (None, Target::Id(id)) => return Err(AppendError::UnknownStream(*id)),
            // Opened by an earlier part of this append, or by this one.
            (None, Target::Name(name)) => match opened.iter().find(|(other, _)| other == name) {
                Some((_, cell)) => cell.id,
                None => {
                    let id = StreamId(self.shared.env.mint());
                    let cell = Cell::new(id, name.clone(), self.shared.views.empty(id, name));
                    opened.push((name.clone(), cell));
                    id
                }
            },
        };
        for record in &part.records {
            match &record.sub {
                None => {}
                Some(Sub::Open(sub, name)) => {
                    let taken =
                        sub_names.contains(name) || group.subs.contains(name) || streams.sub_named(name).is_some();
                    let reused = group.streams.get(&id).is_some_and(|state| state.sub_count(*sub) > 0);
                    if taken || reused || !sub_ids.insert((id, *sub)) {
                        return Err(AppendError::SubStreamTaken(name.clone()));
                    }
                    sub_names.insert(name.clone());
                }
                Some(Sub::Next(sub)) => {
                    let open = sub_ids.contains(&(id, *sub))
                        || group.streams.get(&id).is_some_and(|state| state.sub_count(*sub) > 0);
                    if !open {
                        return Err(AppendError::UnknownSubStream(*sub));
                    }
                }
            }
        }
        Ok(id)
    }

    /// Folds, publishes and hands on what has just become durable.
    fn take_in(&self, slot: &Slot, offset: u32, group: Group) {
        let shared = &self.shared;
        let bytes = Bytes::from(group.buffer);
        shared.tail.push(slot.generation, offset, bytes.clone());
        let (mut opened, mut places) = (Vec::new(), Vec::with_capacity(group.records.len()));
        let mut by_stream: HashMap<StreamId, (Arc<Cell>, Vec<Record>)> = HashMap::new();
        for sequenced in group.records {
            let loc = Loc {
                generation: slot.generation,
                offset: offset + sequenced.offset as u32,
                bytes: sequenced.bytes as u32,
            };
            places.push((sequenced.cell.clone(), sequenced.header, loc));
            if let Some(name) = sequenced.opens.sub_stream.clone() {
                opened.push((name, sequenced.cell.clone(), SubStreamId(sequenced.header.sub_stream)));
            }
            let end = sequenced.offset + sequenced.bytes - 4;
            let payload = bytes.slice(end - sequenced.header.payload_bytes as usize..end);
            let record = sequenced.header.into_record(sequenced.opens, payload);
            let stream = by_stream
                .entry(sequenced.cell.id)
                .or_insert_with(|| (sequenced.cell, Vec::new()));
            stream.1.push(record);
        }
        // Held until the records are visible: what a fold tells of can be read.
        let mut held = Vec::with_capacity(by_stream.len());
        for (cell, records) in by_stream.values() {
            let mut folds = cell.folds.lock();
            match &mut *folds {
                Folds::Loaded(slots) => shared.views.fold(cell, slots, records),
                // The caller loads them before it queues an append; the next load reads these records from the log.
                Folds::Stored => tracing::error!(stream = ?cell.name, "an append found its stream's folds not loaded"),
            }
            held.push(folds);
        }
        shared.streams.publish(&places, &opened);
        drop(held);
        let cells = || by_stream.values().map(|(cell, _)| cell);
        shared.views.folded(cells(), bytes.len(), self.at.commit, self.at.hash);
        shared.durable.store(self.at.commit, Ordering::Release);
        shared.streams.wake(cells(), &opened);
        shared
            .keeper
            .nudge(shared.views.behind_bytes() > shared.limits.view_lag_bytes_max / 2);
    }
}

fn refuse(waiting: &mut VecDeque<Queued>, refusal: &AppendError) {
    for queued in waiting.drain(..) {
        let _ = queued.outcome.send(Err(refusal.clone()));
    }
}

fn pending(cell: Arc<Cell>, opened: bool) -> Pending {
    let (position, time_us) = {
        let index = cell.index.read();
        (index.len(), index.time_us)
    };
    Pending {
        cell,
        position,
        time_us,
        subs: HashMap::new(),
        versions: HashMap::new(),
        opened,
    }
}

fn check_expect(expect: &Expect, state: Option<&Pending>, target: &Target) -> Result<(), AppendError> {
    let name = || match (target, state) {
        (Target::Name(name), _) => Some(name.clone()),
        (_, Some(state)) => Some(state.cell.name.clone()),
        _ => None,
    };
    let actual = match expect {
        Expect::Absent => {
            return match (state, name()) {
                (Some(_), Some(name)) => Err(AppendError::StreamExists(name)),
                _ => Ok(()),
            };
        }
        Expect::Exists => {
            return match (state, name()) {
                (None, Some(name)) => Err(AppendError::StreamAbsent(name)),
                _ => Ok(()),
            };
        }
        Expect::Position(_) => state.map_or(0, |state| state.position),
        Expect::Version(subject, _) => state.map_or(0, |state| state.version(*subject)),
        Expect::SubStreamAt(sub, _) => state.map_or(0, |state| state.sub_count(*sub)),
    };
    match expect {
        Expect::Position(expected) if *expected != actual => Err(AppendError::PositionMismatch {
            expected: *expected,
            actual,
        }),
        Expect::Version(subject, expected) if *expected != actual => Err(AppendError::VersionMismatch {
            subject: *subject,
            expected: *expected,
            actual,
        }),
        Expect::SubStreamAt(sub_stream, expected) if *expected != actual => Err(AppendError::SubStreamMismatch {
            sub_stream: *sub_stream,
            expected: *expected,
            actual,
        }),
        _ => Ok(()),
    }
}

/// Numbers and encodes one part's records.
fn encode(group: &mut Group, part: Part, id: StreamId, commit: u64, now_us: i64) -> AppendedPart {
    let state = group.streams.get_mut(&id).expect("checked before");
    let first = state.position + 1;
    for record in part.records {
        state.position += 1;
        state.time_us = state.time_us.max(now_us);
        let mut opens = Opens::default();
        if state.opened && state.position == 1 {
            opens.stream = Some(state.cell.name.clone());
        }
        let (sub_stream, sub_number) = match record.sub {
            None => ([0; 16], 0),
            Some(Sub::Open(sub, name)) => {
                opens.sub_stream = Some(name);
                state.subs.insert(sub, 1);
                (sub.0, 1)
            }
            Some(Sub::Next(sub)) => {
                let number = state.sub_count(sub) + 1;
                state.subs.insert(sub, number);
                (sub.0, number)
            }
        };
        if record.subject != Subject::NONE {
            state.versions.insert(record.subject, state.position);
        }
        let mut header = RecordHeader {
            stream: id.0,
            position: state.position,
            sub_stream,
            sub_number,
            subject: record.subject.0,
            kind: record.kind.0,
            commit,
            index: group.records.len() as u32,
            time_us: state.time_us,
            causation: record.causation,
            origin: record.origin,
            names_bytes: 0,
            payload_bytes: 0,
        };
        let offset = group.buffer.len();
        let bytes = codec::encode_record(&mut group.buffer, &mut header, &opens, &record.payload);
        group.records.push(Sequenced {
            cell: state.cell.clone(),
            header,
            opens,
            offset,
            bytes,
        });
    }
    AppendedPart {
        stream: id,
        first,
        last: state.position,
    }
}
