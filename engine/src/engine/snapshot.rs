//! What clients may see of a session at once: derived values and a page of items.

mod scopes;

use std::collections::BTreeMap;

use flowstate_log::Log;
use flowstate_log::record::{StreamId, SubStreamId};
use serde_json::{Map, Value};

use super::instances::ShownInstance;
use super::media::{Media, audio_bytes, is_stored};
use crate::error::QueryError;
use crate::exec::Core;
use crate::item::Item;
use crate::item::open::OpenItems;
use crate::principal::Principal;
use crate::projection::items::ItemEntry;
use crate::projection::{items, requests, session};
use crate::record::{Fact, ItemRecord, decode};

/// Records that are read at once.
const READ_RECORDS: usize = 1_000;

/// What to put in a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotQuery {
    /// Only these entries, as (scope, name); all if absent.
    pub client_data: Option<Vec<(String, String)>>,
    /// These items; none if absent.
    pub items: Option<ItemPage>,
}

/// Which items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemPage {
    /// Of these types only.
    pub types: Option<Vec<String>>,
    /// Also what clients do not see.
    pub hidden: bool,
    /// After so many.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// See [`crate::Engine::snapshot`].
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The session.
    pub session: String,
    /// Kind of its flow.
    pub flow: String,
    /// Scope to name to value; a scope without entries is absent.
    pub client_data: BTreeMap<String, Map<String, Value>>,
    /// The entries that could not be made.
    pub client_data_errors: Vec<ClientDataError>,
    /// Scope to name to what clients are told of a resource; only those that are declared with [`Definition::client`](crate::Definition::client).
    /// A scope without any is absent.
    pub resources: BTreeMap<String, BTreeMap<String, ResourceEntry>>,
    /// The page of items, if it was asked for: by time, then by number in their request.
    pub items: Option<Vec<Item>>,
    /// How many items there are on all pages; 0 if none were asked for.
    pub total: usize,
}

/// What a snapshot tells of a resource that clients may know of. Never its state, and its body only if clients may read it.
#[derive(Debug, Clone, PartialEq)]
pub enum ResourceEntry {
    /// That it exists.
    One {
        /// What the definition makes of its state for clients.
        client_data: Option<Value>,
        /// Its rendered body, if snapshots have that: `None` in it if it has none.
        content: Option<Option<String>>,
    },
    /// That the collection exists.
    Collection {
        /// How many instances it has.
        count: usize,
        /// The first ones, as many as snapshots have.
        prefetched: Vec<ShownInstance>,
    },
}

/// An entry of the client data that could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientDataError {
    /// Its scope.
    pub scope: String,
    /// Its name; empty if it is all of them.
    pub name: String,
    /// Why.
    pub message: String,
}

pub(super) async fn snapshot(
    core: &Core,
    principal: &Principal,
    stream: StreamId,
    query: &SnapshotQuery,
) -> Result<Option<Snapshot>, QueryError> {
    let Some(summary) = session::read(&core.log, stream, |session| session.summary().cloned()).await? else {
        return Ok(None);
    };
    let mut snapshot = Snapshot {
        session: summary.session.clone(),
        flow: summary.flow.clone(),
        client_data: BTreeMap::new(),
        client_data_errors: Vec::new(),
        resources: BTreeMap::new(),
        items: None,
        total: 0,
    };
    scopes::add(core, principal, stream, &summary, query, &mut snapshot).await?;
    if let Some(page) = &query.items {
        let oldest = core.log.oldest(stream).await?;
        let (entries, total) = items::read(&core.log, stream, |items| select(items.entries(), oldest, page)).await?;
        snapshot.items = Some(read_items(&core.log, stream, &entries).await?.0);
        snapshot.total = total;
    }
    Ok(Some(snapshot))
}

/// The entries of a page, and how many there are on all pages.
fn select(entries: &[ItemEntry], oldest: u64, page: &ItemPage) -> (Vec<ItemEntry>, usize) {
    let mut wanted: Vec<&ItemEntry> = entries
        .iter()
        .filter(|entry| !entry.transient && entry.added.max(entry.completed) >= oldest)
        .filter(|entry| {
            let types = page.types.as_ref();
            (entry.client || page.hidden) && types.is_none_or(|types| types.contains(&entry.type_name))
        })
        .collect();
    wanted.sort_by_key(|entry| (entry.ts_ms, entry.index, entry.added));
    let total = wanted.len();
    (
        wanted.into_iter().skip(page.offset).take(page.limit).cloned().collect(),
        total,
    )
}

/// Items that are read at once.
const ITEMS_READ: usize = 4;
/// Once the items of a page have this many bytes, it ends.
const ITEMS_BYTES_MAX: usize = 8 << 20;

