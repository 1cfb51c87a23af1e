//! The driver ends itself at the n-th call of each kind, for every n until a run is through: before the call, after it, and with half
//! of a write done. Every call of a first start, of appends, segment changes, checkpoints, watermarks, a close and of recovery is hit.
//!
//! Each point once; `FLOWSTATE_WHITEBOX=all` takes each 200 times (`FLOWSTATE_WHITEBOX_ROUNDS`), with other choices each time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flowstate_log::disk::memory::Choice;
use flowstate_tests::store::faults::{DIED, Step};
use flowstate_tests::store::ledger;
use flowstate_tests::store::verify::{self, Depth};

use super::support::{driver, end_after, folder, variable};

/// Longest run of a driver with bounded work.
const PATIENCE: Duration = Duration::from_secs(30);
/// A kind with more calls than this in a run of bounded work does not end.
const CALLS_MAX: u64 = 5_000;
/// Calls that change something: dying before or after another is dying after or before one of these.
const STEPS: [Step; 8] = [
    Step::Create,
    Step::Write,
    Step::Sync,
    Step::Rename,
    Step::Remove,
    Step::SyncDir,
    Step::ViewOpen,
    Step::ViewWrite,
];

fn harms(step: Step) -> &'static [&'static str] {
    match step {
        Step::Write => &["before", "torn", "after"],
        // After a write is before its sync; what matters of the others is both sides.
        _ => &["before", "after"],
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg("--sparse=always")
        .arg(from)
        .arg(to)
        .status();
    assert!(copied.expect("cp").success());
}

/// A store whose drivers died at these points.
fn killed_store(folder: &Path, points: &[&str]) {
    let (data, ledger) = (folder.join("data"), folder.join("ledger"));
    for (cycle, point) in points.iter().enumerate() {
        let cycle = cycle.to_string();
        let options = [
            "--cycle", &cycle, "--rounds", "400", "--tasks", "2", "--fixed", "--die-at", point,
        ];
        let (status, said) = end_after(driver(&data, &ledger, 5, &options), PATIENCE);
        assert!(status.code().is_none(), "{point} was not reached: {said}");
    }
}

/// A store whose driver died in the middle of a commit, so that its recovery has a tail to cut.
async fn torn_store() -> tempfile::TempDir {
    for number in 20..60 {
        let (folder, tried) = (folder(), folder());
        killed_store(folder.path(), &["sync:24:after", &format!("write:{number}:torn")]);
        copy(&folder.path().join("data"), &tried.path().join("data"));
        let events = ledger::read(&folder.path().join("ledger")).expect("the ledger");
        let verdict = verify::folder(&tried.path().join("data"), &events, Depth::Once)
            .await
            .expect("it opens");
        verdict.must_hold("a torn store");
        let mut names = std::fs::read_dir(tried.path().join("data/log")).expect("the folder");
        if names.any(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .starts_with("torn-")
        }) {
            return folder;
        }
    }
    panic!("no torn write left a torn tail");
}

/// Which starts are cut off.
struct Start {
    name: &'static str,
    /// What the driver finds.
    before: Option<PathBuf>,
    rounds: &'static str,
}

/// One driver with one point, then, if asked for, a second one that dies in its recovery, then the judgement.
/// Returns for which call and kind of file each of them died.
async fn died(start: &Start, point: &str, second: Option<&str>, seed: u64) -> [Option<String>; 2] {
    let folder = folder();
    let (data, ledger) = (folder.path().join("data"), folder.path().join("ledger"));
    if let Some(before) = &start.before {
        copy(&before.join("data"), &data);
        copy(&before.join("ledger"), &ledger);
    }
    let life = |cycle: &'static str, point: &str| {
        let options = [
            "--cycle",
            cycle,
            "--rounds",
            start.rounds,
            "--tasks",
            "2",
            "--fixed",
            "--die-at",
            point,
        ];
        let (status, said) = end_after(driver(&data, &ledger, seed, &options), PATIENCE);
        assert!(
            status.success() || status.code().is_none() && !said.contains("panicked"),
            "{}, {point}: {status}: {said}",
            start.name
        );
        (!status.success()).then(|| {
            let at = said.lines().find_map(|line| line.strip_prefix(DIED));
            at.unwrap_or("?").to_owned()
        })
    };
    let died = [life("10", point), second.and_then(|second| life("11", second))];
    let events = ledger::read(&ledger).expect("the ledger");
    let depth = if seed.is_multiple_of(8) {
        Depth::Rebuild
    } else {
        Depth::Once
    };
    let verdict = verify::folder(&data, &events, depth).await;
    let what = format!("{}, {point}, then {second:?}, seed {seed}", start.name);
    verdict
        .unwrap_or_else(|error| panic!("{what}: refused: {error}"))
        .must_hold(&what);
    died
}

