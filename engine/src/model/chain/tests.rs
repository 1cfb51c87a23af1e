//! Which calls a chain asks for, and how it ends.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::model::ScriptedModel;

fn chain(candidates: usize, unreachable: &[&str]) -> Chain {
    let candidate = Candidate {
        model: Arc::new(ScriptedModel::default()),
        tokens_max: None,
        provider_options: Map::new(),
    };
    let unreachable = unreachable.iter().map(|model| ModelAttempt {
        model: (*model).to_owned(),
        message: "no key".to_owned(),
    });
    Chain::new(Resolved {
        requested: "preset/x".to_owned(),
        candidates: vec![candidate; candidates],
        unreachable: unreachable.collect(),
    })
}

fn busy(model: &str) -> ModelError {
    ModelError::new(model, ModelErrorKind::RateLimit, "busy").with_status(429)
}

fn refused(model: &str) -> ModelError {
    ModelError::new(model, ModelErrorKind::Auth, "no such key")
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn each_model_is_asked_twice_then_the_next_and_all_that_failed_is_told() {
    let mut chain = chain(2, &["c"]);
    assert_eq!(chain.requested(), "preset/x");
    assert_eq!(chain.failed(busy("a")), Then::Wait(SECOND));
    assert_eq!(chain.failed(busy("a")), Then::Next);
    assert!(chain.current().is_some());
    let Then::GiveUp(error) = chain.failed(refused("b")) else {
        panic!("nobody is left")
    };
    assert!(chain.current().is_none());
    assert_eq!(
        error.to_string(),
        "the model preset/x failed: every model failed: c: no key; a: busy; b: no such key"
    );
    let tried: Vec<&str> = error.attempts.iter().map(|attempt| attempt.model.as_str()).collect();
    assert_eq!(tried, ["c", "a", "a", "b"]);
    assert_eq!(
        (error.kind, error.retryable),
        (ModelErrorKind::Auth, true),
        "a was only busy"
    );
}

#[test]
fn what_cannot_succeed_later_goes_on_at_once() {
    for kind in [
        ModelErrorKind::Auth,
        ModelErrorKind::BadRequest,
        ModelErrorKind::Unavailable,
        ModelErrorKind::Malformed,
    ] {
        let mut chain = chain(2, &[]);
        assert_eq!(chain.failed(ModelError::new("a", kind, "no")), Then::Next, "{kind:?}");
        let Then::GiveUp(error) = chain.failed(ModelError::new("b", kind, "no")) else {
            panic!("nobody is left")
        };
        assert!(!error.retryable, "{kind:?}");
    }
}

#[test]
fn one_call_that_failed_is_told_as_it_is() {
    let error = refused("a");
    assert_eq!(chain(1, &[]).failed(error.clone()), Then::GiveUp(error));
    let mut twice = chain(1, &[]);
    twice.failed(busy("a"));
    let Then::GiveUp(error) = twice.failed(busy("a")) else {
        panic!("nobody is left")
    };
    assert_eq!(
        (error.to_string().as_str(), error.status, error.attempts.len()),
        ("the model a failed: busy", Some(429), 2)
    );
}

#[test]
fn after_a_piece_of_an_answer_nothing_else_is_tried() {
    let mut chain = chain(2, &["c"]);
    assert_eq!(chain.failed(busy("a")), Then::Wait(SECOND));
    chain.answering();
    let cut = ModelError::new("a", ModelErrorKind::Cut, "broke off");
    assert_eq!(chain.failed(cut.clone()), Then::GiveUp(cut));
}

#[test]
fn pauses_double_up_to_ten_seconds_and_follow_the_provider_up_to_a_minute() {
    let mut long = chain(1, &[]).attempts(7);
    let pauses: Vec<Then> = (0..6).map(|_| long.failed(busy("a"))).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 10, 10].map(|seconds| Then::Wait(SECOND * seconds)));
    for (asked_ms, expected_ms) in [
        (0, 1_000),
        (900, 1_000),
        (7_500, 7_500),
        (60_000, 60_000),
        (u64::MAX, 60_000),
    ] {
        let error = busy("a").retry_after(asked_ms);
        assert_eq!(
            chain(1, &[]).failed(error),
            Then::Wait(Duration::from_millis(expected_ms))
        );
    }
}

#[test]
fn an_empty_chain_gives_up() {
    let mut empty = chain(0, &[]);
    assert!(empty.current().is_none());
    assert!(matches!(empty.failed(busy("a")), Then::GiveUp(_)));
}

fn any_error() -> impl Strategy<Value = ModelError> {
    let kinds = [
        ModelErrorKind::Unavailable,
        ModelErrorKind::Auth,
        ModelErrorKind::BadRequest,
        ModelErrorKind::RateLimit,
        ModelErrorKind::Provider,
        ModelErrorKind::Network,
        ModelErrorKind::Timeout,
        ModelErrorKind::Cut,
        ModelErrorKind::Malformed,
        ModelErrorKind::Other,
    ];
    let parts = (
        proptest::sample::select(kinds.to_vec()),
        any::<Option<bool>>(),
        any::<Option<u64>>(),
    );
    parts.prop_map(|(kind, retryable, retry_after_ms)| {
        let mut error = ModelError::new("m", kind, "failed");
        error.retryable = retryable.unwrap_or(error.retryable);
        error.retry_after_ms = retry_after_ms;
        error
    })
}

proptest! {
    #[test]
    fn whatever_fails_calls_and_pauses_are_bounded(
        candidates in 0_usize..5,
        attempts in 0_u32..5,
        errors in proptest::collection::vec(any_error(), 40),
    ) {
        let mut chain = chain(candidates, &[]).attempts(attempts);
        let most = attempts.max(1) as usize;
        let (mut calls, mut here, mut at) = (0, 0, 0);
        for error in errors {
            calls += 1;
            here += 1;
            match chain.failed(error.clone()) {
                Then::Wait(pause) => {
                    prop_assert!(error.retryable && here < most);
                    prop_assert!(pause >= PAUSE_FIRST && pause <= RETRY_AFTER_MAX);
                    prop_assert!(chain.current().is_some());
                }
                Then::Next => {
                    prop_assert!(!error.retryable || here == most);
                    (here, at) = (0, at + 1);
                    prop_assert!(at < candidates && chain.current().is_some());
                }
                Then::GiveUp(last) => {
                    prop_assert!(chain.current().is_none());
                    prop_assert_eq!(at + 1, candidates.max(1), "everyone was asked");
                    prop_assert!(last.attempts.len() == calls || (calls == 1 && last.attempts.is_empty()));
                    prop_assert!(last.retryable || !error.retryable);
                    prop_assert!(calls <= candidates.max(1) * most);
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "it never gave up");
    }
}
