//! Sequencing: checks an append against what comes before it, in the tree or earlier in the same batch, and encodes its records.

use std::collections::{HashMap, HashSet};

use super::Shared;
use super::rows::{self, StreamRow, SubRow};
use super::tree::At;
use crate::append::{Append, Appended, AppendedPart, Expect, Part, Sub, Target};
use crate::catalog::FORK_DEPTH_MAX;
use crate::codec;
use crate::codec::v1::RecordHeader;
use crate::error::AppendError;
use crate::fork::PastError;
use crate::index::{Answered, ERASED};
use crate::limits::SUB_STREAM_STRIDE;
use crate::record::{Extras, IdempotencyKey, Kind, Name, Record, Repeatable, StreamId, SubStreamId, Subject};
use crate::view::inline::Slot;
use crate::view_store::StoreError;

/// Why an append is not sequenced.
pub(super) enum Refusal {
    /// It is refused.
    Append(AppendError),
    /// The tree can't be read: nothing more is sequenced.
    Store(StoreError),
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A stream as it will be when the present batch is durable.
pub(super) struct Pending {
    pub(super) name: Name,
    pub(super) row: StreamRow,
    /// Its row in the tree; `None` if this batch opens it.
    pub(super) before: Option<StreamRow>,
    pub(super) subs: HashMap<SubStreamId, SubRow>,
    /// New positions of every 256th record of a sub-stream.
    pub(super) strides: Vec<(SubStreamId, u32, u64)>,
    pub(super) records: Vec<Record>,
    pub(super) answered: Vec<Answered>,
    /// Of a fork that this batch opens: its folds.
    pub(super) seed: Option<Vec<Slot>>,
}

impl Pending {
    fn opened(name: &Name) -> Self {
        Self {
            name: name.clone(),
            row: StreamRow::new(name),
            before: None,
            subs: HashMap::new(),
            strides: Vec::new(),
            records: Vec::new(),
            answered: Vec::new(),
            seed: None,
        }
    }

    fn stored(row: StreamRow) -> Result<Self, StoreError> {
        let name = row.name()?;
        Ok(Self {
            before: Some(row.clone()),
            row,
            ..Self::opened(&name)
        })
    }

    fn sub(&self, at: &At, stream: StreamId, id: SubStreamId) -> Result<Option<SubRow>, StoreError> {
        match (self.subs.get(&id), &self.before) {
            (Some(sub), _) => Ok(Some(sub.clone())),
            (None, Some(_)) => at.sub(stream, id),
            (None, None) => Ok(None),
        }
    }
}

/// One batch in the making.
pub(super) struct Group<'a> {
    shared: &'a Shared,
    /// The tree before it.
    pub(super) at: At,
    commit: u64,
    now_us: i64,
    pub(super) frames: Vec<(StreamId, u64, Vec<u8>)>,
    pub(super) streams: HashMap<StreamId, Pending>,
    /// The streams in the order in which they came in.
    pub(super) order: Vec<StreamId>,
    /// Names that this batch gives or frees.
    pub(super) names: HashMap<Name, Option<StreamId>>,
    pub(super) sub_names: HashMap<Name, Option<(StreamId, SubStreamId)>>,
    /// Streams that this batch forks.
    forked: HashSet<StreamId>,
}

/// What the parts of one append would add, kept apart until all of them are allowed.
#[derive(Default)]
struct Checked {
    ids: Vec<StreamId>,
    opened: Vec<(StreamId, Pending)>,
    sub_names: HashSet<Name>,
    sub_ids: HashSet<(StreamId, SubStreamId)>,
    forked: Vec<StreamId>,
}

impl<'a> Group<'a> {
    pub(super) fn new(shared: &'a Shared, commit: u64) -> Self {
        Self {
            shared,
            at: shared.tree.now(),
            commit,
            now_us: shared.env.now_us(),
            frames: Vec::new(),
            streams: HashMap::new(),
            order: Vec::new(),
            names: HashMap::new(),
            sub_names: HashMap::new(),
            forked: HashSet::new(),
        }
    }

    /// Checks an append and encodes its records. Nothing of it remains if it is refused.
    pub(super) fn sequence(&mut self, append: Append, fingerprint: u64) -> Result<Appended, Refusal> {
        if let Some(key) = &append.key
            && let Some(answer) = self.repeated(&append.parts, key, fingerprint)?
        {
            return Ok(answer);
        }
        let mut checked = Checked::default();
        for part in &append.parts {
            self.check(part, &mut checked)?;
        }
        // From here on nothing is refused.
        for (id, pending) in checked.opened {
            self.names.insert(pending.name.clone(), Some(id));
            self.streams.insert(id, pending);
        }
        self.forked.extend(checked.forked);
        let parts = self.places(&append.parts, &checked.ids);
        let mut repeatable = append.key.map(|key| Repeatable {
            key,
            fingerprint,
            parts: parts.clone(),
        });
        for (part, id) in append.parts.into_iter().zip(checked.ids) {
            self.encode(part, id, repeatable.take())?;
        }
        Ok(Appended {
            commit: self.commit,
            parts,
            repeated: false,
        })
    }

