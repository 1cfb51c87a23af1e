//! Why a state was not read or changed.

use flowstate_log::error::{ReadError, ViewError};

use super::OpError;
use crate::error::{BlockError, Problem, RecordError, list};
use crate::record::ScopeKind;

/// Why a state was not read or changed. Nothing of the operation was appended.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}{problem}", whose(*.scope, .resource.as_deref()))]
pub struct StateError {
    /// Whose state.
    pub scope: ScopeKind,
    /// The resource whose state it is, if it is one's: its name, or its key in its collection.
    pub resource: Option<String>,
    /// What was wrong.
    pub problem: StateProblem,
}

fn whose(scope: ScopeKind, resource: Option<&str>) -> String {
    match resource {
        None => format!("the {} state", scope.as_str()),
        Some(path) => format!("the state of the {} resource {path:?}", scope.as_str()),
    }
}

/// What was wrong with an operation on a state, or with the state. Displayed after "the session state".
#[derive(Debug, Clone, thiserror::Error)]
pub enum StateProblem {
    /// The flow does not declare such a state.
    #[error(" is not declared by the flow {flow:?}: declare it with `.{builder}(scope::<..>())`")]
    Undeclared {
        /// The flow.
        flow: String,
        /// The method of the flow's builder that declares it.
        builder: &'static str,
    },
    /// The declared state has no such field.
    #[error(" has no field {field:?}; it has {}", list(known))]
    UnknownField {
        /// The field.
        field: String,
        /// The fields that it has.
        known: Vec<String>,
    },
    /// The operation does not fit what the field is.
    #[error(" can't be changed so: {0}")]
    Op(#[from] OpError),
    /// The field is under rules that only a whole state can be checked against.
    #[error(
        " has rules, and {field:?} is not declared with `.commuting({field:?})`: change it with `set` or `atomic`, which check them"
    )]
    Ruled {
        /// The field.
        field: String,
    },
    /// The block declares what it needs of the state, and this is not in it.
    #[error(" has a field {field:?} that the block {block:?} does not declare: add it to the type of its view")]
    Unseen {
        /// The block.
        block: String,
        /// The field.
        field: String,
    },
    /// The block declares what it needs of the state, and not that it changes the field in this way.
    #[error(
        " has a field {field:?} that the block {block:?} only declares to read and replace: declare `view::<..>().commuting({field:?})`, \
         or use `set` or `atomic`"
    )]
    Unannounced {
        /// The block.
        block: String,
        /// The field.
        field: String,
    },
    /// The result would not be what the flow declares.
    #[error(" would not fit its declaration: {}", list(.0))]
    Invalid(Vec<Problem>),
    /// What is to be written must be an object of fields.
    #[error(" can only be given an object of fields, not {0}")]
    NotAnObject(String),
    /// The stored state is not of the asked type.
    #[error(" is no {type_name}: {message}")]
    Type {
        /// The type that was asked for.
        type_name: &'static str,
        /// What does not fit.
        message: String,
    },
    /// Others changed it each time before this change was sequenced.
    #[error(
        " was changed by others at the same time, {attempts} times in a row: try again, or use an operation that commutes"
    )]
    ConcurrentModification {
        /// How often it was tried.
        attempts: u32,
    },
    /// The resource is declared as read-only.
    #[error(" is read-only: the resource is declared with `.read_only()`")]
    ReadOnly,
    /// The instance of the collection was deleted, or made anew since.
    #[error(" is gone: it was deleted from its collection")]
    Gone,
    /// The state can't be read.
    #[error(" can't be read: {0}")]
    View(#[from] ViewError),
    /// The state's stream can't be found.
    #[error(" can't be read: {0}")]
    Read(#[from] ReadError),
    /// The change can't be recorded.
    #[error(" can't be recorded: {0}")]
    Record(#[from] RecordError),
}

/// Why the state of a block instance was not read or changed. Nothing of the operation was recorded.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the state of the block {block:?}{problem}")]
pub struct InstanceError {
    /// Name of the block.
    pub block: String,
    /// What was wrong.
    pub problem: StateProblem,
}

impl StateError {
    pub(crate) fn as_block_error(&self) -> BlockError {
        self.problem
            .as_block_error(&whose(self.scope, self.resource.as_deref()))
    }
}

impl InstanceError {
    pub(crate) fn as_block_error(&self) -> BlockError {
        self.problem
            .as_block_error(&format!("the state of the block {:?}", self.block))
    }
}

impl StateProblem {
    pub(crate) fn as_block_error(&self, state: &str) -> BlockError {
        let plain = |code| BlockError::new(code, format!("{state}{self}"));
        match self {
            Self::Record(error) => error.as_block_error(),
            Self::View(_) | Self::Read(_) => plain("log_unavailable").retryable(true),
            Self::Type { .. } => plain("state_type"),
            Self::ConcurrentModification { .. } => plain("CONCURRENT_MODIFICATION").retryable(true),
            Self::Invalid(problems) => {
                let what = format!("{state} would not fit its declaration");
                BlockError::invalid("invalid_state", &what, problems)
            }
            Self::ReadOnly => plain("resource_read_only"),
            Self::Gone => plain("resource_not_found"),
            Self::Undeclared { .. }
            | Self::UnknownField { .. }
            | Self::Op(_)
            | Self::Ruled { .. }
            | Self::Unseen { .. }
            | Self::Unannounced { .. }
            | Self::NotAnObject(_) => plain("invalid_state"),
        }
    }
}
