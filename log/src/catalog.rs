//! Names, ends and keys of streams as rows of the view store, so that memory holds only the streams in use. Like every row they can be
//! rebuilt from the records. Lookups here may block; the async verbs look into memory first.

#[cfg(test)]
mod tests;

use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::index::{Answered, Cell, Fork, Head, Index, SubStream};
use crate::log::Shared;
use crate::record::{IdempotencyKey, Name, Parent, Repeatable, StreamId, SubStreamId};
use crate::verbs::SubStreamInfo;
use crate::view::inline::Folds;
use crate::view_store::{Change, StoreError, ViewStore, keys};

/// Raised when the rows below change; an older store is rebuilt.
pub(crate) const VERSION: u32 = 1;

/// A fork of a fork of a fork; deeper ones are refused when they are made.
pub(crate) const FORK_DEPTH_MAX: usize = 64;

/// Name of a stream whose name was erased.
pub(crate) const ERASED_NAME: &str = "\u{0}erased";

/// A stream's row.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StreamRow {
    principal: String,
    name: String,
    pub(crate) last: u64,
    pub(crate) time_us: i64,
    trimmed: u64,
    snapshot: u64,
    trimmed_commit: u64,
    deleted_commit: u64,
    pub(crate) deleted: bool,
    pub(crate) erased: bool,
    parent: Option<([u8; 16], u64)>,
    versions: Vec<(u16, u64)>,
}

impl StreamRow {
    pub(crate) fn is_fork(&self) -> bool {
        self.parent.is_some()
    }

    pub(crate) fn principal(&self) -> &str {
        &self.principal
    }

    pub(crate) fn name(&self) -> Result<Name, StoreError> {
        Name::new(&self.principal, &self.name).map_err(|error| malformed(&error.to_string()))
    }
}

#[derive(Serialize, Deserialize)]
struct AnsweredRow {
    commit: u64,
    fingerprint: u64,
    parts: Vec<([u8; 16], u64, u64)>,
}

impl AnsweredRow {
    fn first(&self) -> u64 {
        self.parts.first().map_or(0, |(_, first, _)| *first)
    }
}

fn malformed(what: &str) -> StoreError {
    StoreError(format!("a row of the catalog is malformed: {what}"))
}

fn number(bytes: &[u8], at: usize) -> Result<u64, StoreError> {
    let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(u64::from_be_bytes)
        .ok_or_else(|| malformed("a number is cut short"))
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError(error.to_string()))
}

