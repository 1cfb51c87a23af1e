//! Sequencing: checks an append against what comes before it, in memory alone, and encodes its records into the commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};

use super::queued::{ForkSeed, Prepared};
use crate::append::{Append, Appended, AppendedPart, Expect, Part, Sub, Target};
use crate::codec::v1::{RECORD_HEADER_FRAME, RecordHeader};
use crate::codec::{self, COMMIT_FRAME};
use crate::error::AppendError;
use crate::index::{Answered, Cell, Fork, Index};
use crate::log::Shared;
use crate::record::{
    BlobRef, Digest, Extras, IdempotencyKey, Kind, Name, Parent, Repeatable, StreamId, SubStreamId, Subject,
};
use crate::view::inline::Folds;

/// A stream as it will be when the present commit is durable.
struct Pending {
    cell: Arc<Cell>,
    position: u64,
    time_us: i64,
    subs: FxHashMap<SubStreamId, u64>,
    versions: FxHashMap<Subject, u64>,
    /// Opened by this commit: the first record introduces it.
    opened: bool,
    deleted: bool,
    /// Positions up to this one were given up.
    trimmed: u64,
}

impl Pending {
    fn new(cell: Arc<Cell>, opened: bool) -> Self {
        let (position, time_us, deleted, trimmed) = {
            let index = cell.index.read();
            (index.last(), index.head.time_us, index.head.deleted, index.head.trimmed)
        };
        Self {
            cell,
            position,
            time_us,
            subs: FxHashMap::default(),
            versions: FxHashMap::default(),
            opened,
            deleted,
            trimmed,
        }
    }

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
pub(super) struct Sequenced {
    /// Its stream's number in [`Group::cells`].
    pub(super) stream: usize,
    pub(super) header: RecordHeader,
    pub(super) extras: Extras,
    /// The payload, if it lies in a blob.
    pub(super) spilled: Option<Bytes>,
    /// Its frame in the commit.
    pub(super) offset: usize,
    pub(super) bytes: usize,
}

/// One commit in the making. Streams that it touches are numbered in it.
pub(super) struct Group {
    pub(super) buffer: Vec<u8>,
    pub(super) records: Vec<Sequenced>,
    digests: Vec<Digest>,
    streams: Vec<Pending>,
    numbers: FxHashMap<StreamId, usize>,
    /// Those that it opens.
    names: HashMap<Name, usize>,
    subs: HashSet<Name>,
    answered: HashMap<(StreamId, IdempotencyKey), Answered>,
    /// Streams that were forked in this commit.
    forked: FxHashSet<StreamId>,
}

/// What is to be appended, with what was worked out for it.
pub(super) struct Wanted<'a> {
    pub(super) append: Append,
    pub(super) prepared: Vec<Prepared>,
    pub(super) forks: Vec<ForkSeed>,
    pub(super) fingerprint: u64,
    /// The stream that each part names, if it was there when it was looked up.
    pub(super) found: &'a [Option<Arc<Cell>>],
}

/// Where a part of an append goes.
#[derive(Clone, Copy)]
enum Place {
    /// To this stream of the group.
    There(usize),
    /// To the stream that this append opens as its first, second...
    Opened(usize),
}

/// What the parts of one append would add, kept apart until all of them are allowed.
#[derive(Default)]
struct Checked {
    places: Vec<Place>,
    opened: Vec<(Name, Arc<Cell>)>,
    sub_names: HashSet<Name>,
    sub_ids: FxHashSet<(StreamId, SubStreamId)>,
    forked: Vec<StreamId>,
}

