//! Sequencing: checks an append against what comes before it, in memory alone, and encodes its records into the commit.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

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
    subs: HashMap<SubStreamId, u64>,
    versions: HashMap<Subject, u64>,
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
            subs: HashMap::new(),
            versions: HashMap::new(),
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
    pub(super) cell: Arc<Cell>,
    pub(super) header: RecordHeader,
    pub(super) extras: Extras,
    /// The payload, if it lies in a blob.
    pub(super) spilled: Option<Bytes>,
    /// Its frame in the commit.
    pub(super) offset: usize,
    pub(super) bytes: usize,
}

/// One commit in the making.
pub(super) struct Group {
    pub(super) buffer: Vec<u8>,
    pub(super) records: Vec<Sequenced>,
    digests: Vec<Digest>,
    streams: HashMap<StreamId, Pending>,
    names: HashMap<Name, StreamId>,
    subs: HashSet<Name>,
    answered: HashMap<(StreamId, IdempotencyKey), Answered>,
    /// Streams that were forked in this commit.
    forked: HashSet<StreamId>,
}

/// What is to be appended, with what was worked out for it.
pub(super) struct Wanted {
    pub(super) append: Append,
    pub(super) prepared: Vec<Prepared>,
    pub(super) forks: Vec<ForkSeed>,
    pub(super) fingerprint: u64,
}

