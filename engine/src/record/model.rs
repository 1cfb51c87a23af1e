//! Calls of models, and of the tools that they ask for. What is said in a loop is stored once: an answer's words are in its item, a tool's
//! output where its block has recorded it, the history where it was said; these records say where.

use serde::{Deserialize, Serialize};

use super::block::is_zero;
use crate::item::Source;
use crate::model::{Finish, ModelErrorKind, ModelMessage, Native, ToolUse, Usage};

/// See [`super::Fact::ModelCalled`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelCalled {
    /// The model.
    pub model: String,
    /// The block instance that asked it.
    pub instance: String,
    /// The number of its answer in that instance, from 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub step: u32,
    /// The system part, piece by piece; absent if it is that of the step before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<Vec<String>>,
    /// Between which records the history lies. Later steps have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryRange>,
    /// What was said to it besides and is recorded nowhere else: behind the history in the first step, behind the answer before in others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<ModelMessage>,
    /// The tools that it was offered; absent if they are those of the step before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
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
    /// The block instance that asked it.
    pub instance: String,
    /// The number of the answer in that instance, from 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub step: u32,
    /// What it said, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<ReplyPart>,
    /// Why it ended.
    pub finish: Finish,
    /// What it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What all answers of the instance used up to this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Usage>,
    /// The message item that it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReplyPart {
    /// Words that are in the message item: so many bytes of its text, from there.
    Said {
        /// Where they begin, in bytes.
        #[serde(default, skip_serializing_if = "is_start")]
        from: usize,
        /// How many.
        bytes: usize,
    },
    /// Words that are in no item.
    Text {
        /// The words.
        text: String,
    },
    /// A thought.
    Reasoning {
        /// The item that has its text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
        /// Its text, if no item has it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
        /// What its provider needs to be shown it again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        native: Option<Native>,
    },
    /// A tool that it wants.
    ToolUse(ToolUse),
    /// Something that only its provider understands.
    Native(Native),
    /// Where it has something from.
    Source {
        /// The item that says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<u32>,
        /// What it says, if no item does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
    },
}

/// See [`super::Fact::ModelFailed`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelFailed {
    /// The model.
    pub model: String,
    /// The block instance that asked it.
    pub instance: String,
    /// The number of the answer that did not come.
    #[serde(skip_serializing_if = "is_zero")]
    pub step: u32,
    /// What happened.
    pub kind: ModelErrorKind,
    /// What it said.
    pub message: String,
    /// The HTTP status, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// After how many milliseconds the same model is asked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
}

/// See [`super::Fact::ToolReturned`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolReturned {
    /// The block instance whose model called.
    pub instance: String,
    /// The number of the answer that called, from 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub step: u32,
    /// The number of the call in that answer, from 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub call: u32,
    /// Number of the record whose `output` is what it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<u64>,
    /// The item whose text is what it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// What the model sees, if neither says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Whether it failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

fn is_start(at: &usize) -> bool {
    *at == 0
}
