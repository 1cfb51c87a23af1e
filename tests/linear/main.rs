//! Linearizability: what concurrent callers are told by a log, power cuts included, can be explained by one order of their operations.
//! `FLOWSTATE_LINEAR_HISTORIES` and `FLOWSTATE_LINEAR_OPERATIONS` ask for more than the default, `FLOWSTATE_LINEAR_SEED` for others.

mod recorder;

use std::sync::Arc;

use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::limits::Limits;
use flowstate_log::lsm::{LsmLog, LsmOptions};
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_log::{Log, Options};
use flowstate_tests::linear;
use flowstate_tests::log::{options, small_limits};
use flowstate_tests::variable;
use recorder::{Fault, History, Store, record};

/// Over all kinds of logs.
const HISTORIES: u64 = 20;
const OPERATIONS: usize = 50;

/// A log in memory whose power is cut.
struct InMemory {
    disk: MemoryDisk,
    views: MemoryViews,
    limits: Limits,
    seed: u64,
}

impl InMemory {
    fn new(limits: Limits, seed: u64) -> Self {
        Self {
            disk: MemoryDisk::new(),
            views: MemoryViews::new(),
            limits,
            seed,
        }
    }
}

impl Store for InMemory {
    fn open(&self) -> Log {
        let usual = options(Arc::new(self.disk.clone()), Arc::new(self.views.clone()), self.seed);
        Log::open(Options {
            limits: self.limits.clone(),
            ..usual
        })
        .expect("open")
    }

    fn cut(&mut self, seed: u64) -> bool {
        // Rows may be older than the log, never newer: copied first.
        self.views = self.views.copy();
        self.disk = self.disk.crash(seed);
        // What is minted after it is not what was minted before.
        self.seed += 1 << 32;
        true
    }
}

/// Records in fjall, on a disk that nobody cuts.
struct Control(tempfile::TempDir);

impl Store for Control {
    fn open(&self) -> Log {
        LsmLog::open(LsmOptions::in_folder(self.0.path())).expect("open")
    }

    fn cut(&mut self, _: u64) -> bool {
        false
    }
}

/// Segments are full after a few appends, and what is not used is let go of at once.
fn tiny() -> Limits {
    Limits {
        segment_bytes: 4 << 10,
        commit_bytes_max: 4 << 10,
        inline_bytes_max: 512,
        tail_bytes_max: 0,
        checkpoint_interval_ms: 1,
        cluster_segments_min: 1,
        cluster_segments_max: 3,
        run_fan_out: 2,
        cache_bytes_max: 0,
        idle_streams_max: 0,
        ..small_limits()
    }
}

fn all(store: impl FnMut(u64) -> Box<dyn Store>, histories: u64, fault: Option<Fault>) -> Result<(), String> {
    let operations = variable("FLOWSTATE_LINEAR_OPERATIONS", OPERATIONS as u64) as usize;
    let first = variable("FLOWSTATE_LINEAR_SEED", 0);
    let mut store = store;
    for seed in first..first + histories {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .expect("a runtime");
        let history: History = runtime.block_on(record(store(seed), seed, operations, fault));
        for (stream, operations) in history.iter().enumerate() {
            linear::check(operations).map_err(|what| format!("seed {seed}, stream {stream}: {what}"))?;
        }
    }
    Ok(())
}

fn share(part: u64) -> u64 {
    (variable("FLOWSTATE_LINEAR_HISTORIES", HISTORIES) * part).div_ceil(20)
}

#[test]
fn segments_are_linearizable_through_power_cuts() {
    assert_eq!(
        all(|seed| Box::new(InMemory::new(small_limits(), seed)), share(8), None),
        Ok(())
    );
}

#[test]
fn segments_that_cluster_all_the_time_are_linearizable_through_power_cuts() {
    assert_eq!(
        all(|seed| Box::new(InMemory::new(tiny(), seed)), share(9), None),
        Ok(())
    );
}

#[test]
fn the_control_is_linearizable() {
    let control = |_| Box::new(Control(tempfile::tempdir().expect("a temporary folder"))) as Box<dyn Store>;
    assert_eq!(all(control, share(3), None), Ok(()));
}

#[test]
fn a_log_that_lies_is_caught() {
    for fault in [
        Fault::StaleRead,
        Fault::RefusedIsAcked,
        Fault::AckedIsLost,
        Fault::RepeatedIsAppended,
    ] {
        let told = all(|seed| Box::new(InMemory::new(small_limits(), seed)), 3, Some(fault));
        assert!(told.is_err(), "{fault:?} was not found");
    }
}
