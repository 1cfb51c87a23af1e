//! W2 and W3 on this log, as it is opened by default and after it has settled, and on its peers: the same records, the same places.
//!
//! FLOWSTATE_BENCH_RECORDS: records (300,000), in 1,000 streams. FLOWSTATE_BENCH_RESUMES: a round (2,000).

use std::collections::HashMap;
use std::sync::Arc;

use flowstate_bench::committer::{Committer, Sink};
use flowstate_bench::drive::{Ran, Store};
use flowstate_bench::load::{groups, load, settle, stream_ids};
use flowstate_bench::table::{print_load, rounds, size};
use flowstate_bench::timed;
use flowstate_bench::words::Random;
use flowstate_bench_peers::{Fjall, Reader, Redis, Sqlite};
use flowstate_log::limits::Limits;
use flowstate_log::{Log, Options};
use tokio::runtime::Runtime;

const STREAMS: u64 = 1_000;
const RECORDS: usize = 100;

type Read<'a> = Box<dyn Fn(u64, u64, usize) -> usize + 'a>;

/// Loads W2 into a peer: the bursts of a group are appended at once, and all are waited for.
fn fill<S: Store>(runtime: &Runtime, store: &Arc<S>, each: u64) {
    let mut next: HashMap<u64, u64> = HashMap::new();
    for group in groups(STREAMS, each) {
        runtime.block_on(async {
            let mut waiting = Vec::new();
            for (stream, tokens) in group {
                let number = next.entry(stream).or_default();
                let (store, first) = (store.clone(), *number);
                *number += tokens.len() as u64;
                waiting.push((stream, first, tokens, store));
            }
            // A stream's bursts in one group go in order.
            let mut by_stream: HashMap<u64, Vec<_>> = HashMap::new();
            for burst in waiting {
                by_stream.entry(burst.0).or_default().push(burst);
            }
            let tasks = by_stream.into_values().map(|bursts| {
                tokio::spawn(async move {
                    for (stream, first, tokens, store) in bursts {
                        store.append(stream, first, tokens).await;
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.expect("a burst");
            }
        });
    }
}

fn embedded(runtime: &Runtime, sink: impl Sink, each: u64) {
    fill(runtime, &Arc::new(Committer::start(sink)), each);
}

fn measure(read: &Read<'_>, each: u64, resumes: u64) -> [f64; 4] {
    let (mut random, mut ran) = (Random::new(11), Ran::default());
    let first_of = (each * 8 / 10).saturating_sub(RECORDS as u64).max(1);
    for _ in 0..resumes {
        let (stream, from) = (random.below(STREAMS), random.below(first_of));
        let (took, found) = timed(|| read(stream, from, RECORDS));
        assert!(found > 0, "a resume found nothing");
        ran.records += found as u64;
        ran.elapsed += took;
        ran.waits.push(took);
    }
    ran.waits.sort_unstable();
    let (took, count) = timed(|| {
        let mut count = 0;
        for stream in 0..STREAMS {
            let mut next = 0;
            while next < each {
                next += read(stream, next, 1_000) as u64;
            }
            count += next;
        }
        count
    });
    let resumed = ran.records as f64 / RECORDS as f64 / ran.elapsed.as_secs_f64();
    [
        resumed,
        ran.wait_us(0.5),
        ran.wait_us(0.99),
        count as f64 / took.as_secs_f64(),
    ]
}

fn main() {
    let each = size("FLOWSTATE_BENCH_RECORDS", 300_000) / STREAMS;
    let resumes = size("FLOWSTATE_BENCH_RESUMES", 2_000);
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let mut options = Options::in_folder(&path("flowstate")).expect("a folder");
    options.limits = Limits {
        cluster_segments_min: 1,
        tail_bytes_max: 0,
        cache_bytes_max: 256 << 20,
        ..options.limits
    };
    let log = Log::open(options).expect("a log");
    load(&runtime, &log, STREAMS, each);
    settle(&path("flowstate"));
    let ids = stream_ids(&runtime, &log, STREAMS);
    let fjall = Fjall::create(&path("fjall")).expect("a store");
    embedded(&runtime, fjall.clone(), each);
    settle(&path("fjall"));
    embedded(&runtime, Sqlite::open(&path("sqlite")).expect("a store"), each);
    let sqlite = Sqlite::open(&path("sqlite")).expect("a store");
    let (runtime, ids, log_of) = (&runtime, &ids, &log);
    let mut rows: Vec<(&str, Read<'_>)> = vec![
        (
            "flowstate",
            Box::new(move |stream, from, limit| {
                let read = log_of.read(ids[stream as usize], from + 1, limit);
                runtime.block_on(read).expect("intact records").len()
            }),
        ),
        (
            "fjall",
            Box::new(move |stream, from, limit| fjall.read(stream, from, limit).expect("records")),
        ),
        (
            "sqlite",
            Box::new(move |stream, from, limit| sqlite.read(stream, from, limit).expect("records")),
        ),
    ];
    let redis = runtime.block_on(Redis::start(folder.path(), 16)).map(Arc::new);
    match redis {
        Ok(redis) => {
            fill(runtime, &redis, each);
            let read = move |stream, from, limit| runtime.block_on(redis.read(stream, from, limit)).expect("records");
            rows.push(("redis", Box::new(read)));
        }
        Err(reason) => println!("without Redis: {reason}"),
    }
    print_load();
    println!("{} records in {STREAMS} streams; resumes of {RECORDS}", each * STREAMS);
    println!(
        "{:<12}{:>12}{:>10}{:>10}{:>16}",
        "", "resumes/s", "p50 us", "p99 us", "replay rec/s"
    );
    let numbers = rounds(3, rows.len(), |row| measure(&rows[row].1, each, resumes));
    for ((name, _), [rate, p50, p99, replay]) in rows.iter().zip(numbers) {
        println!("{name:<12}{rate:>12.0}{p50:>10.1}{p99:>10.1}{replay:>16.0}");
    }
    print_load();
    drop(rows);
    runtime.block_on(log.close());
}
