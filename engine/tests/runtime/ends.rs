//! Callers that go away, engines that close or die.

use std::time::Duration;

use flowstate_engine::item::ItemStatus;
use flowstate_engine::record::Fact;
use flowstate_engine::{Principal, RequestStatus, Submission, SubmitError};
use flowstate_log::Options;
use futures_util::FutureExt;
use serde_json::json;

use crate::support::{Puppet, engine, find, kinds, open, records_until, run, said, snapshot, submission, text};

#[tokio::test]
async fn a_caller_who_goes_away_stops_nothing() {
    let engine = engine(Puppet::new(said("a"))).await;
    let id = "left";
    let mut submitting = Box::pin(engine.submit(Submission {
        request: Some(id.into()),
        ..submission("chat", json!({"message": "hi"}))
    }));
    assert!((&mut submitting).now_or_never().is_none());
    drop(submitting);
    let found = engine
        .request(&Principal::default(), "chat", id, Duration::from_secs(10))
        .await;
    let request = found.expect("readable").expect("accepted all the same");
    let mut follow = engine.log().follow_sub(&request.sub, 0).await.expect("a cursor");
    loop {
        let page = tokio::time::timeout(Duration::from_secs(10), follow.page()).await;
        let page = page.expect("in time").expect("records");
        if page.iter().any(|record| record.kind.0 == 30) {
            break;
        }
    }
}

#[tokio::test]
async fn closing_interrupts_runs_and_accepts_nothing_more() {
    let options = Options::in_memory();
    let engine = open(Puppet::hanging_after("Tea is"), &options).await;
    let accepted = engine
        .submit(submission("chat", json!({"message": "Why tea?"})))
        .await
        .expect("accepted");
    records_until(&engine, &accepted, |fact| matches!(fact, Fact::ContentDelta(_))).await;
    engine.close().await;
    assert!(matches!(
        engine.submit(submission("state", json!("go"))).await,
        Err(SubmitError::Unavailable { .. })
    ));
    drop(engine);

    let engine = open(Puppet::new(said("a")), &options).await;
    let records = records_until(&engine, &accepted, Fact::is_terminal).await;
    assert_eq!(kinds(&records), [17, 18, 19, 23, 25, 19, 20, 21, 23, 32]);
    assert!(
        matches!(&records.last().expect("records").1, Fact::RequestInterrupted(end) if end.reason.contains("engine"))
    );
}

#[test]
fn recovery_closes_what_a_dead_process_left_open() {
    let options = Options::in_memory();
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let dying = runtime();
    let accepted = dying.block_on(async {
        let engine = open(Puppet::hanging_after("Tea is"), &options).await;
        let accepted = engine
            .submit(submission("chat", json!({"message": "Why tea?"})))
            .await
            .expect("accepted");
        records_until(&engine, &accepted, |fact| matches!(fact, Fact::ContentDelta(_))).await;
        accepted
    });
    // The tasks of the run die with their runtime, and with them the last handle of the log.
    drop(dying);

    runtime().block_on(async {
        let engine = open(Puppet::new(said("a")), &options).await;
        let records = records_until(&engine, &accepted, Fact::is_terminal).await;
        assert_eq!(kinds(&records), [17, 18, 19, 23, 25, 19, 20, 21, 23, 32]);
        let items = snapshot(&engine, "s1").await.items.expect("items");
        assert_eq!(
            (items[1].status, text(&items[1].body).as_str()),
            (ItemStatus::Incomplete, "Tea is")
        );
        assert_eq!(find(&engine, &accepted).await.row.status, RequestStatus::Interrupted);
        engine.close().await;
        drop(engine);

        let engine = open(Puppet::new(said("a")), &options).await;
        let again = records_until(&engine, &accepted, Fact::is_terminal).await;
        assert_eq!(again.len(), records.len(), "a closed request is left alone");
        run(&engine, submission("chat", json!({"message": "And now?"}))).await;
        engine.close().await;
    });
}
