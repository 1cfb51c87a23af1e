//! What is trimmed away leaves the catalog: in memory, in the rows, and in rows that are made anew.

use std::sync::Arc;

use crate::Log;
use crate::append::{Append, NewRecord, Part, Sub, Target};
use crate::cluster::Effort;
use crate::error::AppendError;
use crate::limits::Limits;
use crate::log::Options;
use crate::record::{IdempotencyKey, Kind, Name, SubStreamId, Subject};
use crate::verbs::Trim;
use crate::view_store::memory::MemoryViews;

fn name(name: &str) -> Name {
    Name::new("", name).expect("a valid name")
}

fn record(sub: Option<Sub>) -> NewRecord {
    NewRecord {
        kind: Kind(16),
        subject: Subject(1),
        sub,
        causation: [0; 16],
        origin: 0,
        payload: vec![b'x'; 300].into(),
    }
}

fn to(stream: &str, key: Option<&str>, records: Vec<NewRecord>) -> Append {
    let part = Part {
        stream: Target::Name(name(stream)),
        expect: Vec::new(),
        records,
    };
    Append {
        parts: vec![part],
        key: key.and_then(|key| IdempotencyKey::new(key.as_bytes())),
    }
}

async fn append(log: &Log, append: Append) -> Result<crate::append::Appended, AppendError> {
    log.append(append).await?.await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sub_streams_and_keys_go_with_their_records_live_and_in_a_rebuild() {
    let (gone, kept) = (SubStreamId([1; 16]), SubStreamId([2; 16]));
    let mut views = MemoryViews::new();
    let mut options = Options {
        view_store: Arc::new(views.clone()),
        limits: Limits {
            segment_bytes: 8 << 10,
            commit_bytes_max: 4 << 10,
            inline_bytes_max: 2 << 10,
            idle_streams_max: 0,
            checkpoint_interval_ms: 1,
            cluster_segments_min: 1,
            ..Limits::default()
        },
        ..Options::in_memory()
    };
    let log = Log::open(options.clone()).expect("open");
    let opening = |id, text: &str| record(Some(Sub::Open(id, name(text))));
    // Positions 1 and 2: a sub-stream and a key that go. 3 and 4: others that stay.
    let first = to(
        "s",
        Some("one"),
        vec![opening(gone, "gone"), record(Some(Sub::Next(gone)))],
    );
    let stream = append(&log, first).await.expect("append").parts[0].stream;
    let second = to(
        "s",
        Some("two"),
        vec![opening(kept, "kept"), record(Some(Sub::Next(kept)))],
    );
    append(&log, second.clone()).await.expect("append");
    log.trim(stream, Trim::Before(2)).await.expect("trim");
    assert!(
        log.sub_stream(&name("gone")).await.expect("names").is_some(),
        "its last record stays"
    );
    log.trim(stream, Trim::Before(3)).await.expect("trim");

    for round in 0..3 {
        let found = log.sub_stream(&name("gone")).await.expect("names");
        assert_eq!(found, None, "round {round}");
        let info = log.sub_stream(&name("kept")).await.expect("names").expect("it stays");
        assert_eq!((info.first, info.last, info.count), (3, 4, 2), "round {round}");
        assert!(
            append(&log, second.clone()).await.expect("append").repeated,
            "round {round}"
        );
        // Everything is forgotten and clustered in between.
        for _ in 0..60 {
            append(&log, to("filler", None, vec![record(None)]))
                .await
                .expect("append");
        }
        let shared = log.segments().expect("segments").shared.clone();
        let passed = tokio::task::spawn_blocking(move || shared.cluster.pass(&shared, Effort::All));
        passed.await.expect("no panic").expect("clustering");
    }
    log.close().await;
    drop(log);
    assert_eq!(views.entries().iter().filter(|(key, _)| key[0] == b'k').count(), 1);
    assert_eq!(views.entries().iter().filter(|(key, _)| key[0] == b'u').count(), 1);
    let before = std::mem::take(&mut views).entries();
    options.view_store = Arc::new(views.clone());
    let log = Log::open(options.clone()).expect("open");
    assert!(log.read(stream, 1, 1).await.is_err(), "it is trimmed");
    assert!(append(&log, second).await.expect("append").repeated);
    log.close().await;
    drop(log);
    let after = views.entries();
    let differ: Vec<_> = before.iter().filter(|entry| !after.contains(entry)).collect();
    assert!(before == after, "rows differ: {differ:?}");

    let log = Log::open(options).expect("open");
    let reused = to("s", Some("one"), vec![opening(gone, "gone")]);
    assert!(
        !append(&log, reused)
            .await
            .expect("key, id and name are free again")
            .repeated
    );
    log.close().await;
}
