//! Errors of the public operations. `kind()` says what the caller should do; an error of a block says it in its code.

mod block;
mod resource;
mod session;
mod typed;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use flowstate_log::error::{AppendError, OpenError, ReadError, Remedy, ViewError};

use crate::record::DecodeError;

pub use block::BlockError;
pub(crate) use block::EXECUTION_ERROR;
pub use resource::ResourceAccessError;
pub use session::{RetryError, SessionError};
pub use typed::{
    AmbiguousBlockName, ErrorType, NetworkError, OutputValidationError, RateLimitError, TimeoutError, ToolError,
};

/// Something wrong at one place of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Where: `input.items[2].name`; `user`, `session`, `request`, `project` for the fields of a submission.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl Problem {
    /// A problem.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// All problems, separated by semicolons.
pub(crate) fn list(problems: &[impl fmt::Display]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// Why a run could not record what it did.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// The log refused it.
    #[error("the log refused a record: {0}")]
    Append(#[from] AppendError),
    /// The fact has no JSON form.
    #[error("a record can't be encoded: {0}")]
    Encode(String),
    /// The request's last record is written.
    #[error("the request has ended: nothing can be added to it")]
    Ended,
    /// The item is not open, or has no such part.
    #[error("item {item} is not open, or has no part {part}")]
    NotOpen {
        /// The item.
        item: u32,
        /// The part.
        part: u32,
    },
    /// It would not fit in one record.
    #[error("a record of {bytes} bytes can't be kept; at most {max} are allowed: give less at once")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The item would not fit in one record when it completes.
    #[error("item {item} is over {max} bytes: split it into several")]
    ItemTooLarge {
        /// The item.
        item: u32,
        /// The bound.
        max: usize,
    },
}

impl RecordError {
    pub(crate) fn as_block_error(&self) -> BlockError {
        let (code, retryable) = match self {
            Self::Append(AppendError::Full(_)) => ("log_full", true),
            Self::Append(AppendError::Invalid(_)) => ("record_refused", false),
            Self::Append(_) => ("log_unavailable", true),
            Self::Encode(_) => ("value_not_json", false),
            Self::Ended => ("request_ended", false),
            Self::NotOpen { .. } => ("item_not_open", false),
            Self::TooLarge { .. } => ("record_refused", false),
            Self::ItemTooLarge { .. } => ("item_too_large", false),
        };
        BlockError::new(code, self.to_string()).retryable(retryable)
    }
}

/// What is wrong with a flow, all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the flow {kind:?} can't be built: {}", list(problems))]
pub struct FlowError {
    /// The flow's kind.
    pub kind: String,
    /// Everything that is wrong, in declaration order.
    pub problems: Vec<String>,
}

/// Why an engine could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EngineOpenError {
    /// The flows and models do not fit together; all that is wrong.
    #[error("the engine can't be built: {}", list(.0))]
    Assembly(Vec<String>),
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// A request that was open when the process last ended could not be closed.
    #[error("the requests that were open at the last stop can't be closed: {0}")]
    Recover(#[from] RecoverError),
    /// What the log is kept in can't be reached.
    #[error("the store can't be opened: {0}")]
    Store(String),
    /// The runtime ended meanwhile.
    #[error("the runtime stopped while the log was opened")]
    Stopped,
}

/// Why an open request could not be closed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecoverError {
    /// The list of open requests can't be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A row of that list is not what the view writes.
    #[error("a row of the open requests is malformed: {0}")]
    Row(String),
    /// The request's records can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// One of them has no meaning.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its last record can't be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Why a request was not accepted. Nothing of it was written, except as said at `Unavailable`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// No flow of this kind.
    #[error("no flow is registered under kind {0:?}")]
    UnknownFlow(String),
    /// The flow has no such action.
    #[error("the flow {flow:?} has no action {action:?}; it has {}", list(known))]
    UnknownAction {
        /// The flow.
        flow: String,
        /// What was asked for.
        action: String,
        /// Its actions.
        known: Vec<String>,
    },
    /// Ids or input are wrong; every problem by its path.
    #[error("the request is invalid: {}", list(details))]
    Invalid {
        /// All problems.
        details: Vec<Problem>,
    },
    /// The session belongs to another user, project or flow.
    #[error("the session {session:?} can't be used: {what}")]
    SessionMismatch {
        /// The session.
        session: String,
        /// What does not match.
        what: String,
    },
    /// Another request has this id.
    #[error("the request id {0:?} is taken by another request")]
    RequestIdTaken(String),
    /// The log can't take it. With [`Remedy::Reopen`] it may still be found after a restart.
    #[error("the request can't be stored: {message}")]
    Unavailable {
        /// What the log said.
        message: String,
        /// Whether it may pass.
        remedy: Remedy,
    },
}

