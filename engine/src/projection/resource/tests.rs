//! The fold of resources, record by record.

use serde_json::json;

use super::family::Order;
use super::*;
use crate::projection::testing::{Index, STREAM, as_any, fold, keeps_its_rows_over_any_split, name, record};
use crate::record::{Fact, resource_subject};

fn at(key: Option<&str>, of: u64) -> ResourceAt {
    ResourceAt {
        resource: if key.is_some() { "files" } else { "plan" }.into(),
        key: key.map(str::to_owned),
        of,
        ..ResourceAt::default()
    }
}

fn stated(position: u64, at: &ResourceAt, fact: impl Into<Fact>) -> Record {
    let fact = fact.into();
    Record {
        subject: resource_subject(at),
        payload: fact.encode().expect("a payload"),
        ..record(position, None, fact.kind().0, &json!({}))
    }
}

fn created(position: u64, key: &str, state: Value) -> Record {
    let at = at(Some(key), 0);
    let fact = ResourceCreated {
        at: at.clone(),
        state,
        item: None,
    };
    stated(position, &at, fact)
}

fn changed(position: u64, at: &ResourceAt, op: Value) -> Record {
    let fact = ResourceChanged {
        at: at.clone(),
        op: serde_json::from_value(op).expect("an operation"),
        ..ResourceChanged::default()
    };
    stated(position, at, fact)
}

fn written(position: u64, at: &ResourceAt, text: &str) -> Record {
    let fact = ResourceWritten {
        at: at.clone(),
        text: text.to_owned().into(),
        ..ResourceWritten::default()
    };
    stated(position, at, fact)
}

fn deleted(position: u64, at: &ResourceAt) -> Record {
    let fact = ResourceDeleted {
        at: at.clone(),
        ..ResourceDeleted::default()
    };
    stated(position, at, fact)
}

fn accessed(position: u64, at: &ResourceAt) -> Record {
    stated(position, at, ResourceAccessed { at: at.clone() })
}

fn history() -> Vec<Record> {
    let mut records = vec![
        created(1, "files/b", json!({"n": 1})),
        created(2, "files/a", json!({"n": 2})),
        created(3, "files/b", json!({"n": 100})),
        changed(4, &at(Some("files/b"), 1), json!({"inc": {"n": 5}})),
        changed(5, &at(None, 0), json!({"patch": {"topic": "tea"}})),
        written(6, &at(None, 0), "# Plan"),
        accessed(7, &at(Some("files/a"), 2)),
        created(8, "files/c/d", json!({})),
        deleted(9, &at(Some("files/a"), 2)),
        deleted(10, &at(Some("files/a"), 2)),
        created(11, "files/a", json!({"n": 3})),
        // Of the one that is gone.
        changed(12, &at(Some("files/a"), 2), json!({"inc": {"n": 50}})),
        written(13, &at(Some("files/a"), 2), "old"),
        changed(14, &at(Some("files/none"), 0), json!({"inc": {"n": 1}})),
        changed(15, &at(Some("files/b"), 1), json!({"push": {"field": "n", "value": 1}})),
    ];
    let more = (16..16 + 2 * CHUNK).map(|position| written(position, &at(Some("files/b"), 1), "body"));
    records.extend(more);
    records
}

const CHUNK: u64 = rows::CHUNK as u64;

fn folded(records: &[Record]) -> Box<dyn Fold> {
    let mut resources = ResourceView.empty(STREAM, &name());
    fold(&ResourceView, &mut *resources, records, &mut Index::default());
    resources
}

#[test]
fn rows_survive_any_split() {
    let mut records = history();
    keeps_its_rows_over_any_split(&ResourceView, &records);
    // What had many bodies goes, with the rows of all of them, and comes again without any.
    let next = records.len() as u64 + 1;
    records.push(deleted(next, &at(Some("files/b"), 1)));
    records.push(created(next + 1, "files/b", json!({})));
    keeps_its_rows_over_any_split(&ResourceView, &records);
}

#[test]
fn the_first_of_a_key_counts_until_it_is_deleted_and_nothing_is_of_another_incarnation() {
    let resources = folded(&history());
    let resources = as_any::<ResourceFold>(&*resources);
    let shown = |key: Option<&str>, of| {
        let at = at(key, of);
        let shown = resources.shown(&at, resource_subject(&at));
        (json!(shown.fields), shown.count)
    };
    assert_eq!(shown(Some("files/b"), 1), (json!({"n": 6}), 3));
    assert_eq!(shown(Some("files/a"), 11), (json!({"n": 3}), 1));
    assert_eq!(shown(Some("files/a"), 2), (Value::Null, 0));
    assert_eq!(shown(None, 0), (json!({"topic": "tea"}), 1));
    assert_eq!(shown(Some("files/none"), 0), (Value::Null, 0));
    let bodies = |key: Option<&str>| resources.instance(&at(key, 0)).map(|found| found.bodies.len());
    assert_eq!(
        (bodies(None), bodies(Some("files/a")), bodies(Some("files/b"))),
        (Some(1), Some(0), Some(2 * rows::CHUNK))
    );
    let last = history().len() as u64;
    assert_eq!(resources.version(resource_subject(&at(Some("files/b"), 0))), last);
    assert_eq!(resources.version(resource_subject(&at(None, 0))), 6);
}

#[test]
fn a_collection_is_listed_by_its_keys_and_knows_who_makes_room() {
    let resources = folded(&history()[..14]);
    let files = as_any::<ResourceFold>(&*resources)
        .family(None, "files")
        .expect("files");
    let keys = |prefix, after| -> Vec<String> { files.list(prefix, after).map(|(key, _)| key.to_string()).collect() };
    assert_eq!(keys("files/", None), ["files/a", "files/b", "files/c/d"]);
    assert_eq!(keys("files/c", None), ["files/c/d"]);
    assert_eq!(keys("files/", Some("files/a")), ["files/b", "files/c/d"]);
    assert_eq!(keys("files/b", Some("files/a")), ["files/b"]);
    assert_eq!(keys("g", None), [""; 0]);
    assert_eq!(files.count(), 3);
    let first = |order| -> Vec<(String, u64)> { files.first(order).map(|(key, of)| (key.to_string(), of)).collect() };
    let of = |key: &str, of| (key.to_owned(), of);
    assert_eq!(
        first(Order::Age),
        [of("files/b", 1), of("files/c/d", 8), of("files/a", 11)]
    );
    assert_eq!(
        first(Order::Access),
        [of("files/b", 1), of("files/c/d", 8), of("files/a", 11)]
    );
    let resources = folded(&[&history()[..9], &[accessed(10, &at(Some("files/b"), 1))]].concat());
    let files = as_any::<ResourceFold>(&*resources)
        .family(None, "files")
        .expect("files");
    let first: Vec<_> = files.first(Order::Access).map(|(key, _)| key.to_string()).collect();
    assert_eq!(first, ["files/c/d", "files/b"]);
}

#[test]
fn a_record_that_cannot_be_read_changes_nothing_but_the_version() {
    let mut records = vec![created(1, "files/a", json!({"n": 1}))];
    let mut broken = changed(2, &at(Some("files/a"), 1), json!({"inc": {"n": 1}}));
    broken.payload = "no json".into();
    records.push(broken);
    let resources = folded(&records);
    let at = at(Some("files/a"), 0);
    let shown = as_any::<ResourceFold>(&*resources).shown(&at, resource_subject(&at));
    assert_eq!(
        (json!(shown.fields), shown.version, shown.count),
        (json!({"n": 1}), 2, 1)
    );
}
