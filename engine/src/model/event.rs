//! What a model answers, piece by piece.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::{Native, ToolUse};
use crate::item::Source;

/// One piece of an answer. Parts come in the order in which the model made them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ModelEvent {
    /// More text.
    Text(String),
    /// More of a thought.
    Reasoning(String),
    /// The thought is whole; what its provider needs to be shown it again. A thought may have no text: an end that follows no piece of
    /// a thought is that of a thought of its own.
    ReasoningEnd(Option<Native>),
    /// More of the arguments of a call of a tool that is being written; for show only.
    ToolUseDelta {
        /// The call's id.
        id: String,
        /// The tool, by the name that the model was told.
        name: String,
        /// What the arguments have more.
        delta: String,
    },
    /// A call of one of the request's tools, whole. What the provider ran itself is no such call.
    ToolUse(ToolUse),
    /// Where the answer has something from.
    Source(Source),
    /// A part that only the provider understands.
    Native(Native),
    /// The answer is whole.
    End {
        /// Why it ended.
        finish: Finish,
        /// What it used, if the model says.
        usage: Option<Usage>,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Finish {
    /// It is whole.
    #[default]
    Stop,
    /// It has as many tokens as it may.
    Length,
    /// It wants tools.
    ToolCalls,
    /// The provider held it back.
    ContentFilter,
    /// The provider wants to be asked again to go on.
    Pause,
    /// In the provider's word.
    Other(String),
}

impl Finish {
    /// Its name: `stop`, `length`, `tool-calls`, `content-filter`, `pause`, or the provider's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool-calls",
            Self::ContentFilter => "content-filter",
            Self::Pause => "pause",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for Finish {
    fn from(word: String) -> Self {
        match word.as_str() {
            "stop" => Self::Stop,
            "length" => Self::Length,
            "tool-calls" => Self::ToolCalls,
            "content-filter" => Self::ContentFilter,
            "pause" => Self::Pause,
            _ => Self::Other(word),
        }
    }
}

impl From<Finish> for String {
    fn from(finish: Finish) -> Self {
        finish.as_str().to_owned()
    }
}

/// Tokens that calls used. What a provider does not tell is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Read, those from the provider's cache included.
    pub input_tokens: u64,
    /// Written, thoughts included.
    pub output_tokens: u64,
    /// Read from the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_read_tokens: u64,
    /// Written to the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write_tokens: u64,
    /// Written as thoughts.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning_tokens: u64,
}

fn is_zero(tokens: &u64) -> bool {
    *tokens == 0
}

impl Usage {
    /// So many read and written.
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self {
            input_tokens,
            output_tokens,
            ..Self::default()
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cache_read_tokens, other.cache_read_tokens),
            (&mut self.cache_write_tokens, other.cache_write_tokens),
            (&mut self.reasoning_tokens, other.reasoning_tokens),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}
