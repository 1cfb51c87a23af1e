//! Why an operation does not fit a state.

use serde_json::Value;

/// Why an operation can't be applied to a state. It then changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// Only numbers can be added to.
    #[error("the field {field:?} is not a number: it is {actual}")]
    NotANumber {
        /// The field.
        field: String,
        /// Its JSON now.
        actual: String,
    },
    /// The sum is no JSON number.
    #[error("adding {by} to the field {field:?} leaves the range of its numbers")]
    Overflow {
        /// The field.
        field: String,
        /// What was to be added.
        by: String,
    },
    /// Only arrays can be pushed to.
    #[error("the field {field:?} is not an array: it is {actual}")]
    NotAnArray {
        /// The field.
        field: String,
        /// Its JSON now.
        actual: String,
    },
    /// Only objects have keys to set or delete.
    #[error("the field {field:?} is not an object with keys: it is {actual}")]
    NotARecord {
        /// The field.
        field: String,
        /// Its JSON now.
        actual: String,
    },
}

impl OpError {
    pub(super) fn not_a_number(field: &str, actual: &Value) -> Self {
        let (field, actual) = (field.to_owned(), excerpt(actual));
        Self::NotANumber { field, actual }
    }

    pub(super) fn not_an_array(field: &str, actual: &Value) -> Self {
        let (field, actual) = (field.to_owned(), excerpt(actual));
        Self::NotAnArray { field, actual }
    }

    pub(super) fn not_a_record(field: &str, actual: &Value) -> Self {
        let (field, actual) = (field.to_owned(), excerpt(actual));
        Self::NotARecord { field, actual }
    }
}

/// Most characters of a value in a message.
const EXCERPT_CHARS_MAX: usize = 80;

fn excerpt(value: &Value) -> String {
    let json = value.to_string();
    match json.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &json[..end]),
        None => json,
    }
}
