//! What memory and the view store know of the records: rebuilt from the runs if the store can't be gone on from, then brought up to the
//! last record of the slots.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::scan::{Scan, Scanned};
use crate::catalog::{self, ERASED_NAME};
use crate::error::OpenError;
use crate::index::{Cell, Index};
use crate::levels::Levels;
use crate::log::Shared;
use crate::record::{Kind, Name, Record, StreamId};
use crate::run::{Access, Entry, Merge};
use crate::segment::manifest::{Hex, Manifest};
use crate::snapshot::Snapshot;
use crate::view::View;
use crate::view::checkpoint::Meta;
use crate::view::inline::{Folds, Views};
use crate::view_store::{OpenViewStore, StoreError};

/// Streams that are brought up to date between two write-backs, so that a rebuild's memory stays bounded.
const CATCH_UP_STREAMS: usize = 1_024;

/// Opens the view store, emptied if its rows can't be gone on from. Returns the last commit that it reflects, 0 for an empty one.
/// What an emptied store once had seen still counts as evidence if it was of this log.
pub(super) fn open_views(
    opener: &dyn OpenViewStore,
    views: Vec<Arc<dyn View>>,
    manifest: &Manifest,
    scan: &Scan,
) -> Result<(Views, u64), OpenError> {
    let failed = |error: StoreError| OpenError::ViewStore(format!("{} in {}", error.0, opener.describe()));
    let opened = opener.open().and_then(|store| {
        let views = Views::new(views.clone(), store);
        let meta = views.meta()?;
        let empty = views.is_empty()?;
        Ok((views, meta, empty))
    });
    let why = match opened {
        Ok((views, None, true)) => return Ok((views, 0)),
        Ok((views, Some(meta), _)) if meta.store == manifest.store => {
            if meta.folded > scan.last() || goes_on(&views, &meta, scan) {
                return Ok((views, meta.folded));
            }
            "it reflects another history, other views, or too little".to_owned()
        }
        Ok((_views, ..)) => "it is not of this log".to_owned(),
        Err(error) => error.0,
    };
    // By now the store is closed: each arm above took it.
    tracing::warn!(store = %opener.describe(), %why, "the view store is rebuilt");
    opener.discard().map_err(failed)?;
    Ok((Views::new(views, opener.open().map_err(failed)?), 0))
}

fn goes_on(views: &Views, meta: &Meta, scan: &Scan) -> bool {
    meta.views == views.versions() && scan.hash_of(meta.folded).map(Hex) == Some(meta.hash)
}

/// Fills memory with the streams that have unclustered records, and the view store with what it has not seen.
pub(super) fn fill(shared: &Arc<Shared>, mut scan: Scan, folded: u64) -> Result<(), OpenError> {
    let streams = std::mem::take(&mut scan.streams);
    let tried = match folded < scan.clustered() {
        true => Err(StoreError("it has not seen what is in runs".to_owned())),
        false => fill_from(shared, &streams, &scan, folded),
    };
    if let Err(error) = tried {
        if folded > 0 {
            tracing::warn!(%error, "rows of the view store can't be gone on from: it is rebuilt");
        }
        let rebuilt = shared.views.clear().and_then(|()| {
            shared.streams.clear();
            rebuild(shared, &scan)?;
            fill_from(shared, &streams, &scan, scan.clustered())
        });
        rebuilt.map_err(|error| OpenError::ViewStore(error.0))?;
    }
    shared.streams.publish_all();
    Ok(())
}

fn fill_from(
    shared: &Arc<Shared>,
    streams: &HashMap<StreamId, Vec<Scanned>>,
    scan: &Scan,
    folded: u64,
) -> Result<(), StoreError> {
    let hash = |commit: u64| scan.hash_of(commit).unwrap_or_default();
    shared.streams.note_forked(catalog::forked(&*shared.views.store)?);
    // A fork comes after what it continues.
    let mut ordered: Vec<(&StreamId, &Vec<Scanned>)> = streams.iter().collect();
    ordered.sort_by_key(|(_, records)| records.first().map(|first| (first.header.commit, first.header.index)));
    let mut behind = Vec::new();
    for (id, records) in ordered {
        let cell = place(shared, *id, records)?;
        if records.last().is_some_and(|last| last.header.commit > folded) {
            behind.push(cell);
        }
    }
    for some in behind.chunks(CATCH_UP_STREAMS) {
        for cell in some {
            shared.load_folds(cell)?;
        }
        // Not all streams are up to date yet: the store may not claim more than before.
        shared.views.folded(some.iter(), 0, folded, hash(folded));
        shared.views.write_back(shared.store, &|| Ok(()))?;
        some.iter().for_each(|cell| unload(cell));
    }
    let last = scan.last();
    shared.views.folded([].iter(), 0, last, hash(last));
    shared.views.write_back(shared.store, &|| Ok(()))
}

