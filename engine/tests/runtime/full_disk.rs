//! A disk without room.

use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::SubmitError;
use flowstate_engine::model::ModelEvent;
use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use flowstate_log::Options;
use flowstate_log::disk::faulty::{Call, FaultyDisk};
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::error::Remedy;
use serde_json::{Value, json};

use crate::support::{Puppet, delta, open, output, records_until, said, snapshot, submission, text};

#[tokio::test]
async fn a_full_disk_leaves_no_hole_in_a_request_and_it_is_closed_when_there_is_room() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let mut options = Options {
        disk: Arc::new(disk.clone()),
        ..Options::in_memory()
    };
    options.limits.segment_bytes = 1 << 20;
    options.limits.commit_bytes_max = 1 << 20;
    options.limits.payload_bytes_max = 900 << 10;
    // Far more than the slots that are ready when the disk is full.
    let pieces: Vec<String> = (0..40_000).map(|n| format!("{n},")).collect();
    let whole = pieces.concat();
    let events = pieces.into_iter().map(ModelEvent::Text).map(Ok).collect();
    let engine = open(Puppet::new(events), &options).await;
    let accepted = engine.submit(submission("chat", json!({"message": "hi"}))).await;
    let accepted = accepted.expect("accepted");
    disk.fail(Call::Create, "", 0, std::io::ErrorKind::StorageFull, true);
    let refused = loop {
        match engine.submit(submission("state", json!("go"))).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            &refused,
            SubmitError::Unavailable {
                remedy: Remedy::Retry,
                ..
            }
        ),
        "{refused}"
    );
    engine.close().await;
    drop(engine);
    disk.heal();

    let engine = open(Puppet::new(said("a")), &options).await;
    let records = records_until(&engine, &accepted, Fact::is_terminal).await;
    // The last record may just fit in what is left of the slot; else the next start has written it.
    match &records.last().expect("records").1 {
        Fact::RequestFailed(failed) => assert_eq!(failed.code, "log_full"),
        last => assert!(matches!(last, Fact::RequestInterrupted(_)), "{last:?}"),
    }
    let said: String = records.iter().filter_map(|(_, fact)| delta(fact)).collect();
    assert!(
        !said.is_empty() && said.len() < whole.len(),
        "the disk was full in the middle of the answer"
    );
    assert!(whole.starts_with(&said), "no delta is missing between others");
    let items = snapshot(&engine, "s1").await.items.expect("items");
    assert!(items.iter().any(|item| item.index == 1 && text(&item.body) == said));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_ends_while_the_disk_is_full_is_closed_when_there_is_room_again() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let mut options = Options {
        disk: Arc::new(disk.clone()),
        ..Options::in_memory()
    };
    (options.limits.segment_bytes, options.limits.commit_bytes_max) = (1 << 20, 1 << 20);
    options.limits.payload_bytes_max = 900 << 10;
    let gate = Arc::new(tokio::sync::Notify::new());
    let ends = gate.clone();
    let waits = move |_: Value, _: Ctx| {
        let ends = ends.clone();
        async move {
            ends.notified().await;
            Ok("done".to_owned())
        }
    };
    let app = flow("chat")
        .action("wait", action(waits))
        .instance("default")
        .expect("a flow");
    let engine = Engine::builder().flow(app).open(options).await.expect("open");
    let accepted = engine.submit(submission("wait", json!({}))).await.expect("accepted");
    records_until(&engine, &accepted, |fact| matches!(fact, Fact::RequestStarted(_))).await;

    // No further segment can be made, and what is left of this one is used up by somebody else.
    disk.fail(Call::Write, "slot-000003", 0, std::io::ErrorKind::StorageFull, true);
    let fill = async |bytes: usize| {
        let record = flowstate_log::append::NewRecord {
            kind: flowstate_log::record::Kind(999),
            subject: Default::default(),
            sub: None,
            causation: [0; 16],
            origin: 0,
            payload: vec![b'x'; bytes].into(),
        };
        let name = flowstate_log::record::Name::new("", "filler").expect("a name");
        let part = flowstate_log::append::Part {
            stream: flowstate_log::append::Target::Name(name),
            expect: Vec::new(),
            records: vec![record],
        };
        let append = flowstate_log::append::Append::of(vec![part]);
        engine.log().append(append).await.expect("queue").await
    };
    for size in [100 << 10, 10 << 10, 1 << 10, 100, 1] {
        while fill(size).await.is_ok() {}
    }
    gate.notify_one();
    let ended = records_until(&engine, &accepted, Fact::is_terminal);
    tokio::pin!(ended);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut ended).await;
    assert!(early.is_err(), "there is no room for it");
    disk.heal();
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
    let records = ended.expect("it is closed, without a restart");
    // What the block recorded of it was lost with the append that found no room.
    assert_eq!(output(&engine, &records).await, Some(json!("done")));
}
