//! One sync for a group, and nothing seen before it.

use std::sync::Arc;
use std::time::Duration;

use flowstate_log::Log;
use flowstate_log::append::{Append, Expect, Target};
use flowstate_log::disk::faulty::{Call, FaultyDisk};
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::error::AppendError;
use flowstate_log::record::SubStreamId;
use flowstate_log::verbs::Trim;
use flowstate_log::view::ViewId;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_tests::log::{LinesFold, append, name, note, options, part, read_all, sub_note, texts};

fn open_faulty() -> (FaultyDisk, Log) {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let log = Log::open(options(Arc::new(disk.clone()), Arc::new(MemoryViews::new()), 1)).expect("open");
    (disk, log)
}

async fn lines(log: &Log, stream: &str) -> usize {
    let stream = log.stream(&name(stream)).await.expect("names").expect("the stream");
    log.view(stream, ViewId(1), |fold: &LinesFold| fold.lines.len())
        .await
        .expect("view")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_a_commit_is_written_learns_its_place_at_once() {
    let (disk, log) = open_faulty();
    append(&log, "s", "first").await.expect("append");
    disk.hold_syncs("slot-000001");
    let held = Append::of(vec![part("s", vec![note("held")])]);
    let held = log.append(held).await.expect("queue");
    tokio::task::block_in_place(|| disk.wait_for_held(1));
    // One behind it, and one behind that, which is decided on both.
    let mut next = Vec::new();
    for position in [2, 3] {
        let mut part = part("s", vec![note("next")]);
        part.expect.push(Expect::Position(position));
        let mut appending = log.append(Append::of(vec![part])).await.expect("queue");
        let sequenced = tokio::time::timeout(Duration::from_secs(5), appending.sequenced()).await;
        next.push((appending, sequenced.ok().flatten()));
    }
    let stream = log.stream(&name("s")).await.expect("names").expect("the stream");
    let tail = log.tail(stream).await;
    disk.release();
    assert_eq!(tail.ok(), Some(1), "nobody sees them before the sync");
    held.await.expect("durable");
    for ((appending, sequenced), position) in next.into_iter().zip([3, 4]) {
        let appended = appending.await.expect("durable");
        assert_eq!(appended.parts[0].first, position);
        assert_eq!(sequenced, Some(appended), "told while the sync was held");
    }
    assert_eq!(texts(&read_all(&log, stream).await), ["first", "held", "next", "next"]);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_seen_before_the_sync_and_a_group_takes_one() {
    let (disk, log) = open_faulty();
    append(&log, "s", "first").await.expect("append");
    let stream = log.stream(&name("s")).await.expect("names").expect("the stream");
    let mut follow = log.follow(stream, 2).await.expect("follow");

    disk.hold_syncs("slot-000001");
    let held = log
        .append(Append::of(vec![part("s", vec![note("held")])]))
        .await
        .expect("queue");
    tokio::task::block_in_place(|| disk.wait_for_held(1));
    // The write is done, the sync is not: no reader, no view and no caller may know of it.
    let mut held = Box::pin(held);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut held)
            .await
            .is_err(),
        "acknowledged before the sync"
    );
    assert!(
        tokio::time::timeout(Duration::from_millis(50), follow.page())
            .await
            .is_err(),
        "read before the sync"
    );
    assert_eq!(log.tail(stream).await.ok(), Some(1));
    assert_eq!(lines(&log, "s").await, 1);

    let mut waiting = Vec::new();
    for number in 0..64 {
        let one = Append::of(vec![part(
            &format!("s{}", number % 8),
            vec![note(format!("n{number}"))],
        )]);
        waiting.push(log.append(one).await.expect("queue"));
    }
    let before = disk.syncs("slot-000001");
    disk.release();
    held.await.expect("durable");
    for one in waiting {
        one.await.expect("durable");
    }
    let taken = disk.syncs("slot-000001") - before;
    assert!(taken <= 2, "64 waiting appends took {taken} syncs");
    assert_eq!(texts(&follow.page().await.expect("page")), ["held"]);
    assert_eq!(lines(&log, "s").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_tells_every_waiter_and_stops_the_log_but_not_its_readers() {
    let (disk, log) = open_faulty();
    append(&log, "s", "kept").await.expect("append");
    disk.hold_syncs("slot-000001");
    let mut waiting = vec![
        log.append(Append::of(vec![part("s", vec![note("a")])]))
            .await
            .expect("queue"),
    ];
    tokio::task::block_in_place(|| disk.wait_for_held(1));
    for _ in 0..10 {
        waiting.push(
            log.append(Append::of(vec![part("s", vec![note("b")])]))
                .await
                .expect("queue"),
        );
    }
    // A condition that fails because of what is not durable may not be told either.
    let mut refused = part("s", vec![note("c")]);
    refused.expect.push(Expect::Position(1));
    waiting.push(log.append(Append::of(vec![refused])).await.expect("queue"));
    disk.fail(Call::Sync, "slot-000001", 0, std::io::ErrorKind::Other, true);
    disk.release();
    for one in waiting {
        assert!(matches!(one.await, Err(AppendError::Poisoned(_))));
    }
    let reason = log.poisoned().await.to_string();
    assert!(reason.contains("injected failure"), "{reason}");
    disk.heal();
    assert!(
        matches!(append(&log, "s", "later").await, Err(AppendError::Poisoned(_))),
        "a poisoned log never comes back"
    );
    let stream = log.stream(&name("s")).await.expect("names").expect("the stream");
    assert_eq!(texts(&read_all(&log, stream).await), ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_appends_and_heals() {
    let (disk, log) = open_faulty();
    append(&log, "s", "first").await.expect("append");
    disk.fail(Call::Write, "slot-000003", 0, std::io::ErrorKind::StorageFull, true);
    let filler = "x".repeat(4 << 10);
    let mut written = 1;
    let refused = loop {
        match append(&log, "s", &filler).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "the disk should be full by now");
    };
    assert!(matches!(refused, AppendError::Full(_)), "{refused}");
    let stream = log.stream(&name("s")).await.expect("names").expect("the stream");
    assert_eq!(read_all(&log, stream).await.len(), written, "reads go on");
    disk.heal();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while append(&log, "s", "after").await.is_err() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "appends are accepted again when there is room"
        );
        tokio::task::yield_now().await;
    }
    assert_eq!(read_all(&log, stream).await.len(), written + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_to_several_streams_is_all_or_nothing() {
    let (_, log) = open_faulty();
    append(&log, "a", "1").await.expect("append");
    let mut second = part("b", vec![note("x")]);
    second.expect.push(Expect::Exists);
    let both = Append::of(vec![part("a", vec![note("x")]), second]);
    let refused = log.append(both).await.expect("queue").await;
    assert!(matches!(refused, Err(AppendError::StreamAbsent(_))), "{refused:?}");
    assert_eq!(log.stream(&name("b")).await.expect("names"), None);
    let a = log.stream(&name("a")).await.expect("names").expect("the stream");
    assert_eq!(log.tail(a).await.ok(), Some(1), "nothing of a refused append remains");
    let both = Append::of(vec![part("a", vec![note("x")]), part("b", vec![note("y"), note("z")])]);
    let done = log.append(both).await.expect("queue").await.expect("durable");
    assert_eq!((done.parts[0].first, done.parts[0].last), (2, 2));
    assert_eq!((done.parts[1].first, done.parts[1].last), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_names_refuse_with_the_actual_state() {
    let (_, log) = open_faulty();
    let (sub, other) = (SubStreamId([1; 16]), SubStreamId([2; 16]));
    let open = Append::of(vec![part(
        "s",
        vec![sub_note(sub, Some("req"), "1"), sub_note(sub, None, "2")],
    )]);
    log.append(open).await.expect("queue").await.expect("durable");
    let info = log
        .sub_stream(&name("req"))
        .await
        .expect("names")
        .expect("the sub-stream");
    assert_eq!((info.id, info.first, info.last, info.count), (sub, 1, 2, 2));

    let taken = Append::of(vec![part("t", vec![sub_note(other, Some("req"), "1")])]);
    assert!(matches!(
        log.append(taken).await.expect("queue").await,
        Err(AppendError::SubStreamTaken(_))
    ));
    assert_eq!(
        log.stream(&name("t")).await.expect("names"),
        None,
        "a refused append opens no stream"
    );
    let unknown = Append::of(vec![part("s", vec![sub_note(other, None, "1")])]);
    assert!(matches!(
        log.append(unknown).await.expect("queue").await,
        Err(AppendError::UnknownSubStream(_))
    ));
    let mut stale = part("s", vec![note("x")]);
    stale.expect.push(Expect::SubStreamAt(sub, 1));
    let stale = log.append(Append::of(vec![stale])).await.expect("queue").await;
    assert!(
        matches!(
            stale,
            Err(AppendError::SubStreamMismatch {
                expected: 1,
                actual: 2,
                ..
            })
        ),
        "{stale:?}"
    );
    let mut exists = part("s", vec![note("x")]);
    exists.expect.push(Expect::Absent);
    let exists = log.append(Append::of(vec![exists])).await.expect("queue").await;
    assert!(matches!(exists, Err(AppendError::StreamExists(_))), "{exists:?}");
    let large = Append::of(vec![part("s", vec![note("x".repeat(65 << 10))])]);
    assert!(matches!(log.append(large).await, Err(AppendError::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_fold_fails_its_rows_and_nothing_else() {
    let (_, log) = open_faulty();
    append(&log, "s", "1").await.expect("append");
    append(&log, "t", "1").await.expect("append");
    let mut bad = note("2");
    bad.kind = flowstate_tests::log::PANIC;
    log.append(Append::of(vec![part("s", vec![bad])]))
        .await
        .expect("queue")
        .await
        .expect("durable");
    append(&log, "s", "3").await.expect("the log stays open");
    let s = log.stream(&name("s")).await.expect("names").expect("the stream");
    let failed = log.view(s, ViewId(1), |fold: &LinesFold| fold.lines.len()).await;
    assert!(
        failed
            .expect_err("the rows are not to be trusted")
            .to_string()
            .contains("position 2")
    );
    assert_eq!(lines(&log, "t").await, 1);
    assert_eq!(read_all(&log, s).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_can_be_waited_for() {
    let (_, log) = open_faulty();
    let waiting = tokio::spawn({
        let log = log.clone();
        async move {
            log.sub_stream_within(&name("req"), Duration::from_secs(10))
                .await
                .expect("names")
        }
    });
    append(&log, "s", "1").await.expect("append");
    let sub = SubStreamId([1; 16]);
    let open = Append::of(vec![part("s", vec![sub_note(sub, Some("req"), "1")])]);
    log.append(open).await.expect("queue").await.expect("durable");
    assert_eq!(waiting.await.expect("join").expect("found").first, 2);
    assert_eq!(
        log.sub_stream_within(&name("none"), Duration::from_millis(20))
            .await
            .expect("names"),
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resume_reads_what_is_wanted_and_what_lies_between() {
    let (_, log) = open_faulty();
    // 1,000 requests of 100 records each, two at a time: 100,000 records in one session.
    let id = |request: u32| SubStreamId(u128::from(request + 1).to_be_bytes());
    let mut last = None;
    for pair in 0..500u32 {
        let mut records = Vec::new();
        for number in 0..100 {
            for request in [2 * pair, 2 * pair + 1] {
                let name = format!("req{request}");
                records.push(sub_note(id(request), (number == 0).then_some(&*name), "x"));
            }
        }
        for records in records.chunks(100) {
            last = Some(
                log.append(Append::of(vec![part("s", records.to_vec())]))
                    .await
                    .expect("queue"),
            );
        }
    }
    last.expect("appended").await.expect("durable");
    let info = log
        .sub_stream(&name("req500"))
        .await
        .expect("names")
        .expect("the sub-stream");
    assert_eq!((log.tail(info.stream).await.ok(), info.count), (Some(100_000), 100));
    let mut follow = log.follow_sub(&info, 40).await.expect("follow");
    let mut numbers = Vec::new();
    while numbers.last() != Some(&100) {
        let page = follow.page().await.expect("page");
        numbers.extend(page.iter().filter_map(|record| record.sub.map(|(_, number)| number)));
    }
    assert_eq!(numbers, (41..=100).collect::<Vec<u64>>());
    // 60 wanted; of the other request of the pair at most all 100 lie between.
    assert!(follow.visited() <= 60 + 100, "visited {} records", follow.visited());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_one_failed_sync_nothing_queued_behind_it_is_written() {
    let (disk, log) = open_faulty();
    append(&log, "s", "kept").await.expect("append");
    disk.hold_syncs("slot-000001");
    let failing = log
        .append(Append::of(vec![part("s", vec![note("a")])]))
        .await
        .expect("queue");
    tokio::task::block_in_place(|| disk.wait_for_held(1));
    let behind = log
        .append(Append::of(vec![part("s", vec![note("b")])]))
        .await
        .expect("queue");
    disk.fail(Call::Sync, "slot-000001", 0, std::io::ErrorKind::Other, false);
    disk.release();
    assert!(matches!(failing.await, Err(AppendError::Poisoned(_))));
    // The disk works again; a log that went on would put this behind a commit that may be lost.
    assert!(matches!(behind.await, Err(AppendError::Poisoned(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_stream_name_is_given_once_even_within_a_commit() {
    let (disk, log) = open_faulty();
    append(&log, "s", "first").await.expect("append");
    disk.hold_syncs("slot-000001");
    let held = log
        .append(Append::of(vec![part("s", vec![note("held")])]))
        .await
        .expect("queue");
    tokio::task::block_in_place(|| disk.wait_for_held(1));
    let mut waiting = Vec::new();
    for number in 1..=4u8 {
        let open = sub_note(SubStreamId([number; 16]), Some("req"), "x");
        let stream = format!("s{number}");
        waiting.push(
            log.append(Append::of(vec![part(&stream, vec![open])]))
                .await
                .expect("queue"),
        );
    }
    disk.release();
    held.await.expect("durable");
    let mut outcomes = Vec::new();
    for one in waiting {
        outcomes.push(one.await);
    }
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert!(
        outcomes[1..]
            .iter()
            .all(|one| matches!(one, Err(AppendError::SubStreamTaken(_)))),
        "{outcomes:?}"
    );
    assert_eq!(
        log.sub_stream(&name("req"))
            .await
            .expect("names")
            .expect("the sub-stream")
            .id,
        SubStreamId([1; 16])
    );
    assert_eq!(log.stream(&name("s2")).await.expect("names"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_in_the_commit_of_a_trim_is_refused() {
    let (disk, log) = open_faulty();
    for text in ["1", "2", "3", "4"] {
        append(&log, "s", text).await.expect("append");
    }
    let parent = log.stream(&name("s")).await.expect("names").expect("the stream");
    disk.hold_syncs("slot-000001");
    let held = log
        .append(Append::of(vec![part("other", vec![note("held")])]))
        .await
        .expect("queue");
    tokio::task::block_in_place(|| disk.wait_for_held(1));
    let mut trim = Box::pin(log.trim(parent, Trim::Before(3)));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut trim).await;
    assert!(early.is_err(), "trimmed before the sync");
    let mut forks = Vec::new();
    for position in [2, 3, 4] {
        let mut fork = part("fork", vec![note("own")]);
        fork.stream = Target::Fork {
            name: name(&format!("fork-{position}")),
            parent,
            position,
        };
        forks.push(log.append(Append::of(vec![fork])).await.expect("queue"));
    }
    disk.release();
    held.await.expect("durable");
    assert_eq!(trim.await.expect("a trim"), 3);
    for fork in forks {
        let told = fork.await;
        let told_so = matches!(told, Err(AppendError::ForkOutOfRange { oldest: 5, tail: 5, .. }));
        assert!(told_so, "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_can_not_be_synced_stops_the_log_and_leaves_it_openable() {
    let memory = MemoryDisk::new();
    let disk = FaultyDisk::new(Arc::new(memory.clone()));
    let views = MemoryViews::new();
    let log = Log::open(options(Arc::new(disk.clone()), Arc::new(views.clone()), 1)).expect("open");
    append(&log, "s", "kept").await.expect("append");
    disk.wait_for_renames(3);
    // Passes for the new slot, fails for the manifest that lists it, after its rename.
    disk.fail(Call::SyncDir, "", 1, std::io::ErrorKind::Other, false);
    let mut written = 1;
    while append(&log, "s", &"x".repeat(4 << 10)).await.is_ok() {
        written += 1;
        assert!(written < 100, "the log should have stopped");
    }
    log.close().await;
    drop(log);
    let log = Log::open(options(Arc::new(memory), Arc::new(views), 2)).expect("open");
    let stream = log.stream(&name("s")).await.expect("names").expect("the stream");
    assert_eq!(read_all(&log, stream).await.len(), written);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_close_waits_until_the_folder_is_free() {
    let memory = MemoryDisk::new();
    let disk = FaultyDisk::new(Arc::new(memory.clone()));
    let open = || Log::open(options(Arc::new(disk.clone()), Arc::new(MemoryViews::new()), 1));
    let log = open().expect("open");
    append(&log, "s", "1").await.expect("append");
    disk.hold_syncs("slot-000001");
    let held = log
        .append(Append::of(vec![part("s", vec![note("held")])]))
        .await
        .expect("queue");
    tokio::task::block_in_place(|| disk.wait_for_held(1));
    let closers: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn({
                let (log, open) = (log.clone(), disk.clone());
                async move {
                    log.close().await;
                    Log::open(options(Arc::new(open), Arc::new(MemoryViews::new()), 1))
                        .map(drop)
                        .map_err(|error| error.to_string())
                }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    disk.release();
    held.await.expect("durable");
    for closer in closers {
        let reopened = closer.await.expect("a closer");
        // The three may meet each other, never the closed log: it is gone for all of them.
        let other = reopened.as_ref().is_err_and(|error| error.contains("in use"));
        assert!(reopened.is_ok() || other, "{reopened:?}");
    }
    open().expect("free");
}
