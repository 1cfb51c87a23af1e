//! Sequencing: checks an append against what comes before it, in memory alone, and encodes its records into the commit.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};

use super::ahead::{Ahead, Base, Pending};
use super::queued::{ForkSeed, Prepared};
use crate::append::{Append, Appended, AppendedPart, Expect, Part, Sub, Target};
use crate::codec::v1::{RECORD_HEADER_FRAME, RecordHeader};
use crate::codec::{self, COMMIT_FRAME};
use crate::error::AppendError;
use crate::index::{Answered, Cell, Fork, Index};
use crate::record::{
    BlobRef, Carried, Digest, Extras, IdempotencyKey, Kind, Name, Parent, Repeatable, StreamId, SubStreamId, Subject,
};
use crate::view::inline::Folds;

/// A record of the commit being made.
pub(super) struct Sequenced {
    /// Its stream's number in [`Ahead::streams`].
    pub(super) stream: usize,
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
    /// What it changes.
    pub(super) ahead: Ahead,
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
            ahead: Ahead::default(),
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
        base: Base<'_>,
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
            && let Some(answer) = self.repeated(base, &append.parts, key, fingerprint)?
        {
            return Ok(answer);
        }
        let mut checked = Checked::default();
        let mut seeds = forks;
        for (number, part) in append.parts.iter().enumerate() {
            let found = found.get(number).and_then(Option::as_ref);
            self.check(base, (number, part), found, &mut seeds, &mut checked)?;
        }
        // From here on nothing fails.
        let ahead = &mut self.ahead;
        let first_opened = ahead.streams.len();
        for (name, cell) in checked.opened {
            let number = ahead.add(Pending::opened(cell));
            ahead.names.insert(name, number);
        }
        ahead.subs.extend(checked.sub_names);
        ahead.forked.extend(checked.forked);
        let numbers = checked.places.into_iter().map(|place| match place {
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
            self.ahead
                .answered
                .insert((first.stream, repeatable.key.clone()), answered);
        }
        let mut prepared = prepared.into_iter();
        for (part, number) in append.parts.into_iter().zip(numbers) {
            self.encode(base, part, number, &mut prepared, repeatable.take(), (commit, now_us));
        }
        Ok(Appended {
            commit,
            parts,
            repeated: false,
        })
    }

