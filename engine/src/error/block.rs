//! What a block fails with: a code for programs, a message for people, and everything that a rescue, a retry or a reader needs.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use flowstate_log::error::Remedy;
use serde_json::Value;

use super::{
    AmbiguousBlockName, ErrorType, NetworkError, OutputValidationError, Problem, QueryError, RateLimitError,
    RecordError, TimeoutError, ToolError, list,
};
use crate::model::ModelError;
use crate::resource::ResourceError;
use crate::scope::{InstanceError, StateError};

/// The code of errors that are no type of the engine's.
pub(crate) const EXECUTION_ERROR: &str = "execution_error";

/// Why a block failed. Made from any other error by `?`, or by hand to choose the code.
///
/// It is not itself a [`std::error::Error`]: that is what lets every error turn into it.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockError(Box<Inner>);

/// One word in every result that may hold an error: results are moved at every level of blocks in blocks.
#[derive(Debug, Clone, PartialEq)]
struct Inner {
    code: Cow<'static, str>,
    message: String,
    details: Option<Value>,
    retryable: bool,
    /// Path of the block instance that failed first.
    place: Option<Arc<str>>,
    cause: Option<Arc<BlockError>>,
}

impl BlockError {
    /// An error with a code for programs and a message for people; not retryable.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code: code.into(),
            message: message.into(),
            details: None,
            retryable: false,
            place: None,
            cause: None,
        }))
    }

    /// The error that a typed one becomes; `rescue` finds its type again by the code.
    pub fn of<E: ErrorType>(error: E) -> Self {
        let details = serde_json::to_value(&error).unwrap_or(Value::Null);
        Self::new(E::CODE, error.message())
            .with_details(details)
            .retryable(error.is_retryable())
    }

    /// With what else is known.
    pub fn with_details(mut self, details: impl Into<Value>) -> Self {
        self.0.details = Some(details.into());
        self
    }

    /// Whether the same request may succeed later; recorded with the failed request.
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// With the error that led to this one.
    pub fn caused_by(mut self, cause: BlockError) -> Self {
        self.0.cause = Some(Arc::new(cause));
        self
    }

    /// For programs.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// For people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What else is known.
    pub fn details(&self) -> Option<&Value> {
        self.0.details.as_ref()
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The place in the run (`root/then[0]`) where it came up, once a block has failed with it.
    pub fn place(&self) -> Option<&str> {
        self.0.place.as_deref()
    }

    /// The error that led to this one.
    pub fn cause(&self) -> Option<&BlockError> {
        self.0.cause.as_deref()
    }

    /// The typed error that this one was made from, if it was an `E`.
    pub fn typed<E: ErrorType>(&self) -> Option<E> {
        if self.0.code != E::CODE {
            return None;
        }
        let details = self.0.details.as_ref().unwrap_or(&Value::Null);
        serde::Deserialize::deserialize(details).ok()
    }

    /// The error where it came up; one that has a place keeps it.
    pub(crate) fn at(mut self, place: &Arc<str>) -> Self {
        self.0.place.get_or_insert_with(|| place.clone());
        self
    }

    /// What a panic becomes.
    pub(crate) fn panicked(what: &str, panic: &(dyn Any + Send)) -> Self {
        let said = crate::exec::panic_message(panic);
        Self::new("panic", format!("{what} panicked: {said}"))
    }

    /// The same, when it is too large to be recorded.
    pub(crate) fn without_text(&self) -> Self {
        let mut short =
            Self::new(self.0.code.clone(), "the error is too large for a record").retryable(self.0.retryable);
        short.0.place = self.0.place.clone();
        short
    }

    /// Problems of a value as one error.
    pub(crate) fn invalid(code: &'static str, what: &str, problems: &[Problem]) -> Self {
        let details: Vec<Value> = problems
            .iter()
            .map(|problem| serde_json::json!({"path": problem.path, "message": problem.message}))
            .collect();
        Self::new(code, format!("{what}: {}", list(problems))).with_details(details)
    }

    /// Several errors as one, for steps of which one would have been enough.
    pub(crate) fn aggregate(what: &str, errors: &[BlockError]) -> Self {
        let details: Vec<Value> = errors
            .iter()
            .map(|error| {
                serde_json::json!({"code": error.0.code, "message": error.0.message, "details": error.0.details,
                    "retryable": error.0.retryable, "place": error.0.place.as_deref()})
            })
            .collect();
        let message = match errors {
            [] => format!("{what}: there is no block to run"),
            _ => format!("{what}: all failed: {}", list(errors)),
        };
        Self::new("aggregate_error", message)
            .with_details(details)
            .retryable(!errors.is_empty() && errors.iter().all(Self::is_retryable))
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.message, self.0.code)
    }
}