/// Dies at every call of a kind until a run is through; in one of three, a second process dies in the recovery.
async fn every_call(start: &Start, step: Step, harm: &str, choice: &mut Choice, hits: &mut BTreeMap<String, u64>) {
    for number in 1..CALLS_MAX {
        let second = (choice.below(3) == 0).then(|| {
            let step = STEPS[choice.below(STEPS.len())];
            let harm = harms(step)[choice.below(harms(step).len())];
            format!("{}:{}:{harm}", step.name(), 1 + choice.below(6))
        });
        let point = format!("{}:{number}:{harm}", step.name());
        let [first, second] = died(start, &point, second.as_deref(), choice.bits()).await;
        if let Some(at) = second {
            *hits.entry(format!("{at}, in recovery")).or_default() += 1;
        }
        match first {
            Some(at) => *hits.entry(format!("{at}, {harm}")).or_default() += 1,
            None => return,
        }
    }
    panic!("{}: there is no end of {}", start.name, step.name());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_process_that_dies_at_any_call_loses_nothing() {
    let all = std::env::var("FLOWSTATE_WHITEBOX").is_ok_and(|value| value == "all");
    let rounds = if all {
        variable("FLOWSTATE_WHITEBOX_ROUNDS", 200)
    } else {
        1
    };
    let seed = variable("FLOWSTATE_WHITEBOX_SEED", 1);
    let torn = torn_store().await;
    // Between a slot that is filled and the manifest that lists it: two files that recovery removes.
    let left = folder();
    killed_store(left.path(), &["rename:3:before"]);
    // Runs, one of which a merge has just replaced, and segments to be used again.
    let clustered = folder();
    killed_store(clustered.path(), &["remove:1:before"]);
    let start = |name, before: Option<&Path>, rounds| Start {
        name,
        before: before.map(Path::to_owned),
        rounds,
    };
    let starts = [
        start("first start", None, "36"),
        start("torn tail", Some(torn.path()), "4"),
        start("leftovers", Some(left.path()), "4"),
        start("clustered", Some(clustered.path()), "12"),
    ];
    let mut hits: BTreeMap<String, u64> = BTreeMap::new();
    let all = starts.map(|start| tokio::spawn(every_kind(start, rounds, Choice::new(seed))));
    for all in all {
        for (at, count) in all.await.expect("no panic") {
            *hits.entry(at).or_default() += count;
        }
    }
    let total: u64 = hits.values().sum();
    println!("{total} deaths: {hits:#?}");
    // A commit and a slot; what a run, a payload and the list of them take; recovery.
    for kind in [
        "write slot, torn",
        "sync slot, before",
        "create slot, before",
        "write reused",
        "create run",
        "write run, torn",
        "sync run",
        "remove run",
        "write blob, torn",
        "rename blob",
        "remove blob",
        "rename manifest",
        "sync_dir folder, after",
        "remove slot",
        "view_write views, after",
        "view_open views, before",
    ] {
        let of_kind = hits.iter().filter(|(at, _)| at.starts_with(kind));
        let hit: u64 = of_kind.map(|(_, hit)| hit).sum();
        assert!(hit > 0, "no process died at {kind}: {hits:?}");
    }
}

/// All points of a start, so many times. Returns how often a process died at each kind of call and file.
async fn every_kind(start: Start, rounds: u64, mut choice: Choice) -> BTreeMap<String, u64> {
    let mut hits = BTreeMap::new();
    for _ in 0..rounds {
        for step in STEPS {
            for harm in harms(step) {
                every_call(&start, step, harm, &mut choice, &mut hits).await;
            }
        }
    }
    hits
}