    /// The answer that an earlier append with this key was given.
    fn repeated(
        &mut self,
        base: Base<'_>,
        parts: &[Part],
        key: &IdempotencyKey,
        fingerprint: u64,
    ) -> Result<Option<Appended>, AppendError> {
        let id = match parts.first().map(|part| &part.stream) {
            Some(Target::Id(id)) => Some(*id),
            Some(Target::Name(name) | Target::Fork { name, .. }) => {
                let number = self.ahead.named(base, name);
                number.map(|number| self.ahead.streams[number].cell.id)
            }
            None => None,
        };
        let answered = id.filter(|id| !self.ahead.is_deleted(base, *id)).and_then(|id| {
            let of_this = self.ahead.answered.get(&(id, key.clone())).cloned();
            of_this.or_else(|| base.answered(id, key))
        });
        // The keys of a stream go with it.
        let Some(Answered { commit, repeatable }) = answered else {
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
        base: Base<'_>,
        (number, part): (usize, &Part),
        found: Option<&Arc<Cell>>,
        seeds: &mut Vec<ForkSeed>,
        checked: &mut Checked,
    ) -> Result<(), AppendError> {
        let found = self.ahead.find(base, &part.stream, found)?;
        let state = found.map(|number| &self.ahead.streams[number]);
        if let (Some(state), Target::Id(id)) = (state, &part.stream)
            && state.deleted
            // An erasure takes those that are only hidden, too.
            && part.records.iter().any(|record| record.kind != Kind::STREAM_DELETED)
        {
            return Err(AppendError::UnknownStream(*id));
        }
        for expect in &part.expect {
            check_expect(base, expect, state, &part.stream)?;
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
                let cell = self.fork(base, name, *position, seed)?;
                checked.opened.push((name.clone(), cell));
                Place::Opened(checked.opened.len() - 1)
            }
            // Opened by an earlier part of this append, or by this one.
            (None, Target::Name(name)) => match opened_before(name) {
                Some(place) => place,
                None => {
                    let id = StreamId(base.shared.env.mint());
                    let folds = base.shared.views.empty(id, name);
                    let cell = Cell::new(id, name.clone(), None, Index::new(0), folds);
                    checked.opened.push((name.clone(), cell));
                    Place::Opened(checked.opened.len() - 1)
                }
            },
        };
        // One that this append opens has no state yet.
        let (id, state) = match place {
            Place::There(number) => {
                let state = &self.ahead.streams[number];
                (state.cell.id, Some(state))
            }
            Place::Opened(number) => (checked.opened[number].1.id, None),
        };
        let sub_count = |sub: SubStreamId| state.map_or(0, |state| base.sub_count(state, sub));
        for record in &part.records {
            match &record.sub {
                Some(Sub::Open(sub, name)) => {
                    let taken =
                        checked.sub_names.contains(name) || self.ahead.subs.contains(name) || base.sub_is_named(name);
                    if taken || sub_count(*sub) > 0 || !checked.sub_ids.insert((id, *sub)) {
                        return Err(AppendError::SubStreamTaken(name.clone()));
                    }
                    checked.sub_names.insert(name.clone());
                }
                Some(Sub::Next(sub)) if !checked.sub_ids.contains(&(id, *sub)) && sub_count(*sub) == 0 => {
                    return Err(AppendError::UnknownSubStream(*sub));
                }
                Some(Sub::Next(_)) | None => {}
            }
            if record.kind == Kind::STREAM_TRIMMED {
                // The fork reads all of it.
                if self.ahead.forked.contains(&id) || base.is_forked(id) {
                    return Err(AppendError::Forked(id));
                }
            }
        }
        checked.places.push(place);
        Ok(())
    }

    fn fork(&self, base: Base<'_>, name: &Name, position: u64, seed: ForkSeed) -> Result<Arc<Cell>, AppendError> {
        let owner = seed.owner;
        let (of_parent, of_owner) = (
            self.ahead.standing(base, &seed.parent),
            self.ahead.standing(base, &owner),
        );
        let last = seed.parent.index.read().last();
        // What the stream was before a trim that came since the seed was made is known no more.
        let oldest = match of_owner.snapshot == seed.snapshot {
            true => of_owner.trimmed.max(of_parent.trimmed) + 1,
            false => of_owner.snapshot,
        };
        if of_parent.deleted || of_owner.deleted || position > last || position < oldest {
            return Err(AppendError::ForkOutOfRange {
                parent: seed.parent.id,
                position,
                oldest,
                tail: last.max(of_owner.snapshot),
            });
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
            let state = &self.ahead.streams[*number];
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
        base: Base<'_>,
        part: Part,
        stream: usize,
        prepared: &mut impl Iterator<Item = Prepared>,
        mut repeatable: Option<Repeatable>,
        (commit, now_us): (u64, i64),
    ) {
        let state = &mut self.ahead.streams[stream];
        for record in part.records {
            let Prepared { digest, blob } = prepared.next().unwrap_or_default();
            state.position += 1;
            state.time_us = state.time_us.max(now_us);
            let mut extras = Carried {
                repeatable: repeatable.take(),
                blob,
                ..Carried::default()
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
                    let number = base.sub_count(state, sub) + 1;
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
                state.snapshot = state.position;
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
            if base.shared.chain {
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
                extras: extras.into(),
                spilled: blob.map(|_: BlobRef| record.payload),
                offset,
                bytes,
            });
        }
        debug_assert!(self.buffer.len() > COMMIT_FRAME);
    }
}

fn check_expect(base: Base<'_>, expect: &Expect, state: Option<&Pending>, target: &Target) -> Result<(), AppendError> {
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
        Expect::Version(subject, expected) => (state.map_or(0, |state| base.version(state, *subject)), *expected),
        Expect::SubStreamAt(sub, expected) => (state.map_or(0, |state| base.sub_count(state, *sub)), *expected),
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
