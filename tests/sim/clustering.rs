//! Clustering behind the writer's back: readers never notice it, nothing is lost by it, and what fails on the way is tried again.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flowstate_log::append::{Append, Expect, Part, Sub, Target};
use flowstate_log::disk::Disk;
use flowstate_log::disk::faulty::{Call, FaultyDisk};
use flowstate_log::disk::memory::{Choice, MemoryDisk};
use flowstate_log::env::SeededEnv;
use flowstate_log::error::{AppendError, OpenError, ReadError};
use flowstate_log::limits::Limits;
use flowstate_log::record::{IdempotencyKey, Record, StreamId, SubStreamId, Subject};
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_log::{Log, Options};
use flowstate_tests::log::{append, name, note, options, part, read_all, sub_note, texts};

use crate::model::{World, run_cases};

const SEEDS: u64 = 320;

fn tiny() -> Limits {
    Limits {
        segment_bytes: 8 << 10,
        commit_bytes_max: 4 << 10,
        inline_bytes_max: 512,
        tail_bytes_max: 0,
        checkpoint_interval_ms: 2,
        watermark_interval_ms: 2,
        cluster_segments_min: 1,
        cluster_segments_max: 2,
        run_fan_out: 2,
        idle_streams_max: 0,
        cache_bytes_max: 32 << 10,
        ..Limits::default()
    }
}

fn tiny_options(disk: Arc<dyn Disk>, views: &MemoryViews, seed: u64) -> Options {
    Options {
        limits: tiny(),
        env: Arc::new(SeededEnv::new(u64::MAX - seed)),
        ..options(disk, Arc::new(views.clone()), seed)
    }
}

fn open(disk: &MemoryDisk, views: &MemoryViews, seed: u64) -> Result<Log, OpenError> {
    Log::open(tiny_options(Arc::new(disk.clone()), views, seed))
}

fn files(disk: &MemoryDisk, start: &str) -> Vec<String> {
    let mut names = disk.list().expect("list");
    names.retain(|name| name.starts_with(start));
    names
}

fn bytes_of(disk: &MemoryDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name).expect("open");
    let mut bytes = vec![0; file.len().expect("len") as usize];
    file.read_at(0, &mut bytes).expect("read");
    bytes
}

fn image(disk: &MemoryDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list().expect("list");
    names
        .into_iter()
        .map(|name| (name.clone(), bytes_of(disk, &name)))
        .collect()
}

/// A file with other content; it is durable.
fn put(disk: &MemoryDisk, name: &str, bytes: &[u8]) {
    let file = disk.create(name).expect("create");
    file.write_at(0, bytes).expect("write");
    file.sync().expect("sync");
    disk.sync_dir().expect("sync");
}

/// Appends until `done` says so; the log must get there.
async fn append_until(log: &Log, stream: &str, done: impl Fn() -> bool) {
    for number in 0..20_000 {
        if done() {
            return;
        }
        append(log, stream, &format!("{number}{}", "y".repeat(300)))
            .await
            .expect("append");
    }
    panic!("it never came to that");
}

async fn content(log: &Log, stream: &str) -> Vec<String> {
    let id = log.stream(&name(stream)).await.expect("names").expect("the stream");
    texts(&read_all(log, id).await)
}

