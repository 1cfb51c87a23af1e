//! Calls of models.

use serde::{Deserialize, Serialize};

use crate::model::{Finish, Usage};

/// See [`super::Fact::ModelCalled`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelCalled {
    /// The model.
    pub model: String,
    /// The block instance that asked it.
    pub instance: String,
    /// The system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Between which records the history lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryRange>,
    /// The user's words, unless they end the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Positions in the session's stream, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryRange {
    /// Where the first item of the history was completed.
    pub from: u64,
    /// Where the last one was.
    pub to: u64,
}

/// See [`super::Fact::ModelReplied`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelReplied {
    /// The model.
    pub model: String,
    /// Why it ended, in its own word.
    pub finish: Finish,
    /// What it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The item that has the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
}