/// Items of one request.
pub(super) struct RequestItems {
    pub(super) items: Vec<Item>,
    /// What they take, as they are stored.
    pub(super) bytes: usize,
    pub(super) has_more: bool,
}

/// A page of the items of one request.
pub(super) async fn of_request(
    log: &Log,
    stream: StreamId,
    sub: SubStreamId,
    page: &ItemPage,
) -> Result<RequestItems, QueryError> {
    let oldest = log.oldest(stream).await?;
    let (entries, total) = items::read(log, stream, |items| {
        let own = items.entries().iter().filter(|entry| entry.sub() == sub);
        select(&own.cloned().collect::<Vec<_>>(), oldest, page)
    })
    .await?;
    let (items, bytes) = read_items(log, stream, &entries).await?;
    let has_more = page.offset.saturating_add(items.len()) < total;
    Ok(RequestItems { items, bytes, has_more })
}

/// The items of these entries, in their order: all, or as many of the first as a page may have bytes; and what these take.
async fn read_items(log: &Log, stream: StreamId, entries: &[ItemEntry]) -> Result<(Vec<Item>, usize), QueryError> {
    let requests = requests::read(log, stream, |requests| {
        entries
            .iter()
            .map(|entry| requests.get(entry.sub()).map(|row| row.request.clone()))
            .collect::<Vec<_>>()
    })
    .await?;
    let completed = |entries: &[ItemEntry]| -> Vec<u64> {
        let positions = entries.iter().map(|entry| entry.completed);
        positions.filter(|position| *position > 0).collect()
    };
    let (mut finals, mut bytes, mut page) = (Vec::new(), 0, 0);
    for some in entries.chunks(ITEMS_READ) {
        for record in log.read_positions(stream, &completed(some)).await? {
            bytes += record.payload.len();
            let mut item = match decode(&record)? {
                Fact::ItemCompleted(completed) => Some(completed.item),
                _ => None,
            };
            if let (Some(item), Some((sub, _))) = (&mut item, record.sub) {
                fill(log, stream, sub, item).await?;
                bytes += audio_bytes(&item.body);
            }
            finals.push(item);
        }
        page += some.len();
        if bytes > ITEMS_BYTES_MAX {
            break;
        }
    }
    let entries = &entries[..page];
    let mut finals = finals.into_iter();
    let mut open = read_open(log, stream, entries).await?;

    let mut items = Vec::with_capacity(entries.len());
    for (entry, request) in entries.iter().zip(requests) {
        let record = if entry.completed > 0 {
            finals.next().flatten()
        } else {
            open.remove(&(entry.sub(), entry.index))
        };
        let (Some(record), Some(request)) = (record, request) else {
            let message = format!("there is no item {} of the request in {}", entry.index, entry.sub());
            return Err(QueryError::Row { view: "items", message });
        };
        items.push(Item::new(entry.sub(), request, record));
    }
    Ok((items, bytes))
}

/// What the open entries have up to now; an item that was completed meanwhile, as it was completed.
async fn read_open(
    log: &Log,
    stream: StreamId,
    entries: &[ItemEntry],
) -> Result<BTreeMap<(SubStreamId, u32), ItemRecord>, QueryError> {
    let mut found = BTreeMap::new();
    let wanted: Vec<&ItemEntry> = entries.iter().filter(|entry| entry.completed == 0).collect();
    let Some(mut from) = wanted.iter().map(|entry| entry.added).min() else {
        return Ok(found);
    };
    let tail = log.tail(stream).await?;
    let mut open: BTreeMap<SubStreamId, OpenItems> =
        wanted.iter().map(|entry| (entry.sub(), OpenItems::default())).collect();
    while from <= tail {
        let records = log.read(stream, from, READ_RECORDS).await?;
        let Some(last) = records.last() else { break };
        from = last.position + 1;
        for record in &records {
            let Some(sub) = record.sub.map(|(sub, _)| sub) else {
                continue;
            };
            let Some(items) = open.get_mut(&sub) else {
                continue;
            };
            if let Some(item) = items.apply(&decode(record)?) {
                found.insert((sub, item.index), item);
            }
        }
    }
    for entry in wanted {
        if let Some(item) = open.get(&entry.sub()).and_then(|items| items.get(entry.index)) {
            found.insert((entry.sub(), entry.index), item.clone());
        }
    }
    for ((sub, _), item) in &mut found {
        fill(log, stream, *sub, item).await?;
    }
    Ok(found)
}

/// Puts what is stored elsewhere into an item.
async fn fill(log: &Log, stream: StreamId, sub: SubStreamId, item: &mut ItemRecord) -> Result<(), QueryError> {
    if is_stored(&item.body) {
        let request = log.sub_stream_info(stream, sub).await?;
        Media::new(log, request).fill_body(&mut item.body).await?;
    }
    Ok(())
}
