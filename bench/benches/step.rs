//! What a step costs: a sequencer of 1,000 trivial handlers as one request, everything recorded, the log in memory. Beside it the same
//! request without steps, which is what the request itself costs. Before the times: how often each allocates memory, the log's threads included.

use std::alloc::System;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flowstate::engine::prelude::*;
use flowstate_log::Options;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const STEPS: u64 = 1_000;
/// Runs over which allocations are counted.
const COUNTED: usize = 20;

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

async fn run(engine: &Engine, count: u64) {
    let ended = engine.run("steps", "run", 0).await.expect("a result");
    assert_eq!(ended.output, count);
}

/// Allocations of one run, on average.
async fn allocations(engine: &Engine, count: u64) -> f64 {
    // What the first run makes once and for all doesn't count.
    run(engine, count).await;
    let before = ALLOCATOR.stats();
    for _ in 0..COUNTED {
        run(engine, count).await;
    }
    let made = ALLOCATOR.stats() - before;
    (made.allocations + made.reallocations) as f64 / COUNTED as f64
}

fn step(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = c.benchmark_group("step");
    group.sample_size(20);
    let mut without_steps = 0.0;
    for (name, count) in [("no steps", 0), ("1,000 steps", STEPS)] {
        let engine = runtime.block_on(async {
            let opened = Engine::builder().flow(steps(count)).open(Options::in_memory()).await;
            opened.expect("an engine")
        });
        let allocations = runtime.block_on(allocations(&engine, count));
        match count {
            0 => {
                without_steps = allocations;
                println!("step/{name}: {allocations:.1} allocations");
            }
            _ => {
                let each = (allocations - without_steps) / count as f64;
                println!("step/{name}: {allocations:.1} allocations, {each:.2} for each step");
            }
        }
        group.throughput(Throughput::Elements(count.max(1)));
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter(|| run(&engine, count));
        });
        runtime.block_on(engine.close());
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