fn unload(cell: &Cell) {
    *cell.folds.lock() = Folds::Stored;
    cell.loaded.store(false, Ordering::Release);
}

/// Puts a stream with unclustered records into memory.
fn place(shared: &Arc<Shared>, id: StreamId, records: &[Scanned]) -> Result<Arc<Cell>, StoreError> {
    let Some(first) = records.first() else {
        return Err(StoreError("a stream without records".to_owned()));
    };
    let known = shared.load_stream(id)?;
    let new = known.is_none();
    let cell = match (known, &first.extras) {
        (Some(cell), _) => cell,
        (None, Some(extras)) if let Some(name) = &extras.stream => {
            let cell = shared.open_cell(id, name, extras.parent, || Folds::Stored)?;
            let deleted = records
                .last()
                .is_some_and(|last| last.header.kind == Kind::STREAM_DELETED.0);
            // Of one that was deleted since, the shared part may be gone.
            if extras.parent.is_some() && !deleted {
                let past = shared.shared_with_parent(&cell)?;
                let mut index = cell.index.write();
                index.head.versions = past.versions;
                index.head.time_us = past.time_us;
            }
            cell
        }
        (None, _) => return Err(StoreError(format!("there is no row for the stream {id}"))),
    };
    {
        let mut index = cell.index.write();
        // The row tells of everything that is in runs, and perhaps of more.
        if index.applied() + 1 < first.header.position {
            return Err(StoreError(format!(
                "the row of the stream {id} ends before its segments begin"
            )));
        }
        index.begin_after(first.header.position - 1);
    }
    let applied = cell.index.read().applied();
    for scanned in records {
        let record = bare(scanned);
        if let Some((sub, number)) = record.sub
            && record.position > applied
            && number > 1
        {
            shared.load_sub(&cell, sub, 0)?;
        }
        // Of what the rows have, they have the name.
        if let Some((sub, _)) = record.sub
            && let Some(name) = &record.extras.sub_stream
            && record.position > applied
        {
            shared.streams.insert_sub(name.clone(), id, sub);
        }
        cell.index.write().push(&record, scanned.loc).map_err(StoreError)?;
        shared.streams.forget_trimmed(&cell);
    }
    let cell = shared.streams.insert(&cell);
    let deleted = cell.index.read().head.deleted;
    if new {
        shared.streams.note_fork(&cell, !deleted);
    }
    if deleted {
        shared.streams.hide(&cell);
    }
    Ok(cell)
}

fn bare(scanned: &Scanned) -> Record {
    let extras = scanned.extras.as_deref().cloned().unwrap_or_default();
    scanned.header.into_record(extras, bytes::Bytes::new())
}

/// Fills an empty view store from the runs alone, stream by stream.
fn rebuild(shared: &Arc<Shared>, scan: &Scan) -> Result<(), StoreError> {
    let levels = shared.levels.get();
    let damaged = |error: crate::run::RunError| StoreError(error.to_string());
    let mut done: Vec<Arc<Cell>> = Vec::new();
    let mut open: Option<Rebuilding> = None;
    // Forks whose parents have ids that come later.
    let mut deferred: Vec<StreamId> = Vec::new();
    for entry in Merge::new(levels.runs.iter().map(|run| &**run)) {
        let entry = entry.map_err(damaged)?;
        if open.as_ref().is_some_and(|open| open.cell.id != entry.stream()) {
            done.extend(open.take().map(|open| open.finish(shared)).transpose()?);
            if done.len() >= CATCH_UP_STREAMS {
                write_rows(shared, &mut done)?;
            }
        }
        if deferred.last() == Some(&entry.stream()) {
            continue;
        }
        let record = decoded(&entry)?;
        match &mut open {
            Some(open) => open.take_in(shared, record)?,
            None if !begins(shared, &record)? => deferred.push(entry.stream()),
            None => open = Some(Rebuilding::begin(shared, record)?),
        }
    }
    done.extend(open.take().map(|open| open.finish(shared)).transpose()?);
    write_rows(shared, &mut done)?;
    while !deferred.is_empty() {
        let before = deferred.len();
        let mut left = Vec::new();
        for id in deferred {
            match rebuild_one(shared, &levels, id)? {
                Some(cell) => done.push(cell),
                None => left.push(id),
            }
            if done.len() >= CATCH_UP_STREAMS {
                write_rows(shared, &mut done)?;
            }
        }
        write_rows(shared, &mut done)?;
        deferred = left;
        if deferred.len() == before {
            return Err(StoreError(format!("the parent of the fork {} is missing", deferred[0])));
        }
    }
    let clustered = scan.clustered();
    let hash = scan.hash_of(clustered).unwrap_or_default();
    shared.views.folded([].iter(), 0, clustered, hash);
    shared.views.write_back(shared.store, &|| Ok(()))
}

