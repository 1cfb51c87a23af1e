//! States: folds of their operations. A session's stream holds the session's, a user's or project's stream one that all flows share
//! and one for each kind of flow.

use std::borrow::Cow;
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
use crate::scope::{Fields, StateOp};

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
        let state = self.states.get(&*key(flow));
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

fn key(flow: Option<&str>) -> Cow<'static, str> {
    flow.map_or(Cow::Borrowed(KEY), |flow| Cow::Owned(format!("{KEY}/{flow}")))
}

/// What a fold needs of a [`StateChanged`]: it reads nothing of the item that clients are shown.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Change {
    scope: ScopeKind,
    op: StateOp,
    base: Fields,
    flow: Option<String>,
}

impl StateFold {
    /// The state under a key, and that it changed.
    fn changing(&mut self, key: Cow<'_, str>) -> &mut State {
        if !self.changed.contains(&*key) {
            self.changed.insert(key.clone().into_owned());
        }
        self.states.entry(key.into_owned()).or_default()
    }
}

impl Fold for StateFold {
    fn apply(&mut self, record: &Record, _index: &mut dyn IndexRows) {
        let (state, applied) = if record.kind == StateChanged::KIND {
            let change = serde_json::from_slice::<Change>(&record.payload).ok();
            // A request's state lives as long as its run, which keeps it.
            if change.as_ref().is_some_and(|change| change.scope == ScopeKind::Request) {
                return;
            }
            let state = self.changing(key(change.as_ref().and_then(|change| change.flow.as_deref())));
            let applied = match (change, &mut state.value) {
                (Some(Change { op, base, .. }), Value::Object(fields)) => {
                    let change = StateChanged {
                        op,
                        base,
                        ..StateChanged::default()
                    };
                    change.apply_to(fields).is_ok()
                }
                _ => false,
            };
            (state, applied)
        } else {
            let state = self.changing(key(None));
            let applied = match decode(record) {
                Ok(Fact::SessionCreated(created)) => {
                    state.value = created.state;
                    true
                }
                _ => false,
            };
            (state, applied)
        };
        state.skipped += u64::from(!applied);
        state.count += 1;
        state.version = record.position;
        state.subject = record.subject.0;
        self.versions.insert(record.subject, record.position);
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
mod tests;
