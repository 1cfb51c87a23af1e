//! Loops that are left after any step and gone on with elsewhere, and requests that are replayed without a model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::model::{Finish, Model, ModelError, ModelEvent, ModelRequest};
use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use flowstate_engine::{History, Principal, Replay, ReplayError, RequestStatus, RunResult, Submission};
use flowstate_log::Options;
use flowstate_log::disk::memory::MemoryDisk;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::support::*;

/// What is called in order, and the call at which the process ends: what is not called before it never returns.
#[derive(Clone, Default)]
struct World {
    calls: Arc<Mutex<Vec<String>>>,
    ends_at: Option<usize>,
    ended: Arc<Notify>,
}

impl World {
    fn ending_at(call: usize) -> Self {
        Self {
            ends_at: Some(call),
            ..Self::default()
        }
    }

    /// Something outside is called. It has happened when this returns.
    async fn call(&self, what: String) {
        let is_over = {
            let mut calls = self.calls.lock();
            let is_over = self.ends_at.is_some_and(|end| calls.len() >= end);
            if !is_over {
                calls.push(what);
            }
            is_over
        };
        if is_over {
            self.ended.notify_one();
            std::future::pending::<()>().await;
        }
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().clone()
    }
}

/// Two rounds of two tools, then words. What it answers follows from what it is shown alone.
struct Planner(World);

impl Model for Planner {
    fn name(&self) -> &str {
        "planner"
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        let world = self.0.clone();
        stream::once(async move {
            let shown: Vec<String> = request.messages.iter().map(|message| message.text()).collect();
            let since = request
                .messages
                .iter()
                .rev()
                .take_while(|message| message.role().as_str() != "user");
            let step = since.filter(|message| message.role().as_str() == "tool").count();
            world.call(format!("model {step}")).await;
            stream::iter(match step {
                0 | 1 => vec![
                    thought(&format!("Step {step}.")),
                    text(&format!("Looking, {step}.")),
                    call("1", "left", json!({"q": format!("l{step}")})),
                    call("2", "right", json!({"q": format!("r{step}")})),
                    end(Finish::ToolCalls),
                ],
                _ => vec![text(&format!("I was shown: {}", shown.join(" | "))), end(Finish::Stop)],
            })
        })
        .flatten()
        .boxed()
    }
}

/// Looks something up outside.
fn looks(name: &'static str, world: &World) -> Block<Query, String> {
    let world = world.clone();
    handler(name).run(move |query: Query, ctx: Ctx| {
        let world = world.clone();
        async move {
            world.call(format!("{name} {}", query.q)).await;
            ctx.emit().message(format!("{name} has {}", query.q)).await?;
            Ok(format!("{name} found {}", query.q))
        }
    })
}

fn app(world: &World) -> Flow {
    let plans = generator::<String>("plans")
        .prompt("Plan.")
        .history(History::all())
        .user(|input: &String, _| input.clone())
        .tool(looks("left", world))
        .tool(looks("right", world));
    let counts = handler("counts")
        .run(|words: String, _: Ctx| async move { Ok(json!({"words": words, "length": words.len()})) });
    let chain = sequencer::<String>("chain").then(plans).then(counts);
    let flow = flow("f").action("a", action(chain).user_message(|input: &String| input.clone()));
    flow.instance("i").expect("a flow")
}

async fn open(world: &World, disk: &MemoryDisk) -> Engine {
    let options = Options {
        disk: Arc::new(disk.clone()),
        ..Options::in_memory()
    };
    Engine::builder()
        .flow(app(world))
        .model(Arc::new(Planner(world.clone())))
        .resume_open_requests()
        .open(options)
        .await
        .expect("an engine")
}

fn submission() -> Submission {
    Submission {
        flow: "f".into(),
        action: "a".into(),
        input: Some(json!("what now?")),
        user: "u".into(),
        session: Some("s".into()),
        request: Some("r".into()),
        ..Submission::default()
    }
}

