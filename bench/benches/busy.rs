//! P13: one writer, one record for each acknowledgement, on a machine that has nothing else to do and on one where a process for each
//! core does nothing but compute. The limit (one thread that writes and syncs, the writer beside it) has the same.
//!
//! FLOWSTATE_BENCH_MS: milliseconds a cell (1,500). FLOWSTATE_BENCH_ROUNDS: rounds (3).

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flowstate_bench::committer::Committer;
use flowstate_bench::drive::{Ran, SHAPES, drive};
use flowstate_bench::limit::Limit;
use flowstate_bench::table::{print_load, rounds, size};
use flowstate_bench::words::Random;
use flowstate_log::{Log, Options};
use tokio::runtime::Runtime;

/// Set for the processes that this one starts to keep a core busy.
const ROLE: &str = "FLOWSTATE_BENCH_ROLE";

/// Processes that compute until this is dropped.
struct Busy(Vec<Child>);

impl Busy {
    fn on_every_core() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let start = |_| {
            Command::new(std::env::current_exe().expect("this program"))
                .env(ROLE, "compute")
                .stdin(Stdio::piped())
                .spawn()
                .expect("a child")
        };
        Self((0..cores).map(start).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Computes until whoever started this process is gone.
fn compute() {
    std::thread::spawn(|| {
        let mut random = Random::new(1);
        loop {
            std::hint::black_box(random.below(1 << 20));
        }
    });
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn cell(runtime: &Runtime, log: bool, time: Duration) -> Ran {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    if !log {
        let limit = Limit::create(folder.path(), true).expect("a file");
        return drive(runtime, &Arc::new(Committer::start(limit)), SHAPES[0], time);
    }
    let log = Log::open(Options::in_folder(folder.path()).expect("a folder")).expect("a log");
    let ran = drive(runtime, &Arc::new(log.clone()), SHAPES[0], time);
    runtime.block_on(log.close());
    ran
}

fn main() {
    if std::env::var_os(ROLE).is_some() {
        return compute();
    }
    let runtime = Runtime::new().expect("a runtime");
    let time = Duration::from_millis(size("FLOWSTATE_BENCH_MS", 1_500));
    let rows = [
        ("limit, quiet", false, false),
        ("limit, busy", false, true),
        ("durable, quiet", true, false),
        ("durable, busy", true, true),
    ];
    print_load();
    println!(
        "{:<16}{:>10}{:>10}{:>12}{:>10}",
        "", "p50 us", "p99 us", "max us", "p50 to quiet"
    );
    let numbers = rounds(size("FLOWSTATE_BENCH_ROUNDS", 3), rows.len(), |row| {
        let (_, log, busy) = rows[row];
        let _busy = busy.then(Busy::on_every_core);
        let ran = cell(&runtime, log, time);
        [ran.wait_us(0.5), ran.wait_us(0.99), ran.wait_us(1.0)]
    });
    for (at, ((name, ..), [p50, p99, max])) in rows.iter().zip(&numbers).enumerate() {
        let quiet = numbers[at / 2 * 2][0];
        println!("{name:<16}{p50:>10.1}{p99:>10.1}{max:>12.0}{:>10.2}", p50 / quiet);
    }
    print_load();
}