    /// Brings a stream into the batch; `false` if there is none of this id.
    fn load(&mut self, id: StreamId) -> Result<bool, StoreError> {
        if self.streams.contains_key(&id) {
            return Ok(true);
        }
        let Some(row) = self.at.stream(id)? else {
            return Ok(false);
        };
        self.streams.insert(id, Pending::stored(row)?);
        Ok(true)
    }

    /// The live stream of this name.
    fn named(&mut self, name: &Name) -> Result<Option<StreamId>, StoreError> {
        let found = match self.names.get(name) {
            Some(found) => *found,
            None => self.at.named(name)?,
        };
        if let Some(id) = found {
            self.load(id)?;
        }
        Ok(found)
    }

    /// The answer that an earlier append with this key was given.
    fn repeated(
        &mut self,
        parts: &[Part],
        key: &IdempotencyKey,
        fingerprint: u64,
    ) -> Result<Option<Appended>, Refusal> {
        let id = match parts.first().map(|part| &part.stream) {
            Some(Target::Id(id)) => Some(*id),
            Some(Target::Name(name) | Target::Fork { name, .. }) => self.named(name)?,
            None => None,
        };
        let Some(id) = id else { return Ok(None) };
        let pending = self.streams.get(&id);
        // The keys go with the stream.
        if pending.is_some_and(|pending| pending.row.deleted) {
            return Ok(None);
        }
        let own = pending.and_then(|pending| {
            let answered = pending.answered.iter();
            answered.rev().find(|answered| answered.repeatable.key == *key).cloned()
        });
        let found = match own {
            Some(found) => Some(found),
            None => self.at.answered(id, key)?,
        };
        let Some(Answered { commit, repeatable }) = found else {
            return Ok(None);
        };
        if repeatable.fingerprint != fingerprint {
            return Err(AppendError::KeyReused(key.clone()).into());
        }
        Ok(Some(Appended {
            commit,
            parts: repeatable.parts,
            repeated: true,
        }))
    }

    fn check(&mut self, part: &Part, checked: &mut Checked) -> Result<(), Refusal> {
        let found = match &part.stream {
            Target::Id(id) if self.load(*id)? => Some(*id),
            Target::Id(id) => return Err(AppendError::UnknownStream(*id).into()),
            Target::Name(name) | Target::Fork { name, .. } => self.named(name)?,
        };
        let state = found.and_then(|id| Some((id, self.streams.get(&id)?)));
        if let (Some((id, state)), Target::Id(_)) = (state, &part.stream)
            && state.row.deleted
            // An erasure takes those that are only hidden, too.
            && part.records.iter().any(|record| record.kind != Kind::STREAM_DELETED)
        {
            return Err(AppendError::UnknownStream(id).into());
        }
        for expect in &part.expect {
            self.expect(expect, state, &part.stream)?;
        }
        let opened_before = |name: &Name| {
            let same = |(_, pending): &&(StreamId, Pending)| pending.name == *name;
            checked.opened.iter().find(same).map(|(id, _)| *id)
        };
        let id = match (found, &part.stream) {
            (Some(_), Target::Fork { name, .. }) => return Err(AppendError::StreamExists(name.clone()).into()),
            (Some(id), _) => id,
            (None, Target::Id(id)) => return Err(AppendError::UnknownStream(*id).into()),
            (None, Target::Fork { name, parent, position }) => {
                if opened_before(name).is_some() {
                    return Err(AppendError::StreamExists(name.clone()).into());
                }
                let (id, owner, pending) = self.fork(name, *parent, *position)?;
                checked.forked.push(owner);
                checked.opened.push((id, pending));
                id
            }
            // Opened by an earlier part of this append, or by this one.
            (None, Target::Name(name)) => match opened_before(name) {
                Some(id) => id,
                None => {
                    let id = StreamId(self.shared.env.mint());
                    checked.opened.push((id, Pending::opened(name)));
                    id
                }
            },
        };
        for record in &part.records {
            let is_open = |sub| -> Result<bool, StoreError> {
                let known = self.streams.get(&id).map(|state| state.sub(&self.at, id, sub));
                Ok(known.transpose()?.flatten().is_some())
            };
            match &record.sub {
                None => {}
                Some(Sub::Open(sub, name)) => {
                    let taken = match self.sub_names.get(name) {
                        Some(found) => found.is_some(),
                        None => self.at.sub_named(name)?.is_some(),
                    };
                    if taken
                        || checked.sub_names.contains(name)
                        || is_open(*sub)?
                        || !checked.sub_ids.insert((id, *sub))
                    {
                        return Err(AppendError::SubStreamTaken(name.clone()).into());
                    }
                    checked.sub_names.insert(name.clone());
                }
                Some(Sub::Next(sub)) if !checked.sub_ids.contains(&(id, *sub)) && !is_open(*sub)? => {
                    return Err(AppendError::UnknownSubStream(*sub).into());
                }
                Some(Sub::Next(_)) => {}
            }
            // The fork reads all of it.
            if record.kind == Kind::STREAM_TRIMMED && (self.forked.contains(&id) || self.at.has_forks(id)?) {
                return Err(AppendError::Forked(id).into());
            }
        }
        checked.ids.push(id);
        Ok(())
    }