/// The items of the request as a snapshot of the session has them: type, status, text; sorted, because tools run at once.
async fn items(engine: &Engine) -> Vec<String> {
    let facts = facts(engine, "r").await;
    let mut items: BTreeMap<u32, String> = BTreeMap::new();
    for fact in facts {
        if let Fact::ItemCompleted(completed) = fact {
            let item = completed.item;
            let body = serde_json::to_string(&item.body).expect("JSON");
            items.insert(item.index, format!("{} {body}", item.status.as_str()));
        }
    }
    let mut items: Vec<String> = items.into_values().collect();
    items.sort();
    items
}

async fn output(engine: &Engine) -> Value {
    let found = engine.request(&Principal::default(), "f", "r", Duration::ZERO).await;
    let found = found.expect("readable").expect("a request");
    assert_eq!(found.row.status, RequestStatus::Completed);
    engine.output(&found).await.expect("readable").expect("an output")
}

/// Seven calls: a model's three, and four of tools. The process ends before each of them, with everything before it done.
#[tokio::test]
async fn a_loop_that_is_left_at_any_transition_goes_on_without_repeating_anything() {
    let world = World::default();
    let engine = open(&world, &MemoryDisk::new()).await;
    engine.run_submission(submission()).await.expect("a result");
    let (expected, shown) = (output(&engine).await, items(&engine).await);
    let mut usual = world.calls();
    usual.sort();
    assert_eq!(usual.len(), 7);
    for end in 0..7 {
        let disk = MemoryDisk::new();
        let first = World::ending_at(end);
        let engine = open(&first, &disk).await;
        engine.submit(submission()).await.expect("accepted");
        first.ended.notified().await;
        // What had returned is recorded, as it is when a process ends a moment later.
        settled(&engine, end).await;
        engine.close().await;
        let second = World::default();
        let engine = open(&second, &disk).await;
        facts(&engine, "r").await;
        let mut calls = [first.calls(), second.calls()].concat();
        calls.sort();
        assert_eq!(calls, usual, "left at call {end}: each is made once");
        assert_eq!(output(&engine).await, expected, "left at call {end}");
        assert_eq!(items(&engine).await, shown, "left at call {end}");
        engine.close().await;
    }
}

/// Waits until so many answers and results are durable.
async fn settled(engine: &Engine, count: usize) {
    let found = engine.request(&Principal::default(), "f", "r", Duration::ZERO).await;
    let sub = found.expect("readable").expect("a request").sub;
    let mut records = engine.log().follow_sub(&sub, 0).await.expect("records");
    let mut seen = 0;
    while seen < count {
        let page = tokio::time::timeout(Duration::from_secs(20), records.page()).await;
        for record in page.expect("in time").expect("records") {
            seen += usize::from([26, 29].contains(&record.kind.0));
        }
    }
}

/// Panics when it is asked.
struct Never;

impl Model for Never {
    fn name(&self) -> &str {
        "never"
    }

    fn stream(&self, _: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        panic!("a replay asks no model")
    }
}

async fn replayer(disk: &MemoryDisk, flow: Flow) -> Engine {
    let options = Options {
        disk: Arc::new(disk.clone()),
        ..Options::in_memory()
    };
    let builder = Engine::builder().flow(flow).model(Arc::new(Never));
    builder.open(options).await.expect("an engine")
}

async fn replayed(engine: &Engine, request: &str, how: Replay) -> RunResult {
    let replayed = engine.replay(&Principal::default(), "f", request, how).await;
    replayed.expect("a replay")
}

fn shown(result: &RunResult) -> Vec<String> {
    let mut items: Vec<_> = result.items.iter().filter(|item| !item.transient).collect();
    items.sort_by_key(|item| item.index);
    let line = |body| serde_json::to_string(body).expect("JSON");
    items
        .iter()
        .map(|item| format!("{} {}", item.status.as_str(), line(&item.body)))
        .collect()
}