/// All entries whose keys start with `prefix`.
pub(crate) fn with_prefix(store: &dyn ViewStore, prefix: &[u8]) -> Result<Vec<crate::view_store::Entry>, StoreError> {
    let end = keys::after_prefix(prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    store.scan(Bound::Included(prefix), to, usize::MAX)
}

pub(crate) fn stream_row(store: &dyn ViewStore, id: StreamId) -> Result<Option<StreamRow>, StoreError> {
    let Some(row) = store.get(&keys::stream(id))? else {
        return Ok(None);
    };
    serde_json::from_slice(&row)
        .map(Some)
        .map_err(|error| malformed(&error.to_string()))
}

pub(crate) fn stream_id(row: &[u8]) -> Result<StreamId, StoreError> {
    row.try_into().map(StreamId).map_err(|_| malformed("a stream's id"))
}

/// Every sub-stream of a stream that has a row.
pub(crate) fn sub_ids(store: &dyn ViewStore, stream: StreamId) -> Result<Vec<SubStreamId>, StoreError> {
    let rows = with_prefix(store, &keys::subs(stream))?;
    let id = |(key, _): &crate::view_store::Entry| key.get(17..33).and_then(|id| id.try_into().ok()).map(SubStreamId);
    Ok(rows.iter().filter_map(id).collect())
}

/// Every stream that has a fork.
pub(crate) fn forked(store: &dyn ViewStore) -> Result<std::collections::HashSet<StreamId>, StoreError> {
    let rows = with_prefix(store, b"f")?;
    rows.iter()
        .map(|(key, _)| stream_id(key.get(1..17).unwrap_or_default()))
        .collect()
}

/// Looks at every stream's row.
pub(crate) fn each_stream(store: &dyn ViewStore, mut look: impl FnMut(StreamId, &StreamRow)) -> Result<(), StoreError> {
    const ROWS_AT_ONCE: usize = 1_000;
    let (mut from, end) = (vec![b's'], vec![b't']);
    loop {
        let rows = store.scan(Bound::Excluded(&from), Bound::Excluded(&end), ROWS_AT_ONCE)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        from = last.clone();
        for (key, row) in &rows {
            let row: StreamRow = serde_json::from_slice(row).map_err(|error| malformed(&error.to_string()))?;
            look(stream_id(&key[1..])?, &row);
        }
    }
}

/// The rows that say what has changed of a stream; from now on that counts as written. What goes is in `removed`, which comes first.
pub(crate) fn take_changes(
    cell: &Cell,
    store: &dyn ViewStore,
    removed: &mut Vec<Change>,
    batch: &mut Vec<Change>,
) -> Result<(), StoreError> {
    let mut index = cell.index.write();
    if !index.changed.head {
        return Ok(());
    }
    let listed_us = index.changed.listed_us;
    let removals = std::mem::take(&mut index.changed.removals);
    for commit in std::mem::take(&mut index.changed.superseded) {
        removed.push((keys::removal(commit, cell.id), None));
    }
    let trimmed = std::mem::take(&mut index.changed.trimmed).then_some(index.head.trimmed);
    let (subs, answered) = index.take_changed();
    let head = &index.head;
    let row = StreamRow {
        principal: if head.erased {
            String::new()
        } else {
            cell.name.principal().to_owned()
        },
        name: if head.erased {
            ERASED_NAME.to_owned()
        } else {
            cell.name.name().to_owned()
        },
        last: index.applied(),
        time_us: head.time_us,
        trimmed: head.trimmed,
        snapshot: head.snapshot,
        trimmed_commit: head.trimmed_commit,
        deleted_commit: head.deleted_commit,
        deleted: head.deleted,
        erased: head.erased,
        parent: cell.parent.as_ref().map(|fork| (fork.cell.id.0, fork.position)),
        versions: head
            .versions
            .iter()
            .map(|(subject, position)| (*subject, *position))
            .collect(),
    };
    batch.push((keys::stream(cell.id), Some(json(&row)?)));
    for commit in removals {
        batch.push((keys::removal(commit, cell.id), Some(Vec::new())));
    }
    if listed_us != 0 {
        removed.push((keys::activity(listed_us, cell.id), None));
    }
    if let Some(fork) = &cell.parent {
        let shared = (!head.deleted).then(|| fork.position.to_be_bytes().to_vec());
        batch.push((keys::fork(fork.cell.id, cell.id), shared));
    }
    if head.deleted {
        index.changed.listed_us = 0;
        drop(index);
        return remove_rows(cell, subs, store, removed);
    }
    batch.push((keys::stream_name(&cell.name), Some(cell.id.0.to_vec())));
    batch.push((keys::activity(head.time_us, cell.id), Some(Vec::new())));
    index.changed.listed_us = index.head.time_us;
    drop(index);
    if let Some(trimmed) = trimmed {
        remove_trimmed(cell, trimmed, store, removed)?;
    }
    for (id, sub, written) in subs {
        for (number, position) in sub.stride.iter().enumerate().skip(written) {
            batch.push((
                keys::stride(cell.id, id, number as u32),
                Some(position.to_be_bytes().to_vec()),
            ));
        }
        let mut row = [sub.last.to_be_bytes(), sub.count.to_be_bytes()].concat();
        if let Some(name) = &sub.name {
            row.extend_from_slice(&(name.principal().len() as u16).to_be_bytes());
            row.extend_from_slice(name.principal().as_bytes());
            row.extend_from_slice(name.name().as_bytes());
            if written == 0 {
                batch.push((keys::sub_name(name), Some([cell.id.0, id.0].concat())));
            }
        }
        batch.push((keys::sub(cell.id, id), Some(row)));
    }
    for Answered { commit, repeatable } in answered {
        let row = AnsweredRow {
            commit,
            fingerprint: repeatable.fingerprint,
            parts: repeatable
                .parts
                .iter()
                .map(|part| (part.stream.0, part.first, part.last))
                .collect(),
        };
        batch.push((keys::answered(cell.id, &repeatable.key), Some(json(&row)?)));
    }
    Ok(())
}

/// Removes the rows of sub-streams and keys whose records were given up. What goes on by now is written after this.
fn remove_trimmed(
    cell: &Cell,
    trimmed: u64,
    store: &dyn ViewStore,
    removed: &mut Vec<Change>,
) -> Result<(), StoreError> {
    for (key, row) in with_prefix(store, &keys::subs(cell.id))? {
        let id: [u8; 16] = key
            .get(17..)
            .and_then(|id| id.try_into().ok())
            .ok_or_else(|| malformed("a sub-stream's id"))?;
        let id = SubStreamId(id);
        // The row may be older than what memory knows.
        let goes_on = cell.index.read().sub(id).is_some_and(|sub| sub.last > trimmed);
        if number(&row, 0)? > trimmed || goes_on {
            continue;
        }
        if let Some(name) = sub_row_name(&row)
            && store.get(&keys::sub_name(&name))? == Some([cell.id.0, id.0].concat())
        {
            removed.push((keys::sub_name(&name), None));
        }
        removed.push((key, None));
        let strides = with_prefix(store, &keys::strides(cell.id, id))?;
        removed.extend(strides.into_iter().map(|(key, _)| (key, None)));
    }
    for (key, row) in with_prefix(store, &keys::answers(cell.id))? {
        if answered_row(&row)?.first() <= trimmed {
            removed.push((key, None));
        }
    }
    Ok(())
}

fn answered_row(row: &[u8]) -> Result<AnsweredRow, StoreError> {
    serde_json::from_slice(row).map_err(|error| malformed(&error.to_string()))
}

/// Removes what only a live stream needs; its own row stays, so that its id is known for what it was.
fn remove_rows(
    cell: &Cell,
    subs: Vec<(SubStreamId, SubStream, usize)>,
    store: &dyn ViewStore,
    batch: &mut Vec<Change>,
) -> Result<(), StoreError> {
    // Another incarnation may have taken the name before the rows were written.
    if store
        .get(&keys::stream_name(&cell.name))?
        .is_some_and(|id| id == cell.id.0)
    {
        batch.push((keys::stream_name(&cell.name), None));
    }
    for (_, sub, _) in subs {
        batch.extend(sub.name.map(|name| (keys::sub_name(&name), None)));
    }
    for prefix in keys::of_stream(cell.id) {
        for (key, row) in with_prefix(store, &prefix)? {
            if key.first() == Some(&b'i')
                && let Some(name) = sub_row_name(&row)
            {
                batch.push((keys::sub_name(&name), None));
            }
            batch.push((key, None));
        }
    }
    Ok(())
}

fn sub_row_name(row: &[u8]) -> Option<Name> {
    let rest = row.get(16..)?;
    let (length, rest) = rest.split_at_checked(2)?;
    let (principal, name) = rest.split_at_checked(u16::from_be_bytes([length[0], length[1]]) as usize)?;
    Name::new(std::str::from_utf8(principal).ok()?, std::str::from_utf8(name).ok()?).ok()
}

impl Shared {
    fn rows(&self) -> &dyn ViewStore {
        &*self.views.store
    }

    /// A stream, from memory or from its rows.
    pub(crate) fn load_stream(&self, id: StreamId) -> Result<Option<Arc<Cell>>, StoreError> {
        if let Some(cell) = self.streams.get(id) {
            return Ok(Some(cell));
        }
        let _none_goes = self.eviction.read();
        self.load_stored(id, 0)
    }

    fn load_stored(&self, id: StreamId, depth: usize) -> Result<Option<Arc<Cell>>, StoreError> {
        if let Some(cell) = self.streams.get(id) {
            return Ok(Some(cell));
        }
        let Some(row) = stream_row(self.rows(), id)? else {
            return Ok(None);
        };
        let parent = match row.parent {
            Some(_) if depth >= FORK_DEPTH_MAX => return Err(malformed("a stream is its own ancestor")),
            Some((parent, position)) => {
                let cell = self.load_stored(StreamId(parent), depth + 1)?;
                Some(Fork {
                    cell: cell.ok_or_else(|| malformed("the parent of a fork is missing"))?,
                    position,
                })
            }
            None => None,
        };
        let mut forks = std::collections::BTreeMap::new();
        let rows = match self.streams.may_be_forked(id) {
            true => with_prefix(self.rows(), &keys::forks(id))?,
            false => Vec::new(),
        };
        for (key, shared) in rows {
            forks.insert(stream_id(key.get(17..).unwrap_or_default())?, number(&shared, 0)?);
        }
        let name = row.name()?;
        let head = Head {
            time_us: row.time_us,
            trimmed: row.trimmed,
            snapshot: row.snapshot,
            trimmed_commit: row.trimmed_commit,
            deleted_commit: row.deleted_commit,
            deleted: row.deleted,
            erased: row.erased,
            versions: row.versions.into_iter().collect(),
            forks,
        };
        let listed_us = if row.deleted { 0 } else { row.time_us };
        let index = Index::stored(row.last, head, listed_us);
        let cell = Cell::new(id, name, parent, index, Folds::Stored);
        Ok(Some(self.streams.insert(&cell)))
    }

    /// The live stream of this name.
    pub(crate) fn find_stream(&self, name: &Name) -> Result<Option<Arc<Cell>>, StoreError> {
        if let Some(cell) = self.streams.named(name) {
            return Ok(Some(cell));
        }
        let _none_goes = self.eviction.read();
        let Some(row) = self.rows().get(&keys::stream_name(name))? else {
            return Ok(self.streams.named(name));
        };
        let cell = self.load_stored(stream_id(&row)?, 0)?;
        // The row may be of an incarnation that was deleted since it was written.
        Ok(match cell {
            Some(cell) if !cell.index.read().head.deleted => Some(cell),
            _ => self.streams.named(name),
        })
    }

    /// Brings a sub-stream into memory; `false` if the stream has none of this id.
    pub(crate) fn load_sub(&self, cell: &Cell, id: SubStreamId, epoch: u64) -> Result<bool, StoreError> {
        if cell.index.read().touch_sub(id, epoch) {
            return Ok(true);
        }
        // A row read before, and restored after, a newer state came and was forgotten would turn back the count.
        let _none_goes = self.eviction.read();
        let Some(row) = self.rows().get(&keys::sub(cell.id, id))? else {
            return Ok(cell.index.read().touch_sub(id, epoch));
        };
        let strides = with_prefix(self.rows(), &keys::strides(cell.id, id))?;
        let stride = strides
            .iter()
            .map(|(_, position)| number(position, 0))
            .collect::<Result<Vec<_>, _>>()?;
        let sub = SubStream {
            name: sub_row_name(&row),
            last: number(&row, 0)?,
            count: number(&row, 8)?,
            stride_written: stride.len(),
            stride,
        };
        let mut index = cell.index.write();
        // Its rows may not have gone yet.
        if sub.last <= index.head.trimmed {
            return Ok(index.touch_sub(id, epoch));
        }
        if let Some(name) = &sub.name
            && !index.head.deleted
        {
            self.streams.insert_sub(name.clone(), cell.id, id);
        }
        index.restore_sub(id, sub, epoch);
        Ok(true)
    }

    /// Where a sub-stream stands, as far as it is visible. What was brought into memory may be forgotten before it is looked at.
    pub(crate) fn load_sub_info(&self, cell: &Cell, id: SubStreamId) -> Result<Option<SubStreamInfo>, StoreError> {
        loop {
            if let Some(info) = self.streams.sub_info(cell, id) {
                return Ok(Some(info));
            }
            if !self.load_sub(cell, id, 0)? {
                return Ok(None);
            }
        }
    }

    /// The same, for the sub-stream of this name.
    pub(crate) fn find_sub_info(&self, name: &Name) -> Result<Option<SubStreamInfo>, StoreError> {
        match self.find_sub(name, 0)? {
            Some((cell, id)) => self.load_sub_info(&cell, id),
            None => Ok(None),
        }
    }

    /// Brings the sub-stream of this name into memory, with its stream.
    pub(crate) fn find_sub(&self, name: &Name, epoch: u64) -> Result<Option<(Arc<Cell>, SubStreamId)>, StoreError> {
        let found = match self.streams.sub_named(name) {
            Some(found) => Some(found),
            None => match self.rows().get(&keys::sub_name(name))? {
                Some(row) => {
                    let (stream, id) = row
                        .split_at_checked(16)
                        .ok_or_else(|| malformed("a sub-stream's name"))?;
                    let id = id.try_into().map_err(|_| malformed("a sub-stream's id"))?;
                    Some((stream_id(stream)?, SubStreamId(id)))
                }
                None => self.streams.sub_named(name),
            },
        };
        let Some((stream, id)) = found else { return Ok(None) };
        let Some(cell) = self.load_stream(stream)? else {
            return Ok(None);
        };
        if cell.index.read().head.deleted || !self.load_sub(&cell, id, epoch)? {
            return Ok(None);
        }
        Ok(Some((cell, id)))
    }

    /// Brings the answer to an earlier append with this key into memory.
    pub(crate) fn load_answered(&self, cell: &Cell, key: &IdempotencyKey, epoch: u64) -> Result<(), StoreError> {
        if cell.index.read().touch_answered(key, epoch) {
            return Ok(());
        }
        let _none_goes = self.eviction.read();
        let Some(row) = self.rows().get(&keys::answered(cell.id, key))? else {
            return Ok(());
        };
        let row = answered_row(&row)?;
        // Its row may not have gone yet.
        if row.first() <= cell.index.read().head.trimmed {
            return Ok(());
        }
        let part = |(stream, first, last)| crate::append::AppendedPart {
            stream: StreamId(stream),
            first,
            last,
        };
        let answered = Answered {
            commit: row.commit,
            repeatable: Repeatable {
                key: key.clone(),
                fingerprint: row.fingerprint,
                parts: row.parts.into_iter().map(part).collect(),
            },
        };
        cell.index.write().restore_answered(answered, epoch);
        Ok(())
    }

    /// A new stream's cell, found in the first record of a rebuild or of an append.
    pub(crate) fn open_cell(
        &self,
        id: StreamId,
        name: &Name,
        parent: Option<Parent>,
        folds: impl FnOnce() -> Folds,
    ) -> Result<Arc<Cell>, StoreError> {
        let parent = match parent {
            None => None,
            Some(Parent { stream, position }) => Some(Fork {
                cell: self
                    .load_stream(stream)?
                    .ok_or_else(|| malformed("the parent of a fork is missing"))?,
                position,
            }),
        };
        let base = parent.as_ref().map_or(0, |fork| fork.position);
        Ok(Cell::new(id, name.clone(), parent, Index::new(base), folds()))
    }
}
