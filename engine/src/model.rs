//! The port to language models: what a generator asks, what a model answers, piece by piece.
//! The built-in deterministic model is in `model/scripted`.

mod scripted;

use futures_util::stream::BoxStream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::item::Role;

pub use scripted::ScriptedModel;

/// A language model.
pub trait Model: Send + Sync + 'static {
    /// The name that generators refer to and records keep.
    fn name(&self) -> &str;

    /// Answers: any number of [`ModelEvent::Text`], then one [`ModelEvent::End`]. A stream that ends without it counts as failed.
    /// Dropping the stream stops the answer.
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>>;
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelRequest {
    /// The conversation so far, the newest message last; never empty.
    pub messages: Vec<ModelMessage>,
}

impl ModelRequest {
    /// A request with these messages.
    pub fn new(messages: Vec<ModelMessage>) -> Self {
        Self { messages }
    }
}

/// One message for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelMessage {
    /// Whose words.
    pub role: Role,
    /// The words.
    pub text: String,
}

/// One piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelEvent {
    /// More text.
    Text(String),
    /// The answer is whole.
    End {
        /// Why it ended, in the model's word (`stop`, `length`).
        finish: String,
        /// What it used, if the model says.
        usage: Option<Usage>,
    },
}

/// Tokens that a call used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Read.
    pub input_tokens: u64,
    /// Written.
    pub output_tokens: u64,
}

/// Why a model did not answer, or not to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("the model {model} failed: {message}")]
pub struct ModelError {
    /// The model.
    pub model: String,
    /// What it said.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
}
