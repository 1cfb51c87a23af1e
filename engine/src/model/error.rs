//! Why a model did not answer, or not to the end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a model did not answer, or not to the end. It never holds a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("the model {model} failed: {message}")]
pub struct ModelError {
    /// The model.
    pub model: String,
    /// What happened.
    #[serde(default)]
    pub kind: ModelErrorKind,
    /// What it said.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// The HTTP status, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long the provider asks to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What was tried, if more than one thing was; oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<ModelAttempt>,
}

/// What happened to a call of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelErrorKind {
    /// The name names no model that can be reached: unknown, or without a key.
    Unavailable,
    /// The provider does not accept the key.
    Auth,
    /// The provider does not accept the call.
    BadRequest,
    /// Too many calls. Retryable.
    RateLimit,
    /// The provider failed. Retryable.
    Provider,
    /// No connection, or it broke before an answer. Retryable.
    Network,
    /// It took too long. Retryable.
    Timeout,
    /// The answer ended before its end. Retryable.
    Cut,
    /// The answer can't be read.
    Malformed,
    /// Something else.
    #[default]
    Other,
}

impl ModelErrorKind {
    /// Whether the same call may succeed later.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::RateLimit | Self::Provider | Self::Network | Self::Timeout | Self::Cut => true,
            Self::Unavailable | Self::Auth | Self::BadRequest | Self::Malformed | Self::Other => false,
        }
    }
}

/// One failed call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelAttempt {
    /// The model.
    pub model: String,
    /// What it said.
    pub message: String,
}

impl ModelError {
    /// A failure of `model`; retryable if its kind is.
    pub fn new(model: impl Into<String>, kind: ModelErrorKind, message: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            kind,
            message: message.into(),
            retryable: kind.is_retryable(),
            status: None,
            retry_after_ms: None,
            attempts: Vec::new(),
        }
    }

    /// With this HTTP status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// With this wish of the provider.
    pub fn retry_after(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}
