//! The whole life of a load: W2 with everything that runs behind it, until it has settled. How long acknowledgements took meanwhile,
//! with and without clustering, beside a limit that writes the same groups; what was written for each byte of payload, and what is
//! left on disk.
//!
//! FLOWSTATE_BENCH_RECORDS: records (1,000,000), in FLOWSTATE_BENCH_STREAMS streams (1,000).

use std::sync::atomic::Ordering;

use flowstate_bench::drive::Ran;
use flowstate_bench::limit::Limit;
use flowstate_bench::load::{groups, load, settle};
use flowstate_bench::machine::{CountingDisk, allocated_bytes, memory_kib, thread_time};
use flowstate_bench::table::{print_load, size};
use flowstate_bench::timed;
use flowstate_log::limits::Limits;
use flowstate_log::{Log, Options};
use tokio::runtime::Runtime;

fn print(name: &str, ran: &Ran) {
    let (p50, p999, max) = (ran.wait_us(0.5), ran.wait_us(0.999), ran.wait_us(1.0));
    println!(
        "{name:<14}{:>12.0}{p50:>10.0}{:>10.0}{p999:>10.0}{max:>12.0}{:>12.1}",
        ran.rate(),
        ran.wait_us(0.99),
        p999 / p50
    );
}

fn main() {
    let (records, streams) = (
        size("FLOWSTATE_BENCH_RECORDS", 1_000_000),
        size("FLOWSTATE_BENCH_STREAMS", 1_000),
    );
    let each = records / streams;
    let runtime = Runtime::new().expect("a runtime");
    print_load();
    println!("{records} records in {streams} streams, 512 for an acknowledgement");
    println!(
        "{:<14}{:>12}{:>10}{:>10}{:>10}{:>12}{:>12}",
        "", "records/s", "p50 us", "p99", "p99.9", "longest", "p99.9/p50"
    );
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let mut limit = Limit::create(folder.path(), true).expect("a file");
    let mut ran = Ran::default();
    for group in groups(streams, each) {
        let (took, written) = timed(|| limit.write(group.iter().flat_map(|(_, tokens)| tokens)));
        written.expect("a durable write");
        ran.records += group.iter().map(|(_, tokens)| tokens.len() as u64).sum::<u64>();
        ran.elapsed += took;
        ran.waits.push(took);
    }
    ran.waits.sort_unstable();
    print("limit", &ran);
    for clustering in [false, true] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let mut options = Options::in_folder(folder.path()).expect("a folder");
        let (disk, written) = CountingDisk::new(options.disk.clone());
        options.disk = disk;
        options.limits = Limits {
            cluster_segments_min: if clustering { 1 } else { usize::MAX },
            cluster_segments_max: if clustering { 16 } else { usize::MAX },
            ..options.limits
        };
        let log = Log::open(options).expect("a log");
        let loaded = load(&runtime, &log, streams, each);
        print(if clustering { "clustering" } else { "no clustering" }, &loaded.ran);
        if !clustering {
            runtime.block_on(log.close());
            continue;
        }
        let settling = settle(folder.path());
        let spent = thread_time("log-cluster");
        let per_byte = |bytes: u64| bytes as f64 / loaded.payload_bytes as f64;
        let bytes = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let (commits, zeroes, runs, rest) = (
            bytes(&written.commits),
            bytes(&written.zeroes),
            bytes(&written.runs),
            bytes(&written.rest),
        );
        println!(
            "clustering: {:.0} MB/s of payload for a second of its thread; settled {:.1} s after the load",
            loaded.payload_bytes as f64 / 1e6 / spent.as_secs_f64(),
            settling.as_secs_f64()
        );
        println!(
            "written per byte of payload: commits {:.2}, runs {:.2}, rest {:.3}: {:.2}; zero-filling beside that {:.2}",
            per_byte(commits),
            per_byte(runs),
            per_byte(rest),
            per_byte(commits + runs + rest),
            per_byte(zeroes)
        );
        println!(
            "on disk per byte of payload: {:.2} in all, {:.2} of it views; memory {} MiB",
            per_byte(allocated_bytes(folder.path())),
            per_byte(allocated_bytes(&folder.path().join("views"))),
            memory_kib("VmRSS:") / 1024
        );
        runtime.block_on(log.close());
        let slots: u64 = std::fs::read_dir(folder.path().join("log"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("slot-"))
            .map(|entry| entry.metadata().map_or(0, |metadata| metadata.len()))
            .sum();
        println!("of that in segments, full, free or prepared: {:.2}", per_byte(slots));
    }
    print_load();
}