#[tokio::test]
async fn a_recorded_request_is_replayed_without_a_model_and_without_its_tools() {
    let (world, disk) = (World::default(), MemoryDisk::new());
    let engine = open(&world, &disk).await;
    let earlier = Submission {
        request: Some("earlier".into()),
        ..submission()
    };
    engine.run_submission(earlier).await.expect("a result");
    let recorded = engine.run_submission(submission()).await.expect("a result");
    engine.close().await;

    let outside = World::default();
    let engine = replayer(&disk, app(&outside)).await;
    let before = facts(&engine, "r").await;
    let result = replayed(&engine, "r", Replay::new()).await;
    let bytes = |output: &Value| serde_json::to_vec(output).expect("JSON");
    assert_eq!(bytes(&result.output), bytes(&recorded.output), "byte for byte");
    assert!(
        recorded.output["words"]
            .as_str()
            .is_some_and(|words| words.matches("what now?").count() > 1)
    );
    assert_eq!(outside.calls(), Vec::<String>::new());
    // What the tools' own blocks have shown is not shown again.
    let own =
        |items: Vec<String>| -> Vec<String> { items.into_iter().filter(|item| !item.contains(" has ")).collect() };
    let sorted = |mut items: Vec<String>| {
        items.sort();
        items
    };
    assert_eq!(sorted(own(shown(&result))), sorted(own(shown(&recorded))));
    assert_eq!(facts(&engine, "r").await, before, "the log was only read");

    let result = replayed(&engine, "r", Replay::new().run_tools()).await;
    assert_eq!(bytes(&result.output), bytes(&recorded.output));
    assert_eq!(outside.calls().len(), 4);
    assert_eq!(sorted(shown(&result)), sorted(shown(&recorded)));
    engine.close().await;
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Tally {
    count: i64,
}

/// Its output depends on the session's and the user's state at the time.
fn tallies() -> Flow {
    let counts = handler("counts").run(|words: String, ctx: Ctx| async move {
        let session = ctx.session::<Tally>().inc("count", 1).await?;
        let user = ctx.user::<Tally>().inc("count", 10).await?;
        Ok(json!([words, session.value(), user.value()]))
    });
    let chain = sequencer::<String>("chain")
        .then(asks().history(History::turns(2)))
        .then(counts);
    let flow = flow("f").action("a", action(chain).user_message(|input: &String| input.clone()));
    let flow = flow.session(scope::<Tally>()).user(scope::<Tally>());
    flow.instance("i").expect("a flow")
}

#[tokio::test]
async fn a_replay_begins_with_the_states_of_its_time() {
    let script = Script::new((0..4).map(|n| says(&format!("answer {n}"))));
    let engine = engine_of(&script, tallies()).await;
    let mut ran = Vec::new();
    for (session, words) in [("s", "one"), ("other", "two"), ("s", "three"), ("s", "four")] {
        ran.push(run_on(&engine, session, words).await.result);
    }
    assert_eq!(ran[2].output, json!(["answer 2", 2, 30]));
    for recorded in ran {
        let result = replayed(&engine, &recorded.accepted.request, Replay::new()).await;
        assert_eq!(result.output, recorded.output);
        assert_eq!(result.state["count"], recorded.output[1]);
    }
}

#[tokio::test]
async fn a_request_that_failed_is_replayed_to_the_same_failure() {
    let refused = ModelError::new(
        "script",
        flowstate_engine::model::ModelErrorKind::BadRequest,
        "no such thing",
    );
    let script = Script::new([calls([call("1", "look", json!({"q": "x"}))]), vec![Err(refused)]]);
    let engine = engine(&script, asks().tool(echo("look"))).await;
    let ran = run_on(&engine, "s", "go").await;
    let result = replayed(&engine, &ran.result.accepted.request, Replay::new()).await;
    assert_eq!(
        result.error.map(|error| error.to_string()),
        Some(ran.error().to_string())
    );
}

#[tokio::test]
async fn a_flow_that_asks_for_something_else_is_told_so() {
    let disk = MemoryDisk::new();
    let options = Options {
        disk: Arc::new(disk.clone()),
        ..Options::in_memory()
    };
    let block = |block| flow("f").action("a", action(block)).instance("i").expect("a flow");
    let script = Script::new([says("hi")]);
    let builder = Engine::builder()
        .flow(block(asks().into_block()))
        .model(Arc::new(script));
    let engine = builder.open(options).await.expect("an engine");
    let ran = run_on(&engine, "s", "go").await;
    engine.close().await;
    let again = sequencer::<String>("s").then(asks()).then(asks()).build();
    let engine = replayer(&disk, block(again)).await;
    let result = replayed(&engine, &ran.result.accepted.request, Replay::new()).await;
    let error = result.error.expect("an error");
    assert_eq!((error.code(), error.place()), ("replay_diverged", None), "{error}");
    engine.close().await;
}

#[tokio::test]
async fn what_can_not_be_replayed_is_told() {
    let (world, disk) = (World::ending_at(0), MemoryDisk::new());
    let engine = open(&world, &disk).await;
    engine.submit(submission()).await.expect("accepted");
    world.ended.notified().await;
    let principal = Principal::default();
    let running = engine.replay(&principal, "f", "r", Replay::new()).await;
    assert!(matches!(running, Err(ReplayError::Running(_))));
    let unknown = engine.replay(&principal, "f", "nope", Replay::new()).await;
    assert!(matches!(unknown, Err(ReplayError::UnknownRequest(_))));
    engine.close().await;
}

#[tokio::test]
async fn a_replay_repeats_attempts_as_they_were() {
    let picky = handler("picky").run(|words: String, _: Ctx| async move {
        match words.as_str() {
            "bad" => Err(BlockError::new("execution_error", "no")),
            _ => Ok(words),
        }
    });
    let chain = sequencer::<String>("chain")
        .then(asks())
        .then(picky)
        .build()
        .retry(flowstate_engine::Retry::attempts(2));
    let engine = engine(&Script::new([says("bad"), says("good")]), chain).await;
    let ran = run_on(&engine, "s", "go").await;
    assert_eq!(ran.output(), "good");
    let result = replayed(&engine, &ran.result.accepted.request, Replay::new()).await;
    assert_eq!(result.output, *ran.output());
    assert_eq!(shown(&result), shown(&ran.result), "the first answer is heard first");
}

#[tokio::test]
async fn a_request_without_a_user_is_replayed() {
    let flow = flow("f")
        .require_user(false)
        .action("a", action(asks()))
        .instance("i")
        .expect("a flow");
    let engine = engine_of(&Script::new([says("hi")]), flow).await;
    let submission = Submission {
        user: String::new(),
        input: Some(json!("go")),
        ..submission()
    };
    let ran = engine.run_submission(submission).await.expect("a result");
    assert_eq!(replayed(&engine, "r", Replay::new()).await.output, ran.output);
}

/// A handler that calls a tool several times under one id, and is run again.
#[tokio::test]
async fn calls_of_one_tool_under_one_id_are_told_apart() {
    let (world, disk) = (World::ending_at(2), MemoryDisk::new());
    let flow = |world: &World| {
        let tool = looks("left", world).tool().expect("a tool");
        let calls = handler("calls").run(move |words: Vec<String>, ctx: Ctx| {
            let tool = tool.clone();
            async move {
                let mut found = Vec::new();
                for word in words {
                    found.push(tool.call("same", json!({"q": word}), &ctx).await?);
                }
                Ok(found)
            }
        });
        flow("f").action("a", action(calls)).instance("i").expect("a flow")
    };
    let open = async |world: &World| {
        let options = Options {
            disk: Arc::new(disk.clone()),
            ..Options::in_memory()
        };
        let builder = Engine::builder().flow(flow(world)).resume_open_requests();
        builder.open(options).await.expect("an engine")
    };
    let engine = open(&world).await;
    let submission = Submission {
        input: Some(json!(["a", "b", "c"])),
        ..submission()
    };
    engine.submit(submission).await.expect("accepted");
    world.ended.notified().await;
    engine.close().await;
    let second = World::default();
    let engine = open(&second).await;
    facts(&engine, "r").await;
    assert_eq!(
        output(&engine).await,
        json!(["left found a", "left found b", "left found c"])
    );
    assert_eq!(second.calls(), ["left c"], "what had ended is not called again");
    engine.close().await;
}