    fn expect(&self, expect: &Expect, state: Option<(StreamId, &Pending)>, target: &Target) -> Result<(), Refusal> {
        let name = || match (target, state) {
            (Target::Name(name) | Target::Fork { name, .. }, _) => Some(name.clone()),
            (_, Some((_, state))) => Some(state.name.clone()),
            _ => None,
        };
        let refusal = match expect {
            Expect::Absent => match (state, name()) {
                (Some(_), Some(name)) => Some(AppendError::StreamExists(name)),
                _ => None,
            },
            Expect::Exists => match (state, name()) {
                (None, Some(name)) => Some(AppendError::StreamAbsent(name)),
                _ => None,
            },
            Expect::Position(expected) => {
                let (expected, actual) = (*expected, state.map_or(0, |(_, state)| state.row.last));
                (actual != expected).then_some(AppendError::PositionMismatch { expected, actual })
            }
            Expect::Version(subject, expected) => {
                let version = |(_, state): (_, &Pending)| state.row.versions.get(&subject.0).copied();
                let (subject, expected, actual) = (*subject, *expected, state.and_then(version).unwrap_or(0));
                (actual != expected).then_some(AppendError::VersionMismatch {
                    subject,
                    expected,
                    actual,
                })
            }
            Expect::SubStreamAt(sub_stream, expected) => {
                let sub = match state {
                    Some((id, state)) => state.sub(&self.at, id, *sub_stream)?,
                    None => None,
                };
                let (sub_stream, expected, actual) = (*sub_stream, *expected, sub.map_or(0, |sub| sub.count));
                (actual != expected).then_some(AppendError::SubStreamMismatch {
                    sub_stream,
                    expected,
                    actual,
                })
            }
        };
        refusal.map_or(Ok(()), |error| Err(error.into()))
    }

    /// A new stream that goes on from a durable position of another one; with the stream that has this position.
    fn fork(&mut self, name: &Name, parent: StreamId, position: u64) -> Result<(StreamId, StreamId, Pending), Refusal> {
        let unknown = || AppendError::UnknownStream(parent);
        let parent_row = self.at.stream(parent)?.ok_or_else(unknown)?;
        let (owner, owner_row) = self.at.owner(parent, &parent_row, position)?;
        let mut depth = 1;
        let mut above = owner_row.parent();
        while let Some((ancestor, _)) = above {
            depth += 1;
            above = self.at.stream(ancestor)?.and_then(|row| row.parent());
        }
        if depth >= FORK_DEPTH_MAX {
            return Err(AppendError::Invalid(format!(
                "a fork of a fork, {FORK_DEPTH_MAX} times over: copy the stream instead"
            ))
            .into());
        }
        let (mut oldest, mut deleted) = (
            owner_row.trimmed.max(parent_row.trimmed) + 1,
            owner_row.deleted || parent_row.deleted,
        );
        let mut tail = parent_row.last;
        for pending in [parent, owner].iter().filter_map(|id| self.streams.get(id)) {
            oldest = oldest.max(pending.row.trimmed + 1);
            deleted |= pending.row.deleted;
        }
        if let Some(pending) = self.streams.get(&owner)
            && pending.row.snapshot != owner_row.snapshot
        {
            // What the stream was before a trim in this batch is known no more.
            (oldest, tail) = (pending.row.snapshot, pending.row.snapshot);
        }
        let out_of_range = |oldest| AppendError::ForkOutOfRange {
            parent,
            position,
            oldest,
            tail,
        };
        if position < oldest || position > parent_row.last || deleted {
            return Err(out_of_range(oldest).into());
        }
        let id = StreamId(self.shared.env.mint());
        let past = self
            .shared
            .folds
            .past(&self.at, (owner, &owner_row), position, (id, name));
        let past = past.map_err(|error| match error {
            PastError::Trimmed { as_of, .. } => Refusal::from(out_of_range(as_of)),
            PastError::Store(error) => error.into(),
        })?;
        let mut pending = Pending::opened(name);
        pending.row.continues(owner, position);
        // What it does not share because it was given up, it does not have.
        pending.row.trimmed = owner_row.trimmed;
        pending.row.time_us = past.time_us;
        pending.row.versions = past.versions;
        pending.seed = Some(past.slots);
        Ok((id, owner, pending))
    }

