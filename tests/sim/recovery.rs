//! What a restart finds: torn tails are cut, damage is refused, the view store may be lost or old.

use std::sync::Arc;

use flowstate_log::Log;
use flowstate_log::disk::Disk;
use flowstate_log::disk::faulty::{Call, FaultyDisk};
use flowstate_log::disk::memory::{Choice, MemoryDisk};
use flowstate_log::error::OpenError;
use flowstate_log::record::{Kind, Name};
use flowstate_log::view::ViewId;
use flowstate_log::view_store::ViewStore;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_tests::log::{LinesFold, append, name, options, read_all, texts};

fn open(disk: &MemoryDisk, views: &MemoryViews) -> Result<Log, OpenError> {
    Log::open(options(Arc::new(disk.clone()), Arc::new(views.clone()), 7))
}

async fn content(log: &Log) -> Vec<String> {
    match log.stream(&name("s")).await.expect("names") {
        Some(stream) => texts(&read_all(log, stream).await),
        None => Vec::new(),
    }
}

async fn rows(log: &Log) -> (Vec<String>, usize) {
    let stream = log.stream(&name("s")).await.expect("names").expect("the stream");
    let lines = log
        .view(stream, ViewId(1), |fold: &LinesFold| {
            fold.lines.values().cloned().collect()
        })
        .await;
    (
        lines.expect("view"),
        log.index(ViewId(1), b"s/", None, 100).await.expect("index").len(),
    )
}

/// Where the last commit lies in the first segment, found by its magic.
fn last_commit(disk: &MemoryDisk) -> (u64, Vec<u8>) {
    let slot = disk.open("slot-000001").expect("the segment");
    let mut bytes = vec![0; slot.len().expect("len") as usize];
    slot.read_at(0, &mut bytes).expect("read");
    let start = bytes
        .windows(4)
        .rposition(|window| window == b"FSc\x02")
        .expect("a commit");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("bytes") + 1;
    (start as u64, bytes[start..end].to_vec())
}

