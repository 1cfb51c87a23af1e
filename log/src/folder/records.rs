//! Records in the order of streams and positions, over runs and segments at once, damage passed over.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;

use super::Folder;
use super::held::Held;
use super::places::{RecordAt, record_at};
use super::report::Damage;
use crate::record::{Name, Record, StreamId};
use crate::run::{Entry, Salvage};

type Key = (StreamId, u64);

/// A record where it was found.
pub(super) enum Found {
    Run(Entry),
    Slot(RecordAt),
}

impl Found {
    pub(super) fn key(&self) -> Key {
        match self {
            Self::Run(entry) => (entry.stream(), entry.position()),
            Self::Slot(at) => (at.stream, at.position),
        }
    }

    pub(super) fn commit(&self) -> u64 {
        match self {
            Self::Run(entry) => entry.header.commit,
            Self::Slot(at) => at.commit,
        }
    }
}

enum Source {
    Run(Box<Salvage>),
    Slots(Range<usize>),
}

struct Ahead {
    key: Key,
    source: usize,
    found: Found,
}

impl PartialEq for Ahead {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ahead {}

impl PartialOrd for Ahead {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ahead {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.key, self.source).cmp(&(other.key, other.source))
    }
}

/// Where the records of a folder stand, in order, each once.
pub(super) struct Merged<'a> {
    folder: &'a Folder,
    stream: Option<StreamId>,
    sources: Vec<Source>,
    heads: BinaryHeap<Reverse<Ahead>>,
    damage: VecDeque<Damage>,
    last: Option<Key>,
    started: bool,
}

impl<'a> Merged<'a> {
    pub(super) fn new(folder: &'a Folder, stream: Option<StreamId>) -> Self {
        let (held, places) = folder.stable();
        let mut damage: VecDeque<Damage> = held.damage.iter().chain(&places.damage).cloned().collect();
        let mut sources = Vec::new();
        for held in &held.runs {
            let salvage = match (&held.run, &held.file) {
                (Some(run), _) => Salvage::of(run, stream),
                (None, Some(file)) => match file.len() {
                    Ok(bytes) => Salvage::headless(held.entry.run, file.clone(), bytes),
                    Err(error) => {
                        damage.push_back(Damage::in_file(held.name(), error.to_string()));
                        continue;
                    }
                },
                (None, None) => continue,
            };
            sources.push(Source::Run(Box::new(salvage)));
        }
        let records = &places.records;
        let range = match stream {
            None => 0..records.len(),
            Some(stream) => {
                let first = records.partition_point(|at| at.stream < stream);
                first..records.partition_point(|at| at.stream <= stream)
            }
        };
        sources.push(Source::Slots(range));
        Self {
            folder,
            stream,
            sources,
            heads: BinaryHeap::new(),
            damage,
            last: None,
            started: false,
        }
    }

    pub(super) fn held(&self) -> &'a Held {
        &self.folder.stable().0
    }

    fn advance(&mut self, source: usize) {
        let found = match &mut self.sources[source] {
            Source::Slots(range) => range.next().map(|at| Found::Slot(self.folder.stable().1.records[at])),
            Source::Run(salvage) => loop {
                match salvage.next() {
                    None => break None,
                    Some(Ok(entry)) if self.stream.is_some_and(|only| only != entry.stream()) => {}
                    Some(Ok(entry)) => break Some(Found::Run(entry)),
                    Some(Err(hole)) => {
                        let mut damage = Damage::in_file(salvage.file(), hole.what).at(hole.offset, hole.bytes);
                        if let Some((stream, position)) = hole.from {
                            damage = damage.of_record(stream, position);
                        }
                        self.damage.push_back(damage);
                    }
                }
            },
        };
        if let Some(found) = found {
            let key = found.key();
            self.heads.push(Reverse(Ahead { key, source, found }));
        }
    }
}

impl Iterator for Merged<'_> {
    type Item = Result<Found, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.started {
            self.started = true;
            (0..self.sources.len()).for_each(|source| self.advance(source));
        }
        loop {
            if let Some(damage) = self.damage.pop_front() {
                return Some(Err(damage));
            }
            let Reverse(Ahead { key, source, found }) = self.heads.pop()?;
            self.advance(source);
            // Runs that nothing lists may hold the same records. What came after the folder was opened is not shown.
            if self.last != Some(key) && found.commit() <= self.folder.held.tip.0 {
                self.last = Some(key);
                return Some(Ok(found));
            }
        }
    }
}

/// The records themselves.
pub(super) struct Records<'a> {
    merged: Merged<'a>,
    name: Option<(StreamId, Name)>,
}

impl<'a> Records<'a> {
    pub(super) fn new(folder: &'a Folder, stream: Option<StreamId>) -> Self {
        Self {
            merged: Merged::new(folder, stream),
            name: None,
        }
    }

    fn record(&mut self, found: Found) -> Option<Result<Record, Damage>> {
        let folder = self.merged.folder;
        let mut record = match folder.decode(&found, self.merged.held())? {
            Ok(record) => record,
            Err(damage) => return Some(Err(damage)),
        };
        if let Some(name) = &record.extras.stream {
            self.name = Some((record.stream, name.clone()));
        }
        let name = self.name.as_ref().filter(|(stream, _)| *stream == record.stream);
        let damage = folder.complete(&mut record, name.map(|(_, name)| name));
        Some(damage.map_or(Ok(record), Err))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.merged.next()? {
                Err(damage) => return Some(Err(damage)),
                Ok(found) => {
                    if let Some(record) = self.record(found) {
                        return Some(record);
                    }
                }
            }
        }
    }
}

impl Folder {
    /// The record that was found, every checksum checked; `None` if it was given up while the folder was read.
    pub(super) fn decode(&self, found: &Found, held: &Held) -> Option<Result<Record, Damage>> {
        let (stream, position) = found.key();
        match found {
            Found::Run(entry) => Some(entry.record().map_err(|what| {
                let file = held.runs.iter().find(|run| {
                    let range = run.entry.first..=run.entry.last;
                    range.contains(&entry.header.commit)
                });
                let file = file.map_or_else(|| "a run".to_owned(), |run| run.name());
                let damage = Damage::in_file(file, what).of_commit(entry.header.commit);
                damage.of_record(stream, position)
            })),
            Found::Slot(at) => match record_at(held, at) {
                Ok(record) => Some(Ok(record)),
                Err(what) => match self.clustered_since(stream, position, at.commit) {
                    Some(record) => record.map(Ok),
                    None => {
                        let damage = Damage::in_file(held.slots[at.slot as usize].name(), what);
                        let damage = damage.at(at.offset.into(), at.bytes.into()).of_commit(at.commit);
                        Some(Err(damage.of_record(stream, position)))
                    }
                },
            },
        }
    }

    /// Gives a record its payload if that lies in a file of its own, and takes it away if it was erased.
    pub(super) fn complete(&self, record: &mut Record, name: Option<&Name>) -> Option<Damage> {
        if record.erased || self.erased().contains(&record.stream) {
            record.erased = true;
            record.payload = bytes::Bytes::new();
            record.extras = Default::default();
            return None;
        }
        let blob = record.extras.blob?;
        let name = name.cloned().or_else(|| self.name_of(record.stream));
        let read = self.blob(name.as_ref(), &blob);
        let what = match read {
            Ok(content) => {
                record.payload = content;
                return None;
            }
            Err(what) => what,
        };
        let damage = Damage::in_file(crate::blob::file_name(&blob.address), what).at(0, blob.bytes);
        Some(
            damage
                .of_commit(record.commit)
                .of_record(record.stream, record.position),
        )
    }
}