fn decoded(entry: &Entry) -> Result<Record, StoreError> {
    entry.record().map_err(|what| {
        StoreError(format!(
            "record {} of stream {}: {what}",
            entry.position(),
            entry.stream()
        ))
    })
}

/// Whether a stream whose first record this is can be rebuilt already: the stream that it continues is known.
fn begins(shared: &Arc<Shared>, first: &Record) -> Result<bool, StoreError> {
    match first.extras.parent {
        Some(parent) => Ok(shared.load_stream(parent.stream)?.is_some()),
        None => Ok(true),
    }
}

/// Rebuilds one stream; `None` if it continues one that is not known yet.
fn rebuild_one(shared: &Arc<Shared>, levels: &Levels, id: StreamId) -> Result<Option<Arc<Cell>>, StoreError> {
    let damaged = |error: crate::run::RunError| StoreError(error.to_string());
    let mut open: Option<Rebuilding> = None;
    for run in &levels.runs {
        let Some(span) = run.span(id, Access::Wait).map_err(damaged)? else {
            continue;
        };
        let mut next = span.first;
        while next <= span.last {
            let (mut records, mut bytes) = (Vec::new(), FOLD_BYTES);
            run.read(id, next, span.last, &mut bytes, Access::Wait, &mut records)
                .map_err(damaged)?;
            let Some(last) = records.last() else { break };
            next = last.position + 1;
            for record in records {
                match &mut open {
                    Some(open) => open.take_in(shared, record)?,
                    None if !begins(shared, &record)? => return Ok(None),
                    None => open = Some(Rebuilding::begin(shared, record)?),
                }
            }
        }
    }
    open.map(|open| open.finish(shared)).transpose()
}

fn write_rows(shared: &Arc<Shared>, done: &mut Vec<Arc<Cell>>) -> Result<(), StoreError> {
    shared.views.folded(done.iter(), 0, 0, Default::default());
    shared.views.write_back(shared.store, &|| Ok(()))?;
    // One that a fork continues stays; what it folds from here on starts from its rows.
    done.iter().for_each(|cell| unload(cell));
    let ids = done.drain(..).map(|cell| cell.id).collect();
    shared.streams.evict(ids, |_| true);
    Ok(())
}

/// One stream of a rebuild.
struct Rebuilding {
    cell: Arc<Cell>,
    erased: bool,
    /// What it shares with its parent is not known any more: that is how it should be if it was deleted.
    unshared: Option<StoreError>,
    /// Records to fold together.
    waiting: Vec<Record>,
    bytes: usize,
}

/// Payload bytes that are folded at once.
const FOLD_BYTES: usize = 1 << 20;

