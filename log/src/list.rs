//! Lists of streams: rows of the catalog, with what memory knows better.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::catalog;
use crate::index::Cell;
use crate::log::Shared;
use crate::record::{Name, StreamId};
use crate::verbs::{ListedStream, StreamOrder, StreamQuery};
use crate::view_store::{StoreError, keys};

/// Rows that are looked at in one go.
const ROWS_AT_ONCE: usize = 1_000;

impl Shared {
    /// Up to `query.limit` live streams.
    pub(crate) fn list(self: &Arc<Self>, query: &StreamQuery) -> Result<Vec<ListedStream>, StoreError> {
        match query.order {
            StreamOrder::Name => self.list_by_name(query),
            StreamOrder::LastActivity => self.list_by_activity(query),
        }
    }

    fn listed(&self, cell: &Cell) -> Option<ListedStream> {
        let index = cell.index.read();
        let shown = !index.head.deleted && !cell.name.name().starts_with('\0');
        shown.then(|| ListedStream {
            stream: cell.id,
            name: cell.name.clone(),
            tail: index.last(),
            last_activity_us: index.head.time_us,
        })
    }

    /// A stream as memory knows it, or its row.
    fn listed_by_id(&self, id: StreamId) -> Result<Option<ListedStream>, StoreError> {
        if let Some(cell) = self.streams.get(id) {
            return Ok(self.listed(&cell));
        }
        let Some(row) = catalog::stream_row(&*self.views.store, id)? else {
            return Ok(None);
        };
        if row.deleted {
            return Ok(None);
        }
        let name = row.name()?;
        Ok((!name.name().starts_with('\0')).then_some(ListedStream {
            stream: id,
            name,
            tail: row.last,
            last_activity_us: row.time_us,
        }))
    }

    fn list_by_name(&self, query: &StreamQuery) -> Result<Vec<ListedStream>, StoreError> {
        let principal = query.principal.as_deref().unwrap_or("");
        let invalid = |error: crate::record::NameError| StoreError(error.to_string());
        let after = query.after.as_ref().map(|after| after.name.clone());
        let matches = |name: &Name| name.principal() == principal && name.name().starts_with(&query.prefix);
        // Memory first: a stream whose row is on its way is then found in one of the two.
        let start = match (&after, query.prefix.is_empty()) {
            (Some(after), _) => after.clone(),
            (None, false) => Name::new(principal, &query.prefix).map_err(invalid)?,
            (None, true) => Name::new(principal, "\u{0}").map_err(invalid)?,
        };
        let beyond = |name: &Name| after.as_ref().is_none_or(|after| name > after);
        let mut found: BTreeMap<Name, ListedStream> = BTreeMap::new();
        // One more for the stream that came last before, and one for the log's own.
        let most = query.limit.saturating_add(2);
        for cell in self.streams.names_from(&start, most, matches) {
            if beyond(&cell.name)
                && let Some(listed) = self.listed(&cell)
            {
                found.insert(cell.name.clone(), listed);
            }
        }
        let prefix = keys::stream_names(principal, &query.prefix);
        let end = keys::after_prefix(&prefix);
        let mut from = after.as_ref().map(keys::stream_name);
        let mut rows_found = 0;
        // A place after all that is wanted: a store may not take a range the wrong way round.
        let beyond_all = from.as_ref().zip(end.as_ref()).is_some_and(|(from, end)| from >= end);
        while rows_found < query.limit && !beyond_all {
            let bound = from.as_deref().map_or(Bound::Included(&prefix[..]), Bound::Excluded);
            let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let rows = self.views.store.scan(bound, to, query.limit.min(ROWS_AT_ONCE))?;
            let Some((last, _)) = rows.last() else { break };
            from = Some(last.clone());
            for (_, id) in rows {
                let Some(listed) = self.listed_by_id(catalog::stream_id(&id)?)? else {
                    continue;
                };
                if rows_found < query.limit && matches(&listed.name) && beyond(&listed.name) {
                    rows_found += 1;
                    found.insert(listed.name.clone(), listed);
                }
            }
        }
        Ok(found.into_values().take(query.limit).collect())
    }

    fn list_by_activity(&self, query: &StreamQuery) -> Result<Vec<ListedStream>, StoreError> {
        let matches = |listed: &ListedStream| {
            query
                .principal
                .as_deref()
                .is_none_or(|only| only == listed.name.principal())
                && listed.name.name().starts_with(&query.prefix)
        };
        // Newest first; the id decides between equal times.
        let key = |listed: &ListedStream| (std::cmp::Reverse(listed.last_activity_us), listed.stream);
        let after = query.after.as_ref().map(key);
        let wanted = |listed: &ListedStream| matches(listed) && after.is_none_or(|after| key(listed) > after);
        let mut found = BTreeMap::new();
        let take = |found: &mut BTreeMap<_, ListedStream>, listed: ListedStream| {
            if wanted(&listed) {
                found.insert(key(&listed), listed);
            }
        };
        for cell in self.views.behind() {
            if let Some(listed) = self.listed(&cell) {
                take(&mut found, listed);
            }
        }
        let in_memory = found.len();
        let mut from: Option<Vec<u8>> = after.map(|(time, id)| keys::activity(time.0, id));
        let (start, end) = (vec![b'a'], vec![b'b']);
        while found.len() - in_memory.min(found.len()) < query.limit {
            let bound = from.as_deref().map_or(Bound::Included(&start[..]), Bound::Excluded);
            let rows = self.views.store.scan(bound, Bound::Excluded(&end[..]), ROWS_AT_ONCE)?;
            let Some((last, _)) = rows.last() else { break };
            from = Some(last.clone());
            for (row, _) in rows {
                let Some((time_us, id)) = keys::activity_of(&row) else {
                    continue;
                };
                let Some(listed) = self.listed_by_id(id)? else { continue };
                // One that moved since is found under its new time.
                if listed.last_activity_us == time_us {
                    take(&mut found, listed);
                }
            }
        }
        Ok(found.into_values().take(query.limit).collect())
    }
}
