//! Whether an operation fits a state, without doing it, and what numbers add up to.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use super::op::{Fields, StateOp};
use super::op_error::OpError;

/// What an operation would leave in the fields that it names: whole values, or of an array or object only what is new, so that a check
/// costs nothing for what was there. `Err` if it can't be applied to what `current` gives.
pub(super) fn check_fit<'a, 'b>(
    op: &'a StateOp,
    current: impl Fn(&str) -> Option<&'b Value>,
) -> Result<Vec<(&'a str, Cow<'a, Value>)>, OpError> {
    let whole = |fields: &'a Fields| -> Vec<(&'a str, Cow<'a, Value>)> {
        let fields = fields.iter();
        fields
            .map(|(field, value)| (field.as_str(), Cow::Borrowed(value)))
            .collect()
    };
    Ok(match op {
        StateOp::Inc(by) => by
            .iter()
            .map(|(field, by)| {
                let sum = sum(field, current(field), by)?;
                Ok((field.as_str(), Cow::Owned(Value::Number(sum))))
            })
            .collect::<Result<_, OpError>>()?,
        StateOp::Patch(fields) => whole(fields),
        StateOp::Set(to) | StateOp::Atomic(to) => whole(&to.fields),
        StateOp::Push { field, value } => match current(field) {
            None | Some(Value::Null | Value::Array(_)) => {
                vec![(field, Cow::Owned(Value::Array(vec![value.clone()])))]
            }
            Some(other) => return Err(OpError::not_an_array(field, other)),
        },
        StateOp::RecordSet { field, key, value } => match current(field) {
            None | Some(Value::Null | Value::Object(_)) => {
                let entry = Map::from_iter([(key.clone(), value.clone())]);
                vec![(field, Cow::Owned(Value::Object(entry)))]
            }
            Some(other) => return Err(OpError::not_a_record(field, other)),
        },
        StateOp::RecordDelete { field, .. } => match current(field) {
            None | Some(Value::Null | Value::Object(_)) => Vec::new(),
            Some(other) => return Err(OpError::not_a_record(field, other)),
        },
    })
}

/// What a number field becomes.
pub(super) fn sum(field: &str, current: Option<&Value>, by: &Value) -> Result<Number, OpError> {
    let number = |value: &Value| match value {
        Value::Number(number) => Ok(number.clone()),
        other => Err(OpError::not_a_number(field, other)),
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
    sum.ok_or_else(|| OpError::Overflow {
        field: field.to_owned(),
        by: by.to_string(),
    })
}
