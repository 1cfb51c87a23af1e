//! Projections: pure folds of a session's records into what is asked for often. No clock, no I/O, no minted ids.
//! None of them folds a content delta, so the hot path costs them nothing. Their ids are pinned.

pub(crate) mod items;
pub(crate) mod requests;
pub(crate) mod resource;
pub(crate) mod session;
pub(crate) mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use flowstate_log::view::{Row, View};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use requests::{RequestRow, RequestStatus};
pub use session::SessionSummary;

/// All of them.
pub(crate) fn views() -> Vec<Arc<dyn View>> {
    vec![
        Arc::new(session::SessionView),
        Arc::new(requests::RequestsView),
        Arc::new(items::ItemsView),
        Arc::new(state::StateView),
        Arc::new(resource::ResourceView),
    ]
}

/// A row with its value as JSON.
fn json_row(key: &[u8], value: &impl Serialize) -> Row {
    Row {
        key: key.to_vec(),
        value: Some(json_bytes(value)),
    }
}

/// Rows have string keys and plain values, which always have a JSON form.
fn json_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a row has a JSON form")
}

fn from_json<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    serde_json::from_slice(value).map_err(|error| error.to_string())
}

/// The only row of a view that keeps one; `None` if there is no row yet.
fn single_row<T: DeserializeOwned>(rows: Vec<Row>) -> Result<Option<T>, String> {
    let mut values = rows.into_iter().filter_map(|row| row.value);
    let value = values.next().map(|value| from_json(&value)).transpose()?;
    match values.next() {
        Some(_) => Err("there is more than one row".into()),
        None => Ok(value),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A history of one session, and the law that every fold must keep.

    use std::any::Any;
    use std::collections::BTreeMap;

    use flowstate_log::record::{Extras, Name, Record, StreamId, SubStreamId};
    use flowstate_log::view::{Fold, IndexRows, Row, View};
    use serde_json::json;

    use crate::record::{Fact, decode};

    pub(crate) const STREAM: StreamId = StreamId([9; 16]);
    pub(crate) const A: SubStreamId = SubStreamId([0xa; 16]);
    pub(crate) const B: SubStreamId = SubStreamId([0xb; 16]);

    pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

    #[derive(Default)]
    pub(crate) struct Index(pub(crate) Rows);

    impl IndexRows for Index {
        fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
            self.0.insert(key, value);
        }
        fn delete(&mut self, key: Vec<u8>) {
            self.0.remove(&key);
        }
    }

    pub(crate) fn name() -> Name {
        Name::new("", "session/s").expect("a name")
    }

    /// Two requests that overlap: one answers, one fails with an item left open; then a third item is still open.
    pub(crate) fn history() -> Vec<Record> {
        let item = |index: u32, status: &str, role: &str, text: &str| {
            json!({"index": index, "ts_ms": 1_000 + index, "status": status, "visibility": {"client": true, "history": true},
                "body": {"type": "message", "role": role, "content": [{"type": "output_text", "text": text}]}})
        };
        let accepted = |request: &str| json!({"request": request, "session": "s", "flow": "f", "action": "chat", "user": "u", "at_ms": 5});
        let steps = [
            (
                None,
                16,
                json!({"session": "s", "user": "u", "flow": "f", "flow_id": "i", "state": {"n": 1}}),
            ),
            (Some(A), 17, accepted("a")),
            (Some(A), 18, json!({})),
            (Some(A), 19, json!({"item": item(0, "completed", "user", "hi")})),
            (Some(A), 23, json!({"item": item(0, "completed", "user", "hi")})),
            (Some(B), 17, accepted("b")),
            (Some(A), 19, json!({"item": item(1, "in_progress", "assistant", "")})),
            (Some(B), 19, json!({"item": item(0, "completed", "user", "yo")})),
            (Some(A), 21, json!({"item": 1, "part": 0, "delta": "well"})),
            (Some(B), 23, json!({"item": item(0, "completed", "user", "yo")})),
            (Some(A), 24, json!({"scope": "session", "op": {"inc": {"n": 2}}})),
            (
                Some(A),
                24,
                json!({"scope": "session", "op": {"patch": {"topic": "tea"}}}),
            ),
            (Some(A), 24, json!({"scope": "session", "op": {"inc": {"topic": 1}}})),
            (Some(A), 23, json!({"item": item(1, "completed", "assistant", "well")})),
            (Some(A), 30, json!({"output": "well"})),
            (Some(B), 31, json!({"code": "c", "message": "m"})),
            (Some(B), 19, json!({"item": item(1, "in_progress", "assistant", "")})),
        ];
        let mut numbers = BTreeMap::new();
        (1..)
            .zip(steps)
            .map(|(position, (sub, kind, payload))| {
                let sub = sub.map(|sub| {
                    let number = numbers.entry(sub).or_insert(0);
                    *number += 1;
                    (sub, *number)
                });
                let record = record(position, sub, kind, &payload);
                decode(&record).expect("a fact");
                record
            })
            .collect()
    }

    pub(crate) fn record(
        position: u64,
        sub: Option<(SubStreamId, u64)>,
        kind: u16,
        payload: &serde_json::Value,
    ) -> Record {
        Record {
            stream: STREAM,
            position,
            sub,
            subject: Default::default(),
            kind: flowstate_log::record::Kind(kind),
            commit: position,
            index: 0,
            time_us: 1_000_000 * i64::try_from(position).expect("small"),
            causation: [0; 16],
            origin: 0,
            extras: Extras::default(),
            erased: false,
            payload: payload.to_string().into(),
        }
    }

    pub(crate) fn fold(view: &dyn View, fold: &mut dyn Fold, records: &[Record], index: &mut Index) {
        records
            .iter()
            .filter(|record| view.folds(record.kind))
            .for_each(|record| fold.apply(record, index));
    }

    fn write_back(fold: &mut dyn Fold, rows: &mut Rows) {
        fold.changed(&mut |row: Row| {
            match row.value {
                Some(value) => rows.insert(row.key, value),
                None => rows.remove(&row.key),
            };
        });
    }

    /// Folding everything at once gives the same rows as folding a part, writing it back, loading it and folding the rest.
    pub(crate) fn keeps_its_rows_over_any_split(view: &dyn View, records: &[Record]) {
        let whole = {
            let (mut whole, mut rows, mut index) = (view.empty(STREAM, &name()), Rows::new(), Index::default());
            fold(view, &mut *whole, records, &mut index);
            write_back(&mut *whole, &mut rows);
            (rows, index.0)
        };
        assert!(!whole.0.is_empty(), "the history means nothing to this view");
        for split in 0..=records.len() {
            let (mut first, mut rows, mut index) = (view.empty(STREAM, &name()), Rows::new(), Index::default());
            fold(view, &mut *first, &records[..split], &mut index);
            write_back(&mut *first, &mut rows);
            let stored = rows
                .iter()
                .map(|(key, value)| Row {
                    key: key.clone(),
                    value: Some(value.clone()),
                })
                .collect();
            let mut second = view.load(STREAM, &name(), stored).expect("its own rows");
            fold(view, &mut *second, &records[split..], &mut index);
            write_back(&mut *second, &mut rows);
            assert_eq!((&rows, &index.0), (&whole.0, &whole.1), "split at {split}");
            write_back(&mut *second, &mut Rows::new());
            let mut again = Rows::new();
            write_back(&mut *second, &mut again);
            assert!(again.is_empty(), "rows are written once per change");
            let (mut all, mut listed) = (Rows::new(), Index::default());
            second.rows(&mut |row: Row| drop(all.insert(row.key, row.value.expect("a row that is there"))));
            second.index_rows(&mut listed);
            assert_eq!((&all, &listed.0), (&whole.0, &whole.1), "all rows at once");
        }
    }

    pub(crate) fn as_any<F: Fold>(fold: &dyn Fold) -> &F {
        let any: &dyn Any = fold;
        any.downcast_ref().expect("the view's fold")
    }

    #[test]
    fn no_view_folds_a_content_delta() {
        let delta = crate::record::ContentDelta::KIND;
        assert!(super::views().iter().all(|view| !view.folds(delta)));
        assert!(matches!(decode(&history()[8]), Ok(Fact::ContentDelta(_))));
    }
}
