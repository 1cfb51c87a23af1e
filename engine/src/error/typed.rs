//! Errors as types: what `rescue` can ask for, and the classes that the engine itself raises.
//! A typed error is recorded as its code and its JSON, and rebuilt from them: never by downcast, so that a replay finds it too.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Problem, list};
use crate::model::ModelError;
use crate::value::Data;

/// A kind of error that blocks fail with by [`BlockError::of`](crate::BlockError::of) and that `rescue(on::<E>())` finds again.
pub trait ErrorType: Data {
    /// What names it in records; unique among the types that a flow uses.
    const CODE: &'static str;

    /// For people.
    fn message(&self) -> String;

    /// Whether the same call may succeed later; a retry policy asks.
    fn is_retryable(&self) -> bool {
        false
    }
}

macro_rules! error_types {
    ($($(#[$doc:meta])* $name:ident $code:literal $retryable:literal $message:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
        #[error($message)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl ErrorType for $name {
            const CODE: &'static str = $code;

            fn message(&self) -> String {
                self.to_string()
            }

            fn is_retryable(&self) -> bool {
                $retryable
            }
        })*
    };
}

error_types! {
    /// Something beyond the network did not answer. Retryable.
    NetworkError "network_error" true "the network failed: {message}" {
        /// What went wrong.
        message: String,
    }
    /// Something took too long. Retryable.
    TimeoutError "timeout_error" true "it took longer than {after_ms} ms" {
        /// How long was waited.
        after_ms: u64,
    }
    /// Someone asks for fewer calls. Retryable.
    RateLimitError "rate_limit_error" true "too many calls: {message}" {
        /// What they said.
        message: String,
    }
    /// A tool did not do its work.
    ToolError "tool_execution_error" false "the tool {tool:?} failed: {message}" {
        /// The tool.
        tool: String,
        /// What went wrong.
        message: String,
    }
}

/// Several blocks have the name that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{name:?} names several blocks here: {}; give them different names", instances.join(", "))]
pub struct AmbiguousBlockName {
    /// The name.
    pub name: String,
    /// The block instances that have it.
    pub instances: Vec<String>,
}

impl ErrorType for AmbiguousBlockName {
    const CODE: &'static str = "ambiguous_block_name";

    fn message(&self) -> String {
        self.to_string()
    }
}

/// A model's answer has not the shape that was asked for, and could not be mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("the model's answer is not valid: {}", list(issues))]
pub struct OutputValidationError {
    /// The answer as the model wrote it.
    pub raw_output: String,
    /// What is wrong with it.
    pub issues: Vec<Problem>,
}

impl ErrorType for OutputValidationError {
    const CODE: &'static str = "output_validation_error";

    fn message(&self) -> String {
        self.to_string()
    }
}

impl ErrorType for ModelError {
    const CODE: &'static str = "model_error";

    fn message(&self) -> String {
        self.to_string()
    }

    fn is_retryable(&self) -> bool {
        self.retryable
    }
}
