//! W1 on this log and on its peers, in turn in one run. Every cell is a new store. FLOWSTATE_BENCH_MS: milliseconds a cell (800).

use std::sync::Arc;
use std::time::Duration;

use flowstate_bench::committer::{Committer, Sink};
use flowstate_bench::drive::{Ran, SHAPES, Shape, drive};
use flowstate_bench::limit::Limit;
use flowstate_bench::table::{named, print_load, rounds, size};
use flowstate_bench_peers::{Fjall, Redis, Sqlite};
use flowstate_log::{Log, Options};
use tokio::runtime::Runtime;

const ROWS: [&str; 5] = ["limit", "flowstate", "fjall", "sqlite", "redis"];

fn cell(runtime: &Runtime, row: &str, shape: Shape, time: Duration) -> Ran {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let path = folder.path();
    fn committed(runtime: &Runtime, sink: impl Sink, shape: Shape, time: Duration) -> Ran {
        drive(runtime, &Arc::new(Committer::start(sink)), shape, time)
    }
    match row {
        "limit" => committed(runtime, Limit::create(path, true).expect("a file"), shape, time),
        "fjall" => committed(runtime, Fjall::create(path).expect("a store"), shape, time),
        "sqlite" => committed(runtime, Sqlite::open(&path.join("db")).expect("a store"), shape, time),
        "redis" => {
            let redis = runtime.block_on(Redis::start(path, shape.writers as usize));
            drive(runtime, &Arc::new(redis.expect("a server")), shape, time)
        }
        _ => {
            let log = Log::open(Options::in_folder(path).expect("a folder")).expect("a log");
            let ran = drive(runtime, &Arc::new(log.clone()), shape, time);
            runtime.block_on(log.close());
            ran
        }
    }
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let time = Duration::from_millis(size("FLOWSTATE_BENCH_MS", 800));
    let (mut rows, shapes) = (named(&ROWS), named(&SHAPES));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    if let Err(reason) = runtime.block_on(Redis::start(folder.path(), 1)) {
        println!("without Redis: {reason}");
        rows.retain(|row| *row != "redis");
    }
    print_load();
    println!(
        "{:>8}  {:<10}{:>12}{:>8}{:>10}{:>10}{:>10}",
        "", "", "records/s", "share", "p50 us", "p99 us", "max us"
    );
    for shape in shapes {
        let numbers = rounds(size("FLOWSTATE_BENCH_ROUNDS", 3), rows.len(), |row| {
            let ran = cell(&runtime, rows[row], shape, time);
            [ran.rate(), ran.wait_us(0.5), ran.wait_us(0.99), ran.wait_us(1.0)]
        });
        let limit = rows.iter().position(|row| *row == "limit");
        for (row, [rate, p50, p99, max]) in rows.iter().zip(&numbers) {
            let share = limit.map_or(f64::NAN, |at| rate / numbers[at][0]);
            println!(
                "{:>8}  {row:<10}{rate:>12.0}{share:>8.2}{p50:>10.1}{p99:>10.1}{max:>10.0}",
                shape.to_string()
            );
        }
    }
    print_load();
}