#[test]
fn nothing_is_lost_by_a_power_cut_at_any_moment_of_the_clustering() {
    let seeds = std::env::var("FLOWSTATE_SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number"));
    let (with_runs, merged) = (AtomicU64::new(0), AtomicU64::new(0));
    run_cases(0..seeds, |seed| {
        let (with_runs, merged) = (&with_runs, &merged);
        async move {
            let mut world = World::new(1_000_000 + seed, Limits::default());
            for _ in 0..3 {
                for _ in 0..1 + world.choice.below(8) {
                    world.burst().await;
                }
                world.kill().await;
            }
            let runs = files(&world.disk, "run-");
            with_runs.fetch_add(u64::from(!runs.is_empty()), Ordering::Relaxed);
            // A number is used once: gaps are runs that were merged.
            let last = runs.last().map_or(0, |last| last[4..].parse().expect("a number"));
            merged.fetch_add(u64::from(last > runs.len()), Ordering::Relaxed);
            world.finish().await;
        }
    });
    let (with_runs, merged) = (with_runs.into_inner(), merged.into_inner());
    assert!(with_runs > seeds / 2, "only {with_runs} of {seeds} cases have runs");
    assert!(merged > seeds / 16, "only {merged} of {seeds} cases have merged runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_never_notice_clustering() {
    const STREAMS: usize = 3;
    const APPENDS: u64 = 600;
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views, 1).expect("open");
    let text = |stream: usize, number: u64| format!("{stream}:{number}:{}", "z".repeat((number % 7 * 90) as usize));
    let sub_of = |stream: usize| SubStreamId([stream as u8 + 1; 16]);
    let mut streams = Vec::new();
    for stream in 0..STREAMS {
        let first = sub_note(sub_of(stream), Some(&format!("sub{stream}")), text(stream, 1));
        let sent = log
            .append(Append::of(vec![part(&format!("s{stream}"), vec![first])]))
            .await;
        streams.push(sent.expect("queue").await.expect("durable").parts[0].stream);
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for (number, id) in streams.iter().copied().enumerate() {
        // Every third record is of the sub-stream.
        let (writer, follower, of_sub, random) = (log.clone(), log.clone(), log.clone(), log.clone());
        tasks.push(tokio::spawn(async move {
            for at in 2..=APPENDS {
                let record = match at % 3 {
                    0 => sub_note(sub_of(number), None, text(number, at)),
                    _ => note(text(number, at)),
                };
                let sent = writer
                    .append(Append::of(vec![part(&format!("s{number}"), vec![record])]))
                    .await;
                sent.expect("queue").await.expect("durable");
            }
        }));
        tasks.push(tokio::spawn(async move {
            let mut cursor = follower.follow(id, 1).await.expect("follow");
            let mut next = 1;
            while next <= APPENDS {
                for record in cursor.page().await.expect("page") {
                    assert_eq!(
                        (record.position, &record.payload[..]),
                        (next, text(number, next).as_bytes())
                    );
                    next += 1;
                }
            }
        }));
        tasks.push(tokio::spawn(async move {
            let info = of_sub.sub_stream_info(id, sub_of(number)).await.expect("sub-stream");
            let mut cursor = of_sub.follow_sub(&info, 0).await.expect("follow");
            let mut seen = 0;
            while seen < 1 + APPENDS / 3 {
                for record in cursor.page().await.expect("page") {
                    seen += 1;
                    let position = if seen == 1 { 1 } else { (seen - 1) * 3 };
                    assert_eq!((record.position, record.sub), (position, Some((sub_of(number), seen))));
                }
            }
        }));
        let done = done.clone();
        tasks.push(tokio::spawn(async move {
            let mut choice = Choice::new(number as u64);
            while !done.load(Ordering::Relaxed) {
                let tail = random.tail(id).await.expect("tail");
                let from = 1 + choice.below(tail as usize) as u64;
                let page = random.read(id, from, 1 + choice.below(20)).await.expect("read");
                assert!(!page.is_empty(), "records are only missing beyond the tail");
                let check = |record: &Record, position: u64| {
                    assert_eq!(record.position, position);
                    assert_eq!(&record.payload[..], text(number, position).as_bytes());
                };
                (from..)
                    .zip(&page)
                    .for_each(|(position, record)| check(record, position));
                let back = random.read_back(id, from, 5).await.expect("read back");
                (1..=from)
                    .rev()
                    .zip(&back)
                    .for_each(|(position, record)| check(record, position));
                tokio::task::yield_now().await;
            }
        }));
    }
    let ending: Vec<_> = tasks.iter().map(|task| task.abort_handle()).collect();
    let (mut last, mut open_ended) = (Vec::new(), Vec::new());
    for (number, task) in tasks.into_iter().enumerate() {
        if number % 4 == 3 { &mut open_ended } else { &mut last }.push(task);
    }
    for task in last {
        task.await.expect("no reader saw anything wrong");
    }
    done.store(true, Ordering::Relaxed);
    for task in open_ended {
        task.await.expect("no reader saw anything wrong");
    }
    drop(ending);
    assert!(!files(&disk, "run-").is_empty(), "nothing was clustered");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_is_never_decided_on_forgotten_state() {
    // Sixteen callers fight over few names while everything idle is let go at once.
    const CALLERS: u64 = 16;
    const ROUNDS: u64 = 120;
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views, 2).expect("open");
    let won = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for caller in 0..CALLERS {
        let (log, won) = (log.clone(), won.clone());
        tasks.push(tokio::spawn(async move {
            let mut choice = Choice::new(caller);
            for round in 0..ROUNDS {
                // All fight for the sub-stream of this round; the streams differ.
                let stream = format!("s{}", choice.below(4));
                let mut id = [caller as u8; 16];
                id[..8].copy_from_slice(&round.to_be_bytes());
                let sub = SubStreamId(id);
                let opening = sub_note(sub, Some(&format!("round-{round}")), "x".repeat(100));
                let mut first = Append::of(vec![part(&stream, vec![opening])]);
                first.key = IdempotencyKey::new(format!("{caller}-{round}").as_bytes());
                let sent = match log.append(first.clone()).await {
                    Ok(appending) => appending.await,
                    Err(error) => Err(error),
                };
                let appended = match sent {
                    Err(AppendError::SubStreamTaken(_)) => continue,
                    other => other.expect("nothing else can be wrong"),
                };
                won.fetch_add(1, Ordering::Relaxed);
                // Its number, and what the key was answered, are known however often the stream was let go.
                for number in 1..=choice.below(4) as u64 + 1 {
                    let mut next = part(&stream, vec![sub_note(sub, None, "y".repeat(200))]);
                    next.expect = vec![Expect::SubStreamAt(sub, number)];
                    let sent = log.append(Append::of(vec![next])).await.expect("queue");
                    sent.await.expect("the sub-stream goes on");
                }
                let again = log.append(first).await.expect("queue").await.expect("it was there");
                assert!(again.repeated);
                assert_eq!((again.commit, again.parts), (appended.commit, appended.parts));
                let other = sub_note(sub, Some(&format!("other-{caller}-{round}")), "");
                let other = log.append(Append::of(vec![part(&stream, vec![other])])).await;
                let other = match other {
                    Ok(appending) => appending.await,
                    Err(error) => Err(error),
                };
                assert!(
                    matches!(other, Err(AppendError::SubStreamTaken(_))),
                    "an id is used once: {other:?}"
                );
            }
        }));
    }
    for task in tasks {
        task.await.expect("no caller was told anything wrong");
    }
    assert_eq!(won.load(Ordering::Relaxed), ROUNDS, "each name goes to one caller");
    log.close().await;
    drop(log);
    let before = views.entries();
    let views = MemoryViews::new();
    let log = open(&disk, &views, 3).expect("what was numbered wrong can't be rebuilt");
    log.close().await;
    assert!(views.entries() == before, "the rows are those of the records");
}

