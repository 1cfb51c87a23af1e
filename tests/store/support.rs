//! What the campaigns share: drivers as child processes, numbers from the environment, runs in memory.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_tests::store::adapter;
use flowstate_tests::store::driver::{Work, repeatable, work_on};
use flowstate_tests::store::ledger::{Event, Ledger};

/// Where Linux has a file system in memory.
const IN_MEMORY: &str = "/dev/shm";

/// The driver.
pub const DRIVER: &str = env!("CARGO_BIN_EXE_crash-driver");

/// A temporary folder, in memory if the system has a place for that: the death of a process does not ask for a device.
pub fn folder() -> tempfile::TempDir {
    let made = match Path::new(IN_MEMORY).is_dir() {
        true => tempfile::tempdir_in(IN_MEMORY),
        false => tempfile::tempdir(),
    };
    made.expect("a temporary folder")
}

/// A number from the environment.
pub fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| {
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {value}"))
    })
}

/// A driver on this data folder and ledger.
pub fn driver(data: &Path, ledger: &Path, seed: u64, options: &[&str]) -> Child {
    let mut command = Command::new(DRIVER);
    command.arg(data).arg(ledger).arg(seed.to_string()).args(options);
    let piped = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    piped.spawn().expect("the driver starts")
}

/// Waits up to `life` for a child to end, kills it if it does not, and returns what it said.
pub fn end_after(mut child: Child, life: Duration) -> (ExitStatus, String) {
    let mut stderr = child.stderr.take().expect("stderr");
    let (told, ended) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
        let _ = told.send(());
        said
    });
    let _ = ended.recv_timeout(life);
    let _ = child.kill();
    let status = child.wait().expect("wait");
    (status, reader.join().expect("the reader"))
}

/// A run in this process, on memory, closed in order; what its driver was told. It repeats what `earlier` ones were told, too.
pub async fn run_in_memory(disk: &MemoryDisk, views: &MemoryViews, plan: Work, earlier: &[Event]) -> Vec<Event> {
    let ledger = Arc::new(Ledger::in_memory());
    let log = adapter::open(Arc::new(disk.clone()), Arc::new(views.clone()), adapter::fixed_limits()).expect("open");
    work_on(&log, &ledger, plan, &repeatable(earlier)).await;
    log.close().await;
    ledger.events()
}

/// The value at this share of a sorted list.
pub fn percentile(sorted: &[u64], share: usize) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * share / 100).copied().unwrap_or(0)
}
