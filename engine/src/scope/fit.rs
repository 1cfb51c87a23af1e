//! Whether an operation fits a state, without doing it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::op::{Fields, StateOp, sum};
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
