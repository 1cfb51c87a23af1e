//! Why a command of `flowstate log` did not end well, in words that say what to do, and with which exit code.

use std::io;
use std::process::ExitCode;

use flowstate_log::error::{AppendError, ClusterError, OpenError, ReadError, RetentionError, ViewError};
use flowstate_log::folder::{Damage, FolderError};

/// See the module.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It did what it could, and what it told on stdout is not good news.
    #[error("{0}")]
    Found(String),
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
    /// It can't be done as it was asked for.
    #[error("{0}")]
    Usage(String),
    /// Another process has the folder.
    #[error(
        "{0} is in use by another process, which is probably a server: stop it first, or work on a copy of the folder"
    )]
    Locked(String),
    /// Who read the output has gone.
    #[error("nobody reads the output")]
    NobodyReads,
}

impl Failure {
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::NobodyReads => 0,
            Self::Found(_) | Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Locked(_) => 3,
        })
    }

    /// A failed call of the system, with what was tried.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Failed(format!("{what} failed: {error}"))
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Empty(_) => Self::Usage(format!("{error}: name another folder with --data-dir")),
            FolderError::Target(_) => Self::Usage(error.to_string()),
            FolderError::Damaged(what) => Self::Failed(format!(
                "the log is damaged: {what}; see all of it with `flowstate log verify`, take out the rest with \
                 `flowstate log export --around-damage`, or restore a backup"
            )),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<Damage> for Failure {
    fn from(damage: Damage) -> Self {
        Self::Failed(format!(
            "the log is damaged: {damage}; see all of it with `flowstate log verify`, take out the rest with \
             `flowstate log export --around-damage`, or restore a backup"
        ))
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Locked(folder) => Self::Locked(folder),
            OpenError::Damaged(_) => Self::Failed(format!(
                "{error}; see all of it with `flowstate log verify`, take out the rest with `flowstate log export --around-damage`"
            )),
            _ => Self::Failed(error.to_string()),
        }
    }
}

macro_rules! failed {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Failed(error.to_string())
            }
        })*
    };
}

failed!(AppendError, ReadError, RetentionError, ViewError, ClusterError);