/// What the parts of one append would add, kept apart until all of them are allowed.
#[derive(Default)]
struct Checked {
    ids: Vec<StreamId>,
    opened: Vec<(Name, Arc<Cell>)>,
    sub_names: HashSet<Name>,
    sub_ids: HashSet<(StreamId, SubStreamId)>,
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
            streams: HashMap::new(),
            names: HashMap::new(),
            subs: HashSet::new(),
            answered: HashMap::new(),
            forked: HashSet::new(),
        }
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
        wanted: Wanted,
        commit: u64,
        now_us: i64,
    ) -> Result<Appended, AppendError> {
        let Wanted {
            append,
            prepared,
            forks,
            fingerprint,
        } = wanted;
        if let Some(key) = &append.key
            && let Some(answer) = self.repeated(shared, &append.parts, key, fingerprint)?
        {
            return Ok(answer);
        }
        let mut checked = Checked::default();
        let mut seeds = forks;
        for (number, part) in append.parts.iter().enumerate() {
            self.check(shared, (number, part), &mut seeds, &mut checked)?;
        }
        // From here on nothing fails.
        for (name, cell) in checked.opened {
            self.names.insert(name, cell.id);
            self.streams.insert(cell.id, Pending::new(cell, true));
        }
        self.subs.extend(checked.sub_names);
        self.forked.extend(checked.forked);
        let parts = self.places(&append.parts, &checked.ids);
        let mut repeatable = append.key.map(|key| Repeatable {
            key,
            fingerprint,
            parts: parts.clone(),
        });
        if let (Some(repeatable), Some(id)) = (&repeatable, checked.ids.first()) {
            let answered = Answered {
                commit,
                repeatable: repeatable.clone(),
            };
            self.answered.insert((*id, repeatable.key.clone()), answered);
        }
        let mut prepared = prepared.into_iter();
        for (part, id) in append.parts.into_iter().zip(checked.ids) {
            self.encode(shared, part, id, &mut prepared, repeatable.take(), (commit, now_us));
        }
        Ok(Appended {
            commit,
            parts,
            repeated: false,
        })
    }

    /// The answer that an earlier append with this key was given.
    fn repeated(
        &self,
        shared: &Shared,
        parts: &[Part],
        key: &IdempotencyKey,
        fingerprint: u64,
    ) -> Result<Option<Appended>, AppendError> {
        let id = match parts.first().map(|part| &part.stream) {
            Some(Target::Id(id)) => Some(*id),
            Some(Target::Name(name) | Target::Fork { name, .. }) => self.named(shared, name),
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

    /// The live stream of this name, with this commit's changes.
    fn named(&self, shared: &Shared, name: &Name) -> Option<StreamId> {
        let id = match self.names.get(name) {
            Some(id) => *id,
            None => shared.streams.named(name)?.id,
        };
        let deleted = self.streams.get(&id).is_some_and(|state| state.deleted);
        (!deleted).then_some(id)
    }

    fn check(
        &mut self,
        shared: &Shared,
        (number, part): (usize, &Part),
        seeds: &mut Vec<ForkSeed>,
        checked: &mut Checked,
    ) -> Result<(), AppendError> {
        let streams = &shared.streams;
        let found = match &part.stream {
            Target::Id(id) => {
                let known = self.streams.contains_key(id) || streams.get(*id).is_some();
                Some(known.then_some(*id).ok_or(AppendError::UnknownStream(*id))?)
            }
            Target::Name(name) | Target::Fork { name, .. } => self.named(shared, name),
        };
        if let Some(id) = found
            && let Entry::Vacant(vacant) = self.streams.entry(id)
        {
            let cell = streams.get(id).ok_or(AppendError::UnknownStream(id))?;
            vacant.insert(Pending::new(cell, false));
        }
        let state = found.and_then(|id| self.streams.get(&id));
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
                .find(|(other, _)| other == name)
                .map(|(_, cell)| cell.id)
        };
        let id = match (found, &part.stream) {
            (Some(_), Target::Fork { name, .. }) => return Err(AppendError::StreamExists(name.clone())),
            (Some(id), _) => id,
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
                checked.opened.push((name.clone(), cell.clone()));
                cell.id
            }
            // Opened by an earlier part of this append, or by this one.
            (None, Target::Name(name)) => match opened_before(name) {
                Some(id) => id,
                None => {
                    let id = StreamId(shared.env.mint());
                    let folds = shared.views.empty(id, name);
                    let cell = Cell::new(id, name.clone(), None, Index::new(0), folds);
                    checked.opened.push((name.clone(), cell));
                    id
                }
            },
        };
        for record in &part.records {
            match &record.sub {
                None => {}
                Some(Sub::Open(sub, name)) => {
                    let taken = checked.sub_names.contains(name)
                        || self.subs.contains(name)
                        || streams.sub_named(name).is_some();
                    let reused = self.streams.get(&id).is_some_and(|state| state.sub_count(*sub) > 0);
                    if taken || reused || !checked.sub_ids.insert((id, *sub)) {
                        return Err(AppendError::SubStreamTaken(name.clone()));
                    }
                    checked.sub_names.insert(name.clone());
                }
                Some(Sub::Next(sub)) => {
                    let open = checked.sub_ids.contains(&(id, *sub))
                        || self.streams.get(&id).is_some_and(|state| state.sub_count(*sub) > 0);
                    if !open {
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
        checked.ids.push(id);
        Ok(())
    }

    fn fork(&self, name: &Name, position: u64, seed: ForkSeed) -> Result<Arc<Cell>, AppendError> {
        let owner = seed.owner;
        {
            let index = owner.index.read();
            let gone = |id: &StreamId| self.streams.get(id).is_some_and(|state| state.deleted);
            let parent = &seed.parent;
            let deleted = index.head.deleted || gone(&owner.id) || gone(&parent.id);
            let deleted = deleted || (parent.id != owner.id && parent.index.read().head.deleted);
            // What a fork shares may have been trimmed since it was looked up.
            let trimmed = self
                .streams
                .get(&owner.id)
                .map_or(index.head.trimmed, |state| state.trimmed);
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

    /// Where the parts will stand.
    fn places(&self, parts: &[Part], ids: &[StreamId]) -> Vec<AppendedPart> {
        let mut ends: HashMap<StreamId, u64> = HashMap::new();
        let place = |(part, id): (&Part, &StreamId)| {
            let end = ends
                .entry(*id)
                .or_insert_with(|| self.streams.get(id).map_or(0, |state| state.position));
            let first = *end + 1;
            *end += part.records.len() as u64;
            AppendedPart {
                stream: *id,
                first,
                last: *end,
            }
        };
        parts.iter().zip(ids).map(place).collect()
    }

    /// Numbers and encodes one part's records.
    fn encode(
        &mut self,
        shared: &Shared,
        part: Part,
        id: StreamId,
        prepared: &mut impl Iterator<Item = Prepared>,
        mut repeatable: Option<Repeatable>,
        (commit, now_us): (u64, i64),
    ) {
        let state = self.streams.get_mut(&id).expect("checked before");
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
                stream: id.0,
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
                cell: state.cell.clone(),
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
