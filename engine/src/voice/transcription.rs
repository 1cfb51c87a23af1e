//! The port to models that write down what was spoken.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::model::ModelError;

/// A model that writes down what was spoken.
pub trait TranscriptionModel: Send + Sync + 'static {
    /// The name that callers refer to.
    fn name(&self) -> &str;

    /// Writes it down. It tries once. Dropping the future stops it.
    fn transcribe(&self, request: TranscriptionRequest) -> BoxFuture<'static, Result<Transcription, ModelError>>;
}

/// What was spoken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TranscriptionRequest {
    /// The sound.
    pub audio: Bytes,
    /// Its media type, if that is known.
    pub media_type: Option<String>,
    /// The language that is spoken, as `en`, if that is known.
    pub language: Option<String>,
}

/// What was understood.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcription {
    /// The words.
    pub text: String,
    /// The language, if the model tells it.
    pub language: Option<String>,
    /// How long it is in seconds, if the model tells it.
    pub duration: Option<f64>,
    /// When what was said; empty if the model does not tell.
    pub segments: Vec<TranscriptionSegment>,
}

/// A piece of what was said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TranscriptionSegment {
    /// The words.
    pub text: String,
    /// When they begin, in seconds.
    pub start: f64,
    /// When they end, in seconds.
    pub end: f64,
}
