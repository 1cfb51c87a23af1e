//! Where the items of a session lie in its stream, in order. What they say stays in the log.

use std::collections::{BTreeMap, BTreeSet};

use flowstate_log::Log;
use flowstate_log::error::ViewError;
use flowstate_log::record::{Kind, Name, Record, StreamId, SubStreamId};
use flowstate_log::view::{Fold, IndexRows, Row, View, ViewId};
use serde::{Deserialize, Serialize};

use super::{from_json, json_row};
use crate::record::{Fact, ItemAdded, ItemCompleted, decode};

/// Its view.
pub(crate) const ID: ViewId = ViewId(3);
/// Entries per row: an append rewrites one row only, and a small one.
const CHUNK: usize = 256;

/// Where one item lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ItemEntry {
    /// The request.
    sub: [u8; 16],
    /// Its number in the request.
    pub(crate) index: u32,
    pub(crate) ts_ms: i64,
    /// Position of the record that added it.
    pub(crate) added: u64,
    /// Position of the record that completed it; 0 while it is open.
    pub(crate) completed: u64,
    /// Type of its body.
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    pub(crate) client: bool,
    pub(crate) history: bool,
    pub(crate) transient: bool,
    /// A later item of the request may take its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    keyed: bool,
}

impl ItemEntry {
    pub(crate) fn sub(&self) -> SubStreamId {
        SubStreamId(self.sub)
    }
}

/// See the module.
pub(crate) struct ItemsView;

impl View for ItemsView {
    fn id(&self) -> ViewId {
        ID
    }

    fn name(&self) -> &'static str {
        "items"
    }

    fn version(&self) -> u32 {
        2
    }

    /// Version 1 had the same rows, without keys.
    fn upgrade(&self, stream: StreamId, name: &Name, _version: u32, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        self.load(stream, name, rows)
    }

    fn folds(&self, kind: Kind) -> bool {
        [ItemAdded::KIND, ItemCompleted::KIND].contains(&kind)
    }

    fn empty(&self, _stream: StreamId, _name: &Name) -> Box<dyn Fold> {
        Box::<ItemsFold>::default()
    }

    fn load(&self, _stream: StreamId, _name: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        let chunks: BTreeMap<Vec<u8>, Vec<u8>> =
            rows.into_iter().filter_map(|row| Some((row.key, row.value?))).collect();
        let mut fold = ItemsFold::default();
        for chunk in chunks.values() {
            for entry in from_json::<Vec<ItemEntry>>(chunk)? {
                let (of, place) = ((entry.sub(), entry.index), fold.entries.len());
                if entry.completed == 0 {
                    fold.open.insert(of, place);
                }
                if entry.keyed {
                    fold.keyed.insert(of, place);
                }
                fold.entries.push(entry);
            }
        }
        Ok(Box::new(fold))
    }
}

/// The items of one session, in the order in which they were added.
#[derive(Default)]
pub(crate) struct ItemsFold {
    entries: Vec<ItemEntry>,
    /// Places of the entries that are not completed.
    open: BTreeMap<(SubStreamId, u32), usize>,
    /// Places of the entries that may be replaced.
    keyed: BTreeMap<(SubStreamId, u32), usize>,
    changed: BTreeSet<usize>,
}

impl ItemsFold {
    pub(crate) fn entries(&self) -> &[ItemEntry] {
        &self.entries
    }

    /// Positions of the final records of what a model may see, by turn (request): in the order in which they began,
    /// the newest `turns_max` of them and always `current`, which counts as the newest.
    pub(crate) fn history(&self, current: SubStreamId, turns_max: Option<usize>) -> Vec<Vec<u64>> {
        let (mut turns, mut places) = (Vec::<(SubStreamId, Vec<u64>)>::new(), BTreeMap::new());
        for entry in self
            .entries
            .iter()
            .filter(|entry| entry.history && !entry.transient && entry.completed > 0)
        {
            let place = *places.entry(entry.sub()).or_insert_with(|| {
                turns.push((entry.sub(), Vec::new()));
                turns.len() - 1
            });
            turns[place].1.push(entry.completed);
        }
        let running = places.get(&current).map(|place| turns.remove(*place));
        let others = turns_max.map_or(usize::MAX, |turns_max| turns_max.saturating_sub(1));
        let skipped = turns.len().saturating_sub(others);
        turns
            .into_iter()
            .skip(skipped)
            .chain(running)
            .map(|(_, positions)| positions)
            .collect()
    }
}