impl Rebuilding {
    fn begin(shared: &Arc<Shared>, first: Record) -> Result<Self, StoreError> {
        let id = first.stream;
        let erased = first.erased;
        let erased_name = || Name::new("", ERASED_NAME).map_err(|error| StoreError(error.to_string()));
        let cell = match &first.extras.stream {
            Some(name) if first.kind != Kind::STREAM_TRIMMED => {
                let folds = || shared.views.empty(id, name);
                shared.open_cell(id, name, first.extras.parent, folds)?
            }
            _ if erased || first.kind == Kind::STREAM_DELETED => {
                Cell::new(id, erased_name()?, None, Index::new(first.position - 1), Folds::Stored)
            }
            _ => from_snapshot(shared, id)?,
        };
        let cell = shared.streams.insert(&cell);
        let mut rebuilding = Self {
            cell,
            erased,
            unshared: None,
            waiting: Vec::new(),
            bytes: 0,
        };
        if !erased && rebuilding.cell.parent.is_some() {
            shared.streams.note_fork(&rebuilding.cell, true);
            rebuilding.unshared = share(shared, &rebuilding.cell).err();
        }
        rebuilding.take_in(shared, first)?;
        Ok(rebuilding)
    }

    fn take_in(&mut self, shared: &Arc<Shared>, mut record: Record) -> Result<(), StoreError> {
        let mut index = self.cell.index.write();
        // What is trimmed and still there is reflected in the snapshot.
        index.recall(&record);
        index.apply(&record).map_err(StoreError)?;
        index.begin_after(record.position);
        let known = record.sub.is_some_and(|(sub, _)| index.sub(sub).is_some());
        drop(index);
        if let (Some(name), Some((sub, _)), true) = (&record.extras.sub_stream, record.sub, known) {
            shared.streams.insert_sub(name.clone(), self.cell.id, sub);
        }
        shared.streams.forget_trimmed(&self.cell);
        if self.erased {
            return Ok(());
        }
        if let Some(blob) = record.extras.blob {
            let content = shared.blobs.read(self.cell.name.principal(), &blob);
            record.payload = content.map_err(StoreError)?;
        }
        self.bytes += record.payload.len();
        self.waiting.push(record);
        if self.bytes > FOLD_BYTES || self.waiting.len() >= 1_000 {
            self.fold(shared);
        }
        Ok(())
    }

    fn fold(&mut self, shared: &Shared) {
        if let Folds::Loaded(slots) = &mut *self.cell.folds.lock() {
            shared.views.fold(&self.cell.name, slots, &self.waiting);
        }
        self.waiting.clear();
        self.bytes = 0;
    }

    fn finish(mut self, shared: &Arc<Shared>) -> Result<Arc<Cell>, StoreError> {
        self.fold(shared);
        let deleted = self.cell.index.read().head.deleted;
        if let Some(error) = self.unshared.filter(|_| !deleted) {
            return Err(error);
        }
        if deleted {
            shared.streams.hide(&self.cell);
        }
        Ok(self.cell)
    }
}

/// A fork begins with what it shares.
fn share(shared: &Arc<Shared>, fork: &Cell) -> Result<(), StoreError> {
    let past = shared.shared_with_parent(fork)?;
    {
        let mut index = fork.index.write();
        index.head.versions = past.versions;
        index.head.time_us = past.time_us;
    }
    shared.views.list(&past.folds);
    *fork.folds.lock() = Folds::Loaded(past.folds);
    Ok(())
}

/// A stream whose first records are gone.
fn from_snapshot(shared: &Arc<Shared>, id: StreamId) -> Result<Arc<Cell>, StoreError> {
    let levels = shared.levels.get();
    let missing = || {
        StoreError(format!(
            "the stream {id} does not begin with its first record, and no snapshot says how"
        ))
    };
    for run in levels.runs.iter().rev() {
        let span = run
            .span(id, Access::Wait)
            .map_err(|error| StoreError(error.to_string()))?;
        let Some(position) = span.map(|span| span.snapshot).filter(|position| *position > 0) else {
            continue;
        };
        let record = run
            .record(id, position)
            .map_err(|error| StoreError(error.to_string()))?;
        let mut record = record.ok_or_else(missing)?;
        let name = record.extras.stream.clone().ok_or_else(missing)?;
        if let Some(blob) = record.extras.blob {
            record.payload = shared.blobs.read(name.principal(), &blob).map_err(StoreError)?;
        }
        let snapshot = Snapshot::read(&record).map_err(StoreError)?;
        let folds = snapshot.folds(&shared.views, id, &name).map_err(StoreError)?;
        let index = snapshot.index(position).map_err(StoreError)?;
        for (sub, name) in index.sub_names() {
            shared.streams.insert_sub(name, id, sub);
        }
        shared.views.list(&folds);
        return Ok(Cell::new(id, name, None, index, Folds::Loaded(folds)));
    }
    Err(missing())
}
