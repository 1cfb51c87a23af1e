//! Why something could not be done with a data folder.

use std::io;

use crate::error::OpenError;
use crate::run::{BuildError, RunError};

/// Why a folder could not be read, backed up or restored. What was there before is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no log in the folder.
    #[error("there is no log in {0}")]
    Empty(String),
    /// The disk failed.
    #[error("{what} failed: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// What is on disk is not what was written.
    #[error("{0}; verify the folder to see all of the damage, export what can be read, or restore a backup")]
    Damaged(String),
    /// The files are of a format that this version does not know.
    #[error("{0}")]
    Format(String),
    /// A server rewrites the folder faster than it can be read.
    #[error("the files in {0} were replaced again and again while they were read: try again")]
    Busy(String),
    /// The target holds something that is not to be overwritten, or is no backup of this log.
    #[error("{0}")]
    Target(String),
}

impl FolderError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl From<RunError> for FolderError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Io { what, source } => Self::Io { what, source },
            RunError::Format { .. } => Self::Format(error.to_string()),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<BuildError> for FolderError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Io { name, source } => Self::Io {
                what: format!("writing {name}"),
                source,
            },
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<OpenError> for FolderError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io { what, source } => Self::Io { what, source },
            OpenError::Format(what) => Self::Format(what),
            other => Self::Damaged(other.to_string()),
        }
    }
}
