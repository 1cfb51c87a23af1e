//! The fold of states, record by record.

use serde_json::json;

use super::*;
use crate::projection::testing::{
    A, Index, STREAM, as_any, fold, history, keeps_its_rows_over_any_split, name, record,
};

/// What the log gives a session's records.
fn session() -> Vec<Record> {
    let mut records = history();
    for record in &mut records {
        if StateView.folds(record.kind) {
            record.subject = SESSION_STATE;
        }
    }
    records
}

/// A user's stream: two kinds of flow, and what both share.
fn user() -> Vec<Record> {
    let change = |position, subject, flow: Option<&str>, op: Value| {
        let payload = json!({"scope": "user", "op": op, "flow": flow});
        Record {
            subject,
            ..record(position, None, 24, &payload)
        }
    };
    vec![
        change(1, flow_state("a"), Some("a"), json!({"inc": {"n": 1}})),
        change(2, flow_state("b"), Some("b"), json!({"inc": {"n": 10}})),
        change(3, SHARED_STATE, None, json!({"patch": {"theme": "dark"}})),
        change(4, flow_state("a"), Some("a"), json!({"inc": {"n": 1}})),
    ]
}

#[test]
fn rows_survive_any_split() {
    keeps_its_rows_over_any_split(&StateView, &session());
    keeps_its_rows_over_any_split(&StateView, &user());
}

#[test]
fn operations_apply_in_order_and_one_that_cannot_changes_nothing_but_the_version() {
    let mut state = StateView.empty(STREAM, &name());
    fold(&StateView, &mut *state, &session(), &mut Index::default());
    let shown = as_any::<StateFold>(&*state).session();
    assert_eq!(json!(shown.fields), json!({"n": 3, "topic": "tea"}));
    assert_eq!((shown.version, shown.count), (13, 4));
    assert_eq!(as_any::<StateFold>(&*state).states[KEY].skipped, 1);
}

#[test]
fn flows_have_a_state_of_their_own_unless_they_share_it() {
    let mut states = StateView.empty(STREAM, &name());
    fold(&StateView, &mut *states, &user(), &mut Index::default());
    let states = as_any::<StateFold>(&*states);
    let shown = |flow: Option<&str>, subject| {
        let shown = states.shown(flow, subject);
        (json!(shown.fields), shown.version, shown.count)
    };
    assert_eq!(shown(Some("a"), flow_state("a")), (json!({"n": 2}), 4, 2));
    assert_eq!(shown(Some("b"), flow_state("b")), (json!({"n": 10}), 2, 1));
    assert_eq!(shown(None, SHARED_STATE), (json!({"theme": "dark"}), 3, 1));
    assert_eq!(shown(Some("c"), flow_state("c")), (Value::Null, 0, 0));
}

#[test]
fn a_requests_state_is_not_kept() {
    let mut states = StateView.empty(STREAM, &name());
    let change = record(
        2,
        Some((A, 1)),
        24,
        &json!({"scope": "request", "op": {"inc": {"n": 1}}}),
    );
    fold(&StateView, &mut *states, &[change], &mut Index::default());
    assert!(as_any::<StateFold>(&*states).states.is_empty());
}

#[test]
fn rows_of_the_first_version_are_taken_over() {
    let row = Row {
        key: b"state".to_vec(),
        value: Some(
            json!({"value": {"n": 1}, "version": 7, "skipped": 2})
                .to_string()
                .into(),
        ),
    };
    let mut fold = StateView.upgrade(STREAM, &name(), 1, vec![row]).expect("its own rows");
    let shown = as_any::<StateFold>(&*fold).session();
    assert_eq!((json!(shown.fields), shown.version), (json!({"n": 1}), 7));
    let mut rows = 0;
    fold.changed(&mut |_| rows += 1);
    assert_eq!(rows, 1, "they are written anew");
}