impl Fold for ItemsFold {
    fn apply(&mut self, record: &Record, _index: &mut dyn IndexRows) {
        let (Ok(fact), Some((sub, _))) = (decode(record), record.sub) else {
            return;
        };
        let place = match fact {
            Fact::ItemAdded(ItemAdded { item }) => {
                let of = (sub, item.index);
                let entry = ItemEntry {
                    sub: sub.0,
                    index: item.index,
                    ts_ms: item.ts_ms,
                    added: record.position,
                    completed: 0,
                    type_name: item.body.type_name().to_owned(),
                    client: item.visibility.client,
                    history: item.visibility.history,
                    transient: item.transient,
                    keyed: item.body.key().is_some(),
                };
                // Until the one that takes its place is whole, an item is what it was.
                let place = *self.keyed.get(&of).unwrap_or(&self.entries.len());
                self.open.insert(of, place);
                if place == self.entries.len() {
                    if entry.keyed {
                        self.keyed.insert(of, place);
                    }
                    self.entries.push(entry);
                }
                place
            }
            Fact::ItemCompleted(ItemCompleted { item }) => {
                let of = (sub, item.index);
                let Some(place) = self.open.remove(&of).or(self.keyed.get(&of).copied()) else {
                    return;
                };
                self.entries[place].completed = record.position;
                place
            }
            _ => return,
        };
        self.changed.insert(place / CHUNK);
    }

    fn changed(&mut self, rows: &mut dyn FnMut(Row)) {
        for chunk in std::mem::take(&mut self.changed) {
            let key = u64::try_from(chunk).unwrap_or(u64::MAX).to_be_bytes();
            let entries = self.entries.chunks(CHUNK).nth(chunk).unwrap_or_default();
            rows(json_row(&key, &entries));
        }
    }

    fn rows(&self, rows: &mut dyn FnMut(Row)) {
        for (chunk, entries) in (0u64..).zip(self.entries.chunks(CHUNK)) {
            rows(json_row(&chunk.to_be_bytes(), &entries));
        }
    }
}

/// Reads the fold of a session's items.
pub(crate) async fn read<R: Send>(
    log: &Log,
    stream: StreamId,
    read: impl FnOnce(&ItemsFold) -> R + Send,
) -> Result<R, ViewError> {
    log.view(stream, ID, read).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::projection::testing::{
        A, B, Index, STREAM, as_any, fold, history, keeps_its_rows_over_any_split, name, record,
    };

    #[test]
    fn rows_survive_any_split() {
        keeps_its_rows_over_any_split(&ItemsView, &history());
    }

    #[test]
    fn entries_know_where_items_begin_and_end() {
        let mut items = ItemsView.empty(STREAM, &name());
        fold(&ItemsView, &mut *items, &history(), &mut Index::default());
        let places: Vec<_> = as_any::<ItemsFold>(&*items)
            .entries()
            .iter()
            .map(|entry| (entry.sub(), entry.index, entry.added, entry.completed))
            .collect();
        assert_eq!(places, [(A, 0, 4, 5), (A, 1, 7, 14), (B, 0, 8, 10), (B, 1, 17, 0)]);
    }

    #[test]
    fn history_has_whole_turns_and_always_the_running_one_last() {
        let mut items = ItemsView.empty(STREAM, &name());
        fold(&ItemsView, &mut *items, &history(), &mut Index::default());
        let items = as_any::<ItemsFold>(&*items);
        assert_eq!(items.history(B, None), [vec![5, 14], vec![10]]);
        assert_eq!(items.history(A, None), [vec![10], vec![5, 14]]);
        assert_eq!(items.history(A, Some(1)), [vec![5, 14]]);
        assert_eq!(items.history(A, Some(0)), [vec![5, 14]]);
        assert_eq!(
            items.history(SubStreamId([1; 16]), Some(2)),
            [vec![10]],
            "an unknown request is the newest turn, with nothing in it"
        );
    }

    #[test]
    fn one_more_item_rewrites_one_small_row() {
        let mut items = ItemsView.empty(STREAM, &name());
        let added = |position: u64| {
            let index = u32::try_from(position).expect("small");
            record(
                position,
                Some((A, position)),
                19,
                &json!({"item": {"index": index, "body": {"type": "message", "role": "user"}}}),
            )
        };
        let many: Vec<_> = (1..=3 * CHUNK as u64).map(added).collect();
        fold(&ItemsView, &mut *items, &many, &mut Index::default());
        let mut rows = Vec::new();
        items.changed(&mut |row| rows.push(row));
        assert_eq!(rows.len(), 3);
        fold(&ItemsView, &mut *items, &[added(5_000)], &mut Index::default());
        rows.clear();
        items.changed(&mut |row| rows.push(row));
        assert_eq!(rows.len(), 1);
        assert!(rows[0].value.as_ref().is_some_and(|value| value.len() < 400));
    }
}
