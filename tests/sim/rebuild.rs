//! The views after a start that had to begin anew: what only segments know, what a failed try left behind, and what forks share.

use std::sync::Arc;

use flowstate_log::append::{Append, Expect, NewRecord, Part, Target};
use flowstate_log::disk::Disk;
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::error::AppendError;
use flowstate_log::record::Subject;
use flowstate_log::verbs::{Erase, Trim};
use flowstate_log::view::ViewId;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_log::{Log, Options};
use flowstate_tests::log::{LinesFold, append, name, note, options, part, read_all, texts};
use flowstate_tests::store::faults::{Faults, Harm, Point, Step};

/// Appends until something happens, at most.
const APPENDS_MAX: usize = 5_000;

/// Nothing is written back before the log is closed.
fn late(disk: &MemoryDisk, views: &MemoryViews, seed: u64) -> Options {
    let mut options = options(Arc::new(disk.clone()), Arc::new(views.clone()), seed);
    options.limits.checkpoint_interval_ms = 1_000_000;
    options.limits.watermark_interval_ms = 1_000_000;
    options
}

/// What a stream's fold has taken in, and the records that it should have.
async fn folded(log: &Log, stream: &str) -> (Vec<String>, Vec<String>) {
    let id = log.stream(&name(stream)).await.expect("names").expect("the stream");
    let lines = log.view(id, ViewId(1), |fold: &LinesFold| fold.lines.values().cloned().collect());
    (lines.await.expect("view"), texts(&read_all(log, id).await))
}

