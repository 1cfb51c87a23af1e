//! Operations on a state, as data. They are applied by whoever folds the records, in the order of the records,
//! each whole or not at all.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fit::sum;
use super::op_error::OpError;

/// Fields of a state and their values.
pub type Fields = Map<String, Value>;

/// One operation on a state, as it is recorded. All but the last two commute with what others do at the same time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StateOp {
    /// Adds to number fields. A missing field and `null` count as 0.
    Inc(Fields),
    /// Replaces fields; the others stay.
    Patch(Fields),
    /// Adds an element at the end of an array field. A missing field and `null` count as empty.
    Push {
        /// The field.
        field: String,
        /// The element.
        value: Value,
    },
    /// Sets one key of an object field. A missing field and `null` count as empty.
    RecordSet {
        /// The field.
        field: String,
        /// The key.
        key: String,
        /// Its value.
        value: Value,
    },
    /// Removes one key of an object field.
    RecordDelete {
        /// The field.
        field: String,
        /// The key.
        key: String,
    },
    /// A state was replaced: what that changed. Appended under the version that it was worked out from.
    Set(Difference),
    /// A state was worked out from the one before: what that changed. Appended under that version.
    Atomic(Difference),
}

/// What became of a state's fields.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Difference {
    /// New values.
    pub fields: Fields,
    /// Fields that are gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

impl Default for StateOp {
    fn default() -> Self {
        Self::Patch(Map::new())
    }
}

impl StateOp {
    /// Its name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Inc(_) => "increment",
            Self::Patch(_) | Self::RecordSet { .. } => "patch",
            Self::Push { .. } => "push",
            Self::RecordDelete { .. } => "delete_key",
            Self::Set(_) => "set",
            Self::Atomic(_) => "atomic",
        }
    }

    /// The fields that it names.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        let (fields, removed, one) = match self {
            Self::Inc(fields) | Self::Patch(fields) => (Some(fields), None, None),
            Self::Push { field, .. } | Self::RecordSet { field, .. } | Self::RecordDelete { field, .. } => {
                (None, None, Some(field))
            }
            Self::Set(to) | Self::Atomic(to) => (Some(&to.fields), Some(&to.removed), None),
        };
        let fields = fields.into_iter().flat_map(Map::keys);
        fields
            .chain(removed.into_iter().flatten())
            .chain(one)
            .map(String::as_str)
    }

    /// Whether it can't conflict with what others do at the same time.
    pub(super) fn commutes(&self) -> bool {
        !matches!(self, Self::Set(_) | Self::Atomic(_))
    }

    /// Whether it says what its fields become, whatever they were.
    pub(super) fn replaces(&self) -> bool {
        matches!(self, Self::Patch(_) | Self::Set(_) | Self::Atomic(_))
    }

    /// Changes `state`, whole or not at all.
    pub(crate) fn apply_to(&self, state: &mut Fields) -> Result<(), OpError> {
        match self {
            Self::Inc(by) => {
                let sums: Vec<_> = by
                    .iter()
                    .map(|(field, by)| sum(field, state.get(field), by))
                    .collect::<Result<_, _>>()?;
                for (field, sum) in by.keys().zip(sums) {
                    put(state, field, Value::Number(sum));
                }
            }
            Self::Patch(fields) => fields
                .iter()
                .for_each(|(field, value)| put(state, field, value.clone())),
            Self::Push { field, value } => match present(state, field) {
                None => put(state, field, Value::Array(vec![value.clone()])),
                Some(Value::Array(elements)) => elements.push(value.clone()),
                Some(other) => return Err(OpError::not_an_array(field, other)),
            },
            Self::RecordSet { field, key, value } => match present(state, field) {
                None => put(
                    state,
                    field,
                    Value::Object(Map::from_iter([(key.clone(), value.clone())])),
                ),
                Some(Value::Object(keys)) => put(keys, key, value.clone()),
                Some(other) => return Err(OpError::not_a_record(field, other)),
            },
            Self::RecordDelete { field, key } => match present(state, field) {
                None => {}
                Some(Value::Object(keys)) => drop(keys.remove(key)),
                Some(other) => return Err(OpError::not_a_record(field, other)),
            },
            Self::Set(to) | Self::Atomic(to) => {
                to.fields
                    .iter()
                    .for_each(|(field, value)| put(state, field, value.clone()));
                to.removed.iter().for_each(|field| drop(state.remove(field)));
            }
        }
        Ok(())
    }
}

