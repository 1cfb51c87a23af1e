//! Spoilt inputs: whatever is in a file or a text, nothing panics, nothing takes much memory, and no record is read that was not
//! written. `FLOWSTATE_FUZZ_CASES` asks for so many cases of each target, `FLOWSTATE_FUZZ_SEED` for others.

mod mutate;

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use flowstate_log::append::Append;
use flowstate_log::cursor::{CommitCursor, StreamCursor};
use flowstate_log::disk::Disk;
use flowstate_log::disk::memory::{Choice, MemoryDisk};
use flowstate_log::folder::{Folder, Head};
use flowstate_log::limits::Limits;
use flowstate_log::record::{IdempotencyKey, Record, StreamId, SubStreamId};
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_log::{Log, Options};
use flowstate_tests::log::{append, note, options, part, small_limits, sub_note};
use mutate::mutate;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// More than this no spoilt input takes, whatever lengths it claims.
const BYTES_MAX: usize = 32 << 20;
/// Cases of a text, and of a file, which are read by opening a folder.
const TEXTS: u64 = 20_000;
const FILES: u64 = 5_000;
/// Of so many spoilt folders one is opened as a log, too.
const OPEN_ONE_IN: u64 = 8;

/// The files of a folder.
type Files = Vec<(String, Vec<u8>)>;

fn read(disk: &dyn Disk) -> Files {
    let file = |name: String| {
        let file = disk.open(&name).expect("open");
        let mut bytes = vec![0; file.len().expect("a length") as usize];
        file.read_at(0, &mut bytes).expect("read");
        (name, bytes)
    };
    disk.list().expect("list").into_iter().map(file).collect()
}

fn folder(files: &Files) -> MemoryDisk {
    let disk = MemoryDisk::new();
    for (name, bytes) in files {
        let file = disk.create(name).expect("create");
        file.write_at(0, bytes).expect("write");
        file.sync().expect("sync");
    }
    disk.sync_dir().expect("sync");
    disk
}

fn opened_with(disk: &MemoryDisk) -> Options {
    Options {
        limits: Limits {
            segment_bytes: 4 << 10,
            commit_bytes_max: 4 << 10,
            inline_bytes_max: 512,
            ..small_limits()
        },
        ..options(Arc::new(disk.clone()), Arc::new(MemoryViews::new()), 1)
    }
}

/// A folder with everything that a commit can carry, of which a part is in runs.
async fn corpus() -> (Files, HashSet<Said>) {
    let disk = MemoryDisk::new();
    let log = Log::open(opened_with(&disk)).expect("open");
    let sub = SubStreamId([1; 16]);
    for round in 0..2 {
        for number in 0..20 {
            append(&log, &format!("s{}", number % 3), &format!("{round}/{number}"))
                .await
                .expect("append");
        }
        let name = format!("sub-{round}");
        let sub = SubStreamId([sub.0[0] + round; 16]);
        let keyed = Append {
            parts: vec![part(
                "s0",
                vec![sub_note(sub, Some(&name), "first"), sub_note(sub, None, "next")],
            )],
            key: IdempotencyKey::new(&[round; 8]),
        };
        log.append(keyed).await.expect("queue").await.expect("append");
        let large = Append::of(vec![part("s1", vec![note("x".repeat(600))])]);
        log.append(large).await.expect("queue").await.expect("append");
        if round == 0 {
            log.segments().expect("segments").cluster().await.expect("clustered");
        }
    }
    log.close().await;
    drop(log);
    let whole = Folder::open(Arc::new(disk.clone())).expect("a folder");
    let records = whole
        .records(None)
        .map(|record| said(&record.expect("whole")))
        .collect();
    (read(&disk), records)
}

/// What a record says, so that it can be told from one that was never written.
type Said = (StreamId, u64, u16, Vec<u8>);

fn said(record: &Record) -> Said {
    (record.stream, record.position, record.kind.0, record.payload.to_vec())
}

/// Makes the checksum of a spoilt file hold again, where it is plain: so what lies behind it is reached.
fn reseal(name: &str, bytes: &mut [u8]) {
    match name {
        "manifest" if bytes.len() > 12 => {
            let (head, json) = bytes.split_at_mut(12);
            head[4..8].copy_from_slice(&(json.len() as u32).to_le_bytes());
            head[8..].copy_from_slice(&crc32fast::hash(json).to_le_bytes());
        }
        "watermark" => {
            for slot in bytes.chunks_mut(4096).filter(|slot| slot.len() >= 49) {
                let crc = crc32fast::hash(&slot[..45]).to_le_bytes();
                slot[45..49].copy_from_slice(&crc);
            }
        }
        _ => {}
    }
}

