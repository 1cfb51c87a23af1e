//! A full disk: appends are refused as `Full`, reads go on, it heals when room comes back, and a restart finds everything.
//! On a real small file system if this process may mount one, and always with a disk that says that it is full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use flowstate_log::Log;
use flowstate_log::disk::Disk;
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::error::AppendError;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_tests::store::adapter;
use flowstate_tests::store::driver::{Work, ask, work};
use flowstate_tests::store::faults::{Faults, Harm, Point, Step};
use flowstate_tests::store::ledger::Ledger;
use flowstate_tests::store::plan::{Op, OpId, OpPart, OpRecord};
use flowstate_tests::store::verify::{self, Depth};

const ENOSPC: i32 = 28;
/// Between two tries on a full disk, and how many there are.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
const TRIES: u32 = 100;

/// Payloads that go into segments, and ones that become files of their own.
const SMALL: usize = 1_000;
const LARGE: usize = adapter::PAYLOAD_BYTES_MAX;

async fn append(log: &Log, ledger: &Ledger, task: u32, number: u32, bytes: usize) -> Result<(), AppendError> {
    let record = OpRecord {
        bytes,
        subject: 1,
        quiet: false,
        sub: None,
    };
    let part = OpPart {
        stream: format!("full-{}", number % 3),
        fork: None,
        expect: Vec::new(),
        records: vec![record],
    };
    let id = OpId { cycle: 0, task, number };
    ask(log, ledger, id, &Op::of(vec![part])).await.map(drop)
}

/// Fills the disk by appending, frees it, and goes on. `fill` is called when half is written, `free` when appends are refused.
async fn fill_and_free(disk: Arc<dyn Disk>, well: Arc<dyn Disk>, fill: impl FnOnce(), free: impl FnOnce()) {
    let (views, ledger) = (MemoryViews::new(), Arc::new(Ledger::in_memory()));
    let log = adapter::open(disk, Arc::new(views.clone()), adapter::fixed_limits()).expect("open");
    let plan = Work {
        cycle: 0,
        seed: 11,
        tasks: 3,
        rounds: Some(10),
        bytes: 1_000,
    };
    work(&log, &ledger, plan).await;
    for number in 1..4 {
        append(&log, &ledger, 49, number, SMALL)
            .await
            .expect("there is room yet");
    }
    fill();
    // A large payload needs room at once; small ones have room until the segments that are prepared are full.
    for (task, bytes) in [(50, LARGE), (51, SMALL)] {
        let mut refused = None;
        for number in 1..1_000 {
            if let Err(error) = append(&log, &ledger, task, number, bytes).await {
                refused = Some(error);
                break;
            }
        }
        let refused = refused.expect("the disk is full at some time");
        assert!(matches!(refused, AppendError::Full(_)), "{bytes}: {refused:?}");
        assert_eq!(refused.kind(), flowstate_log::error::Remedy::Retry);
    }
    // Refused at once and as often as it is asked, and reads go on.
    for number in 1..10 {
        let bytes = if number % 2 == 0 { SMALL } else { LARGE };
        let again = append(&log, &ledger, 52, number, bytes).await;
        assert!(matches!(again, Err(AppendError::Full(_))), "{again:?}");
        let (id, tail) = adapter::tail(&log, "full-1").await.expect("the stream");
        let last = log.read(id, tail, 1).await.expect("reads go on");
        assert_eq!(last.len(), 1);
        adapter::tally(&log, id).await.expect("views go on");
    }
    free();
    for number in 1.. {
        match append(&log, &ledger, 53, number, SMALL).await {
            Ok(()) => break,
            Err(AppendError::Full(_)) if number < TRIES => {}
            Err(error) => panic!("it does not heal: {error}"),
        }
        let stopped = tokio::time::timeout(BETWEEN_TRIES, log.poisoned()).await;
        assert!(stopped.is_err(), "a full disk is no reason to stop: {stopped:?}");
    }
    for number in 1..40 {
        for (task, bytes) in [(54, SMALL), (55, LARGE)] {
            let room = append(&log, &ledger, task, number, bytes).await;
            room.expect("there is room again");
        }
    }
    log.close().await;
    drop(log);
    let verdict = verify::store(well, Arc::new(views), &ledger.events(), Depth::Once)
        .await
        .expect("it opens");
    verdict.must_hold("after a full disk");
    println!("{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_says_it_is_full_is_waited_for() {
    let memory = MemoryDisk::new();
    let faults = Faults::default();
    let disk = faults.disk(Arc::new(memory.clone()));
    // Only a further file needs room: what is written into a segment that is prepared, and into the watermark, does not.
    let fill = || {
        faults.set(Some(Point {
            step: Step::Create,
            number: faults.count(Step::Create) + 1,
            harm: Harm::Fails {
                errno: ENOSPC,
                sticky: true,
            },
        }));
    };
    fill_and_free(disk, Arc::new(memory), fill, || faults.set(None)).await;
}

/// A mounted file system of its own; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// `None`, with a reason on standard output, if this process may not mount.
    fn tmpfs(at: &Path, megabytes: u32) -> Option<Self> {
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "flowstate-test"])
            .arg(at)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => {
                println!(
                    "skipped: no file system can be mounted: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                println!("skipped: mount: {error}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_system_that_fills_up_is_waited_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for filled in [true, false] {
        let Some(mounted) = Mounted::tmpfs(folder.path(), 3) else {
            return;
        };
        let data = mounted.0.join("data");
        let disk = adapter::disk(&data).expect("the folder");
        // Filled up by somebody else, or by the log alone with a file that is then given up.
        let filler = mounted.0.join("filler");
        std::fs::write(&filler, vec![1; 1 << 20]).expect("there is room");
        let more = mounted.0.join("more");
        let fill = || {
            if filled {
                let _ = std::fs::write(&more, vec![1; 3 << 20]);
            }
        };
        let free = || {
            std::fs::remove_file(&filler).expect("remove");
            let _ = std::fs::remove_file(&more);
        };
        fill_and_free(disk.clone(), disk, fill, free).await;
    }
}