/// A log with runs of several streams, large payloads, sub-streams, a free segment and a tail in segments.
async fn clustered() -> (MemoryDisk, MemoryViews, BTreeMap<String, Vec<String>>) {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let open = |seed| {
        let mut options = tiny_options(Arc::new(disk.clone()), &views, seed);
        options.limits.run_fan_out = 100;
        // Runs of several blocks.
        options.limits.cluster_segments_min = 4;
        options.limits.cluster_segments_max = 6;
        Log::open(options).expect("open")
    };
    let log = open(4);
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for number in 0..400u64 {
        let stream = format!("s{}", number % 3);
        let text = format!("{number}:{}", "w".repeat(if number % 20 == 0 { 2_000 } else { 150 }));
        let sent = log
            .append(Append::of(vec![part(&stream, vec![note(text.clone())])]))
            .await;
        sent.expect("queue").await.expect("durable");
        expected.entry(stream).or_default().push(text);
    }
    let is_so = || !slots_of(&disk, "free").is_empty() && files(&disk, "run-").len() > 1;
    append_until(&log, "filler", is_so).await;
    log.close().await;
    drop(log);
    // A free segment may have been taken again before the log was closed.
    for seed in 100.. {
        if is_so() {
            break;
        }
        let log = open(seed);
        append_until(&log, "filler", is_so).await;
        log.close().await;
    }
    (disk, views, expected)
}

