//! Why a client was not given a resource, or could not change one.

use std::num::NonZeroUsize;

use flowstate_log::error::{AppendError, ReadError, Remedy, ViewError};

use super::{BlockError, QueryError, RecordError};
use crate::record::ScopeKind;
use crate::resource::{KeyError, ResourceProblem};
use crate::scope::StateProblem;

/// Why a client was not given a resource, or could not change one. Nothing of a change was appended, except as said at `Unavailable`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResourceAccessError {
    /// No session of this id.
    #[error("there is no session {0:?}")]
    UnknownSession(String),
    /// The session's flow is not registered any more.
    #[error("no flow is registered under kind {0:?}")]
    UnknownFlow(String),
    /// No scope of the session has such a resource that clients may know of.
    #[error("there is no resource {0:?}")]
    UnknownResource(String),
    /// It is a resource, and an instance of a collection was asked for.
    #[error("the resource {0:?} is no collection: it has no topics")]
    NotACollection(String),
    /// It is a collection, and a resource was asked for.
    #[error("the resource {0:?} is a collection: name one of its topics")]
    IsACollection(String),
    /// No instance can have this topic.
    #[error("the topic can't be used: {0}")]
    Topic(KeyError),
    /// The definition does not grant it to clients.
    #[error("clients may not {what} the resource {resource:?}")]
    NotGranted {
        /// The resource.
        resource: String,
        /// What they wanted to do.
        what: &'static str,
    },
    /// It is declared as read-only.
    #[error("the resource {0:?} is read-only")]
    ReadOnly(String),
    /// Clients change collections of sessions only.
    #[error("the resource {resource:?} is the {}'s, and clients change only those of sessions", .scope.as_str())]
    NotTheSessions {
        /// The resource.
        resource: String,
        /// Whose it is.
        scope: ScopeKind,
    },
    /// The collection has no such instance.
    #[error("the collection {resource:?} has no {topic:?}")]
    NotFound {
        /// The collection.
        resource: String,
        /// The topic.
        topic: String,
    },
    /// The collection has that instance already.
    #[error("the collection {resource:?} has {topic:?} already")]
    Exists {
        /// The collection.
        resource: String,
        /// The topic.
        topic: String,
    },
    /// The collection is full and nobody makes room.
    #[error("the collection {resource:?} has {max} instances, which is all it may have: delete one first")]
    Full {
        /// The collection.
        resource: String,
        /// How many it may have.
        max: NonZeroUsize,
    },
    /// Others were first each time.
    #[error("others changed {resource:?} at the same time, {attempts} times in a row: try again")]
    Contended {
        /// The collection.
        resource: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The content would not fit in one record.
    #[error("a content of {bytes} bytes can't be kept; at most {max} are allowed")]
    TooLarge {
        /// Its size with what describes it.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// What instances begin as is not what they may be: a mistake of the definition.
    #[error("what the collection's instances begin as is not valid:{0}")]
    Beginning(StateProblem),
    /// The body is there and can't be rendered.
    #[error("the content can't be rendered: {0}")]
    Render(BlockError),
    /// Rendering the body took too long.
    #[error("the content was not rendered within {seconds} s")]
    RenderTime {
        /// The bound.
        seconds: u64,
    },
    /// The body is there and was given up: trimmed, or erased.
    #[error("the content of version {version} is gone: {why}")]
    ContentGone {
        /// Its version.
        version: u64,
        /// Why.
        why: &'static str,
    },
    /// What is stored can't be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The log can't take it. With [`Remedy::Reopen`] it may still be found after a restart.
    #[error("the change can't be stored: {message}")]
    Unavailable {
        /// What the log said.
        message: String,
        /// Whether it may pass.
        remedy: Remedy,
    },
}

impl From<ViewError> for ResourceAccessError {
    fn from(error: ViewError) -> Self {
        Self::Query(error.into())
    }
}

impl From<ReadError> for ResourceAccessError {
    fn from(error: ReadError) -> Self {
        Self::Query(error.into())
    }
}

impl From<AppendError> for ResourceAccessError {
    fn from(error: AppendError) -> Self {
        Self::Unavailable {
            message: error.to_string(),
            remedy: error.kind(),
        }
    }
}

impl ResourceAccessError {
    pub(crate) fn closing() -> Self {
        Self::Unavailable {
            message: "the engine is closing".into(),
            remedy: Remedy::Retry,
        }
    }

    /// What was wrong with a resource, or with the instance of a topic, that a client asked for.
    pub(crate) fn of(problem: ResourceProblem, resource: &str, topic: &str) -> Self {
        let (resource, topic) = (resource.to_owned(), topic.to_owned());
        match problem {
            ResourceProblem::Undeclared { .. }
            | ResourceProblem::Other { .. }
            | ResourceProblem::Elsewhere { .. }
            | ResourceProblem::NoProject => Self::UnknownResource(resource),
            ResourceProblem::Key(error) => Self::Topic(error),
            ResourceProblem::Exists => Self::Exists { resource, topic },
            ResourceProblem::NotFound => Self::NotFound { resource, topic },
            ResourceProblem::Full { max } => Self::Full { resource, max },
            ResourceProblem::ReadOnly => Self::ReadOnly(resource),
            ResourceProblem::Contended { attempts } => Self::Contended { resource, attempts },
            ResourceProblem::NoBody { version, why } => Self::ContentGone { version, why },
            ResourceProblem::Render(error) => Self::Render(error),
            ResourceProblem::State(problem) => Self::Beginning(problem),
            ResourceProblem::View(error) => error.into(),
            ResourceProblem::Read(error) => error.into(),
            ResourceProblem::Record(RecordError::Append(error)) => error.into(),
            ResourceProblem::Record(RecordError::TooLarge { bytes, max }) => Self::TooLarge { bytes, max },
            ResourceProblem::Record(error) => Self::Unavailable {
                message: error.to_string(),
                remedy: Remedy::Report,
            },
        }
    }
}
