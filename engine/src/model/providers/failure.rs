//! What went wrong, in the port's words, and without a secret.

use rig_core::ProviderResponseError;
use rig_core::error::ProviderError;
use rig_core::http_client::Error as HttpError;
use serde_json::Value;

use super::super::{ModelError, ModelErrorKind, Route};
use super::retry_after::retry_after_ms;
use super::secrets::Secrets;

/// Longest message of a provider that an error keeps.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// What the transport says of a call that failed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    pub(super) kind: ModelErrorKind,
    pub(super) message: String,
}

/// Makes the errors of one model.
#[derive(Clone)]
pub(super) struct Failures {
    model: String,
    secrets: Secrets,
}

impl Failures {
    pub(super) fn new(route: &Route) -> Self {
        Self {
            model: route.name.clone(),
            secrets: Secrets::of(route),
        }
    }

    /// The text without what must not be told.
    pub(super) fn redact(&self, text: &str) -> String {
        self.secrets.redact(text)
    }

    /// An error with this message.
    pub(super) fn error(&self, kind: ModelErrorKind, message: impl AsRef<str>) -> ModelError {
        let message = self.redact(message.as_ref());
        ModelError::new(&self.model, kind, shortened(&message))
    }

    /// What this is for a caller.
    pub(super) fn of(&self, error: ProviderError) -> ModelError {
        use ModelErrorKind::{BadRequest, Cut, Malformed, Other, Provider};
        if let Some(response) = error.provider_response() {
            return self.answered(response);
        }
        match &error {
            ProviderError::Http(error) => self.unanswered(error),
            ProviderError::Truncated => self.error(Cut, "the answer ended before its end"),
            ProviderError::Json(error) => self.error(Malformed, format!("the answer can't be read: {error}")),
            ProviderError::Response(problem) => self.error(Malformed, format!("the answer can't be read: {problem}")),
            ProviderError::Request(problem) => self.error(BadRequest, problem.to_string()),
            ProviderError::UnsupportedOption(_) | ProviderError::Url(_) => self.error(BadRequest, error.to_string()),
            ProviderError::Provider(problem) => self.error(Provider, problem),
            _ => self.error(Other, error.to_string()),
        }
    }

    fn unanswered(&self, error: &HttpError) -> ModelError {
        use ModelErrorKind::{BadRequest, Cut, Malformed, Network};
        match error {
            HttpError::Instance(error) => match error.downcast_ref::<Failure>() {
                Some(failure) => self.error(failure.kind, &failure.message),
                None => self.error(Network, error.to_string()),
            },
            HttpError::StreamEnded => self.error(Cut, "the answer ended before its end"),
            HttpError::InvalidContentType(found) => {
                let found = String::from_utf8_lossy(found.as_bytes());
                self.error(Malformed, format!("the answer is no stream of events but {found:?}"))
            }
            other => self.error(BadRequest, other.to_string()),
        }
    }

    /// The provider said so, instead of an answer or in the middle of one.
    fn answered(&self, response: &ProviderResponseError) -> ModelError {
        let body = parsed(&response.body);
        let code = code(&body);
        let kind = match response.status {
            Some(status) => of_status(status.as_u16()),
            None => of_code(code),
        };
        let mut error = self.error(kind, message(&body).unwrap_or(&response.body));
        if error.message.is_empty() {
            error.message = match response.status {
                Some(status) => format!("{status} without a word"),
                None => "it failed without a word".to_owned(),
            };
        }
        error.status = response.status.map(|status| status.as_u16());
        error.retry_after_ms = retry_after_ms(response.headers.as_ref(), &body);
        // What was paid for is used up: this is not over in a minute.
        if code == Some("insufficient_quota") {
            error.retryable = false;
        }
        error
    }
}

/// The body as JSON, if it is some: also one that a server puts as an event because it had been asked for events.
fn parsed(body: &str) -> Value {
    let event = body.lines().find_map(|line| line.strip_prefix("data:"));
    let json = serde_json::from_str(body).ok();
    json.or_else(|| serde_json::from_str(event?).ok()).unwrap_or_default()
}

fn of_status(status: u16) -> ModelErrorKind {
    match status {
        401 | 403 => ModelErrorKind::Auth,
        429 => ModelErrorKind::RateLimit,
        408 | 425 | 500.. => ModelErrorKind::Provider,
        400..500 => ModelErrorKind::BadRequest,
        // An address that only names another one: it is not followed, since the key would go with it.
        300..400 => ModelErrorKind::BadRequest,
        _ => ModelErrorKind::Malformed,
    }
}

/// In the middle of an answer there is no status, only a word.
fn of_code(code: Option<&str>) -> ModelErrorKind {
    match code.unwrap_or_default() {
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "RESOURCE_EXHAUSTED" => {
            ModelErrorKind::RateLimit
        }
        "authentication_error" | "permission_error" | "invalid_api_key" => ModelErrorKind::Auth,
        "invalid_request_error" | "invalid_prompt" | "context_length_exceeded" => ModelErrorKind::BadRequest,
        _ => ModelErrorKind::Provider,
    }
}

/// Where providers put the word: beside or in `error`, or in the `response` that failed; the more precise one first.
fn code(body: &Value) -> Option<&str> {
    [
        "/error/code",
        "/response/error/code",
        "/error/type",
        "/code",
        "/error/status",
    ]
    .iter()
    .find_map(|place| body.pointer(place)?.as_str().filter(|word| !word.is_empty()))
}

fn message(body: &Value) -> Option<&str> {
    [
        "/error/message",
        "/response/error/message",
        "/message",
        "/error",
        "/detail",
    ]
    .iter()
    .find_map(|place| body.pointer(place)?.as_str().filter(|message| !message.is_empty()))
}

fn shortened(message: &str) -> String {
    let message = message.trim();
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}..", &message[..end]),
        None => message.to_owned(),
    }
}