async fn fork(log: &Log, parent: &str, position: u64, fork: &str) {
    let target = Target::Fork {
        name: name(fork),
        parent: log.stream(&name(parent)).await.expect("names").expect("the parent"),
        position,
    };
    let part = Part {
        stream: target,
        expect: Vec::new(),
        records: vec![note("forked")],
    };
    let queued = log.append(Append::of(vec![part])).await.expect("queued");
    queued.await.expect("forked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_follows_a_failed_catch_up_is_whole() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = Log::open(late(&disk, &views, 1)).expect("open");
    for number in 0..3 {
        append(&log, "s", &format!("before {number}")).await.expect("append");
    }
    log.close().await;
    drop(log);
    let log = Log::open(late(&disk, &views, 2)).expect("open");
    for number in 0..3 {
        append(&log, "s", &format!("after {number}")).await.expect("append");
    }
    let (disk, views_left) = (disk.crash(1), views.copy());
    log.close().await;
    drop(log);
    let faults = Faults::at(Some(Point {
        step: Step::ViewWrite,
        number: 1,
        harm: Harm::Fails {
            errno: 5,
            sticky: false,
        },
    }));
    let mut failing = late(&disk, &views_left, 3);
    failing.view_store = faults.views(Arc::new(views_left.clone()));
    let log = Log::open(failing).expect("open");
    assert_eq!(faults.fired().len(), 1, "the catch-up failed");
    for _ in 0..2 {
        let (lines, records) = folded(&log, "s").await;
        assert_eq!((lines.len(), &lines), (6, &records));
    }
    log.close().await;
    drop(log);
    let log = Log::open(late(&disk, &views_left, 4)).expect("open");
    let (lines, records) = folded(&log, "s").await;
    assert_eq!(
        (lines.len(), &lines),
        (6, &records),
        "and so are the rows that it wrote"
    );
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_that_only_segments_know_has_the_versions_of_its_past() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = Log::open(late(&disk, &views, 1)).expect("open");
    let subject = Subject(3);
    let about = NewRecord {
        subject,
        ..note("about")
    };
    let first = Append::of(vec![part("s", vec![about])]);
    log.append(first).await.expect("queued").await.expect("append");
    append(&log, "s", "not shared").await.expect("append");
    fork(&log, "s", 1, "f").await;
    let left = disk.crash(1);
    log.close().await;
    drop(log);
    let log = Log::open(late(&left, &MemoryViews::new(), 2)).expect("open");
    let on_version = |version: u64| {
        let part = Part {
            expect: vec![Expect::Version(subject, version)],
            ..part("f", vec![note("conditional")])
        };
        let log = log.clone();
        async move { log.append(Append::of(vec![part])).await?.await }
    };
    let refused = on_version(0).await.expect_err("the past has a record about it");
    assert!(
        matches!(refused, AppendError::VersionMismatch { actual: 1, .. }),
        "{refused:?}"
    );
    on_version(1).await.expect("the version holds");
    let (lines, records) = folded(&log, "f").await;
    assert_eq!((lines.len(), &lines), (3, &records));
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_folds_what_segments_add_to_a_stream_that_a_fork_continues() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let mut clustering = options(Arc::new(disk.clone()), Arc::new(views.clone()), 1);
    clustering.limits.cluster_segments_min = 1;
    let log = Log::open(clustering).expect("open");
    append(&log, "s", "first").await.expect("append");
    fork(&log, "s", 1, "f").await;
    let in_run = || disk.list().expect("list").iter().any(|name| name.starts_with("run-"));
    let long = "x".repeat(2_000);
    let mut appends = 0;
    while !in_run() {
        append(&log, "s", &long).await.expect("append");
        appends += 1;
        assert!(appends < APPENDS_MAX, "nothing is clustered");
    }
    append(&log, "s", "in a segment").await.expect("append");
    let listed = log.index(ViewId(1), b"", None, 100).await.expect("index");
    log.close().await;
    drop(log);
    let log = Log::open(late(&disk, &MemoryViews::new(), 2)).expect("open");
    // Before anybody asks for a fold, which would bring it up to date.
    let rebuilt = log.index(ViewId(1), b"", None, 100).await.expect("index");
    assert_eq!((listed.len(), &rebuilt), (2, &listed));
    for stream in ["s", "f"] {
        let (lines, records) = folded(&log, stream).await;
        assert_eq!((lines.len(), lines.last()), (records.len(), records.last()), "{stream}");
        assert_eq!(lines, records);
    }
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_was_broken_off_is_complete_after_the_next_start() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = Log::open(late(&disk, &views, 1)).expect("open");
    append(&log, "s", "a secret").await.expect("append");
    fork(&log, "s", 1, "f").await;
    let erased = log.stream(&name("s")).await.expect("names").expect("the stream");
    log.close().await;
    drop(log);
    // Its records are durable; folding the fork anew is what fails (the first write is of the start).
    let faults = Faults::at(Some(Point {
        step: Step::ViewWrite,
        number: 2,
        harm: Harm::Fails { errno: 5, sticky: true },
    }));
    let mut failing = late(&disk, &views, 2);
    failing.view_store = faults.views(Arc::new(views.clone()));
    let log = Log::open(failing).expect("open");
    log.erase(Erase::Streams(vec![erased]))
        .await
        .expect_err("the view store fails");
    assert!(!faults.fired().is_empty());
    let left = disk.crash(2);
    log.close().await;
    drop(log);
    let log = Log::open(late(&left, &views, 3)).expect("open");
    let id = log.stream(&name("f")).await.expect("names").expect("the fork");
    let lines = log.view(id, ViewId(1), |fold: &LinesFold| fold.lines.values().cloned().collect());
    let lines: Vec<String> = lines.await.expect("view");
    assert_eq!(lines, ["", "forked"], "the payload that it shared is gone");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trimmed_stream_whose_records_are_in_segments_comes_back_without_any_rows() {
    let disk = MemoryDisk::new();
    let open = |seed| {
        let mut options = late(&disk, &MemoryViews::new(), seed);
        // Nothing is clustered.
        (options.limits.cluster_segments_min, options.limits.cluster_segments_max) = (1_000, 1_000);
        Log::open(options).expect("open")
    };
    let log = open(1);
    for number in 0..9 {
        append(&log, "s", &format!("{number}")).await.expect("append");
    }
    let (all, _) = folded(&log, "s").await;
    let id = log.stream(&name("s")).await.expect("names").expect("the stream");
    log.trim(id, Trim::KeepLast(2)).await.expect("trim");
    append(&log, "s", "after").await.expect("append");
    log.close().await;
    drop(log);
    let lines = async |log: &Log| -> Vec<String> {
        let lines = log.view(id, ViewId(1), |fold: &LinesFold| fold.lines.values().cloned().collect());
        lines.await.expect("view")
    };
    let expected = [&all[..], &["after".to_owned()]].concat();
    let log = open(2);
    assert_eq!(lines(&log).await, expected);
    let left = log.read(id, 8, 10).await.expect("what is left");
    assert_eq!(texts(&left)[..2], ["7", "8"]);
    append(&log, "s", "more").await.expect("append");
    log.close().await;
    drop(log);
    let log = open(3);
    assert_eq!(lines(&log).await, [&expected[..], &["more".to_owned()]].concat());
    log.close().await;
}
