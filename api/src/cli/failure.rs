//! Why a command did not end well, in words that say what to do, and with which exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;

use flowstate_log::error::{AppendError, ClusterError, OpenError, ReadError, RetentionError, ViewError};
use flowstate_log::folder::{Damage, FolderError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::start::StartError;

/// What a route answers instead of what it was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Refusal {
    #[serde(skip)]
    pub(super) status: u16,
    pub(super) error: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) details: Vec<Detail>,
}

/// What is wrong at one place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Detail {
    path: String,
    message: String,
}

impl Refusal {
    /// Whether it is what was asked for that is wrong, and not who asked, or when.
    fn exit_code(&self) -> u8 {
        match self.status {
            400 | 404 | 409 | 413 | 414 | 422 => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        // Most of them are in the text already.
        let more = |detail: &&Detail| !self.error.contains(&detail.message);
        for Detail { path, message } in self.details.iter().filter(more) {
            write!(f, "\n  {path}: {message}")?;
        }
        Ok(())
    }
}

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
    /// Another process has the folder, and could be asked.
    #[error(
        "{0} is in use by another process, which is probably a server: ask it, with --url http://..; `flowstate log tail` shows its records meanwhile"
    )]
    Served(String),
    /// A server, or what would be one in this process, refused it.
    #[error("{0}")]
    Refused(Refusal),
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Who read the output has gone. Nothing is said of it.
    #[error("nobody reads the output")]
    NobodyReads,
}

impl Failure {
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::NobodyReads => 0,
            Self::Start(StartError::FolderInUse(_)) | Self::Locked(_) | Self::Served(_) => 3,
            Self::Start(
                StartError::Exposed(_) | StartError::ApiKeys(_) | StartError::Jwt(_) | StartError::OwnProfiles(_),
            ) => 2,
            Self::Found(_) | Self::Failed(_) | Self::Start(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(refusal) => refusal.exit_code(),
        })
    }

    /// The failure as JSON has it.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Refused(refusal) => json!(refusal),
            _ => json!({ "error": self.to_string() }),
        }
    }

    /// A failed call of the system, with what was tried.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Failed(format!("{what} failed: {error}"))
    }

    /// What could not be written to stdout.
    pub(super) fn unwritten(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Failed(format!("writing to stdout failed: {error}")),
        }
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
