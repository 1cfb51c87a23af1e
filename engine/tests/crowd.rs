//! Many requests in flight at once: what each takes in memory, and that all of them end. A program of its own, because it measures itself.

use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, decode};
use flowstate_engine::{Accepted, Principal, RequestStatus, Submission};
use flowstate_log::Options;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;

const REQUESTS: usize = 10_000;
/// What a request that waits may take, its session, its task and what views and log know of it included.
const BYTES_EACH_MAX: usize = 64 << 10;
/// So many are submitted, or waited for, at once.
const AT_ONCE: usize = 256;

/// Bytes of memory that this process uses, if the system tells.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes << 10)
}

/// Waits until a request has ended, and gives how.
async fn ended(engine: &Engine, accepted: &Accepted) -> RequestStatus {
    let principal = Principal::default();
    let found = engine.request(&principal, "f", &accepted.request, Duration::ZERO);
    let sub = found.await.expect("readable").expect("a request").sub;
    let mut follow = engine.log().follow_sub(&sub, 0).await.expect("a cursor");
    loop {
        for record in follow.page().await.expect("records") {
            match decode(&record).expect("a fact") {
                Fact::RequestCompleted(_) => return RequestStatus::Completed,
                fact => assert!(!fact.is_terminal(), "{fact:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_wait_at_once_in_bounded_memory_and_all_of_them_end() {
    let (begun, gate) = (
        Arc::new(watch::Sender::new(0_usize)),
        Arc::new(watch::Sender::new(false)),
    );
    let (counted, opened) = (begun.clone(), gate.clone());
    let waits = handler("waits").run(move |n: usize, _| {
        let (counted, mut opened) = (counted.clone(), opened.subscribe());
        async move {
            counted.send_modify(|count| *count += 1);
            opened
                .wait_for(|open| *open)
                .await
                .map_err(|_| BlockError::new("closed", "closed"))?;
            Ok(n)
        }
    });
    let chain = sequencer::<usize>("s").then(waits);
    let flow = flow("f").action("a", action(chain)).instance("i").expect("a flow");
    let engine = Engine::builder()
        .flow(flow)
        .open(Options::in_memory())
        .await
        .expect("an engine");
    let submit = |number: usize| {
        let engine = engine.clone();
        async move {
            let submission = Submission {
                flow: "f".into(),
                action: "a".into(),
                input: Some(number.into()),
                user: "u".into(),
                ..Submission::default()
            };
            engine.submit(submission).await.expect("accepted")
        }
    };
    let before = resident();
    let accepted: Vec<Accepted> = stream::iter((0..REQUESTS).map(submit))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let all = async {
        begun
            .subscribe()
            .wait_for(|count| *count == REQUESTS)
            .await
            .map(|count| *count)
    };
    let all = tokio::time::timeout(Duration::from_secs(120), all).await;
    assert_eq!(all.expect("in time").ok(), Some(REQUESTS), "all of them run at once");
    if let (Some(before), Some(now)) = (before, resident()) {
        let each = now.saturating_sub(before) / REQUESTS;
        println!("{each} bytes for each of {REQUESTS} requests in flight");
        assert!(
            each <= BYTES_EACH_MAX,
            "{each} bytes for each of {REQUESTS} requests in flight"
        );
    }
    gate.send_replace(true);
    let ends = stream::iter(&accepted)
        .map(|accepted| ended(&engine, accepted))
        .buffer_unordered(AT_ONCE);
    let ends = tokio::time::timeout(Duration::from_secs(120), ends.collect::<Vec<_>>()).await;
    let ends = ends.expect("in time");
    assert_eq!(ends.len(), REQUESTS);
    assert!(ends.iter().all(|end| *end == RequestStatus::Completed));
    engine.close().await;
}
