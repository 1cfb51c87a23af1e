//! Retry policies: how often a failed block is tried again, and after how long.

use std::time::Duration;

use crate::error::{BlockError, EXECUTION_ERROR, ErrorType};

/// Longest pause, unless the policy says another.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// How often and when a block is tried again. Each pause is twice the one before.
///
/// Tried again are errors that say of themselves that they are retryable, and errors that are no type of the engine's; or, after
/// [`Retry::only`], the retryable ones among those that are named there.
#[derive(Debug, Clone)]
pub struct Retry {
    attempts: u32,
    base: Duration,
    max: Duration,
    codes: Vec<&'static str>,
}

impl Retry {
    /// At most so many attempts, the first one included, without a pause.
    pub fn attempts(attempts: u32) -> Self {
        Self {
            attempts,
            base: Duration::ZERO,
            max: DELAY_MAX,
            codes: Vec::new(),
        }
    }

    /// The first pause.
    pub fn base_delay(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// The longest pause; without this, 5 s.
    pub fn max_delay(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// Only errors of this type. Said several times: of any of these types.
    pub fn only<E: ErrorType>(mut self) -> Self {
        self.codes.push(E::CODE);
        self
    }

    /// The pause before the next attempt; `None` if attempt `attempt` (from 0) was the last.
    pub(super) fn pause(&self, attempt: u32, error: &BlockError) -> Option<Duration> {
        let named = self.codes.is_empty() || self.codes.contains(&error.code());
        let again = error.is_retryable() || error.code() == EXECUTION_ERROR;
        if attempt.saturating_add(1) >= self.attempts || !named || !again {
            return None;
        }
        let factor = 2_u32.checked_pow(attempt).unwrap_or(u32::MAX);
        Some(self.base.saturating_mul(factor).min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{NetworkError, TimeoutError};

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retry = Retry::attempts(5)
            .base_delay(Duration::from_millis(100))
            .max_delay(Duration::from_millis(350));
        let error = BlockError::of(TimeoutError { after_ms: 1 });
        let pauses: Vec<_> = (0..5)
            .map(|attempt| retry.pause(attempt, &error).map(|pause| pause.as_millis()))
            .collect();
        assert_eq!(pauses, [Some(100), Some(200), Some(350), Some(350), None]);
    }

    #[test]
    fn what_would_fail_again_is_not_tried_again() {
        let retry = Retry::attempts(2);
        assert!(retry.pause(0, &BlockError::new("validation_error", "bad")).is_none());
        assert!(retry.pause(0, &BlockError::new(EXECUTION_ERROR, "unknown")).is_some());
        let network = BlockError::of(NetworkError { message: "gone".into() });
        assert!(Retry::attempts(2).only::<NetworkError>().pause(0, &network).is_some());
        assert!(Retry::attempts(2).only::<TimeoutError>().pause(0, &network).is_none());
    }
}