/// Three records, the last of them above the watermark: the state of a process killed before the mark moved.
async fn killed() -> (MemoryDisk, MemoryViews) {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views).expect("open");
    for text in ["one", "two"] {
        append(&log, "s", text).await.expect("append");
    }
    log.close().await;
    drop(log);
    let mut options = options(Arc::new(disk.clone()), Arc::new(views.clone()), 8);
    options.limits.watermark_interval_ms = 1_000_000;
    options.limits.checkpoint_interval_ms = 1_000_000;
    let log = Log::open(options).expect("open");
    append(&log, "s", "three").await.expect("append");
    let (left, old) = (disk.crash(1), views.copy());
    log.close().await;
    (left, old)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_close_and_after_a_kill() {
    let (disk, views) = killed().await;
    for _ in 0..2 {
        let log = open(&disk, &views).expect("open");
        assert_eq!(content(&log).await, ["one", "two", "three"]);
        assert_eq!(
            rows(&log).await,
            (["one", "two", "three"].map(String::from).to_vec(), 1)
        );
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_cut_kept_aside_and_told() {
    let (disk, views) = killed().await;
    let (start, commit) = last_commit(&disk);
    let mut choice = Choice::new(3);
    // Old bytes of the same log: what a recycled slot would show.
    let older = {
        let slot = disk.open("slot-000001").expect("the segment");
        let mut bytes = vec![0; commit.len()];
        slot.read_at(0, &mut bytes).expect("read");
        bytes
    };
    for cut in 0..commit.len() {
        for fill in 0..3 {
            let disk = disk.crash(0);
            let tail: Vec<u8> = match fill {
                0 => vec![0; commit.len() - cut],
                1 => older[..commit.len() - cut].to_vec(),
                _ => (cut..commit.len()).map(|_| choice.bits() as u8).collect(),
            };
            if tail == commit[cut..] {
                continue;
            }
            disk.open("slot-000001")
                .expect("open")
                .write_at(start + cut as u64, &tail)
                .expect("write");
            let log = open(&disk, &views.copy()).unwrap_or_else(|error| panic!("cut at {cut}, fill {fill}: {error}"));
            assert_eq!(content(&log).await, ["one", "two"], "cut at {cut}, fill {fill}");
            append(&log, "s", "after").await.expect("append");
            let system = log
                .stream(&Name::new("", "\0node").expect("name"))
                .await
                .expect("names");
            // A tail of zeroes from the first byte on is no tail at all.
            assert_eq!(system.is_some(), !(cut == 0 && fill == 0), "cut at {cut}, fill {fill}");
            if let Some(system) = system {
                let told = read_all(&log, system).await;
                assert_eq!(told[0].kind, Kind::LOG_RECOVERED);
                let told = String::from_utf8_lossy(&told[0].payload).into_owned();
                assert!(told.contains("\"saved_as\":\"torn-3-slot-000001-"), "{told}");
                assert!(disk.list().expect("list").iter().any(|name| name.starts_with("torn-")));
            }
            log.close().await;
            drop(log);
            assert_eq!(
                content(&open(&disk, &MemoryViews::new()).expect("open")).await,
                ["one", "two", "after"]
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_what_was_acknowledged_is_refused_and_changes_nothing() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views).expect("open");
    for text in ["one", "two", "three"] {
        append(&log, "s", text).await.expect("append");
    }
    log.close().await;
    drop(log);
    let (start, commit) = last_commit(&disk);
    let image = |disk: &MemoryDisk| -> Vec<(String, Vec<u8>)> {
        let bytes = |name: &String| {
            let file = disk.open(name).expect("open");
            let mut bytes = vec![0; file.len().expect("len") as usize];
            file.read_at(0, &mut bytes).expect("read");
            bytes
        };
        disk.list()
            .expect("list")
            .iter()
            .map(|name| (name.clone(), bytes(name)))
            .collect()
    };
    let refused = |what: &str, damage: &dyn Fn(&MemoryDisk), views: &MemoryViews| {
        let disk = disk.crash(0);
        damage(&disk);
        let before = image(&disk);
        match open(&disk, &views.copy()) {
            Err(OpenError::Damaged(_)) => {}
            Err(other) => panic!("{what}: refused for another reason: {other}"),
            Ok(_) => panic!("{what}: opened"),
        }
        assert!(image(&disk) == before, "{what}: a refusal changed bytes");
    };
    let flip = |offset: u64| {
        move |disk: &MemoryDisk| {
            let slot = disk.open("slot-000001").expect("open");
            let mut byte = [0];
            slot.read_at(offset, &mut byte).expect("read");
            slot.write_at(offset, &[byte[0] ^ 0x10]).expect("write");
        }
    };
    let gone = |name: &'static str| move |disk: &MemoryDisk| disk.remove(name).expect("remove");
    refused(
        "the watermark knows the last commit",
        &flip(start + 100),
        &MemoryViews::new(),
    );
    refused("a record in the middle", &flip(100), &MemoryViews::new());
    refused(
        "the last commit gone",
        &|disk| {
            disk.open("slot-000001")
                .expect("open")
                .write_at(start, &vec![0; commit.len()])
                .expect("write")
        },
        &views,
    );
    refused("a segment gone", &gone("slot-000001"), &views);
    refused("the manifest gone", &gone("manifest"), &views);
    refused("the watermark gone", &gone("watermark"), &views);
    refused(
        "the watermark zeroed",
        &|disk| {
            disk.open("watermark")
                .expect("open")
                .write_at(0, &[0; 8192])
                .expect("write")
        },
        &views,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_store_knows_what_the_watermark_does_not() {
    // The mark stays at two commits; the views have seen the third, and it is damaged.
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let mut slow = options(Arc::new(disk.clone()), Arc::new(views.clone()), 8);
    slow.limits.watermark_interval_ms = 1_000_000;
    slow.limits.checkpoint_interval_ms = 1;
    let log = Log::open(slow).expect("open");
    for text in ["one", "two", "three"] {
        append(&log, "s", text).await.expect("append");
    }
    while !views.entries().iter().any(|(_, value)| value == b"three") {
        tokio::task::yield_now().await;
    }
    let (left, seen) = (disk.crash(1), views.copy());
    log.close().await;
    let (start, commit) = last_commit(&left);
    let slot = left.open("slot-000001").expect("open");
    slot.write_at(start, &vec![0; commit.len()]).expect("write");
    slot.sync().expect("sync");
    let refused = open(&left.crash(1), &seen)
        .map(|_| ())
        .expect_err("the views have seen the commit");
    assert!(refused.to_string().contains("the view store has seen it"), "{refused}");
    assert_eq!(
        content(&open(&left, &MemoryViews::new()).expect("open")).await,
        ["one", "two"],
        "without that evidence it is a torn tail"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_an_old_view_store_changes_no_answer() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let mut copies = vec![MemoryViews::new()];
    let mut expected = Vec::new();
    for round in 0..5 {
        let log = open(&disk, &views).expect("open");
        for number in 0..20 {
            let text = format!("{round}-{number}");
            append(&log, "s", &text).await.expect("append");
            expected.push(text);
        }
        log.close().await;
        copies.push(views.copy());
    }
    let full = views.entries();
    for (age, copy) in copies.iter().enumerate() {
        let log = open(&disk.crash(1), copy).expect("open");
        assert_eq!(rows(&log).await, (expected.clone(), 1), "copy {age}");
        log.close().await;
        assert_eq!(
            copy.entries(),
            full,
            "copy {age} has the same rows as the store that was never lost"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_open_of_the_same_log_is_refused() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views).expect("open");
    assert!(matches!(open(&disk, &views).map(|_| ()), Err(OpenError::Locked(_))));
    log.close().await;
    open(&disk, &views).expect("free after a close");
}

/// A log whose watermark and views stay behind: what recovery has is the segments.
fn slow(disk: &MemoryDisk, views: &MemoryViews, seed: u64) -> flowstate_log::Options {
    let mut options = options(Arc::new(disk.clone()), Arc::new(views.clone()), seed);
    options.limits.watermark_interval_ms = 1_000_000;
    options.limits.checkpoint_interval_ms = 1_000_000;
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_commit_knows_what_the_watermark_does_not() {
    let disk = MemoryDisk::new();
    let log = Log::open(slow(&disk, &MemoryViews::new(), 1)).expect("open");
    for text in ["one", "two", "three"] {
        append(&log, "s", text).await.expect("append");
    }
    let left = disk.crash(1);
    log.close().await;
    let slot = left.open("slot-000001").expect("open");
    slot.write_at(120, b"rot").expect("write");
    let refused = Log::open(slow(&left, &MemoryViews::new(), 2))
        .map(drop)
        .expect_err("commit 1 was durable");
    assert!(refused.to_string().contains("a later commit says so"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_page_cache_has_is_written_again_before_it_is_shown() {
    let (memory, views) = (MemoryDisk::new(), MemoryViews::new());
    let disk = FaultyDisk::new(Arc::new(memory.clone()));
    let log = Log::open(options(Arc::new(disk.clone()), Arc::new(views.clone()), 1)).expect("open");
    append(&log, "s", "one").await.expect("append");
    // The sync fails; the kernel keeps the bytes readable and takes them for written.
    disk.fail(Call::Sync, "slot-000001", 0, std::io::ErrorKind::Other, false);
    // Longer than what the next write would carry along by chance.
    let two = "two".repeat(1_000);
    append(&log, "s", &two).await.expect_err("the sync failed");
    memory.forget_unsynced();
    log.close().await;
    drop(log);
    let log = open(&memory, &views).expect("open");
    assert_eq!(content(&log).await, ["one", &*two], "it can be read, so it is shown");
    append(&log, "s", "three").await.expect("append");
    for seed in 0..20 {
        let log = open(&memory.crash(seed), &views.copy()).unwrap_or_else(|error| panic!("crash {seed}: {error}"));
        assert_eq!(
            content(&log).await,
            ["one", &*two, "three"],
            "crash {seed} took back what was shown"
        );
    }
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_torn_tail_is_cut_to_its_end_once() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views).expect("open");
    append(&log, "s", "one").await.expect("append");
    log.close().await;
    drop(log);
    let slot = disk.open("slot-000001").expect("open");
    slot.write_at(4 << 10, &[7; 100]).expect("write");
    slot.write_at((64 << 10) - 512, &[7; 512]).expect("write");
    let torn = || {
        disk.list()
            .expect("list")
            .iter()
            .filter(|name| name.starts_with("torn-"))
            .count()
    };
    for round in 0..3 {
        let mut lower = options(Arc::new(disk.clone()), Arc::new(views.clone()), round + 2);
        (lower.limits.commit_bytes_max, lower.limits.inline_bytes_max) = (4 << 10, 2 << 10);
        let log = Log::open(lower).expect("open");
        append(&log, "s", "short").await.expect("append");
        log.close().await;
        assert_eq!(torn(), 1, "open {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_told_even_if_the_open_that_made_it_failed() {
    let (memory, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&memory, &views).expect("open");
    append(&log, "s", "one").await.expect("append");
    log.close().await;
    drop(log);
    memory
        .open("slot-000001")
        .expect("open")
        .write_at(4096, b"torn")
        .expect("write");
    let disk = FaultyDisk::new(Arc::new(memory.clone()));
    disk.fail(Call::Write, "watermark", 0, std::io::ErrorKind::Other, false);
    Log::open(options(Arc::new(disk), Arc::new(views.clone()), 2))
        .map(drop)
        .expect_err("the watermark can't be written");
    let node = Name::new("", "\0node").expect("name");
    for _ in 0..2 {
        let log = open(&memory, &views).expect("open");
        let node = log.stream(&node).await.expect("names").expect("the cut is told");
        assert_eq!(log.tail(node).await.ok(), Some(1), "and once");
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_another_history_is_not_taken_for_the_next() {
    // Two histories that part after "one"; the second's third commit is put behind the first's second.
    let disk = MemoryDisk::new();
    let log = Log::open(slow(&disk, &MemoryViews::new(), 1)).expect("open");
    append(&log, "s", "one").await.expect("append");
    let (left, right) = (disk.crash(1), disk.crash(1));
    log.close().await;
    let write = async |disk: &MemoryDisk, texts: &[&str]| {
        let log = Log::open(slow(disk, &MemoryViews::new(), 2)).expect("open");
        for text in texts {
            append(&log, "s", text).await.expect("append");
        }
        let after = disk.crash(1);
        log.close().await;
        after
    };
    let left = write(&left, &["two"]).await;
    let right = write(&right, &["TWO", "three"]).await;
    let (start, third) = last_commit(&right);
    left.open("slot-000001")
        .expect("open")
        .write_at(start, &third)
        .expect("write");
    let log = Log::open(slow(&left, &MemoryViews::new(), 3)).expect("open");
    assert_eq!(content(&log).await, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_older_than_its_segments_is_refused() {
    let memory = MemoryDisk::new();
    let disk = FaultyDisk::new(Arc::new(memory.clone()));
    let mut options = slow(&memory, &MemoryViews::new(), 1);
    options.disk = Arc::new(disk.clone());
    let log = Log::open(options).expect("open");
    append(&log, "s", "1").await.expect("append");
    disk.wait_for_renames(3);
    let stale = {
        let file = memory.open("manifest").expect("open");
        let mut bytes = vec![0; file.len().expect("len") as usize];
        file.read_at(0, &mut bytes).expect("read");
        bytes
    };
    for _ in 0..30 {
        append(&log, "s", &"y".repeat(7 << 10)).await.expect("append");
    }
    let left = memory.crash(0);
    log.close().await;
    left.create("manifest")
        .expect("create")
        .write_at(0, &stale)
        .expect("write");
    let before = left.list().expect("list");
    let refused = Log::open(slow(&left, &MemoryViews::new(), 2))
        .map(drop)
        .expect_err("segments hold more");
    assert!(
        refused.to_string().contains("the manifest is older than the log"),
        "{refused}"
    );
    assert_eq!(left.list().expect("list"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_may_be_raised_between_two_opens() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views).expect("open");
    append(&log, "s", "small").await.expect("append");
    log.close().await;
    drop(log);
    for seed in 2..4 {
        let mut raised = options(Arc::new(disk.clone()), Arc::new(views.clone()), seed);
        (raised.limits.segment_bytes, raised.limits.commit_bytes_max) = (2 << 20, 1 << 20);
        raised.limits.payload_bytes_max = 512 << 10;
        let log = Log::open(raised).expect("open");
        append(&log, "s", &"x".repeat(200 << 10)).await.expect("append");
        assert_eq!(content(&log).await.len() as u64, seed);
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_store_of_another_history_is_rebuilt() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views).expect("open");
    append(&log, "s", "one").await.expect("append");
    log.close().await;
    drop(log);
    let restored = disk.crash(1);
    let log = open(&disk, &views).expect("open");
    append(&log, "s", "two").await.expect("append");
    log.close().await;
    // The segments are those of before, and went on otherwise; the views are of the history that was given up.
    let log = open(&restored, &MemoryViews::new()).expect("open");
    for text in ["TWO", "THREE"] {
        append(&log, "s", text).await.expect("append");
    }
    log.close().await;
    drop(log);
    let log = open(&restored, &views).expect("open");
    assert_eq!(
        rows(&log).await,
        (["one", "TWO", "THREE"].map(String::from).to_vec(), 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_can_not_be_read_are_rebuilt() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views).expect("open");
    append(&log, "s", "one").await.expect("append");
    let stream = log.stream(&name("s")).await.expect("names").expect("the stream");
    log.close().await;
    drop(log);
    let spoil = |views: &MemoryViews| {
        let key = [&b"r"[..], &stream.0, &[1], b"bad"].concat();
        views.write(vec![(key, Some(b"x".to_vec()))]).expect("write");
    };
    // Found while the log is open: refused with what to do, and a restart does it.
    let spoilt = views.copy();
    spoil(&spoilt);
    let log = open(&disk, &spoilt).expect("open");
    let refused = append(&log, "s", "two")
        .await
        .expect_err("the rows can't be gone on from")
        .to_string();
    assert!(refused.contains("restart to rebuild"), "{refused}");
    log.close().await;
    drop(log);
    let log = open(&disk, &spoilt).expect("open");
    append(&log, "s", "two").await.expect("append");
    assert_eq!(rows(&log).await.0, ["one", "two"]);
    log.close().await;
    drop(log);
    // Found while the views are brought up to date: rebuilt at once.
    spoil(&views);
    assert_eq!(
        rows(&open(&disk, &views).expect("open")).await,
        (["one", "two"].map(String::from).to_vec(), 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_use_of_a_slot_left_behind_the_tail_is_no_evidence() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = Log::open(slow(&disk, &views, 1)).expect("open");
    // Fills the first slot and begins the second, which has the next generation.
    let mut texts = Vec::new();
    for number in 0..10 {
        let text = format!("{number}{}", "x".repeat(7 << 10));
        append(&log, "s", &text).await.expect("append");
        texts.push(text);
    }
    append(&log, "s", "last").await.expect("append");
    let left = disk.crash(1);
    log.close().await;
    let whole = |disk: &MemoryDisk, name: &str| {
        let slot = disk.open(name).expect("open");
        let mut bytes = vec![0; slot.len().expect("len") as usize];
        slot.read_at(0, &mut bytes).expect("read");
        bytes
    };
    let (old, new) = (whole(&left, "slot-000001"), whole(&left, "slot-000002"));
    let start = new
        .windows(4)
        .rposition(|window| window == b"FSc\x02")
        .expect("a commit");
    let end = new.iter().rposition(|byte| *byte != 0).expect("bytes") + 1;
    assert!(
        start > 0 && old[end..].windows(4).any(|window| window == b"FSc\x02"),
        "old commits lie behind the tail"
    );
    for cut in start..end {
        let disk = left.crash(0);
        disk.open("slot-000002")
            .expect("open")
            .write_at(cut as u64, &old[cut..])
            .expect("write");
        let log =
            Log::open(slow(&disk, &MemoryViews::new(), 2)).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(content(&log).await, texts, "cut at {cut}");
        log.close().await;
    }
}
