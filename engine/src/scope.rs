//! What a flow declares about a scope: the type of its state, where the state begins, and what clients see of it.
//! The operations on a state are in `scope/state`; which records hold it is in [`crate::projection::state`].

mod state;

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{BlockError, StateError};
use crate::flow::client_data::ClientData;
use crate::record::StateChanged;
use crate::schema::{Schema, deserialize};
use crate::value::{Data, Val};

pub use state::{StateOp, StateRef};

/// Declares a scope whose state is an `S`, which begins as `S::default()`.
pub fn scope<S: Data + Default>() -> Scope<S> {
    Scope {
        client_data: Vec::new(),
        _state: std::marker::PhantomData,
    }
}

/// A scope's declaration; see [`scope`].
pub struct Scope<S> {
    client_data: Vec<ClientData>,
    _state: std::marker::PhantomData<fn() -> S>,
}

impl<S: Data + Default> Scope<S> {
    /// Shows clients, under `name`, what `derive` makes of the state. Nothing else of a state ever reaches a client.
    pub fn client_data<R, F>(mut self, name: impl Into<String>, derive: F) -> Self
    where
        R: Serialize,
        F: Fn(&S) -> R + Send + Sync + 'static,
    {
        let derive =
            move |state: &Val| -> Result<Value, BlockError> { Ok(serde_json::to_value(derive(state.get::<S>()?))?) };
        self.client_data.push(ClientData {
            name: name.into(),
            derive: Arc::new(derive),
        });
        self
    }

    /// The declaration without its type; problems go to `problems`.
    pub(crate) fn erase(self, what: &str, problems: &mut Vec<String>) -> ScopeDef {
        let mut def = ScopeDef {
            client_data: self.client_data,
            ..ScopeDef::default()
        };
        match serde_json::to_value(S::default()) {
            Ok(Value::Object(initial)) => def.initial = initial,
            Ok(other) => problems.push(format!("the {what} state must be an object, not {other}")),
            Err(error) => problems.push(format!("the {what} state has no JSON form: {error}")),
        }
        match Schema::of::<S>() {
            Ok(schema) => {
                for problem in schema.problems("", &Value::Object(def.initial.clone())) {
                    problems.push(format!("the default {what} state is not valid: {problem}"));
                }
                def.schema = Some(schema);
            }
            Err(problem) => problems.push(format!("the {what} state: {problem}")),
        }
        def.decode = Some(Arc::new(|state: &Value| {
            deserialize::<S>("", state)
                .map(Val::new)
                .map_err(|problem| problem.to_string())
        }));
        def
    }
}

type Decode = Arc<dyn Fn(&Value) -> Result<Val, String> + Send + Sync>;

/// A scope's declaration without its type. The default declares no state at all.
#[derive(Default)]
pub(crate) struct ScopeDef {
    /// The state before anything changed it.
    pub(crate) initial: Map<String, Value>,
    /// What clients see.
    pub(crate) client_data: Vec<ClientData>,
    schema: Option<Schema>,
    decode: Option<Decode>,
}

impl ScopeDef {
    /// A stored state with the fields that it does not have yet as a new session would have them,
    /// so that a field may be added to a flow whose sessions live on.
    pub(crate) fn filled(&self, stored: &Value) -> Value {
        let mut state = self.initial.clone();
        if let Value::Object(stored) = stored {
            state.extend(stored.iter().map(|(field, value)| (field.clone(), value.clone())));
        }
        Value::Object(state)
    }

    /// The typed state; `Err` says why the stored one is not of the declared type.
    pub(crate) fn typed(&self, stored: &Value) -> Option<Result<Val, String>> {
        self.decode.as_ref().map(|decode| decode(&self.filled(stored)))
    }

    /// What the fields of `op` begin as that `stored` does not have yet.
    pub(crate) fn missing(&self, stored: &Value, op: &StateOp) -> Map<String, Value> {
        let missing = op.fields().filter(|field| stored.get(field.as_str()).is_none());
        missing
            .filter_map(|field| Some((field.clone(), self.initial.get(field)?.clone())))
            .collect()
    }

    /// Refuses a change of `stored` that names an undeclared field or leaves a value that does not fit.
    pub(crate) fn check(&self, stored: &Value, change: &StateChanged) -> Result<(), StateError> {
        let op = &change.op;
        let (known, open) = self.schema.as_ref().map(Schema::fields).unwrap_or_default();
        if let Some(field) = op.fields().find(|field| !open && !known.contains(field)) {
            return Err(StateError::UnknownField {
                field: field.clone(),
                known,
            });
        }
        let next = change.applied_to(&self.filled(stored))?;
        let mut problems = match &self.schema {
            Some(schema) => schema.problems("", &next),
            None => Vec::new(),
        };
        problems.retain(|problem| op.fields().any(|field| is_within(&problem.path, field)));
        if problems.is_empty() {
            Ok(())
        } else {
            Err(StateError::Invalid(problems))
        }
    }
}

/// Whether a problem's path is the field or lies in it. A problem of the whole state has no path; it is nobody's field.
fn is_within(path: &str, field: &str) -> bool {
    path.strip_prefix(field)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
