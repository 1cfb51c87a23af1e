//! A driver killed at random moments, again and again on one store, each time with other options: everything it was told is there.
//!
//! `FLOWSTATE_KILL_CYCLES` asks for more than 60 kills, `FLOWSTATE_KILL_SEED` for others. `FLOWSTATE_CAMPAIGN=<file>` appends a line
//! per part and prints the sum of all lines, so that a long campaign can be run in parts.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use flowstate_log::disk::memory::Choice;
use flowstate_tests::store::ledger::{self, Event};
use flowstate_tests::store::verdict::{Breach, Verdict};
use flowstate_tests::store::verify::{self, Depth};

use super::support::{driver, end_after, folder, percentile, variable};

/// Kills of one store. Every verification reads the whole of it, so that all earlier acknowledgements are checked each time.
const LIVES_PER_STORE: u64 = 15;
/// How often the views are also rebuilt from nothing and compared.
const REBUILD_EVERY: u64 = 5;

/// What a campaign comes to.
#[derive(Default)]
struct Sums {
    cycles: u64,
    acked: u64,
    lost: u64,
    duplicated: u64,
    gaps: u64,
    other: u64,
    killed_before_open: u64,
    unanswered: u64,
    reopen_ms: Vec<u64>,
}

impl Sums {
    /// Adds a store's last verdict.
    fn add(&mut self, verdict: &Verdict) {
        let [lost, duplicated, gaps] = [Breach::Lost, Breach::Duplicated, Breach::Gap].map(|kind| verdict.count(kind));
        self.acked += verdict.acked;
        self.unanswered += verdict.unanswered_there + verdict.unanswered_gone;
        self.lost += lost;
        self.duplicated += duplicated;
        self.gaps += gaps;
        self.other += verdict.breaches.len() as u64 - lost - duplicated - gaps;
    }

    fn line(&mut self, seed: u64) -> String {
        self.reopen_ms.sort_unstable();
        format!(
            "seed={seed} cycles={} acked={} lost={} duplicated={} gaps={} other={} killed_before_open={} unanswered={} reopen_ms_p50={} reopen_ms_p99={}",
            self.cycles,
            self.acked,
            self.lost,
            self.duplicated,
            self.gaps,
            self.other,
            self.killed_before_open,
            self.unanswered,
            percentile(&self.reopen_ms, 50),
            percentile(&self.reopen_ms, 99),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_drivers_lose_nothing_that_was_acknowledged() {
    let (cycles, seed) = (
        variable("FLOWSTATE_KILL_CYCLES", 60),
        variable("FLOWSTATE_KILL_SEED", 1),
    );
    let mut choice = Choice::new(seed);
    let mut sums = Sums::default();
    while sums.cycles < cycles {
        let lives = LIVES_PER_STORE.min(cycles - sums.cycles);
        one_store(&mut choice, lives, &mut sums).await;
    }
    let line = sums.line(seed);
    println!("{line}");
    if let Ok(file) = std::env::var("FLOWSTATE_CAMPAIGN") {
        println!("{}", add_to_campaign(Path::new(&file), &line));
    }
    assert!(
        sums.acked > sums.cycles,
        "too little was acknowledged for a kill to take back: {line}"
    );
    assert!(
        sums.unanswered > 0,
        "no kill came between an append and its answer: {line}"
    );
}

async fn one_store(choice: &mut Choice, lives: u64, sums: &mut Sums) {
    let folder = folder();
    let (data, ledger) = (folder.path().join("data"), folder.path().join("ledger"));
    let mut last = Verdict::default();
    for life in 0..lives {
        let seed = choice.bits();
        let cycle = life.to_string();
        let options = ["--cycle", &cycle, "--buffered"];
        // A kill may take back nothing that is written, synced or not.
        let promised = if choice.below(4) == 0 { 3 } else { 2 };
        let child = driver(&data, &ledger, seed, &options[..promised]);
        let (status, said) = end_after(child, Duration::from_millis(5 + choice.below(86) as u64));
        assert!(
            status.code().is_none(),
            "life {life}, seed {seed}: it ended by itself: {status}: {said}"
        );
        sums.cycles += 1;
        let events = ledger::read(&ledger).expect("the ledger");
        let opened = events
            .iter()
            .any(|event| matches!(event, Event::Opened { cycle } if u64::from(*cycle) == life));
        sums.killed_before_open += u64::from(!opened);
        // Two in three are checked at once; the others leave the next driver what the kill left, and it may be killed in its recovery.
        if choice.below(3) == 0 && life + 1 < lives {
            continue;
        }
        let depth = if life % REBUILD_EVERY == 0 || life + 1 == lives {
            Depth::Rebuild
        } else {
            Depth::Once
        };
        let verdict = verify::folder(&data, &events, depth).await;
        last = verdict.unwrap_or_else(|error| panic!("life {life}, seed {seed}: {error}"));
        sums.reopen_ms.push(last.reopen_ms);
        last.must_hold(&format!("life {life}, seed {seed}"));
    }
    sums.add(&last);
}

/// Appends a part's line and returns the sum of all.
fn add_to_campaign(file: &Path, line: &str) -> String {
    let mut open = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .expect("the campaign's file");
    open.write_all(format!("{line}\n").as_bytes()).expect("write");
    let text = std::fs::read_to_string(file).expect("read");
    let sum = |name: &str| -> u64 {
        let of = |line: &str| {
            line.split(' ')
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
        };
        text.lines().filter_map(of).sum()
    };
    let mut all = format!("sum of {} parts:", text.lines().count());
    for name in ["cycles", "acked", "lost", "duplicated", "gaps", "other"] {
        let _ = write!(all, " {name}={}", sum(name));
    }
    all
}
