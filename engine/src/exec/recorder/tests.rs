//! What becomes of the buffer when whoever sent it is dropped.

use std::time::Duration;

use flowstate_log::Options;
use flowstate_log::append::{Append, Expect, NewRecord, Part, Sub, Target};
use flowstate_log::disk::faulty::FaultyDisk;
use flowstate_log::record::{Name, Subject};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::item::{ContentPart, ItemBody, Role, Visibility};
use crate::record::RequestAccepted;
use crate::value::Val;

const SUB: SubStreamId = SubStreamId([7; 16]);

/// A log in which one append may wait at a time, and a recorder of a request in it.
async fn recorder() -> (FaultyDisk, Log, Recorder) {
    let mut options = Options::in_memory();
    let disk = FaultyDisk::new(options.disk.clone());
    options.disk = Arc::new(disk.clone());
    options.limits.queue_appends_max = 1;
    let log = Log::open(options).expect("a log");
    let name = |name| Name::new("", name).expect("a name");
    let accepted = Fact::from(RequestAccepted::default());
    let first = NewRecord {
        kind: accepted.kind(),
        subject: Subject::NONE,
        sub: Some(Sub::Open(SUB, name("request"))),
        causation: SUB.0,
        origin: RUNTIME,
        payload: accepted.encode().expect("JSON"),
    };
    let part = Part {
        stream: Target::Name(name("session")),
        expect: vec![Expect::Absent],
        records: vec![first],
    };
    let appending = log.append(Append::of(vec![part])).await.expect("room");
    let run = RunRef {
        stream: appending.await.expect("durable").parts[0].stream,
        sub: SUB,
        request: "r".into(),
        action: "f/a".into(),
    };
    let recorder = Recorder::new(log.clone(), run, 1 << 20);
    (disk, log, recorder)
}

async fn message(recorder: &Recorder) -> Result<(), RecordError> {
    let body = ItemBody::Message {
        role: Role::User,
        content: vec![ContentPart::text("hello")],
    };
    recorder.add_whole_item(Visibility::CONVERSATION, body).await
}

#[tokio::test]
async fn what_the_buffer_held_is_recorded_though_whoever_sent_it_was_dropped() {
    let (disk, log, recorder) = recorder().await;
    disk.hold_syncs("slot");
    recorder.start().await.expect("buffered");
    recorder.send().await;
    message(&recorder).await.expect("buffered");
    // Looked at when the disk goes on, which the log waits for when a test fails.
    let mut dropped = Vec::new();
    for _ in 0..3 {
        let sent = tokio::time::timeout(Duration::from_millis(20), recorder.send()).await;
        dropped.push((sent.is_err(), recorder.has_buffered()));
    }
    let settled = tokio::time::timeout(Duration::from_millis(20), recorder.settle()).await;
    let more = message(&recorder).await;
    disk.release();
    assert_eq!(
        dropped,
        [(true, true); 3],
        "the log has no room, and somebody has to see it through"
    );
    assert!(settled.is_err(), "nothing is durable");
    more.expect("buffered, behind what is on its way");
    recorder.settle().await.expect("durable");
    assert!(!recorder.has_buffered());
    let outcome = Outcome::Completed(Val::new(()));
    let finished = recorder.finish(outcome, &CancellationToken::new()).await;
    finished.expect("ended");
    let records = log.read(recorder.stream(), 1, 100).await.expect("records");
    let seen: Vec<_> = records
        .iter()
        .map(|record| (record.sub.map_or(0, |(_, number)| number), record.kind.0))
        .collect();
    assert_eq!(seen, [(1, 17), (2, 18), (3, 19), (4, 23), (5, 19), (6, 23), (7, 30)]);
}
