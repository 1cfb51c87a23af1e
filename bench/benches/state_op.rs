//! What a state operation costs a block: `inc` on a session, so many on their way at once, in memory and in a folder; and an `atomic`
//! after another, which is appended under a version. Before the times: how often each allocates memory, the log's threads included.

use std::alloc::System;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowstate_engine::Submission;
use flowstate_engine::prelude::*;
use flowstate_log::env::{Env, SystemEnv};
use flowstate_log::{Options, Storage};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Operations over which allocations are counted.
const COUNTED: u64 = 2_000;
/// Operations on their way at once.
const PIPELINED: usize = 256;

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct State {
    n: u64,
    words: Vec<String>,
}

/// Runs so many operations in one request; gives the nanoseconds that they took.
async fn operate(count: u64, ctx: &Ctx, pipelined: bool) -> Result<u64, BlockError> {
    let state = ctx.session::<State>();
    state
        .set(State {
            n: 0,
            words: vec!["word".into(); 1_000],
        })
        .await?;
    let clock = SystemEnv::new();
    if pipelined {
        let mut on_their_way = FuturesUnordered::new();
        for _ in 0..count {
            if on_their_way.len() == PIPELINED {
                on_their_way.next().await.transpose()?;
            }
            on_their_way.push(state.inc("n", 1).into_future());
        }
        while let Some(written) = on_their_way.next().await {
            written?;
        }
    } else {
        for _ in 0..count {
            state
                .atomic(|state| State {
                    n: state.n + 1,
                    ..state
                })
                .await?;
        }
    }
    Ok(clock.monotonic().as_nanos() as u64)
}

async fn run(engine: &Engine, action: &str, count: u64) -> Duration {
    let submission = Submission {
        flow: "bench".into(),
        action: action.into(),
        input: Some(count.into()),
        user: "u".into(),
        ..Submission::default()
    };
    let ended = engine.run_submission(submission).await.expect("a result");
    Duration::from_nanos(ended.output.as_u64().expect("nanoseconds"))
}

/// Allocations of one operation, on average: what more of them in one request make more.
async fn allocations(engine: &Engine, operation: &str) -> f64 {
    let (mut made, counts) = (Vec::new(), [COUNTED, 2 * COUNTED]);
    // The first run makes what is made once and for all.
    for count in [COUNTED].into_iter().chain(counts) {
        let before = ALLOCATOR.stats();
        run(engine, operation, count).await;
        let stats = ALLOCATOR.stats() - before;
        made.push((stats.allocations + stats.reallocations) as f64);
    }
    (made[2] - made[1]) / COUNTED as f64
}

fn state_op(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let runtime = Runtime::new().expect("a runtime");
    let lsm = Options::in_folder(&folder.path().join("data")).expect("a folder");
    let stores: [(&str, Storage); 2] = [("memory", Options::in_memory().into()), ("lsm", lsm.into())];
    let mut group = c.benchmark_group("state_op");
    group.sample_size(10).throughput(Throughput::Elements(1));
    for (name, store) in stores {
        let flow = flow("bench")
            .action(
                "inc",
                action(|count: u64, ctx: Ctx| async move { operate(count, &ctx, true).await }),
            )
            .action(
                "atomic",
                action(|count: u64, ctx: Ctx| async move { operate(count, &ctx, false).await }),
            )
            .session(scope::<State>())
            .instance("default")
            .expect("a flow");
        let engine = runtime
            .block_on(Engine::builder().flow(flow).open(store))
            .expect("an engine");
        for operation in ["inc", "atomic"] {
            let each = runtime.block_on(allocations(&engine, operation));
            println!("state_op/{operation}/{name}: {each:.1} allocations");
            group.bench_function(BenchmarkId::new(operation, name), |b| {
                b.iter_custom(|count| runtime.block_on(run(&engine, operation, count)));
            });
        }
        runtime.block_on(engine.close());
    }
    group.finish();
}

criterion_group!(benches, state_op);
criterion_main!(benches);
