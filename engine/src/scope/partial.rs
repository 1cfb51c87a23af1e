//! Whole values of a state or of a part of it: only the fields that a type has are read, compared and written.

use serde::Serialize;
use serde::de::value::MapDeserializer;
use serde_json::Value;

use super::op::{Difference, Fields};
use super::{ScopeDef, StateProblem};
use crate::schema::fields_of;
use crate::value::Data;

/// The part `S` of a stored state. Nothing is copied but what `S` has.
pub(super) fn read<S: Data>(def: &ScopeDef, stored: &Fields) -> Result<S, StateProblem> {
    let missing = def.initial.iter().filter(|(field, _)| !stored.contains_key(*field));
    let fields = stored
        .iter()
        .chain(missing)
        .map(|(field, value)| (field.as_str(), value));
    let read = serde_path_to_error::deserialize(MapDeserializer::<_, serde_json::Error>::new(fields));
    read.map_err(|error| StateProblem::Type {
        type_name: std::any::type_name::<S>(),
        message: error.to_string(),
    })
}

/// The part of a stored state that `S` has: as `S`, or why it is none, and as fields.
#[allow(clippy::type_complexity)] // the error is one of the two
pub(super) fn read_fields<S: Data>(
    def: &ScopeDef,
    stored: &Fields,
) -> Result<(Result<S, StateProblem>, Fields), StateProblem> {
    let read = read::<S>(def, stored);
    let fields = match &read {
        Ok(value) => fields(value)?,
        Err(_) => {
            let (names, open) = fields_of::<S>();
            let own = |field: &String| open || names.contains(field);
            let own = stored.iter().filter(|(field, _)| own(field));
            own.map(|(field, value)| (field.clone(), value.clone())).collect()
        }
    };
    Ok((read, fields))
}

/// A value as fields.
pub(crate) fn fields(value: impl Serialize) -> Result<Fields, StateProblem> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(StateProblem::NotAnObject(other.to_string())),
        Err(error) => Err(StateProblem::NotAnObject(error.to_string())),
    }
}

/// What must change in `stored` so that the part that was `before` becomes `after`.
pub(super) fn difference(def: &ScopeDef, stored: &Fields, before: &Fields, after: Fields) -> Difference {
    let now = |field: &str| stored.get(field).or_else(|| def.initial.get(field));
    let removed = before.keys().filter(|field| !after.contains_key(*field));
    // A field that is not stored comes back as the default, so what removes it there has to say so.
    let (nulls, removed): (Vec<_>, Vec<_>) = removed.cloned().partition(|field| def.initial.contains_key(field));
    let mut fields: Fields = after
        .into_iter()
        .filter(|(field, value)| now(field) != Some(value))
        .collect();
    let nulls = nulls.into_iter().filter(|field| now(field) != Some(&Value::Null));
    fields.extend(nulls.map(|field| (field, Value::Null)));
    Difference {
        fields,
        removed: removed.into_iter().filter(|field| stored.contains_key(field)).collect(),
    }
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.removed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::scope::scope;

    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct Whole {
        a: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        b: Option<u32>,
        c: u32,
    }

    fn object(value: Value) -> Fields {
        fields(value).expect("an object")
    }

    #[test]
    fn only_what_changes_in_the_part_is_said() {
        let def = scope::<Whole>().erase("session", &mut Vec::new());
        let stored = object(json!({"a": 1, "b": 2}));
        let difference = |before, after| difference(&def, &stored, &object(before), object(after));
        assert!(difference(json!({"a": 1, "c": 0}), json!({"a": 1, "c": 0})).is_empty());
        let changed = difference(json!({"a": 1, "b": 2}), json!({"a": 3}));
        assert_eq!(
            (json!(changed.fields), changed.removed),
            (json!({"a": 3}), vec!["b".to_owned()])
        );
        assert!(difference(json!({"b": 2}), json!({"b": 2})).is_empty(), "c is not read");
    }

    #[test]
    fn of_what_does_not_fit_the_own_fields_are_given_as_they_are() {
        let def = scope::<Whole>().erase("session", &mut Vec::new());
        let stored = object(json!({"a": -1, "b": 2, "of others": 3}));
        let (read, was) = read_fields::<Whole>(&def, &stored).expect("fields");
        assert!(matches!(read, Err(StateProblem::Type { .. })));
        assert_eq!(json!(was), json!({"a": -1, "b": 2}));
        let set = difference(&def, &stored, &was, object(json!(Whole::default())));
        assert_eq!(
            (json!(set.fields), set.removed),
            (json!({"a": 0}), vec!["b".to_owned()])
        );
    }
}
