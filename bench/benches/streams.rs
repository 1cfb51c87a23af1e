//! Many streams in one folder: what creating one more costs, in time, memory and file handles, and what opening them again takes.
//! `FLOWSTATE_STREAMS=1000000` for a million; 100,000 otherwise.

use std::time::Duration;

use bytes::Bytes;
use flowstate_bench::drive::append_of;
use flowstate_bench::machine::memory_kib;
use flowstate_bench::timed;
use flowstate_log::record::Name;
use flowstate_log::verbs::{StreamOrder, StreamQuery};
use flowstate_log::{Log, Options};
use tokio::runtime::Runtime;

/// Appends on their way at a time.
const PIPELINE: u64 = 256;

/// Resident memory in MiB and open files, as the system counts them.
fn resources() -> (u64, usize) {
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    (memory_kib("VmRSS:") >> 10, files)
}

/// About 200 bytes.
fn token(number: u64) -> Bytes {
    Bytes::from(format!(
        "{{\"number\":{number:08},\"text\":\"{}\"}}",
        "lorem ipsum dolor ".repeat(10)
    ))
}

fn name(number: u64) -> Name {
    Name::new("someone", &format!("session/{number:08}")).expect("a valid name")
}

async fn create(log: &Log, from: u64, to: u64) {
    let mut waiting = std::collections::VecDeque::new();
    for number in from..to {
        waiting.push_back(
            log.append(append_of(name(number), vec![token(number)]))
                .await
                .expect("queued"),
        );
        if waiting.len() as u64 >= PIPELINE {
            waiting.pop_front().expect("one").await.expect("durable");
        }
    }
    for one in waiting {
        one.await.expect("durable");
    }
}

fn main() {
    let total: u64 = std::env::var("FLOWSTATE_STREAMS").map_or(100_000, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let runtime = Runtime::new().expect("a runtime");
    let open = || Log::open(Options::in_folder(&folder.path().join("data")).expect("a folder")).expect("open");
    let log = open();
    let (resident, files) = resources();
    println!("{:>10} streams: {resident:>5} MiB, {files} files", 0);
    let step = total / 10;
    for part in 0..10 {
        let (took, ()) = timed(|| runtime.block_on(create(&log, part * step, (part + 1) * step)));
        let (resident, files) = resources();
        let each = took.as_secs_f64() * 1e6 / step as f64;
        println!(
            "{:>10} streams: {each:>6.1} us each, {resident:>5} MiB, {files} files",
            (part + 1) * step
        );
    }
    let lookups = 1_000;
    let (took, ()) = timed(|| {
        runtime.block_on(async {
            for number in 0..lookups {
                let number = number * 7_919 % total;
                assert!(log.stream(&name(number)).await.expect("names").is_some());
            }
        });
    });
    println!("a name: {:.1} us", took.as_secs_f64() * 1e6 / lookups as f64);
    for order in [StreamOrder::Name, StreamOrder::LastActivity] {
        let query = StreamQuery {
            principal: Some("someone".to_owned()),
            order,
            limit: 100,
            ..StreamQuery::default()
        };
        let (took, listed) = timed(|| runtime.block_on(log.list(query)).expect("a list"));
        println!("a list of {} by {order:?}: {took:?}", listed.len());
    }
    let closing: (Duration, ()) = timed(|| runtime.block_on(log.close()));
    drop(log);
    let (opening, log) = timed(open);
    println!("closed in {:?}, opened in {opening:?}", closing.0);
    runtime.block_on(log.close());
}