/// The engine's own errors keep their code; any other error becomes `execution_error` with the message of its whole chain.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for BlockError {
    fn from(error: E) -> Self {
        let any: &dyn Any = &error;
        if let Some(error) = any.downcast_ref::<StateError>() {
            return error.as_block_error();
        }
        if let Some(error) = any.downcast_ref::<InstanceError>() {
            return error.as_block_error();
        }
        if let Some(error) = any.downcast_ref::<ResourceError>() {
            return error.as_block_error();
        }
        if let Some(error) = any.downcast_ref::<RecordError>() {
            return error.as_block_error();
        }
        let typed = of_type::<ModelError>(any)
            .or_else(|| of_type::<NetworkError>(any))
            .or_else(|| of_type::<TimeoutError>(any))
            .or_else(|| of_type::<RateLimitError>(any))
            .or_else(|| of_type::<ToolError>(any))
            .or_else(|| of_type::<OutputValidationError>(any))
            .or_else(|| of_type::<AmbiguousBlockName>(any));
        if let Some(error) = typed {
            return error;
        }
        if let Some(error) = any.downcast_ref::<QueryError>() {
            return BlockError::new("log_unavailable", error.to_string()).retryable(error.kind() == Remedy::Retry);
        }
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::new(EXECUTION_ERROR, message)
    }
}

fn of_type<E: ErrorType>(error: &dyn Any) -> Option<BlockError> {
    error.downcast_ref::<E>().cloned().map(BlockError::of)
}

#[cfg(test)]
mod tests {
    use flowstate_log::error::AppendError;

    use super::*;
    use crate::record::ScopeKind;
    use crate::scope::StateProblem;

    #[derive(Debug, thiserror::Error)]
    #[error("the oven is cold")]
    struct Cold(#[source] std::num::ParseIntError);

    #[test]
    fn any_error_becomes_a_block_error_with_its_causes() {
        let fails = || -> Result<(), BlockError> { Err(Cold("x".parse::<u8>().expect_err("no number")))? };
        let error = fails().expect_err("cold");
        assert_eq!(error.code(), "execution_error");
        assert_eq!(error.message(), "the oven is cold: invalid digit found in string");
        assert!(!error.is_retryable());
    }

    #[test]
    fn the_engines_errors_keep_their_codes() {
        let failed = |problem| StateError {
            resource: None,
            scope: ScopeKind::User,
            problem,
        };
        let full = RecordError::Append(AppendError::Full("no space".into()));
        let error = BlockError::from(failed(full.into()));
        assert_eq!((error.code(), error.is_retryable()), ("log_full", true));
        let invalid = StateProblem::Invalid(vec![Problem::new("turns", "too low")]);
        let error = BlockError::from(failed(invalid));
        let details = serde_json::json!([{"path": "turns", "message": "too low"}]);
        assert_eq!((error.code(), error.details()), ("invalid_state", Some(&details)));
    }

    #[test]
    fn a_typed_error_comes_back_from_what_is_recorded_of_it() {
        let error = BlockError::from(TimeoutError { after_ms: 30 });
        assert_eq!((error.code(), error.is_retryable()), ("timeout_error", true));
        assert_eq!(error.typed::<TimeoutError>(), Some(TimeoutError { after_ms: 30 }));
        assert_eq!(error.typed::<ModelError>(), None);
    }
}