fn cases(default: u64) -> std::ops::Range<u64> {
    let from_env =
        |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let first = from_env("FLOWSTATE_FUZZ_SEED", 0);
    first..first + from_env("FLOWSTATE_FUZZ_CASES", default)
}

/// Runs one case; it may take only so much memory.
fn bounded(target: &str, seed: u64, case: impl FnOnce()) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let told = Told(target, seed);
    case();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert!(taken <= BYTES_MAX, "{target}, seed {seed}: {taken} bytes of memory");
    drop(told);
}

/// Says which case it was when one panics.
struct Told<'a>(&'a str, u64);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}, seed {} failed", self.0, self.1);
        }
    }
}

/// A spoilt folder is read as far as it can be, and what is read was written.
fn look(disk: &MemoryDisk, written: &HashSet<Said>) {
    let Ok(folder) = Folder::open_damaged(Arc::new(disk.clone())) else {
        return;
    };
    let commits = folder.commits(0).flatten().flat_map(|commit| commit.records);
    for record in folder.records(None).flatten().chain(commits) {
        let said = said(&record);
        let place = |other: &Said| (other.0, other.1, other.2) == (said.0, said.1, said.2);
        let known = written.contains(&said) || (record.erased && written.iter().any(place));
        assert!(known, "nobody wrote {record:?}");
    }
    let _ = folder.verify(None, &mut |_| {});
}

#[test]
fn spoilt_inputs_are_refused() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (files, written) = runtime.block_on(corpus());
    for target in ["slot-", "run-", "watermark", "manifest"] {
        let of_target: Vec<usize> = (0..files.len()).filter(|at| files[*at].0.starts_with(target)).collect();
        assert!(!of_target.is_empty(), "the corpus has no {target}");
        for seed in cases(FILES) {
            let mut choice = Choice::new(seed);
            let mut spoilt = files.clone();
            let (at, from) = (choice.below(of_target.len()), choice.below(of_target.len()));
            let (name, bytes) = &mut spoilt[of_target[at]];
            mutate(bytes, &files[of_target[from]].1, &mut choice);
            if choice.below(2) == 0 {
                reseal(name, bytes);
            }
            bounded(target, seed, || {
                let disk = folder(&spoilt);
                look(&disk, &written);
                if seed % OPEN_ONE_IN == 0
                    && let Ok(log) = Log::open(opened_with(&disk))
                {
                    runtime.block_on(log.close());
                }
            });
        }
    }
    let stream = StreamCursor {
        stream: StreamId([7; 16]),
        position: u64::MAX,
    };
    let commit = CommitCursor {
        records: 9,
        ..CommitCursor::start([3; 16])
    };
    heads(&Folder::open(Arc::new(folder(&files))).expect("a folder").head());
    texts::<StreamCursor>("stream cursor", &stream.to_string(), &commit.to_string());
    texts::<CommitCursor>("commit cursor", &commit.to_string(), &stream.to_string());
}

/// What is read from a spoilt head is one: said again, it is the same.
fn heads(head: &Head) {
    let valid = serde_json::to_vec(head).expect("a head");
    for seed in cases(TEXTS) {
        let mut choice = Choice::new(seed);
        let mut bytes = valid.clone();
        mutate(&mut bytes, b"{\"store\":[],\"commit\":-1}", &mut choice);
        bounded("head", seed, || {
            if let Ok(read) = serde_json::from_slice::<Head>(&bytes) {
                let again = serde_json::to_vec(&read).expect("a head");
                assert_eq!(serde_json::from_slice::<Head>(&again).expect("a head"), read);
            }
        });
    }
}

/// What is read from a spoilt text is written as that very text.
fn texts<T: FromStr + Display>(target: &str, valid: &str, other: &str) {
    assert!(valid.parse::<T>().is_ok(), "{valid}");
    for seed in cases(TEXTS) {
        let mut choice = Choice::new(seed);
        let mut bytes = valid.as_bytes().to_vec();
        mutate(&mut bytes, other.as_bytes(), &mut choice);
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if choice.below(2) == 0
            && let Some((body, _)) = text.rsplit_once('-')
        {
            text = format!("{body}-{:08x}", crc32fast::hash(body.as_bytes()));
        }
        bounded(target, seed, || {
            if let Ok(parsed) = text.parse::<T>() {
                assert_eq!(parsed.to_string(), text);
            }
        });
    }
}
