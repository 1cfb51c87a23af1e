//! What clients see of a scope: named values derived from its state. One that fails is reported and takes no other with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::BlockError;
use crate::exec::panic_message;
use crate::scope::{Fields, ScopeDef};
use crate::value::Val;

/// One entry.
#[derive(Clone)]
pub(crate) struct ClientData {
    pub(crate) name: String,
    pub(crate) derive: Derive,
}

/// Makes an entry's value from the typed state.
pub(crate) type Derive = Arc<dyn Fn(&Val) -> Result<Value, BlockError> + Send + Sync>;

/// The values of the wanted entries, and for those that have none, why.
pub(crate) fn derive(
    scope: &ScopeDef,
    stored: &Fields,
    wanted: impl Fn(&str) -> bool,
) -> (Map<String, Value>, Vec<(String, String)>) {
    let (mut values, mut errors) = (Map::new(), Vec::new());
    let mut entries = scope.client_data.iter().filter(|entry| wanted(&entry.name)).peekable();
    if entries.peek().is_none() {
        return (values, errors);
    }
    let Some(state) = scope.typed(stored) else {
        return (values, errors);
    };
    for entry in entries {
        let value = match &state {
            Err(message) => Err(format!("the stored state is not of the declared type: {message}")),
            Ok(state) => match catch_unwind(AssertUnwindSafe(|| (entry.derive)(state))) {
                Ok(value) => value.map_err(|error| error.to_string()),
                Err(panic) => Err(format!("it panicked: {}", panic_message(&*panic))),
            },
        };
        match value {
            Ok(value) => drop(values.insert(entry.name.clone(), value)),
            Err(message) => errors.push((entry.name.clone(), message)),
        }
    }
    (values, errors)
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;
    use crate::scope::scope;

    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct State {
        turns: u32,
    }

    #[test]
    fn an_entry_that_panics_is_reported_and_the_others_are_given() {
        let def = scope::<State>()
            .client_data("bad", |_: &State| -> u32 { panic!("no value") })
            .client_data("turns", |state: &State| state.turns)
            .client_data("unasked", |state: &State| state.turns)
            .erase("session", &mut Vec::new());
        let (values, errors) = derive(&def, &Fields::from_iter([("turns".to_owned(), json!(3))]), |name| {
            name != "unasked"
        });
        assert_eq!(Value::Object(values), json!({"turns": 3}));
        assert_eq!(errors.len(), 1);
        assert!(errors[0].0 == "bad" && errors[0].1.contains("no value"), "{errors:?}");
    }

    #[test]
    fn a_field_that_a_stored_state_does_not_have_yet_begins_as_in_a_new_session() {
        let def = scope::<State>()
            .client_data("turns", |state: &State| state.turns)
            .erase("session", &mut Vec::new());
        let (values, errors) = derive(&def, &Fields::from_iter([("other".to_owned(), json!(1))]), |_| true);
        assert_eq!((Value::Object(values), errors), (json!({"turns": 0}), Vec::new()));
    }
}
