//! What operations give: what they left in the fields that they name.

use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::StateProblem;
use super::op::Fields;
use crate::error::RecordError;

pub(super) fn names(fields: &Fields) -> Vec<String> {
    fields.keys().cloned().collect()
}

pub(super) fn values(state: &Fields, named: &[String]) -> Fields {
    let values = named.iter();
    values
        .filter_map(|field| Some((field.clone(), state.get(field)?.clone())))
        .collect()
}

pub(super) fn number(state: &Fields, field: &str) -> Number {
    match state.get(field) {
        Some(Value::Number(number)) => number.clone(),
        _ => Number::from(0),
    }
}

pub(super) fn elements(state: &Fields, field: &str) -> usize {
    state.get(field).and_then(Value::as_array).map_or(0, Vec::len)
}

pub(super) fn keys(state: &Fields, field: &str) -> usize {
    state.get(field).and_then(Value::as_object).map_or(0, Map::len)
}

pub(super) fn json(value: impl Serialize) -> Result<Value, StateProblem> {
    serde_json::to_value(value).map_err(|error| RecordError::Encode(error.to_string()).into())
}
