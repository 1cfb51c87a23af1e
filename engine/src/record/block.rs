//! The execution records: which blocks ran, and how they ended.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::BlockError;
use crate::item::Phase;

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// One async function.
    #[default]
    Handler,
    /// It asks a model.
    Generator,
    /// A chain of steps.
    Sequencer,
    /// It runs one of several blocks.
    Router,
}

/// See [`super::Fact::BlockStarted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockStarted {
    /// Its place in the run: `root/then[0]`.
    pub path: String,
    /// Its name.
    pub block: String,
    /// What it is.
    pub kind: BlockKind,
    /// How often it was tried before, from 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// Which part of the run it is in.
    #[serde(skip_serializing_if = "is_main")]
    pub phase: Phase,
}

pub(super) fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_main(phase: &Phase) -> bool {
    *phase == Phase::Main
}

/// How a block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockStatus {
    /// It gave its output.
    #[default]
    Completed,
    /// It failed.
    Failed,
    /// It was stopped, because nothing waits for it any more.
    Cancelled,
}

/// See [`super::Fact::BlockEnded`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockEnded {
    /// Number, in the request, of the record that says that it began.
    pub started: u64,
    /// How it ended.
    pub status: BlockStatus,
    /// What it gave, unless `same_as` or `item` says where that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Number of the record whose `output` is what it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<u64>,
    /// The item whose text is what it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorRecord>,
    /// After how many milliseconds it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
}

/// Why a block failed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorRecord {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// What else is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether the same may succeed later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retryable: bool,
    /// Path of the block instance where it came up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<ErrorRecord>>,
}

impl From<&ErrorRecord> for BlockError {
    fn from(record: &ErrorRecord) -> Self {
        let error = Self::new(record.code.clone(), record.message.clone()).retryable(record.retryable);
        let error = match &record.details {
            Some(details) => error.with_details(details.clone()),
            None => error,
        };
        let error = match &record.cause {
            Some(cause) => error.caused_by((&**cause).into()),
            None => error,
        };
        match &record.place {
            Some(place) => error.at(&place.as_str().into()),
            None => error,
        }
    }
}

impl From<&BlockError> for ErrorRecord {
    fn from(error: &BlockError) -> Self {
        Self {
            code: error.code().to_owned(),
            message: error.message().to_owned(),
            details: error.details().cloned(),
            retryable: error.is_retryable(),
            place: error.place().map(str::to_owned),
            cause: error.cause().map(|cause| Box::new(cause.into())),
        }
    }
}

/// See [`super::Fact::RouteChosen`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteChosen {
    /// Place of the router.
    pub path: String,
    /// Name of the route.
    pub route: String,
    /// How often the router was tried before, from 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u32,
}
