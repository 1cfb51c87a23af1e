//! States: folds of their operations. A session's stream holds the session's, a user's or project's stream one that all flows share
//! and one for each kind of flow.

use std::collections::{BTreeMap, BTreeSet};

use flowstate_log::Log;
use flowstate_log::error::ViewError;
use flowstate_log::record::{Kind, Name, Record, StreamId, Subject};
use flowstate_log::view::{Fold, IndexRows, Row, View, ViewId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{from_json, json_row};
use crate::record::{
    Fact, REQUEST_STATE, SESSION_STATE, SHARED_STATE, ScopeKind, SessionCreated, StateChanged, decode, flow_state,
};
use crate::scope::Fields;

/// Its view.
pub(crate) const ID: ViewId = ViewId(4);
/// Key of the row of the state that is no flow's own; of another one a slash and the flow's kind follow.
const KEY: &str = "state";

/// See the module.
pub(crate) struct StateView;

impl View for StateView {
    fn id(&self) -> ViewId {
        ID
    }

    fn name(&self) -> &'static str {
        "state"
    }

    fn version(&self) -> u32 {
        2
    }

    fn folds(&self, kind: Kind) -> bool {
        [SessionCreated::KIND, StateChanged::KIND].contains(&kind)
    }

    fn empty(&self, _stream: StreamId, _name: &Name) -> Box<dyn Fold> {
        Box::<StateFold>::default()
    }

    /// Version 1 had the session's row only, without subject and count.
    fn upgrade(&self, stream: StreamId, name: &Name, _version: u32, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        let mut fold = load(rows)?;
        fold.changed.extend(fold.states.keys().cloned());
        let _ = (stream, name);
        Ok(Box::new(fold))
    }

    fn load(&self, _stream: StreamId, _name: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        Ok(Box::new(load(rows)?))
    }
}

fn load(rows: Vec<Row>) -> Result<StateFold, String> {
    let mut fold = StateFold::default();
    for Row { key, value } in rows {
        let key = String::from_utf8(key).map_err(|error| format!("a key is no text: {error}"))?;
        let Some(value) = value else { continue };
        let state: State = from_json(&value)?;
        let version = fold.versions.entry(Subject(state.subject)).or_default();
        *version = (*version).max(state.version);
        fold.states.insert(key, state);
    }
    Ok(fold)
}

/// The states in one stream.
#[derive(Default)]
pub(crate) struct StateFold {
    /// By key.
    states: BTreeMap<String, State>,
    /// Position of each subject's last record.
    versions: BTreeMap<Subject, u64>,
    changed: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(default)]
struct State {
    value: Value,
    /// Position of the last record about it.
    version: u64,
    /// How many records about it there were.
    count: u64,
    /// Those among them that could not be applied, and changed nothing.
    skipped: u64,
    subject: u16,
}

impl Default for State {
    fn default() -> Self {
        Self {
            value: Value::Object(Fields::new()),
            version: 0,
            count: 0,
            skipped: 0,
            subject: SESSION_STATE.0,
        }
    }
}

/// One state, as far as it is visible.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// `None` if there is none yet.
    pub(crate) fields: Option<&'a Fields>,
    /// Position of the last record of its subject: what a condition on it expects.
    pub(crate) version: u64,
    /// How many records it is made of.
    pub(crate) count: u64,
}

impl Shown<'_> {
    /// Of a stream that there is not.
    pub(crate) const NOTHING: Self = Shown {
        fields: None,
        version: 0,
        count: 0,
    };
}

impl StateFold {
    /// The state of a flow's kind, or the one that is no flow's own.
    pub(crate) fn shown(&self, flow: Option<&str>, subject: Subject) -> Shown<'_> {
        let state = self.states.get(&key(flow));
        Shown {
            fields: state.and_then(|state| state.value.as_object()),
            version: self.versions.get(&subject).copied().unwrap_or_default(),
            count: state.map_or(0, |state| state.count),
        }
    }

    /// The state of a session, in its stream.
    pub(crate) fn session(&self) -> Shown<'_> {
        self.shown(None, SESSION_STATE)
    }
}

fn key(flow: Option<&str>) -> String {
    flow.map_or_else(|| KEY.to_owned(), |flow| format!("{KEY}/{flow}"))
}

impl Fold for StateFold {
    fn apply(&mut self, record: &Record, _index: &mut dyn IndexRows) {
        let fact = decode(record);
        let flow = match &fact {
            // A request's state lives as long as its run, which keeps it.
            Ok(Fact::StateChanged(change)) if change.scope == ScopeKind::Request => return,
            Ok(Fact::StateChanged(change)) => change.flow.as_deref(),
            _ => None,
        };
        let key = key(flow);
        let state = self.states.entry(key.clone()).or_default();
        let applied = match (fact, &mut state.value) {
            (Ok(Fact::SessionCreated(created)), value) => {
                *value = created.state;
                true
            }
            (Ok(Fact::StateChanged(change)), Value::Object(fields)) => change.apply_to(fields).is_ok(),
            _ => false,
        };
        state.skipped += u64::from(!applied);
        state.count += 1;
        state.version = record.position;
        state.subject = record.subject.0;
        self.versions.insert(record.subject, record.position);
        self.changed.insert(key);
    }

    fn changed(&mut self, rows: &mut dyn FnMut(Row)) {
        for key in std::mem::take(&mut self.changed) {
            rows(json_row(key.as_bytes(), &self.states[&key]));
        }
    }

    fn rows(&self, rows: &mut dyn FnMut(Row)) {
        for (key, state) in &self.states {
            rows(json_row(key.as_bytes(), state));
        }
    }
}

/// Reads the fold of a stream's states.
pub(crate) async fn read<R: Send>(
    log: &Log,
    stream: StreamId,
    read: impl FnOnce(&StateFold) -> R + Send,
) -> Result<R, ViewError> {
    log.view(stream, ID, read).await
}

/// Where a flow's state of a user or project is in that stream, or a session's in its own: under which key and subject.
pub(crate) fn place(kind: ScopeKind, shared: bool, flow: &str) -> (Option<&str>, Subject) {
    match (kind, shared) {
        (ScopeKind::Request, _) => (None, REQUEST_STATE),
        (ScopeKind::Session, _) => (None, SESSION_STATE),
        (ScopeKind::User | ScopeKind::Project, true) => (None, SHARED_STATE),
        (ScopeKind::User | ScopeKind::Project, false) => (Some(flow), flow_state(flow)),
    }
}

/// A flow's state of a scope, in that scope's stream.
pub(crate) async fn of_flow(
    log: &Log,
    stream: StreamId,
    kind: ScopeKind,
    shared: bool,
    flow: &str,
) -> Result<Fields, ViewError> {
    let (flow, subject) = place(kind, shared, flow);
    read(log, stream, |states| {
        states.shown(flow, subject).fields.cloned().unwrap_or_default()
    })
    .await
}

#[cfg(test)]
mod tests {
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
}