impl SubmitError {
    /// What to do about it.
    pub fn kind(&self) -> Remedy {
        match self {
            Self::UnknownFlow(_)
            | Self::UnknownAction { .. }
            | Self::Invalid { .. }
            | Self::SessionMismatch { .. }
            | Self::RequestIdTaken(_) => Remedy::FixRequest,
            Self::Unavailable { remedy, .. } => *remedy,
        }
    }

    pub(crate) fn closing() -> Self {
        Self::Unavailable {
            message: "the engine is closing".into(),
            remedy: Remedy::Retry,
        }
    }
}

impl From<ViewError> for SubmitError {
    fn from(error: ViewError) -> Self {
        Self::Unavailable {
            message: error.to_string(),
            remedy: view_remedy(&error),
        }
    }
}

impl From<ReadError> for SubmitError {
    fn from(error: ReadError) -> Self {
        Self::Unavailable {
            message: error.to_string(),
            remedy: error.kind(),
        }
    }
}

/// Why a request was not run to its end. It may go on all the same if it was accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunError {
    /// The input has no JSON form.
    #[error("the input has no JSON form: {0}")]
    Input(String),
    /// It was not accepted.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// It was accepted, and was deleted with its session since.
    #[error("the request {0:?} is gone: its session was deleted")]
    Lost(String),
    /// It was accepted, and what became of it can't be read.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// Why a recorded request could not be run again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReplayError {
    /// The principal has no such request.
    #[error("there is no request {0:?}")]
    UnknownRequest(String),
    /// It has not ended.
    #[error("the request {0:?} has not ended: only what is recorded to its end can be replayed")]
    Running(String),
    /// Something that it depends on is not there any more.
    #[error("the request can't be replayed: {0}")]
    Incomplete(String),
    /// Its records can't be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Its records do not tell what happened.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The log in memory did not take it in.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The flow does not accept it any more.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// What came of it can't be read.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Why a request could not be asked to stop.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CancelError {
    /// The principal has no request of this id.
    #[error("there is no request {0:?}")]
    UnknownRequest(String),
    /// The requests can't be looked up.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The record can't be written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<ViewError> for CancelError {
    fn from(error: ViewError) -> Self {
        Self::Query(error.into())
    }
}

/// Why something stored could not be given.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueryError {
    /// A projection can't be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The log can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record has no meaning.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A projection's row is not what the projection writes.
    #[error("a row of the view {view} is malformed: {message}")]
    Row {
        /// The view.
        view: &'static str,
        /// What is wrong.
        message: String,
    },
}

impl QueryError {
    /// What was asked about was deleted.
    pub fn is_gone(&self) -> bool {
        matches!(
            self,
            Self::Read(ReadError::Deleted(_) | ReadError::UnknownStream(_)) | Self::View(ViewError::UnknownStream(_))
        )
    }

    /// What to do about it.
    pub fn kind(&self) -> Remedy {
        match self {
            Self::View(error) => view_remedy(error),
            Self::Read(error) => error.kind(),
            Self::Decode(_) | Self::Row { .. } => Remedy::Report,
        }
    }
}

fn view_remedy(error: &ViewError) -> Remedy {
    match error {
        ViewError::UnknownStream(_) | ViewError::BeyondTail { .. } => Remedy::FixRequest,
        ViewError::Store(_) => Remedy::Retry,
        ViewError::Failed { .. } => Remedy::Report,
        ViewError::Closed => Remedy::Reopen,
    }
}
