//! Retries, and what is recorded of an error.

use std::time::Duration;

use flowstate_engine::prelude::*;
use flowstate_engine::record::BlockStatus;
use flowstate_engine::record::Fact;
use flowstate_engine::{NetworkError, TimeoutError};
use serde_json::json;

use crate::support::{Counter, Journal, Waits, cancelled, engine_on, fails, run, run_on, run_that, talker};

/// Fails so often, then gives the number of the attempt.
fn flaky(failures: u32, error: impl Fn() -> BlockError + Send + Sync + 'static) -> Block<i64, u32> {
    handler("flaky").run(move |_: i64, ctx: Ctx| {
        let ended = if ctx.attempt_number() < failures {
            Err(error())
        } else {
            Ok(ctx.attempt_number())
        };
        async move { ended }
    })
}

fn network() -> BlockError {
    BlockError::of(NetworkError { message: "gone".into() })
}

#[tokio::test]
async fn a_block_is_tried_again_with_growing_pauses_and_every_attempt_is_recorded() {
    let policy = Retry::attempts(4)
        .base_delay(Duration::from_millis(1_000))
        .max_delay(Duration::from_millis(2_500));
    let waits = Waits::default();
    let engine = engine_on(sequencer::<i64>("s").then(flaky(3, network).retry(policy)), &waits).await;
    let ran = run_on(&engine, 1).await;
    assert_eq!(ran.output(), &json!(3));
    assert_eq!(waits.read(), [1_000, 2_000, 2_500]);
    let attempts: Vec<_> = ran.blocks()[1..]
        .iter()
        .map(|(started, ended)| (started.attempt, ended.status, ended.retry_in_ms))
        .collect();
    assert_eq!(
        attempts,
        [
            (0, BlockStatus::Failed, Some(1_000)),
            (1, BlockStatus::Failed, Some(2_000)),
            (2, BlockStatus::Failed, Some(2_500)),
            (3, BlockStatus::Completed, None)
        ]
    );
}

#[tokio::test]
async fn without_a_delay_there_is_no_pause_and_without_a_longest_it_is_five_seconds() {
    let waits = Waits::default();
    let engine = engine_on(flaky(3, network).retry(Retry::attempts(4)), &waits).await;
    assert_eq!(run_on(&engine, 1).await.output(), &json!(3));
    assert!(waits.read().is_empty(), "{:?}", waits.read());
    let policy = Retry::attempts(5).base_delay(Duration::from_secs(1));
    let engine = engine_on(flaky(4, network).retry(policy), &waits).await;
    assert_eq!(run_on(&engine, 1).await.output(), &json!(4));
    assert_eq!(waits.read(), [1_000, 2_000, 4_000, 5_000]);
}

#[tokio::test]
async fn a_cancel_during_a_pause_ends_it() {
    let waits = Waits::held();
    let policy = Retry::attempts(2).base_delay(Duration::from_secs(3_600));
    let engine = engine_on(sequencer::<i64>("s").then(flaky(1, network).retry(policy)), &waits).await;
    let ran = cancelled(&engine, 1, (&waits.begun, 1)).await;
    assert_eq!(ran.trace(), ["root: cancelled", "root/then[0]: failed"]);
}

#[tokio::test]
async fn the_last_error_is_the_blocks() {
    let ran = run(flaky(5, network).retry(Retry::attempts(2)), 1).await;
    assert_eq!((ran.error().code(), ran.blocks().len()), ("network_error", 2));
    let ran = run(flaky(5, network), 1).await;
    assert_eq!(ran.blocks().len(), 1, "without a policy there is one attempt");
    let ran = run(flaky(5, || BlockError::new("final", "no")).retry(Retry::attempts(9)), 1).await;
    assert_eq!(ran.blocks().len(), 1, "what says that it is final is not tried again");
    let ran = run(flaky(1, network).retry(Retry::attempts(9).only::<TimeoutError>()), 1).await;
    assert_eq!(ran.blocks().len(), 1);
}

#[tokio::test]
async fn what_a_failed_attempt_left_open_is_closed_before_the_next() {
    let (generator, said) = (talker(), Counter::default());
    let (heard, tries) = (said.clone(), Counter::default());
    let cut = handler("cut").run(move |_: String, _| {
        let (heard, attempt) = (heard.clone(), tries.add(1));
        async move {
            heard.reached(attempt).await;
            Err::<String, _>(network())
        }
    });
    let both = sequencer::<String>("both")
        .then_all([generator, cut])
        .map(|all, _| all.concat());
    let ran = run_that(both.build().retry(Retry::attempts(2)), "x".to_owned(), &said).await;
    assert_eq!(ran.error().code(), "network_error");
    assert_eq!(
        ran.items()[..2],
        [("so x".to_owned(), "incomplete"), ("so x".to_owned(), "incomplete")]
    );
    let order: Vec<&str> = ran
        .facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::ItemAdded(_) => Some("added"),
            Fact::ItemCompleted(_) => Some("closed"),
            _ => None,
        })
        .collect();
    assert_eq!(order[..4], ["added", "closed", "added", "closed"]);
}

#[tokio::test]
async fn a_retry_maps_its_input_once_and_tells_its_error_once() {
    let (mapped, told) = (Counter::default(), Journal::default());
    let (counted, journal) = (mapped.clone(), told.clone());
    let block = fails::<i64, i64>("execution_error")
        .retry(Retry::attempts(3))
        .map_input(move |n: i64, _| {
            counted.add(1);
            n
        })
        .on_errored(move |error, ctx| journal.write(format!("{} {}", error.code(), ctx.attempt_number())));
    run(block, 1).await;
    assert_eq!((mapped.get(), told.read()), (1, vec!["execution_error 2".to_owned()]));
}

#[tokio::test]
async fn a_failed_request_says_why_in_its_last_record_and_in_an_item() {
    let ran = run(
        handler("typed").run(|_: i64, _| async { Err::<i64, _>(BlockError::of(TimeoutError { after_ms: 5 })) }),
        1,
    )
    .await;
    let error = ran.error();
    assert_eq!((error.code(), error.is_retryable()), ("timeout_error", true));
    assert_eq!(error.typed::<TimeoutError>(), Some(TimeoutError { after_ms: 5 }));
    assert_eq!(ran.items(), [("timeout_error".to_owned(), "failed")]);
}