/// A field that has a value.
fn present<'a>(state: &'a mut Fields, field: &str) -> Option<&'a mut Value> {
    state.get_mut(field).filter(|value| !value.is_null())
}

/// Sets a field, without a copy of its name if it is there.
fn put(fields: &mut Fields, field: &str, value: Value) {
    match fields.get_mut(field) {
        Some(there) => *there = value,
        None => drop(fields.insert(field.to_owned(), value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(op: Value, state: Value) -> Result<Value, OpError> {
        let op: StateOp = serde_json::from_value(op).expect("an operation");
        let Value::Object(mut fields) = state else {
            panic!("a state is an object");
        };
        let before = fields.clone();
        let done = op.apply_to(&mut fields);
        assert!(done.is_ok() || fields == before, "whole or not at all");
        done.map(|()| Value::Object(fields))
    }

    #[test]
    fn inc_adds_and_begins_at_zero() {
        let next = applied(
            json!({"inc": {"a": 2, "b": -1, "c": 0.5, "d": 1}}),
            json!({"a": 40, "c": 1, "d": null}),
        );
        assert_eq!(next, Ok(json!({"a": 42, "b": -1, "c": 1.5, "d": 1})));
    }

    #[test]
    fn inc_refuses_what_is_no_number_and_changes_nothing() {
        let error = applied(json!({"inc": {"a": 1, "b": 1}}), json!({"a": 1, "b": "x"}));
        assert!(matches!(error, Err(OpError::NotANumber { field, .. }) if field == "b"));
        let error = applied(json!({"inc": {"a": 1}}), json!({"a": u64::MAX}));
        assert!(matches!(error, Err(OpError::Overflow { .. })));
    }

    #[test]
    fn patch_replaces_the_named_fields_only() {
        let next = applied(json!({"patch": {"a": {"x": 1}}}), json!({"a": {"y": 2}, "b": 3}));
        assert_eq!(next, Ok(json!({"a": {"x": 1}, "b": 3})));
    }

    #[test]
    fn push_and_records_begin_empty_and_refuse_other_values() {
        let push = json!({"push": {"field": "a", "value": 1}});
        assert_eq!(applied(push.clone(), json!({})), Ok(json!({"a": [1]})));
        assert_eq!(applied(push.clone(), json!({"a": [0]})), Ok(json!({"a": [0, 1]})));
        assert!(matches!(
            applied(push, json!({"a": {}})),
            Err(OpError::NotAnArray { .. })
        ));

        let set = json!({"record_set": {"field": "r", "key": "k", "value": 1}});
        assert_eq!(applied(set.clone(), json!({"r": null})), Ok(json!({"r": {"k": 1}})));
        assert!(matches!(
            applied(set, json!({"r": []})),
            Err(OpError::NotARecord { .. })
        ));
        let delete = json!({"record_delete": {"field": "r", "key": "k"}});
        assert_eq!(
            applied(delete.clone(), json!({"r": {"k": 1, "l": 2}})),
            Ok(json!({"r": {"l": 2}}))
        );
        assert_eq!(applied(delete.clone(), json!({})), Ok(json!({})));
        assert!(matches!(
            applied(delete, json!({"r": "x"})),
            Err(OpError::NotARecord { .. })
        ));
    }

    #[test]
    fn a_difference_sets_and_removes() {
        let next = applied(
            json!({"set": {"fields": {"a": 2}, "removed": ["b"]}}),
            json!({"a": 1, "b": 1, "c": 1}),
        );
        assert_eq!(next, Ok(json!({"a": 2, "c": 1})));
    }
}
