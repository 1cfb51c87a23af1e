//! A session's state: the fold of its operations.

use flowstate_log::Log;
use flowstate_log::error::ViewError;
use flowstate_log::record::{Kind, Name, Record, StreamId};
use flowstate_log::view::{Fold, IndexRows, Row, View, ViewId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{json_row, single_row};
use crate::record::{Fact, ScopeKind, SessionCreated, StateChanged, decode};

/// Its view.
pub(crate) const ID: ViewId = ViewId(4);
const KEY: &[u8] = b"state";

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
        1
    }

    fn folds(&self, kind: Kind) -> bool {
        [SessionCreated::KIND, StateChanged::KIND].contains(&kind)
    }

    fn empty(&self, _stream: StreamId, _name: &Name) -> Box<dyn Fold> {
        Box::<StateFold>::default()
    }

    fn load(&self, _stream: StreamId, _name: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        Ok(Box::new(StateFold {
            state: single_row(rows)?.unwrap_or_default(),
            changed: false,
        }))
    }
}

/// The state of one session.
#[derive(Default)]
pub(crate) struct StateFold {
    state: State,
    changed: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    value: Value,
    /// Position of the last record about it that could be applied.
    version: u64,
    /// Operations that could not be applied, and changed nothing.
    skipped: u64,
}

impl StateFold {
    pub(crate) fn value(&self) -> &Value {
        &self.state.value
    }

    /// Position of the record that made the state what it is.
    pub(crate) fn version(&self) -> u64 {
        self.state.version
    }
}

impl Fold for StateFold {
    fn apply(&mut self, record: &Record, _index: &mut dyn IndexRows) {
        let next = match decode(record) {
            Ok(Fact::SessionCreated(created)) => Some(created.state),
            Ok(Fact::StateChanged(change)) if change.scope == ScopeKind::Session => {
                change.applied_to(&self.state.value).ok()
            }
            _ => None,
        };
        match next {
            Some(value) => {
                self.state.value = value;
                self.state.version = record.position;
            }
            None => self.state.skipped += 1,
        }
        self.changed = true;
    }

    fn changed(&mut self, rows: &mut dyn FnMut(Row)) {
        if std::mem::take(&mut self.changed) {
            rows(json_row(KEY, &self.state));
        }
    }

    fn rows(&self, rows: &mut dyn FnMut(Row)) {
        rows(json_row(KEY, &self.state));
    }
}

/// Reads the fold of a session's state.
pub(crate) async fn read<R: Send>(
    log: &Log,
    stream: StreamId,
    read: impl FnOnce(&StateFold) -> R + Send,
) -> Result<R, ViewError> {
    log.view(stream, ID, read).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::projection::testing::{Index, STREAM, as_any, fold, history, keeps_its_rows_over_any_split, name};

    #[test]
    fn rows_survive_any_split() {
        keeps_its_rows_over_any_split(&StateView, &history());
    }

    #[test]
    fn operations_apply_in_order_and_one_that_cannot_changes_nothing() {
        let mut state = StateView.empty(STREAM, &name());
        fold(&StateView, &mut *state, &history(), &mut Index::default());
        let state = as_any::<StateFold>(&*state);
        assert_eq!(state.value(), &json!({"n": 3, "topic": "tea"}));
        assert_eq!((state.version(), state.state.skipped), (12, 1));
    }
}
