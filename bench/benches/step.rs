//! What a step costs: a sequencer of 1,000 trivial handlers as one request, everything recorded, the log in memory. Beside it the same
//! request without steps, which is what the request itself costs.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flowstate::engine::prelude::*;
use flowstate_log::Options;
use tokio::runtime::Runtime;

const STEPS: u64 = 1_000;

fn steps(count: u64) -> Flow {
    let mut chain = sequencer::<u64>("chain");
    for _ in 0..count {
        chain = chain.then(handler("add").run(|n: u64, _ctx| async move { Ok(n + 1) }));
    }
    flow("steps")
        .action("run", action(chain))
        .instance("default")
        .expect("a flow")
}

fn step(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = c.benchmark_group("step");
    group.sample_size(20);
    for (name, count) in [("no steps", 0), ("1,000 steps", STEPS)] {
        let engine = runtime.block_on(async {
            let opened = Engine::builder().flow(steps(count)).open(Options::in_memory()).await;
            opened.expect("an engine")
        });
        group.throughput(Throughput::Elements(count.max(1)));
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter(|| async {
                let ended = engine.run("steps", "run", 0).await.expect("a result");
                assert_eq!(ended.output, count);
            });
        });
        runtime.block_on(engine.close());
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
