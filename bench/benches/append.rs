//! W1: durable appends by writers that wait for their acknowledgement, as a share of what the machine gives a store that does the
//! same job (`limit`), and of one thread that does nothing but write and sync (`bare`). Every cell is a log of its own. `durable` is
//! the log as it is opened by default, clustering and the preparing of segments beside it; in `prepared` both were done before, as they
//! are for the limit. `control` keeps the records in fjall.
//!
//! FLOWSTATE_BENCH_MS: milliseconds a cell (800). FLOWSTATE_BENCH_ROUNDS: rounds (3). FLOWSTATE_BENCH_THREADS: threads of the
//! writers' runtime (2). `cpu us` is
//! what the committing thread used per record, which a busy machine hardly changes. Arguments name rows or shapes: `cargo bench -p flowstate-bench --bench append -- durable limit 64x1`.

use std::sync::Arc;
use std::time::Duration;

use flowstate_bench::committer::{self, Committer};
use flowstate_bench::drive::{Ran, SHAPES, Shape, drive};
use flowstate_bench::limit::Limit;
use flowstate_bench::machine::{allocated_bytes, thread_time};
use flowstate_bench::table::{named, print_load, rounds, size};
use flowstate_bench::timed;
use flowstate_bench::words::Tokens;
use flowstate_log::limits::Limits;
use flowstate_log::lsm::{LsmLog, LsmOptions};
use flowstate_log::{Durability, Log, Options};
use tokio::runtime::Runtime;

const ROWS: [&str; 8] = [
    "limit",
    "bare",
    "durable",
    "unchained",
    "prepared",
    "control",
    "limit-unsynced",
    "buffered",
];

/// Of a segment that is large enough for most of a cell.
const PREPARED_BYTES: u64 = 256 << 20;

fn bare(limit: &mut Limit, shape: Shape, time: Duration) -> Ran {
    let tokens: Vec<_> = Tokens::new(0).take(1_024).collect();
    let group = (shape.writers * shape.records) as usize;
    let mut ran = Ran::default();
    let mut from = 0;
    while ran.elapsed < time {
        let batch = &tokens[from..from + group];
        let (took, written) = timed(|| limit.write(batch.iter()));
        written.expect("a durable write");
        ran.waits.push(took);
        ran.elapsed += took;
        ran.records += group as u64;
        from = (from + group) % tokens.len();
    }
    ran.waits.sort_unstable();
    ran
}

fn cell(runtime: &Runtime, row: &str, shape: Shape, time: Duration) -> Ran {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    match row {
        "bare" => bare(&mut Limit::create(folder.path(), true).expect("a file"), shape, time),
        "limit" | "limit-unsynced" => {
            let limit = Limit::create(folder.path(), row == "limit").expect("a file");
            let store = Arc::new(Committer::start(limit));
            let mut ran = drive(runtime, &store, shape, time);
            ran.committing = thread_time(committer::THREAD);
            ran
        }
        "control" => {
            let log = LsmLog::open(LsmOptions::in_folder(folder.path())).expect("a control");
            let mut ran = drive(runtime, &Arc::new(log.clone()), shape, time);
            ran.committing = thread_time("lsm-writer");
            runtime.block_on(log.close());
            ran
        }
        _ => {
            let mut options = Options::in_folder(folder.path()).expect("a folder");
            options.chain = row != "unchained";
            if row == "buffered" {
                options.durability = Durability::Buffered { sync_every_ms: 250 };
            }
            if row == "prepared" {
                options.limits = Limits {
                    segment_bytes: PREPARED_BYTES,
                    cluster_segments_min: usize::MAX,
                    cluster_segments_max: usize::MAX,
                    ..options.limits
                };
            }
            let log = Log::open(options).expect("a log");
            while row == "prepared" && allocated_bytes(folder.path()) < PREPARED_BYTES {
                std::thread::sleep(Duration::from_millis(10));
            }
            let mut ran = drive(runtime, &Arc::new(log.clone()), shape, time);
            ran.committing = thread_time("log-writer");
            runtime.block_on(log.close());
            ran
        }
    }
}

fn main() {
    let threads = size("FLOWSTATE_BENCH_THREADS", 2) as usize;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime");
    let time = Duration::from_millis(size("FLOWSTATE_BENCH_MS", 800));
    let (rows, shapes) = (named(&ROWS), named(&SHAPES));
    print_load();
    println!(
        "{:>8}  {:<15}{:>12}{:>8}{:>10}{:>10}{:>10}{:>10}",
        "", "", "records/s", "share", "p50 us", "p99 us", "max us", "cpu us"
    );
    for shape in shapes {
        let numbers = rounds(size("FLOWSTATE_BENCH_ROUNDS", 3), rows.len(), |row| {
            let ran = cell(&runtime, rows[row], shape, time);
            let committing = ran.committing.as_secs_f64() * 1e6 / ran.records as f64;
            [
                ran.rate(),
                ran.wait_us(0.5),
                ran.wait_us(0.99),
                ran.wait_us(1.0),
                committing,
            ]
        });
        // Unsynced ones are compared with the limit that does not sync.
        let of = |row: &str| if row == "buffered" { "limit-unsynced" } else { "limit" };
        for (row, [rate, p50, p99, max, committing]) in rows.iter().zip(&numbers) {
            let whole = rows.iter().position(|other| *other == of(row));
            let share = whole.map_or(f64::NAN, |at| rate / numbers[at][0]);
            println!(
                "{:>8}  {row:<15}{rate:>12.0}{share:>8.2}{p50:>10.1}{p99:>10.1}{max:>10.0}{committing:>10.3}",
                shape.to_string()
            );
        }
    }
    print_load();
}
