//! When a write returns, what of it survives, and what is there after a restart.

use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::{Principal, SnapshotQuery};
use flowstate_log::Options;
use flowstate_log::disk::faulty::FaultyDisk;
use flowstate_log::disk::memory::MemoryDisk;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::support::*;
use flowstate_engine::prelude::*;

fn on(disk: impl flowstate_log::disk::Disk) -> Options {
    Options {
        disk: Arc::new(disk),
        ..memory()
    }
}

fn exposed() -> flowstate_engine::Scope<State> {
    let fields = ["n", "m", "word", "list", "map"];
    fields
        .into_iter()
        .fold(scope::<State>(), |scope, field| scope.expose(field))
}

/// The session's and the user's state, as clients see them.
async fn shown(engine: &Engine) -> Value {
    let snapshot = engine
        .snapshot(&Principal::default(), "s", &SnapshotQuery::default())
        .await;
    json(snapshot.expect("readable").expect("a session").client_data)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_returns_when_it_is_sequenced_and_durable_waits_for_the_sync() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let (ready, go_on, wrote) = (
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
        Arc::new(Notify::new()),
    );
    let flow = {
        let (ready, go_on, wrote) = (ready.clone(), go_on.clone(), wrote.clone());
        going("f", move |_, ctx| {
            let (ready, go_on, wrote) = (ready.clone(), go_on.clone(), wrote.clone());
            async move {
                let state = ctx.session::<State>();
                ctx.durable().await?;
                ready.notify_one();
                go_on.notified().await;
                let written = state.inc("n", 1).await?;
                let seen = state.get().await?.n;
                wrote.notify_one();
                let synced = tokio::time::timeout(Duration::from_millis(50), ctx.durable()).await;
                ready.notify_one();
                ctx.durable().await?;
                Ok(json!([written.value(), seen, synced.is_err()]))
            }
        })
        .session(exposed())
    };
    let engine = open([flow.instance("default").expect("a flow")], &on(disk.clone())).await;
    let running = {
        let engine = engine.clone();
        tokio::spawn(async move { go(&engine, Value::Null).await })
    };
    ready.notified().await;
    disk.hold_syncs("slot");
    go_on.notify_one();
    tokio::time::timeout(Duration::from_secs(10), wrote.notified())
        .await
        .expect("it returned unsynced");
    assert_eq!(
        shown(&engine).await["session"]["n"],
        0,
        "nobody else sees what a crash can take back"
    );
    ready.notified().await;
    disk.release();
    assert_eq!(running.await.expect("no panic"), Ok(json!([1, 1, true])));
    assert_eq!(shown(&engine).await["session"]["n"], 1);
}

#[tokio::test]
async fn the_state_after_a_restart_is_the_state_before() {
    let options = memory();
    let flow = || {
        going("f", |input, ctx| async move {
            if input.is_null() {
                let (session, user) = (ctx.session::<State>(), ctx.user::<State>());
                session.inc("n", 3).await?;
                session.push("list", 1).await?;
                session.atomic(|state| State { m: 4, ..state }).await?;
                user.record_set("map", "k", 5).await?;
                user.set(State {
                    n: 9,
                    ..user.get().await?
                })
                .await?;
            }
            Ok(json!([
                ctx.session::<State>().get().await?,
                ctx.user::<State>().get().await?
            ]))
        })
        .session(exposed())
        .user(exposed())
        .instance("default")
        .expect("a flow")
    };
    let engine = open([flow()], &options).await;
    let before = go(&engine, Value::Null).await.expect("done");
    let snapshot = shown(&engine).await;
    engine.close().await;
    drop(engine);
    let engine = open([flow()], &options).await;
    assert_eq!(shown(&engine).await, snapshot);
    assert_eq!(go(&engine, json!("look")).await, Ok(before));
}

/// What was left on the disk by a crash, how many of the states before were certain, and how many had been told of.
struct Crash {
    disk: MemoryDisk,
    durable: usize,
    told: usize,
}

/// One of the operations, in the session or the user; whether it was waited for until it was durable.
async fn perform(ctx: &Ctx, number: usize) -> Result<bool, BlockError> {
    let state = match number % 2 {
        0 => ctx.session::<State>(),
        _ => ctx.user::<State>(),
    };
    let durable = number % 5 == 4;
    let n = number as i64;
    match number / 2 % 5 {
        0 => state.inc("n", n).await.map(drop)?,
        1 => state.push("list", n).await.map(drop)?,
        2 => state
            .record_set("map", &format!("k{}", number % 3), n)
            .await
            .map(drop)?,
        3 => drop(
            state
                .atomic(|state| State {
                    n: state.n * 2 + n,
                    ..state
                })
                .await?,
        ),
        _ => state
            .patch(json!({"word": format!("w{n}"), "m": number}))
            .await
            .map(drop)?,
    }
    if durable {
        ctx.durable().await?;
    }
    Ok(durable)
}

const OPERATIONS: usize = 40;

#[test]
fn killed_at_every_append_the_states_are_a_prefix_of_what_was_written() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime")
    };
    let disk = MemoryDisk::new();
    let crashes = Arc::new(Mutex::new(Vec::new()));
    let states = Arc::new(Mutex::new(Vec::new()));
    let writing = {
        let (disk, crashes, states) = (disk.clone(), crashes.clone(), states.clone());
        going("f", move |_, ctx| {
            let (disk, crashes, states) = (disk.clone(), crashes.clone(), states.clone());
            async move {
                let look = async || -> Result<Value, BlockError> {
                    let (session, user) = (ctx.session::<State>(), ctx.user::<State>());
                    Ok(json!({"session": session.get().await?, "user": user.get().await?}))
                };
                ctx.durable().await?;
                let seen = look().await?;
                states.lock().push(seen);
                let mut durable = 0;
                for number in 0..OPERATIONS {
                    if perform(&ctx, number).await? {
                        durable = number + 1;
                    }
                    let seen = look().await?;
                    states.lock().push(seen);
                    for seed in 0..2 {
                        let seed = (2 * number + seed) as u64;
                        let disk = disk.crash(seed);
                        let told = number + 1;
                        crashes.lock().push(Crash { disk, durable, told });
                    }
                }
                Ok(Value::Null)
            }
        })
        .session(exposed())
        .user(exposed())
    };
    let flow = writing.instance("default").expect("a flow");
    runtime().block_on(async {
        let engine = open([flow], &on(disk)).await;
        go(&engine, Value::Null).await.expect("done");
        engine.close().await;
    });
    let states = std::mem::take(&mut *states.lock());
    let crashes = std::mem::take(&mut *crashes.lock());
    assert_eq!((states.len(), crashes.len()), (OPERATIONS + 1, 2 * OPERATIONS));
    for (at, Crash { disk, durable, told }) in crashes.into_iter().enumerate() {
        runtime().block_on(async {
            let reading = going("f", |_, _| async move { Ok(Value::Null) });
            let flow = reading
                .session(exposed())
                .user(exposed())
                .instance("default")
                .expect("a flow");
            let engine = open([flow], &on(disk)).await;
            let left = shown(&engine).await;
            let prefix = states[durable..=told].contains(&left);
            assert!(
                prefix,
                "crash {at}, {durable} durable, {told} told: {left} is none of {states:#?}"
            );
            engine.close().await;
        });
    }
}