impl Group {
    pub(super) fn new(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes);
        codec::begin_commit(&mut buffer);
        Self {
            buffer,
            records: Vec::new(),
            digests: Vec::new(),
            streams: Vec::new(),
            numbers: FxHashMap::default(),
            names: HashMap::new(),
            subs: HashSet::new(),
            answered: HashMap::new(),
            forked: FxHashSet::default(),
        }
    }

    /// The streams that were touched, by number.
    pub(super) fn cells(&self) -> impl Iterator<Item = &Arc<Cell>> {
        self.streams.iter().map(|pending| &pending.cell)
    }

    /// Of all records so far; zero if the chain is not kept.
    pub(super) fn records_digest(&self) -> Digest {
        match self.digests.is_empty() {
            true => Digest::default(),
            false => codec::records_digest(&self.digests),
        }
    }

    /// Checks an append against what is sequenced before it, and encodes its records. Nothing of it remains if it is refused.
    pub(super) fn sequence(
        &mut self,
        shared: &Shared,
        wanted: Wanted<'_>,
        commit: u64,
        now_us: i64,
    ) -> Result<Appended, AppendError> {
        let Wanted {
            append,
            prepared,
            forks,
            fingerprint,
            found,
        } = wanted;
        if let Some(key) = &append.key
            && let Some(answer) = self.repeated(shared, &append.parts, key, fingerprint)?
        {
            return Ok(answer);
        }
        let mut checked = Checked::default();
        let mut seeds = forks;
        for (number, part) in append.parts.iter().enumerate() {
            let found = found.get(number).and_then(Option::as_ref);
            self.check(shared, (number, part), found, &mut seeds, &mut checked)?;
        }
        // From here on nothing fails.
        let first_opened = self.streams.len();
        for (name, cell) in checked.opened {
            self.names.insert(name, self.streams.len());
            self.add(cell, true);
        }
        self.subs.extend(checked.sub_names);
        self.forked.extend(checked.forked);
        let mut numbers = checked.places;
        let numbers = numbers.drain(..).map(|place| match place {
            Place::There(number) => number,
            Place::Opened(number) => first_opened + number,
        });
        let numbers: Vec<usize> = numbers.collect();
        let parts = self.positions(&append.parts, &numbers);
        let mut repeatable = append.key.map(|key| Repeatable {
            key,
            fingerprint,
            parts: parts.clone(),
        });
        if let (Some(repeatable), Some(first)) = (&repeatable, parts.first()) {
            let answered = Answered {
                commit,
                repeatable: repeatable.clone(),
            };
            self.answered.insert((first.stream, repeatable.key.clone()), answered);
        }
        let mut prepared = prepared.into_iter();
        for (part, number) in append.parts.into_iter().zip(numbers) {
            self.encode(shared, part, number, &mut prepared, repeatable.take(), (commit, now_us));
        }
        Ok(Appended {
            commit,
            parts,
            repeated: false,
        })
    }

    fn add(&mut self, cell: Arc<Cell>, opened: bool) -> usize {
        let number = self.streams.len();
        self.numbers.insert(cell.id, number);
        self.streams.push(Pending::new(cell, opened));
        number
    }

    /// A stream's number in this commit.
    fn number(&mut self, cell: &Arc<Cell>) -> usize {
        match self.numbers.get(&cell.id) {
            Some(number) => *number,
            None => self.add(cell.clone(), false),
        }
    }

    /// The live stream of this name, with this commit's changes.
    fn named(&mut self, shared: &Shared, name: &Name) -> Option<usize> {
        let number = match self.names.get(name) {
            Some(number) => *number,
            None => self.number(&shared.streams.named(name)?),
        };
        (!self.streams[number].deleted).then_some(number)
    }

    /// The stream that a part names. `found` is what its name stood for earlier, and stands for until that one is deleted.
    fn find(
        &mut self,
        shared: &Shared,
        target: &Target,
        found: Option<&Arc<Cell>>,
    ) -> Result<Option<usize>, AppendError> {
        match target {
            Target::Id(id) => {
                if let Some(number) = self.numbers.get(id) {
                    return Ok(Some(*number));
                }
                let cell = shared.streams.get(*id).ok_or(AppendError::UnknownStream(*id))?;
                Ok(Some(self.number(&cell)))
            }
            Target::Name(name) | Target::Fork { name, .. } => {
                let number = found.map(|cell| self.number(cell));
                let number = number.filter(|number| !self.streams[*number].deleted);
                Ok(number.or_else(|| self.named(shared, name)))
            }
        }
    }

    /// The answer that an earlier append with this key was given.
    fn repeated(
        &mut self,
        shared: &Shared,
        parts: &[Part],
        key: &IdempotencyKey,
        fingerprint: u64,
    ) -> Result<Option<Appended>, AppendError> {
        let id = match parts.first().map(|part| &part.stream) {
            Some(Target::Id(id)) => Some(*id),
            Some(Target::Name(name) | Target::Fork { name, .. }) => {
                self.named(shared, name).map(|number| self.streams[number].cell.id)
            }
            None => None,
        };
        let Some(id) = id else { return Ok(None) };
        let stored = || shared.streams.get(id)?.index.read().answered(key).cloned();
        let Some(Answered { commit, repeatable }) = self.answered.get(&(id, key.clone())).cloned().or_else(stored)
        else {
            return Ok(None);
        };
        if repeatable.fingerprint != fingerprint {
            return Err(AppendError::KeyReused(key.clone()));
        }
        Ok(Some(Appended {
            commit,
            parts: repeatable.parts,
            repeated: true,
        }))
    }

    fn check(
        &mut self,
        shared: &Shared,
        (number, part): (usize, &Part),
        found: Option<&Arc<Cell>>,
        seeds: &mut Vec<ForkSeed>,
        checked: &mut Checked,
    ) -> Result<(), AppendError> {
        let streams = &shared.streams;
        let found = self.find(shared, &part.stream, found)?;
        let state = found.map(|number| &self.streams[number]);
        if let (Some(state), Target::Id(id)) = (state, &part.stream)
            && state.deleted
            // An erasure takes those that are only hidden, too.
            && part.records.iter().any(|record| record.kind != Kind::STREAM_DELETED)
        {
            return Err(AppendError::UnknownStream(*id));
        }
        for expect in &part.expect {
            check_expect(expect, state, &part.stream)?;
        }
        let opened_before = |name: &Name| {
            checked
                .opened
                .iter()
                .position(|(other, _)| other == name)
                .map(Place::Opened)
        };
        let place = match (found, &part.stream) {
            (Some(_), Target::Fork { name, .. }) => return Err(AppendError::StreamExists(name.clone())),
            (Some(number), _) => Place::There(number),
            (None, Target::Id(id)) => return Err(AppendError::UnknownStream(*id)),
            (None, Target::Fork { name, parent, position }) => {
                if opened_before(name).is_some() {
                    return Err(AppendError::StreamExists(name.clone()));
                }
                // The name was taken when it was looked up, and has come free since.
                let seed = seeds.iter().position(|seed| seed.part == number);
                let seed = seeds.swap_remove(seed.ok_or_else(|| AppendError::StreamExists(name.clone()))?);
                debug_assert_eq!(seed.parent.id, *parent);
                checked.forked.push(seed.owner.id);
                let cell = self.fork(name, *position, seed)?;
                checked.opened.push((name.clone(), cell));
                Place::Opened(checked.opened.len() - 1)
            }
            // Opened by an earlier part of this append, or by this one.
            (None, Target::Name(name)) => match opened_before(name) {
                Some(place) => place,
                None => {
                    let id = StreamId(shared.env.mint());
                    let folds = shared.views.empty(id, name);
                    let cell = Cell::new(id, name.clone(), None, Index::new(0), folds);
                    checked.opened.push((name.clone(), cell));
                    Place::Opened(checked.opened.len() - 1)
                }
            },
        };
        // One that this append opens has no state yet.
        let (id, state) = match place {
            Place::There(number) => (self.streams[number].cell.id, Some(&self.streams[number])),
            Place::Opened(number) => (checked.opened[number].1.id, None),
        };
        let sub_count = |sub: SubStreamId| state.map_or(0, |state| state.sub_count(sub));
        for record in &part.records {
            match &record.sub {
                None => {}
                Some(Sub::Open(sub, name)) => {
                    let taken = checked.sub_names.contains(name)
                        || self.subs.contains(name)
                        || streams.sub_named(name).is_some();
                    if taken || sub_count(*sub) > 0 || !checked.sub_ids.insert((id, *sub)) {
                        return Err(AppendError::SubStreamTaken(name.clone()));
                    }
                    checked.sub_names.insert(name.clone());
                }
                Some(Sub::Next(sub)) => {
                    if !checked.sub_ids.contains(&(id, *sub)) && sub_count(*sub) == 0 {
                        return Err(AppendError::UnknownSubStream(*sub));
                    }
                }
            }
            if record.kind == Kind::STREAM_TRIMMED {
                // The fork reads all of it.
                let forked = self.forked.contains(&id)
                    || streams
                        .get(id)
                        .is_some_and(|cell| !cell.index.read().head.forks.is_empty());
                if forked {
                    return Err(AppendError::Forked(id));
                }
            }
        }
        checked.places.push(place);
        Ok(())
    }

    fn fork(&self, name: &Name, position: u64, seed: ForkSeed) -> Result<Arc<Cell>, AppendError> {
        let owner = seed.owner;
        {
            let index = owner.index.read();
            let pending = |id: &StreamId| self.numbers.get(id).map(|number| &self.streams[*number]);
            let gone = |id: &StreamId| pending(id).is_some_and(|state| state.deleted);
            let parent = &seed.parent;
            let deleted = index.head.deleted || gone(&owner.id) || gone(&parent.id);
            let deleted = deleted || (parent.id != owner.id && parent.index.read().head.deleted);
            // What a fork shares may have been trimmed since it was looked up.
            let trimmed = pending(&owner.id).map_or(index.head.trimmed, |state| state.trimmed);
            if deleted || position > index.last() || position <= trimmed {
                return Err(AppendError::ForkOutOfRange {
                    parent: owner.id,
                    position,
                    oldest: trimmed + 1,
                    tail: index.last(),
                });
            }
        }
        let mut index = Index::new(position);
        index.head.time_us = seed.time_us;
        index.head.versions = seed.versions;
        let fork = Fork { cell: owner, position };
        Ok(Cell::new(
            seed.id,
            name.clone(),
            Some(fork),
            index,
            Folds::Loaded(seed.folds),
        ))
    }

    /// Where the parts, whose streams have these numbers, will stand.
    fn positions(&self, parts: &[Part], numbers: &[usize]) -> Vec<AppendedPart> {
        let mut placed: Vec<AppendedPart> = Vec::with_capacity(parts.len());
        let mut ends: FxHashMap<usize, u64> = FxHashMap::default();
        for (part, number) in parts.iter().zip(numbers) {
            let state = &self.streams[*number];
            let first = ends.get(number).copied().unwrap_or(state.position) + 1;
            let last = first + part.records.len() as u64 - 1;
            if parts.len() > 1 {
                ends.insert(*number, last);
            }
            placed.push(AppendedPart {
                stream: state.cell.id,
                first,
                last,
            });
        }
        placed
    }

    /// Numbers and encodes one part's records.
    fn encode(
        &mut self,
        shared: &Shared,
        part: Part,
        stream: usize,
        prepared: &mut impl Iterator<Item = Prepared>,
        mut repeatable: Option<Repeatable>,
        (commit, now_us): (u64, i64),
    ) {
        let state = &mut self.streams[stream];
        for record in part.records {
            let Prepared { digest, blob } = prepared.next().unwrap_or_default();
            state.position += 1;
            state.time_us = state.time_us.max(now_us);
            let mut extras = Extras {
                repeatable: repeatable.take(),
                blob,
                ..Extras::default()
            };
            if state.opened && state.position == state.cell.base() + 1 {
                extras.stream = Some(state.cell.name.clone());
                extras.parent = state.cell.parent.as_ref().map(|fork| Parent {
                    stream: fork.cell.id,
                    position: fork.position,
                });
            }
            if record.kind == Kind::STREAM_TRIMMED {
                // The record that had the name may be one of those that go.
                extras.stream = Some(state.cell.name.clone());
            }
            let (sub_stream, sub_number) = match record.sub {
                None => ([0; 16], 0),
                Some(Sub::Open(sub, name)) => {
                    extras.sub_stream = Some(name);
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
            state.deleted |= record.kind == Kind::STREAM_DELETED;
            if record.kind == Kind::STREAM_TRIMMED {
                state.trimmed = state.trimmed.max(record.origin.saturating_sub(1));
            }
            let mut header = RecordHeader {
                stream: state.cell.id.0,
                position: state.position,
                sub_stream,
                sub_number,
                subject: record.subject.0,
                kind: record.kind.0,
                commit,
                index: self.records.len() as u32,
                time_us: state.time_us,
                causation: record.causation,
                origin: record.origin,
                extras_bytes: 0,
                payload_bytes: 0,
            };
            let offset = self.buffer.len();
            let stored: &[u8] = if blob.is_some() { &[] } else { &record.payload };
            let bytes = codec::encode_record(&mut self.buffer, &mut header, &extras, stored);
            if shared.chain {
                let frame = &self.buffer[offset..];
                // Worked out by the caller for a payload alone.
                let body = digest.filter(|_| header.extras_bytes == 0);
                let body = body.unwrap_or_else(|| codec::digest(codec::body(frame)));
                self.digests
                    .push(codec::record_digest(&frame[..RECORD_HEADER_FRAME], &body));
            }
            self.records.push(Sequenced {
                stream,
                header,
                extras,
                spilled: blob.map(|_: BlobRef| record.payload),
                offset,
                bytes,
            });
        }
        debug_assert!(self.buffer.len() > COMMIT_FRAME);
    }
}

fn check_expect(expect: &Expect, state: Option<&Pending>, target: &Target) -> Result<(), AppendError> {
    let name = || match (target, state) {
        (Target::Name(name) | Target::Fork { name, .. }, _) => Some(name.clone()),
        (_, Some(state)) => Some(state.cell.name.clone()),
        _ => None,
    };
    let (actual, expected) = match expect {
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
        Expect::Position(expected) => (state.map_or(0, |state| state.position), *expected),
        Expect::Version(subject, expected) => (state.map_or(0, |state| state.version(*subject)), *expected),
        Expect::SubStreamAt(sub, expected) => (state.map_or(0, |state| state.sub_count(*sub)), *expected),
    };
    if actual == expected {
        return Ok(());
    }
    Err(match expect {
        Expect::Version(subject, _) => AppendError::VersionMismatch {
            subject: *subject,
            expected,
            actual,
        },
        Expect::SubStreamAt(sub_stream, _) => AppendError::SubStreamMismatch {
            sub_stream: *sub_stream,
            expected,
            actual,
        },
        Expect::Position(_) | Expect::Absent | Expect::Exists => AppendError::PositionMismatch { expected, actual },
    })
}
