//! Why a resource was not read, made or written.

use std::num::NonZeroUsize;

use flowstate_log::error::{AppendError, ReadError, ViewError};

use super::key::KeyError;
use crate::error::{BlockError, RecordError};
use crate::record::ScopeKind;
use crate::scope::StateProblem;

/// Why a resource was not read, made or written. Nothing of the operation was appended.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the resource {resource:?}{problem}")]
pub struct ResourceError {
    /// Name of the resource or collection, or key of the instance.
    pub resource: String,
    /// What was wrong.
    pub problem: ResourceProblem,
}

/// What was wrong. Displayed after "the resource \"plan\"".
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResourceProblem {
    /// No scope of the flow has it.
    #[error(
        " is not declared by the flow {flow:?}: attach it with `scope::<..>().resource(..)`, or say that a block needs it with `.session_resource(..)`"
    )]
    Undeclared {
        /// The flow.
        flow: String,
    },
    /// The flow declares another one under this name.
    #[error(" is declared by the flow {flow:?} with another type, or is a collection there and none here")]
    Other {
        /// The flow.
        flow: String,
    },
    /// Another scope has it than the one whose resources are read.
    #[error(" is the {}'s, and only those of the {} are read here", .scope.as_str(), .of.as_str())]
    Elsewhere {
        /// The scope that has it.
        scope: ScopeKind,
        /// The scope whose resources are read.
        of: ScopeKind,
    },
    /// It is the project's, and the session has none.
    #[error(" belongs to the project, and the session has none")]
    NoProject,
    /// No instance can have this key.
    #[error(": {0}")]
    Key(#[from] KeyError),
    /// An instance with this key exists.
    #[error(" exists already: use `get_or_create`, or delete it before")]
    Exists,
    /// There is no instance with this key.
    #[error(" does not exist: make it with `create`, or ask for it with `find`")]
    NotFound,
    /// The collection is full and nobody makes room.
    #[error(
        " can't be made: its collection has {max} instances, which is all it may have; delete one, or declare an `.eviction(..)`"
    )]
    Full {
        /// How many it may have.
        max: NonZeroUsize,
    },
    /// It is declared as read-only.
    #[error(" is read-only: it is declared with `.read_only()`")]
    ReadOnly,
    /// Others were first each time.
    #[error(
        " could not be made or deleted: others changed the collection at the same time, {attempts} times in a row; try again"
    )]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The body of this version is gone.
    #[error(" has no body at version {version}: {why}")]
    NoBody {
        /// The version that was asked for.
        version: u64,
        /// Why there is none.
        why: &'static str,
    },
    /// The body can't be rendered.
    #[error(" can't be rendered: {0}")]
    Render(BlockError),
    /// Its state is not what it may be, or can't be read.
    #[error("{0}")]
    State(StateProblem),
    /// It can't be read.
    #[error(" can't be read: {0}")]
    View(#[from] ViewError),
    /// It can't be read.
    #[error(" can't be read: {0}")]
    Read(#[from] ReadError),
    /// The change can't be recorded.
    #[error(" can't be recorded: {0}")]
    Record(#[from] RecordError),
}

impl From<AppendError> for ResourceProblem {
    fn from(error: AppendError) -> Self {
        Self::Record(error.into())
    }
}

impl From<StateProblem> for ResourceProblem {
    fn from(problem: StateProblem) -> Self {
        match problem {
            StateProblem::ReadOnly => Self::ReadOnly,
            StateProblem::Gone => Self::NotFound,
            StateProblem::View(error) => Self::View(error),
            StateProblem::Read(error) => Self::Read(error),
            StateProblem::Record(error) => Self::Record(error),
            problem => Self::State(problem),
        }
    }
}

impl ResourceProblem {
    /// Of this resource.
    pub(crate) fn of(self, resource: impl Into<String>) -> ResourceError {
        ResourceError {
            resource: resource.into(),
            problem: self,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Undeclared { .. } | Self::Other { .. } | Self::Elsewhere { .. } | Self::NoProject => {
                "resource_undeclared"
            }
            Self::Key(_) => "invalid_resource_key",
            Self::Exists => "resource_exists",
            Self::NotFound => "resource_not_found",
            Self::Full { .. } => "collection_full",
            Self::ReadOnly => "resource_read_only",
            Self::Contended { .. } => "CONCURRENT_MODIFICATION",
            Self::NoBody { .. } => "resource_body_not_found",
            Self::Render(_) => "render_failed",
            Self::State(_) => "invalid_state",
            Self::View(_) | Self::Read(_) => "log_unavailable",
            Self::Record(_) => "record_failed",
        }
    }
}

impl ResourceError {
    pub(crate) fn as_block_error(&self) -> BlockError {
        match &self.problem {
            ResourceProblem::Record(error) => error.as_block_error(),
            ResourceProblem::State(problem) => problem.as_block_error(&format!("the resource {:?}", self.resource)),
            problem => {
                let again = matches!(
                    problem,
                    ResourceProblem::View(_) | ResourceProblem::Read(_) | ResourceProblem::Contended { .. }
                );
                BlockError::new(problem.code(), self.to_string()).retryable(again)
            }
        }
    }
}

/// Why a flow's declarations of a scope have no such resource.
pub(crate) fn undeclared(flow: &str, resource: &str) -> ResourceError {
    let flow = flow.to_owned();
    ResourceProblem::Undeclared { flow }.of(resource)
}
