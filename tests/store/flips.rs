//! One bit of one file is another, anywhere: the log refuses to open and changes nothing, or every record reads as it was written or is told
//! as damaged. Kinds of files are chosen alike, then a file, then a place in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flowstate_log::disk::Disk;
use flowstate_log::disk::memory::{Choice, MemoryDisk};
use flowstate_log::error::{OpenError, ReadError};
use flowstate_log::limits::Limits;
use flowstate_log::record::Record;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_tests::store::adapter;
use flowstate_tests::store::driver::Work;
use flowstate_tests::store::faults::file_kind;
use flowstate_tests::store::judge::names;

use super::support::{run_in_memory, variable};

/// Flips; more by `FLOWSTATE_FLIPS`.
const FLIPS: u64 = 240;
/// Runs at once.
const AT_ONCE: u64 = 4;

type Records = BTreeMap<(String, u64), Result<Record, ReadError>>;
type Image = BTreeMap<String, Vec<u8>>;

fn image(disk: &MemoryDisk) -> Image {
    let content = |name: String| {
        let file = disk.open(&name).expect("open");
        let mut bytes = vec![0; file.len().expect("length") as usize];
        file.read_at(0, &mut bytes).expect("read");
        (name, bytes)
    };
    disk.list().expect("list").into_iter().map(content).collect()
}

/// What a store holds, with nothing made anew meanwhile.
async fn read(disk: MemoryDisk, views: MemoryViews, streams: &BTreeSet<String>) -> Result<Records, OpenError> {
    let limits = Limits {
        cluster_segments_min: 1_000,
        cluster_segments_max: 1_000,
        run_fan_out: 1_000,
        ..adapter::fixed_limits()
    };
    let log = adapter::open(Arc::new(disk), Arc::new(views), limits)?;
    let read = adapter::one_by_one(&log, streams).await.expect("streams without holes");
    log.close().await;
    Ok(read)
}

/// How a flip ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Refused,
    TheSame,
    /// Records were told as damaged, and all others are the same.
    Told,
}

fn judge(before: &Records, now: &Records, what: &str) -> Ended {
    let mut told = 0;
    for (place, record) in before {
        let record = record.as_ref().expect("an honest store");
        match now.get(place) {
            Some(Ok(now)) => assert_eq!(now, record, "{what}: {place:?} is another record"),
            Some(Err(ReadError::Corrupt { .. })) => told += 1,
            other => panic!("{what}: {place:?} reads as {other:?}"),
        }
    }
    if told == 0 { Ended::TheSame } else { Ended::Told }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_refused_or_told_or_harmless() {
    let (disk, views, mut events) = (MemoryDisk::new(), MemoryViews::new(), Vec::new());
    for cycle in 0..2 {
        let plan = Work {
            cycle,
            seed: 11,
            tasks: 2,
            rounds: Some(100),
            bytes: 700,
        };
        let told = run_in_memory(&disk, &views, plan, &events).await;
        events.extend(told);
    }
    let streams = names(&events).0;
    let before = Arc::new(read(disk.crash(0), views.copy(), &streams).await.expect("open"));
    assert!(before.len() > 300, "{}", before.len());
    let mut kinds: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for (name, bytes) in image(&disk) {
        // Never read: the lock, and copies for people.
        if !bytes.is_empty() && !["lock", "torn"].contains(&file_kind(&name)) {
            let kind = kinds.entry(file_kind(&name).to_owned()).or_default();
            kind.push((name, bytes.len() as u64));
        }
    }
    let kinds: Vec<Vec<(String, u64)>> = kinds.into_values().collect();
    assert!(kinds.len() >= 5, "{kinds:?}");
    let flips = variable("FLOWSTATE_FLIPS", FLIPS);
    let (next, outcomes) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(parking_lot::Mutex::new(BTreeMap::new())),
    );
    let worker = || {
        let (disk, views, streams, before) = (disk.clone(), views.clone(), streams.clone(), before.clone());
        let (next, outcomes, kinds) = (next.clone(), outcomes.clone(), kinds.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= flips {
                    return;
                }
                let mut choice = Choice::new(number);
                let files = &kinds[choice.below(kinds.len())];
                let (name, bytes) = &files[choice.below(files.len())];
                let (at, bit) = (choice.bits() % bytes, choice.below(8));
                let what = format!("bit {bit} of byte {at} of {name}");
                // Closed in order: nothing of it is not synced, and so this is a copy.
                let spoilt = disk.crash(0);
                let file = spoilt.open(name).expect("open");
                let mut byte = [0];
                file.read_at(at, &mut byte).expect("read");
                file.write_at(at, &[byte[0] ^ (1 << bit)]).expect("write");
                file.sync().expect("sync");
                let as_it_was = image(&spoilt);
                let ended = match read(spoilt.clone(), views.copy(), &streams).await {
                    Ok(now) => judge(&before, &now, &what),
                    Err(error) => {
                        assert!(
                            image(&spoilt) == as_it_was,
                            "{what}: refused ({error}), and something was changed"
                        );
                        Ended::Refused
                    }
                };
                let kind = file_kind(name);
                *outcomes.lock().entry((kind.to_owned(), ended)).or_insert(0_u64) += 1;
            }
        })
    };
    for worker in (0..AT_ONCE).map(|_| worker()).collect::<Vec<_>>() {
        worker.await.expect("no panic");
    }
    let outcomes = outcomes.lock();
    println!("{flips} flips: {outcomes:?}");
    let seen = |ended| outcomes.keys().any(|(_, other)| *other == ended);
    for ended in [Ended::Refused, Ended::TheSame, Ended::Told] {
        assert!(
            seen(ended),
            "no flip ended as {ended:?}: they do not do their work: {outcomes:?}"
        );
    }
}