    /// Where the parts will stand.
    fn places(&self, parts: &[Part], ids: &[StreamId]) -> Vec<AppendedPart> {
        let mut ends: HashMap<StreamId, u64> = HashMap::new();
        let place = |(part, id): (&Part, &StreamId)| {
            let last = self.streams.get(id).map_or(0, |state| state.row.last);
            let end = ends.entry(*id).or_insert(last);
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
    fn encode(&mut self, part: Part, id: StreamId, mut repeatable: Option<Repeatable>) -> Result<(), StoreError> {
        let missing = || rows::malformed("a stream that was just there");
        let state = self.streams.get_mut(&id).ok_or_else(missing)?;
        if state.records.is_empty() {
            self.order.push(id);
        }
        for record in part.records {
            state.row.last += 1;
            state.row.time_us = state.row.time_us.max(self.now_us);
            let position = state.row.last;
            let mut extras = Extras::default();
            if let Some(repeatable) = repeatable.take() {
                extras.repeatable = Some(repeatable.clone());
                let commit = self.commit;
                state.answered.push(Answered { commit, repeatable });
            }
            if state.before.is_none() && position == state.row.base() + 1 {
                extras.stream = Some(state.name.clone());
                let parent = state.row.parent();
                extras.parent = parent.map(|(stream, position)| crate::record::Parent { stream, position });
            }
            let (sub_stream, sub_number) = match record.sub {
                None => ([0; 16], 0),
                Some(Sub::Open(sub, name)) => {
                    state.subs.insert(sub, SubRow::open(&name, position));
                    state.strides.push((sub, 0, position));
                    self.sub_names.insert(name.clone(), Some((id, sub)));
                    extras.sub_stream = Some(name);
                    (sub.0, 1)
                }
                Some(Sub::Next(sub)) => {
                    let mut standing = state.sub(&self.at, id, sub)?.ok_or_else(missing)?;
                    (standing.last, standing.count) = (position, standing.count + 1);
                    let number = standing.count;
                    if (number - 1).is_multiple_of(SUB_STREAM_STRIDE) {
                        state
                            .strides
                            .push((sub, ((number - 1) / SUB_STREAM_STRIDE) as u32, position));
                    }
                    state.subs.insert(sub, standing);
                    (sub.0, number)
                }
            };
            if record.subject != Subject::NONE {
                state.row.versions.insert(record.subject.0, position);
            }
            match record.kind {
                Kind::STREAM_TRIMMED => {
                    // The record that had the name may be one of those that go.
                    extras.stream = Some(state.name.clone());
                    state.row.trimmed = state.row.trimmed.max(record.origin.saturating_sub(1));
                    state.row.snapshot = position;
                }
                Kind::STREAM_DELETED => {
                    state.row.erased |= record.origin == ERASED;
                    // What was hidden before has no names any more.
                    if !std::mem::replace(&mut state.row.deleted, true) {
                        self.names.insert(state.name.clone(), None);
                        for (sub, standing) in self.at.subs(id)? {
                            state.subs.entry(sub).or_insert(standing);
                        }
                        for sub in state.subs.values() {
                            self.sub_names.insert(sub.name()?, None);
                        }
                    }
                }
                _ => {}
            }
            let mut header = RecordHeader {
                stream: id.0,
                position,
                sub_stream,
                sub_number,
                subject: record.subject.0,
                kind: record.kind.0,
                commit: self.commit,
                index: self.frames.len() as u32,
                time_us: state.row.time_us,
                causation: record.causation,
                origin: record.origin,
                extras_bytes: 0,
                payload_bytes: 0,
            };
            let mut frame = Vec::with_capacity(record.payload.len() + 256);
            codec::encode_record(&mut frame, &mut header, &extras, &record.payload);
            self.frames.push((id, position, frame));
            state.records.push(header.into_record(extras, record.payload));
        }
        Ok(())
    }
}
