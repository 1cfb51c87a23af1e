//! Durable appends, one record each, by 1, 8 and 64 writers that wait for their acknowledgement; beside it the machine's limit with
//! as many records per sync. Read the ratio of the two rows of a group, not the absolute numbers.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowstate_bench::{Limit, append_of, timed};
use flowstate_log::record::Name;
use flowstate_log::{Log, Options};
use tokio::runtime::Runtime;

const WRITERS: [u64; 3] = [1, 8, 64];

fn log_append(log: &Log, runtime: &Runtime, writers: u64, count: u64) {
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for writer in 0..writers {
            let log = log.clone();
            let share = count / writers + u64::from(writer < count % writers);
            tasks.push(tokio::spawn(async move {
                let stream = Name::new("", &format!("stream-{writer}")).expect("a valid name");
                for number in 0..share {
                    let queued = log.append(append_of(&stream, number)).await.expect("queued");
                    queued.await.expect("durable");
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
    let log = Log::open(Options::in_folder(&folder.path().join("data")).expect("a folder")).expect("open");
    let mut limit = Limit::new(folder.path()).expect("a zero-filled file");
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    for writers in WRITERS {
        group.bench_function(BenchmarkId::new("limit", writers), |b| {
            b.iter_custom(|count| timed(|| limit.write(count, writers).expect("write")).0);
        });
        group.bench_function(BenchmarkId::new("durable", writers), |b| {
            b.iter_custom(|count| timed(|| log_append(&log, &runtime, writers, count)).0);
        });
    }
    group.finish();
    runtime.block_on(log.close());
}

criterion_group!(benches, append);
criterion_main!(benches);