fn slots_of(disk: &MemoryDisk, list: &str) -> Vec<String> {
    let bytes = bytes_of(disk, "manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&bytes[12..]).expect("JSON");
    let entries = manifest[list].as_array().expect("a list").clone();
    let name = |entry: &serde_json::Value| format!("slot-{:06}", entry["slot"].as_u64().expect("a number"));
    entries.iter().map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_that_counts_is_missed_and_a_refusal_changes_nothing() {
    let (disk, views, _) = clustered().await;
    let free = slots_of(&disk, "free").remove(0);
    let used: Vec<String> = slots_of(&disk, "slots")
        .into_iter()
        .filter(|slot| bytes_of(&disk, slot)[..3] == *b"FSc")
        .collect();
    let (run, other_run) = (files(&disk, "run-")[0].clone(), files(&disk, "run-")[1].clone());
    let blob = files(&disk, "blob-")[0].clone();
    let refused = |what: &str, damage: &dyn Fn(&MemoryDisk)| {
        let disk = disk.crash(0);
        damage(&disk);
        let before = image(&disk);
        match open(&disk, &views.copy(), 5) {
            Err(OpenError::Damaged(told)) => assert!(told.contains("backup"), "{what}: it says what to do: {told}"),
            Err(other) => panic!("{what}: refused for another reason: {other}"),
            Ok(_) => panic!("{what}: opened"),
        }
        assert!(image(&disk) == before, "{what}: a refusal changed bytes");
    };
    for name in [
        &run,
        &blob,
        &free,
        &used[0],
        &"manifest".to_owned(),
        &"watermark".to_owned(),
    ] {
        refused(&format!("{name} is missing"), &|disk| {
            disk.remove(name).expect("remove");
            disk.sync_dir().expect("sync");
        });
    }
    for name in [&run, &free, &used[0], &"manifest".to_owned(), &"watermark".to_owned()] {
        refused(&format!("{name} is empty"), &|disk| put(disk, name, b""));
        if name == "watermark" {
            // Half of it is a whole mark: a lower bound, if an older one.
            continue;
        }
        let half = bytes_of(&disk, name);
        // One half of the watermark is a mark by itself.
        if name != "watermark" {
            refused(&format!("{name} is cut short"), &|disk| {
                put(disk, name, &half[..half.len() / 2])
            });
        }
    }
    let (one, other) = (bytes_of(&disk, &run), bytes_of(&disk, &other_run));
    refused("two runs are swapped", &|disk| {
        put(disk, &run, &other);
        put(disk, &other_run, &one);
    });
    refused("a run is of another size", &|disk| put(disk, &run, &other));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_from_before_the_clustering_is_refused_or_still_true() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views, 6).expect("open");
    let mut manifests: Vec<Vec<u8>> = Vec::new();
    for number in 0..400 {
        append(&log, "s", &format!("{number}{}", "v".repeat(200)))
            .await
            .expect("append");
        let manifest = bytes_of(&disk, "manifest");
        if manifests.last() != Some(&manifest) {
            manifests.push(manifest);
        }
    }
    log.close().await;
    drop(log);
    manifests.pop();
    assert!(manifests.len() > 10, "the manifest changed {} times", manifests.len());
    for (number, manifest) in manifests.iter().enumerate() {
        let disk = disk.crash(0);
        put(&disk, "manifest", manifest);
        let before = image(&disk);
        match open(&disk, &views.copy(), 7) {
            Err(OpenError::Damaged(_)) => assert!(image(&disk) == before, "manifest {number}: a refusal changed bytes"),
            Err(other) => panic!("manifest {number}: {other}"),
            Ok(log) => assert_eq!(content(&log, "s").await.len(), 400, "manifest {number}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_run_hides_what_it_touches_and_nothing_else() {
    let (disk, views, expected) = clustered().await;
    let mut choice = Choice::new(8);
    let (mut refused, mut hidden) = (0, 0);
    for run in files(&disk, "run-") {
        let length = bytes_of(&disk, &run).len();
        for _ in 0..150 {
            let disk = disk.crash(0);
            let file = disk.open(&run).expect("open");
            let at = choice.below(length) as u64;
            let mut byte = [0];
            file.read_at(at, &mut byte).expect("read");
            file.write_at(at, &[byte[0] ^ (1 << choice.below(8))]).expect("write");
            let before = image(&disk);
            let log = match open(&disk, &views.copy(), 9) {
                Ok(log) => log,
                Err(OpenError::Damaged(told)) => {
                    assert!(told.contains(&run), "{told}");
                    assert!(image(&disk) == before, "a refusal changed bytes");
                    refused += 1;
                    continue;
                }
                Err(other) => panic!("byte {at} of {run}: {other}"),
            };
            for (stream, texts) in &expected {
                let id = log.stream(&name(stream)).await.expect("names").expect("the stream");
                hidden += check_all_but_damaged(&log, id, texts).await;
            }
            log.close().await;
        }
    }
    assert!(refused > 0 && hidden > 0, "{refused} refused, {hidden} hidden");
}

/// Reads a stream in pages: what is damaged is one stretch, told as such, and all else is there. Returns how many are hidden.
async fn check_all_but_damaged(log: &Log, id: StreamId, texts: &[String]) -> usize {
    let mut hidden = Vec::new();
    let mut next = 1;
    while next <= texts.len() as u64 {
        match log.read(id, next, 50).await {
            Ok(page) => {
                assert!(!page.is_empty());
                for record in page {
                    assert_eq!(
                        (record.position, &record.payload[..]),
                        (next, texts[next as usize - 1].as_bytes())
                    );
                    next += 1;
                }
            }
            Err(ReadError::Corrupt { stream, position, .. }) => {
                assert_eq!((stream, position), (id, next), "the error names the record");
                let alone = log.read(id, next, 1).await;
                assert!(
                    matches!(alone, Err(ReadError::Corrupt { .. })),
                    "{next} can be read alone"
                );
                hidden.push(next);
                next += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(
        hidden.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "one block at most: {hidden:?}"
    );
    hidden.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_clustering_is_tried_again_and_nothing_is_lost_meanwhile() {
    let failures = [
        (Call::Create, "run-", ErrorKind::StorageFull),
        (Call::Write, "run-", ErrorKind::StorageFull),
        (Call::Sync, "run-", ErrorKind::Other),
        (Call::Read, "run-", ErrorKind::Other),
        (Call::Rename, "manifest", ErrorKind::StorageFull),
        (Call::Write, "manifest", ErrorKind::StorageFull),
        (Call::SyncDir, "", ErrorKind::StorageFull),
    ];
    for (number, (call, on, kind)) in failures.into_iter().enumerate() {
        for after in 0..4 {
            let case = format!("{call:?} on {on:?} after {after}");
            let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
            let faulty = FaultyDisk::new(Arc::new(disk.clone()));
            let options = tiny_options(Arc::new(faulty.clone()), &views, number as u64);
            let log = Log::open(options).expect("open");
            append_until(&log, "s", || !files(&disk, "run-").is_empty()).await;
            let mut expected = content(&log, "s").await;
            faulty.fail(call, on, after, kind, true);
            for number in 0..150 {
                let text = format!("during {number}{}", "u".repeat(300));
                // A full disk refuses what has no room; nothing else may be refused.
                match append(&log, "s", &text).await {
                    Ok(_) => expected.push(text),
                    Err(AppendError::Full(_)) => break,
                    Err(other) => panic!("{case}: {other}"),
                }
            }
            if call != Call::Read {
                assert_eq!(content(&log, "s").await, expected, "{case}: read while it fails");
            }
            // What a power cut leaves in the middle of it opens.
            let rows = views.copy();
            for seed in 0..8 {
                let opened = open(&disk.crash(seed), &rows.copy(), 10);
                let log = opened.unwrap_or_else(|error| panic!("{case}: refused after a cut: {error}"));
                assert_eq!(content(&log, "s").await, expected, "{case}: after a cut");
            }
            faulty.heal();
            let before = files(&disk, "run-");
            loop {
                match append(&log, "s", &"t".repeat(300)).await {
                    Ok(_) => expected.push("t".repeat(300)),
                    Err(AppendError::Full(_)) => tokio::task::yield_now().await,
                    Err(other) => panic!("{case}: {other}"),
                }
                if files(&disk, "run-") != before {
                    break;
                }
            }
            assert_eq!(content(&log, "s").await, expected, "{case}: after it healed");
            log.close().await;
            drop(log);
            let log = open(&disk, &views, 11).expect("open");
            assert_eq!(content(&log, "s").await, expected, "{case}: after a close");
            log.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_in_a_used_segment_is_cut_or_kept_at_every_byte() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views, 12).expect("open");
    let recycled = || String::from_utf8_lossy(&bytes_of(&disk, "manifest")).contains("\"recycled\":true");
    append_until(&log, "s", recycled).await;
    log.close().await;
    drop(log);
    // From here on no mark moves: what is written may be torn.
    let mut options = tiny_options(Arc::new(disk.clone()), &views, 13);
    options.limits.watermark_interval_ms = 1_000_000;
    options.limits.checkpoint_interval_ms = 1_000_000;
    let log = Log::open(options).expect("open");
    let slots: BTreeMap<String, Vec<u8>> = image(&disk);
    let mut found = None;
    for number in 0..200 {
        let before = image(&disk);
        let (rows, count) = (views.copy(), content(&log, "s").await.len());
        append(&log, "s", &format!("last {number}")).await.expect("append");
        let after = image(&disk);
        let changed = after
            .iter()
            .find(|(name, bytes)| name.starts_with("slot-") && before.get(*name) != Some(bytes));
        let (name, bytes) = changed.expect("the record lies somewhere");
        // A commit in a segment that held others before, some of which are still there behind it.
        let start = (0..bytes.len())
            .find(|at| before[name].get(*at) != bytes.get(*at))
            .expect("bytes")
            & !7;
        let end = bytes.iter().rposition(|byte| *byte != 0).expect("bytes");
        if bytes[start..].starts_with(b"FSc") && end > start + 1_000 {
            found = Some((
                name.clone(),
                start,
                before[name].clone(),
                bytes.clone(),
                rows,
                count,
                disk.crash(1),
            ));
            break;
        }
    }
    drop(slots);
    let (slot, start, before, after, rows, count, left) = found.expect("a used segment with a commit in it");
    log.close().await;
    let length = (start..after.len())
        .rev()
        .find(|at| before[*at] != after[*at])
        .expect("bytes")
        + 1
        - start;
    for cut in 0..=length {
        let disk = left.crash(0);
        let file = disk.open(&slot).expect("open");
        file.write_at((start + cut) as u64, &before[start + cut..])
            .expect("write");
        let log = open(&disk, &rows.copy(), 14).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let found = content(&log, "s").await.len();
        assert!(found == count || found == count + 1, "cut at {cut}: {found} records");
        assert!(cut < length || found == count + 1, "the whole commit is there");
        append(&log, "s", "after").await.expect("append");
        log.close().await;
        drop(log);
        let log = open(&disk, &MemoryViews::new(), 15).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(content(&log, "s").await.len(), found + 1, "cut at {cut}");
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_of_refused_appends_do_not_stay() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views, 16).expect("open");
    append(&log, "s", &"k".repeat(2_000)).await.expect("append");
    for number in 0..5 {
        let mut refused = part("s", vec![note(format!("{number}{}", "r".repeat(2_000)))]);
        refused.expect = vec![Expect::Absent];
        let sent = log.append(Append::of(vec![refused])).await.expect("queue");
        assert!(matches!(sent.await, Err(AppendError::StreamExists(_))));
    }
    append_until(&log, "filler", || files(&disk, "blob-").len() == 1).await;
    assert_eq!(content(&log, "s").await, ["k".repeat(2_000)]);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_of_a_fork_reads_through_whatever_was_clustered() {
    let (mut disk, mut views) = (MemoryDisk::new(), MemoryViews::new());
    let mut log = open(&disk, &views, 17).expect("open");
    let mut expected: Vec<String> = Vec::new();
    for number in 0..5u64 {
        let (parent, this) = (format!("f{}", number.wrapping_sub(1)), format!("f{number}"));
        if number > 0 {
            let id = log.stream(&name(&parent)).await.expect("names").expect("the parent");
            let position = expected.len() as u64 - number % 3;
            expected.truncate(position as usize);
            let mut record = note(format!("{this} begins"));
            record.subject = Subject(1);
            let target = Target::Fork {
                name: name(&this),
                parent: id,
                position,
            };
            let fork = Append::of(vec![Part {
                stream: target,
                expect: Vec::new(),
                records: vec![record],
            }]);
            log.append(fork).await.expect("queue").await.expect("durable");
            expected.push(format!("{this} begins"));
        }
        for line in 0..7 {
            let text = format!("{this}-{line}{}", "q".repeat(if line == 3 { 1_500 } else { 10 }));
            let mut record = note(text.clone());
            record.subject = Subject(2);
            let sent = log.append(Append::of(vec![part(&this, vec![record])])).await;
            sent.expect("queue").await.expect("durable");
            expected.push(text);
        }
        assert_eq!(content(&log, &this).await, expected);
        let runs = files(&disk, "run-").len();
        if number % 2 == 0 {
            append_until(&log, "filler", || files(&disk, "run-").len() != runs).await;
        }
        assert_eq!(content(&log, &this).await, expected);
        // Versions of what is shared, in a fork that no row tells of: its view store is the one from before.
        if number % 2 == 1 {
            views = views.copy();
            disk = disk.crash(number);
            log.close().await;
            log = open(&disk, &views, 18 + number).expect("open");
        }
        let mut next = part(&this, vec![note("goes on")]);
        let at = |start: &str| {
            expected
                .iter()
                .rposition(|text| text.contains(start))
                .map_or(0, |at| at as u64 + 1)
        };
        next.expect = vec![
            Expect::Version(Subject(1), at("begins")),
            Expect::Version(Subject(2), at("-6")),
            Expect::Position(expected.len() as u64),
        ];
        let sent = log.append(Append::of(vec![next])).await.expect("queue");
        sent.await.expect("versions are what they were");
        expected.push("goes on".to_owned());
        assert_eq!(content(&log, &this).await, expected);
    }
    log.close().await;
    drop(log);
    let rebuilt = MemoryViews::new();
    let log = open(&disk, &rebuilt, 30).expect("open");
    assert_eq!(content(&log, "f4").await, expected);
    log.close().await;
    assert!(
        rebuilt.entries() == views.entries(),
        "the rows are those of the records"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_stream_is_found_by_whoever_waits_for_it() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = open(&disk, &views, 31).expect("open");
    for number in 0..50u8 {
        let text = format!("sub-{number}");
        let (waiter, named) = (log.clone(), name(&text));
        let waiting = tokio::spawn(async move {
            let patience = std::time::Duration::from_secs(60);
            waiter.sub_stream_within(&named, patience).await.expect("names")
        });
        let opening = flowstate_log::append::NewRecord {
            sub: Some(Sub::Open(SubStreamId([number; 16]), name(&text))),
            ..note("o".repeat(400))
        };
        let sent = log.append(Append::of(vec![part("s", vec![opening])])).await;
        sent.expect("queue").await.expect("durable");
        let woken = tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await;
        let found = woken
            .expect("who waits is woken")
            .expect("no panic")
            .expect("it was opened");
        assert_eq!((found.count, found.first), (1, u64::from(number) + 1));
    }
    log.close().await;
}
