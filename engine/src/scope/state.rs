//! Operations on a scope's state, as data and as what a block calls. They commute: any number of writers may append them
//! at once, nobody re-tries, and the order of the records decides.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::error::StateError;
use crate::exec::Ctx;
use crate::record::{ScopeKind, StateChanged};
use crate::schema::deserialize;
use crate::value::Data;

/// One operation on a state, as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StateOp {
    /// Adds to number fields. A missing field and `null` count as 0.
    Inc(Map<String, Value>),
    /// Replaces fields; the others stay.
    Patch(Map<String, Value>),
}

impl Default for StateOp {
    fn default() -> Self {
        Self::Patch(Map::new())
    }
}

impl StateOp {
    /// The fields that it names.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &String> {
        match self {
            Self::Inc(fields) | Self::Patch(fields) => fields.keys(),
        }
    }

    /// The state after it. Whole or not at all.
    pub(crate) fn applied_to(&self, state: &Value) -> Result<Value, StateError> {
        let mut next = match state {
            Value::Object(fields) => fields.clone(),
            _ => Map::new(),
        };
        match self {
            Self::Inc(by) => {
                for (field, by) in by {
                    let sum = sum(field, next.get(field), by)?;
                    next.insert(field.clone(), Value::Number(sum));
                }
            }
            Self::Patch(fields) => next.extend(fields.iter().map(|(field, value)| (field.clone(), value.clone()))),
        }
        Ok(Value::Object(next))
    }
}

fn sum(field: &str, current: Option<&Value>, by: &Value) -> Result<Number, StateError> {
    let number = |value: &Value| match value {
        Value::Number(number) => Ok(number.clone()),
        other => Err(StateError::NotANumber {
            field: field.to_owned(),
            actual: other.to_string(),
        }),
    };
    let current = match current {
        None | Some(Value::Null) => Number::from(0),
        Some(value) => number(value)?,
    };
    let by = number(by)?;
    let sum = if current.is_f64() || by.is_f64() {
        match (current.as_f64(), by.as_f64()) {
            (Some(current), Some(by)) => Number::from_f64(current + by),
            _ => None,
        }
    } else {
        match (current.as_i128(), by.as_i128()) {
            (Some(current), Some(by)) => current.checked_add(by).and_then(Number::from_i128),
            _ => None,
        }
    };
    sum.ok_or_else(|| StateError::Overflow {
        field: field.to_owned(),
        by: by.to_string(),
    })
}

/// A scope's state as a block sees it. `S` may have only the fields that the block cares about.
pub struct StateRef<S> {
    ctx: Ctx,
    _state: PhantomData<fn() -> S>,
}

impl<S> StateRef<S> {
    pub(crate) fn new(ctx: Ctx) -> Self {
        Self {
            ctx,
            _state: PhantomData,
        }
    }

    /// Adds `by` to a number field. Durable, and visible to every reader, when this returns.
    pub async fn inc(&self, field: &str, by: impl Into<Number>) -> Result<(), StateError> {
        let fields = Map::from_iter([(field.to_owned(), Value::Number(by.into()))]);
        self.change(StateOp::Inc(fields)).await
    }

    /// Replaces the fields of `fields` (an object, or a struct that serialises to one); the others stay.
    /// Durable, and visible to every reader, when this returns.
    pub async fn patch(&self, fields: impl Serialize) -> Result<(), StateError> {
        match serde_json::to_value(fields) {
            Ok(Value::Object(fields)) => self.change(StateOp::Patch(fields)).await,
            Ok(other) => Err(StateError::NotAnObject(other.to_string())),
            Err(error) => Err(StateError::NotAnObject(error.to_string())),
        }
    }

    async fn change(&self, op: StateOp) -> Result<(), StateError> {
        let stored = self.ctx.session_state().await?;
        let session = &self.ctx.flow().session;
        let base = session.missing(&stored, &op);
        let change = StateChanged {
            scope: ScopeKind::Session,
            op,
            base,
        };
        session.check(&stored, &change)?;
        self.ctx.change_state(change).await?;
        Ok(())
    }
}

impl<S: Data> StateRef<S> {
    /// The state now, with every write of this request that has returned.
    pub async fn get(&self) -> Result<S, StateError> {
        let stored = self.ctx.session_state().await?;
        deserialize("", &self.ctx.flow().session.filled(&stored)).map_err(|problem| StateError::Type {
            type_name: std::any::type_name::<S>(),
            message: problem.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn op(json: Value) -> StateOp {
        serde_json::from_value(json).expect("an operation")
    }

    #[test]
    fn inc_adds_and_begins_at_zero() {
        let next = op(json!({"inc": {"a": 2, "b": -1, "c": 0.5}})).applied_to(&json!({"a": 40, "c": 1}));
        assert_eq!(next.ok(), Some(json!({"a": 42, "b": -1, "c": 1.5})));
    }

    #[test]
    fn inc_refuses_what_is_no_number_and_changes_nothing() {
        let error = op(json!({"inc": {"a": 1, "b": 1}})).applied_to(&json!({"a": 1, "b": "x"}));
        assert!(matches!(error, Err(StateError::NotANumber { field, .. }) if field == "b"));
        let error = op(json!({"inc": {"a": 1}})).applied_to(&json!({"a": u64::MAX}));
        assert!(matches!(error, Err(StateError::Overflow { .. })));
    }

    #[test]
    fn patch_replaces_the_named_fields_only() {
        let next = op(json!({"patch": {"a": {"x": 1}}})).applied_to(&json!({"a": {"y": 2}, "b": 3}));
        assert_eq!(next.ok(), Some(json!({"a": {"x": 1}, "b": 3})));
    }
}
