//! The append workload on this log and on its peers, in one run: 1, 8 and 64 writers that each wait for a durable acknowledgement.

use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowstate_bench::{append_of, timed, token};
use flowstate_bench_peers::{Committer, Fjall, Sqlite, Write};
use flowstate_log::record::Name;
use flowstate_log::{Log, Options};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

const WRITERS: [u64; 3] = [1, 8, 64];

/// Numbers that no earlier sample used.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn share(count: u64, writers: u64, writer: u64) -> u64 {
    count / writers + u64::from(writer < count % writers)
}

fn peer_append(peer: &Committer, runtime: &Runtime, writers: u64, count: u64) {
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for writer in 0..writers {
            let (queue, share) = (peer.queue.clone(), share(count, writers, writer));
            tasks.push(tokio::spawn(async move {
                for _ in 0..share {
                    let number = NEXT.fetch_add(1, Ordering::Relaxed);
                    let (done, durable) = oneshot::channel();
                    let write = Write { stream: writer, number, payload: token(number), done };
                    assert!(queue.send(write).await.is_ok(), "the committer runs");
                    durable.await.expect("durable");
                }
            }));
        }
        for task in tasks {
            task.await.expect("a writer");
        }
    });
}

fn log_append(log: &Log, runtime: &Runtime, writers: u64, count: u64) {
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for writer in 0..writers {
            let (log, share) = (log.clone(), share(count, writers, writer));
            tasks.push(tokio::spawn(async move {
                let stream = Name::new("", &format!("stream-{writer}")).expect("a valid name");
                for number in 0..share {
                    log.append(append_of(&stream, number)).await.expect("queued").await.expect("durable");
                }
            }));
        }
        for task in tasks {
            task.await.expect("a writer");
        }
    });
}

fn append(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let runtime = Runtime::new().expect("a runtime");
    let log = Log::open(Options::in_folder(&folder.path().join("flowstate")).expect("a folder")).expect("open");
    let fjall = Committer::start(Fjall::create(&folder.path().join("fjall")).expect("a store"));
    let sqlite = Committer::start(Sqlite::create(&folder.path().join("sqlite")).expect("a store"));
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    for writers in WRITERS {
        group.bench_function(BenchmarkId::new("flowstate", writers), |b| {
            b.iter_custom(|count| timed(|| log_append(&log, &runtime, writers, count)).0);
        });
        for (name, peer) in [("fjall", &fjall), ("sqlite", &sqlite)] {
            group.bench_function(BenchmarkId::new(name, writers), |b| {
                b.iter_custom(|count| timed(|| peer_append(peer, &runtime, writers, count)).0);
            });
        }
    }
    group.finish();
    runtime.block_on(log.close());
    fjall.stop();
    sqlite.stop();
}

criterion_group!(benches, append);
criterion_main!(benches);
