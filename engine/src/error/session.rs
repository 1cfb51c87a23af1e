//! Why a session was not made, changed or deleted, and why a request is not done again.

use flowstate_log::error::{AppendError, ReadError, Remedy, RetentionError, ViewError};

use super::{CancelError, Problem, QueryError, RecordError, SubmitError, list};
use crate::projection::RequestStatus;

/// Why a session was not made, changed or deleted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SessionError {
    /// No flow of this kind.
    #[error("no flow is registered under kind {0:?}")]
    UnknownFlow(String),
    /// The principal has no session of this id.
    #[error("there is no session {0:?}")]
    UnknownSession(String),
    /// The principal has a session of this id.
    #[error("there is a session {0:?} already")]
    Exists(String),
    /// What is given is wrong; every problem by its path.
    #[error("the session is invalid: {}", list(details))]
    Invalid {
        /// All problems.
        details: Vec<Problem>,
    },
    /// Callers may not say what these fields of the state begin as; see [`Scope::set_by_clients`](crate::Scope::set_by_clients).
    #[error("callers may not set {} of the state of a new session", .0.join(", "))]
    StateNotAllowed(Vec<String>),
    /// What is stored can't be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The log can't take it.
    #[error("the session can't be stored: {message}")]
    Unavailable {
        /// What the log said.
        message: String,
        /// Whether it may pass.
        remedy: Remedy,
    },
}

impl From<AppendError> for SessionError {
    fn from(error: AppendError) -> Self {
        Self::Unavailable {
            message: error.to_string(),
            remedy: error.kind(),
        }
    }
}

impl From<RetentionError> for SessionError {
    fn from(error: RetentionError) -> Self {
        Self::Unavailable {
            message: error.to_string(),
            remedy: error.kind(),
        }
    }
}

impl From<CancelError> for SessionError {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::Query(error) => Self::Query(error),
            // Somebody else deleted it meanwhile.
            CancelError::Record(RecordError::Append(AppendError::UnknownStream(stream))) => {
                Self::Query(ReadError::UnknownStream(stream).into())
            }
            error => Self::Unavailable {
                message: error.to_string(),
                remedy: Remedy::Retry,
            },
        }
    }
}

impl From<ReadError> for SessionError {
    fn from(error: ReadError) -> Self {
        Self::Query(error.into())
    }
}

impl From<ViewError> for SessionError {
    fn from(error: ViewError) -> Self {
        Self::Query(error.into())
    }
}

/// Why a request is not done again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RetryError {
    /// The session has no request of this id.
    #[error("there is no request {0:?}")]
    UnknownRequest(String),
    /// Only what failed, or was stopped without anybody asking, is done again.
    #[error("the request {request:?} {}", match status {
        RequestStatus::InProgress => "has not ended",
        RequestStatus::Completed => "has completed",
        RequestStatus::Failed | RequestStatus::Interrupted => "was stopped because somebody asked for that",
    })]
    NotRetryable {
        /// The request.
        request: String,
        /// How far it is.
        status: RequestStatus,
    },
    /// It was not accepted again.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// What is stored can't be read.
    #[error(transparent)]
    Query(#[from] QueryError),
}
