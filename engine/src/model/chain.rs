//! What is tried when a model does not answer: the same again after a pause, then the next. A value: it asks no model and waits for nothing.

use std::time::Duration;

use super::{Candidate, ModelAttempt, ModelError, ModelErrorKind, Resolved};

/// How often each model is asked, unless told otherwise.
const ATTEMPTS: u32 = 2;
/// The pause before a model is asked a second time; it doubles with each further one.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause by itself.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Longest pause that a provider may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// A way through the candidates of a name. Each is asked twice, with a pause of a second between (doubling up to 10 s if there are to be
/// more attempts). A provider's wish to wait longer is followed up to a minute. What can't succeed a second time goes to the next candidate
/// at once. As soon as a piece of an answer has come, nothing else is tried.
///
/// ```
/// # use flowstate_engine::model::{Chain, ModelError, ModelErrorKind, Models, Then};
/// # use std::time::Duration;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let resolver = Models::new().build()?;
/// let mut chain = Chain::new(resolver.resolve("scripted")?);
/// let busy = || ModelError::new("scripted", ModelErrorKind::RateLimit, "slow down");
/// assert_eq!(chain.failed(busy()), Then::Wait(Duration::from_secs(1)));
/// assert!(matches!(chain.failed(busy()), Then::GiveUp(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Chain {
    resolved: Resolved,
    attempts_max: u32,
    /// The candidate to ask.
    at: usize,
    /// How often it failed.
    failures: u32,
    answering: bool,
    attempts: Vec<ModelAttempt>,
    retryable: bool,
}

/// What follows a failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// Ask the same candidate again after so much time.
    Wait(Duration),
    /// Ask the next candidate, which is now the current one.
    Next,
    /// This is how it ends.
    GiveUp(ModelError),
}

impl Chain {
    /// From the first candidate on.
    pub fn new(resolved: Resolved) -> Self {
        Self {
            attempts: resolved.unreachable.clone(),
            resolved,
            attempts_max: ATTEMPTS,
            at: 0,
            failures: 0,
            answering: false,
            retryable: false,
        }
    }

    /// Asks each candidate at most so often instead of twice; at least once.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts.max(1);
        self
    }

    /// What was asked for.
    pub fn requested(&self) -> &str {
        &self.resolved.requested
    }

    /// Whom to ask; `None` if nobody is left.
    pub fn current(&self) -> Option<&Candidate> {
        self.resolved.candidates.get(self.at)
    }

    /// A piece of an answer has come: a failure from now on is the end, as it is.
    pub fn answering(&mut self) {
        self.answering = true;
    }

    /// The current candidate has failed.
    pub fn failed(&mut self, error: ModelError) -> Then {
        if self.answering {
            return Then::GiveUp(error);
        }
        self.failures = self.failures.saturating_add(1);
        self.retryable |= error.retryable;
        self.attempts.push(ModelAttempt {
            model: error.model.clone(),
            message: error.message.clone(),
        });
        if error.retryable && self.failures < self.attempts_max && self.current().is_some() {
            return Then::Wait(pause(self.failures, error.retry_after_ms));
        }
        self.at = self.at.saturating_add(1).min(self.resolved.candidates.len());
        self.failures = 0;
        match self.current() {
            Some(_) => Then::Next,
            None => Then::GiveUp(self.ended(error)),
        }
    }

    /// The last error, with everything that was tried.
    fn ended(&mut self, last: ModelError) -> ModelError {
        let attempts = std::mem::take(&mut self.attempts);
        if attempts.len() == 1 {
            return last;
        }
        let several = attempts.iter().any(|attempt| attempt.model != last.model);
        let mut error = last;
        if several {
            error.message = format!("every model failed: {}", told(&attempts));
            error.model = self.resolved.requested.clone();
        }
        error.retryable = self.retryable;
        error.attempts = attempts;
        error
    }
}

/// The pause after so many failures of one candidate.
fn pause(failures: u32, retry_after_ms: Option<u64>) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    let own = PAUSE_FIRST.saturating_mul(doubled).min(PAUSE_MAX);
    let asked = retry_after_ms.map_or(Duration::ZERO, Duration::from_millis);
    own.max(asked.min(RETRY_AFTER_MAX))
}

/// Each model with the last that it said.
fn told(attempts: &[ModelAttempt]) -> String {
    let mut last: Vec<&ModelAttempt> = Vec::new();
    for attempt in attempts {
        match last.iter_mut().find(|known| known.model == attempt.model) {
            Some(known) => *known = attempt,
            None => last.push(attempt),
        }
    }
    let each: Vec<String> = last
        .iter()
        .map(|attempt| format!("{}: {}", attempt.model, attempt.message))
        .collect();
    each.join("; ")
}

/// Nothing that was asked for can be reached.
pub(super) fn unreachable(requested: String, attempts: Vec<ModelAttempt>) -> ModelError {
    let (model, message) = match attempts.as_slice() {
        // A name that means one model, by itself or without its provider.
        [only] if only.model == requested || only.model.ends_with(&format!("/{requested}")) => {
            (only.model.clone(), only.message.clone())
        }
        several => {
            let message = format!("none of its models can be reached: {}", told(several));
            (requested, message)
        }
    };
    let mut error = ModelError::new(model, ModelErrorKind::Unavailable, message);
    if attempts.len() > 1 {
        error.attempts = attempts;
    }
    error
}

#[cfg(test)]
mod tests;
