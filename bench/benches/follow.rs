//! Live readers: how long after its append set out, and after its acknowledgement, a record is in every follower's hands; and how fast
//! a follower that begins at the first record catches up.
//!
//! FLOWSTATE_BENCH_APPENDS: appends a round (1,000). FLOWSTATE_BENCH_RECORDS: records to catch up with (200,000).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flowstate_bench::drive::{Ran, Store, append_of, stream_name};
use flowstate_bench::table::{print_load, rounds, size};
use flowstate_bench::words::Tokens;
use flowstate_log::env::{Env, SystemEnv};
use flowstate_log::record::StreamId;
use flowstate_log::{Log, Options};
use tokio::runtime::Runtime;

const FOLLOWERS: [usize; 2] = [1, 64];

/// One writer, some followers at its tail: waits from append to delivery and from acknowledgement to delivery.
async fn live(log: &Log, stream: u64, followers: usize, appends: u64) -> [Ran; 2] {
    let clock = Arc::new(SystemEnv::new());
    let mut tokens = Tokens::new(stream);
    let mut token = || tokens.next().into_iter().collect::<Vec<Bytes>>();
    Store::append(log, stream, 0, token()).await;
    let id: StreamId = log
        .stream(&stream_name(stream))
        .await
        .expect("the catalog")
        .expect("a stream");
    let mut readers = Vec::new();
    for _ in 0..followers {
        let (mut follow, clock) = (log.follow(id, 2).await.expect("a cursor"), clock.clone());
        readers.push(tokio::spawn(async move {
            let mut at = Vec::new();
            while at.len() < appends as usize {
                let count = follow.page().await.expect("records").len();
                at.extend(std::iter::repeat_n(clock.monotonic(), count));
            }
            at
        }));
    }
    let (mut sent, mut acknowledged) = (Vec::new(), Vec::new());
    for _ in 0..appends {
        let append = append_of(stream_name(stream), token());
        sent.push(clock.monotonic());
        log.append(append).await.expect("queued").await.expect("durable");
        acknowledged.push(clock.monotonic());
    }
    let mut delivered = Vec::new();
    for reader in readers {
        delivered.push(reader.await.expect("a follower"));
    }
    [sent, acknowledged].map(|from| {
        let mut ran = Ran::default();
        for at in &delivered {
            ran.waits
                .extend(at.iter().zip(&from).map(|(at, from)| at.saturating_sub(*from)));
        }
        ran.waits.sort_unstable();
        ran
    })
}

async fn catch_up(log: &Log, id: StreamId, followers: usize, records: u64) -> f64 {
    let clock = SystemEnv::new();
    let mut readers = Vec::new();
    for _ in 0..followers {
        let mut follow = log.follow(id, 1).await.expect("a cursor");
        readers.push(tokio::spawn(async move {
            let mut count = 0;
            while count < records {
                count += follow.page().await.expect("records").len() as u64;
            }
            count
        }));
    }
    let mut count = 0;
    for reader in readers {
        count += reader.await.expect("a follower");
    }
    count as f64 / clock.monotonic().max(Duration::from_nanos(1)).as_secs_f64()
}

fn main() {
    let (appends, records) = (
        size("FLOWSTATE_BENCH_APPENDS", 1_000),
        size("FLOWSTATE_BENCH_RECORDS", 200_000),
    );
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let log = Log::open(Options::in_folder(folder.path()).expect("a folder")).expect("a log");
    print_load();
    println!(
        "{:>10}{:>18}{:>10}{:>22}{:>10}",
        "followers", "append->reader us", "p99", "acknowledged->reader", "p99"
    );
    let mut stream = 0;
    let numbers = rounds(3, FOLLOWERS.len(), |row| {
        stream += 1;
        let [sent, acknowledged] = runtime.block_on(live(&log, stream, FOLLOWERS[row], appends));
        [
            sent.wait_us(0.5),
            sent.wait_us(0.99),
            acknowledged.wait_us(0.5),
            acknowledged.wait_us(0.99),
        ]
    });
    for (followers, [sent, late, after, latest]) in FOLLOWERS.iter().zip(numbers) {
        println!("{followers:>10}{sent:>18.1}{late:>10.1}{after:>22.1}{latest:>10.1}");
    }
    let long = stream + 1;
    let id = runtime.block_on(async {
        let mut tokens = Tokens::new(long);
        for number in 0..records / 1_000 {
            Store::append(&log, long, number * 1_000, tokens.by_ref().take(1_000).collect()).await;
        }
        log.stream(&stream_name(long))
            .await
            .expect("the catalog")
            .expect("a stream")
    });
    let numbers = rounds(3, FOLLOWERS.len(), |row| {
        [runtime.block_on(catch_up(&log, id, FOLLOWERS[row], records / 1_000 * 1_000))]
    });
    for (followers, [rate]) in FOLLOWERS.iter().zip(numbers) {
        println!("catching up, {followers} followers: {rate:.0} records/s in all");
    }
    runtime.block_on(log.close());
    print_load();
}
