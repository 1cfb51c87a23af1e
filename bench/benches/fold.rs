//! Views: what an inline fold adds to an append (the log and the view store in memory, so that nothing waits for a disk), and how fast
//! views are made again from nothing.
//!
//! FLOWSTATE_BENCH_RECORDS: records (200,000), in FLOWSTATE_BENCH_STREAMS streams (1,000).

use flowstate_bench::counting_view;
use flowstate_bench::load::load;
use flowstate_bench::machine::thread_time;
use flowstate_bench::table::{print_load, rounds, size};
use flowstate_bench::timed;
use flowstate_log::{Log, Options};
use tokio::runtime::Runtime;

fn main() {
    let (records, streams) = (
        size("FLOWSTATE_BENCH_RECORDS", 200_000),
        size("FLOWSTATE_BENCH_STREAMS", 1_000),
    );
    let each = records / streams;
    let runtime = Runtime::new().expect("a runtime");
    print_load();
    println!("{:<24}{:>12}{:>18}", "", "records/s", "writer us/record");
    let numbers = rounds(3, 2, |views| {
        let mut options = Options::in_memory();
        options.views = vec![counting_view::view(); views];
        let log = Log::open(options).expect("a log");
        let loaded = load(&runtime, &log, streams, each);
        let writer = thread_time("log-writer").as_secs_f64() * 1e6 / loaded.ran.records as f64;
        runtime.block_on(log.close());
        [loaded.ran.rate(), writer]
    });
    for (name, [rate, writer]) in ["append, no view", "append, one view"].iter().zip(&numbers) {
        println!("{name:<24}{rate:>12.0}{writer:>18.3}");
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let open = || {
        let mut options = Options::in_folder(folder.path()).expect("a folder");
        options.views = vec![counting_view::view()];
        Log::open(options).expect("a log")
    };
    let log = open();
    load(&runtime, &log, streams, each);
    runtime.block_on(log.close());
    drop(log);
    let numbers = rounds(3, 2, |emptied| {
        if emptied == 1 {
            std::fs::remove_dir_all(folder.path().join("views")).expect("the views");
        }
        let (took, log) = timed(open);
        runtime.block_on(log.close());
        [took.as_secs_f64()]
    });
    let (kept, rebuilt) = (numbers[0][0], numbers[1][0]);
    println!(
        "open: {kept:.3} s with the views, {rebuilt:.3} s from nothing: {:.0} records/s",
        records as f64 / rebuilt
    );
    print_load();
}
