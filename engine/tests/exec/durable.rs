//! Nothing that can't be taken back is done before what led to it is durable: calls of models and of tools.

use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::RequestStatus;
use flowstate_engine::prelude::*;
use flowstate_log::Options;
use flowstate_log::disk::faulty::FaultyDisk;
use flowstate_log::disk::memory::MemoryDisk;
use serde_json::json;

use crate::support::{Counter, Sayer, after, submission};

/// Runs a block on a disk whose syncs are held from when it begins, and waits for the first. Gives what `called` is while that is held,
/// and at the end.
async fn calls_while_held(block: Block<String, String>, asked: Counter, called: &Counter) -> [usize; 2] {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let options = Options {
        disk: Arc::new(disk.clone()),
        ..Options::in_memory()
    };
    let (ready, gate) = (Counter::default(), Counter::default());
    let begun = ready.clone();
    let waits = after::<String>(&gate, 1).map_input(move |text: String, _| {
        begun.add(1);
        text
    });
    let shows = handler("shows").run(|text: String, ctx: Ctx| async move {
        ctx.emit().message("this comes before").await?;
        Ok(text)
    });
    let chain = sequencer::<String>("s").then(waits).then(shows).then(block);
    let flow = flow("f").action("a", action(chain)).instance("i").expect("a flow");
    let builder = Engine::builder().flow(flow).model(Arc::new(Sayer {
        asked,
        ..Sayer::default()
    }));
    let engine = builder.open(options).await.expect("an engine");
    let running = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run_submission(submission("end")).await }
    });
    ready.reached(1).await;
    disk.hold_syncs("slot");
    gate.add(1);
    tokio::task::block_in_place(|| disk.wait_for_held(1));
    // As long as it would take to call too early.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let held = called.get();
    disk.release();
    let ended = tokio::time::timeout(Duration::from_secs(20), running).await;
    let result = ended.expect("in time").expect("no panic").expect("a result");
    assert_eq!(result.status, RequestStatus::Completed, "{:?}", result.error);
    [held, called.get()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_runs_when_everything_before_it_is_durable() {
    let called = Counter::default();
    let counted = called.clone();
    let tool = handler("tool").run(move |text: String, _| {
        counted.add(1);
        async move { Ok(text) }
    });
    let tool = tool.tool().expect("a tool");
    let calls = handler("calls").run(move |text: String, ctx: Ctx| {
        let tool = tool.clone();
        async move {
            tool.call("c1", json!({"input": text}), &ctx).await?;
            Ok(text)
        }
    });
    assert_eq!(calls_while_held(calls, Counter::default(), &called).await, [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_asked_when_everything_before_it_is_durable() {
    let asked = Counter::default();
    let asks = IntoBlock::into_block(generator("asks").user(|text: &String, _| text.clone()));
    assert_eq!(calls_while_held(asks, asked.clone(), &asked).await, [0, 1]);
}
