//! A process that runs one request with a loop of two rounds of two tools, to be killed. It writes down each call of its model and tools
//! when it has happened, and kills itself before the call of a given number, once all that came before is durable.
//!
//! `loop-driver <data folder> <journal> [calls before the end]`: prints the request's output and its items, and goes on with what it finds.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flowstate::engine::model::{Finish, Model, ModelError, ModelEvent, ModelRequest, ToolUse};
use flowstate::engine::record::{Fact, ModelReplied, ToolReturned, decode};
use flowstate::engine::{Engine, History, Principal, RequestRef, Submission};
use flowstate::log::Options;
use flowstate::prelude::*;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::{Value, json};
use tokio::sync::Notify;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is outside: calls that happen, and the number of them after which nothing happens any more.
#[derive(Clone)]
struct World {
    journal: PathBuf,
    calls: Arc<AtomicUsize>,
    calls_max: usize,
    over: Arc<Notify>,
}

impl World {
    async fn call(&self, what: &str) {
        if self.calls.fetch_add(1, Ordering::SeqCst) >= self.calls_max {
            self.over.notify_one();
            std::future::pending::<()>().await;
        }
        let journal = OpenOptions::new().create(true).append(true).open(&self.journal);
        let mut journal = journal.expect("the journal");
        journal.write_all(format!("{what}\n").as_bytes()).expect("room");
    }
}

/// Answers from what it is shown alone.
struct Planner(World);

impl Model for Planner {
    fn name(&self) -> &str {
        "planner"
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        let world = self.0.clone();
        stream::once(async move {
            let tools = request
                .messages
                .iter()
                .filter(|message| message.role().as_str() == "tool");
            let step = tools.count();
            world.call(&format!("model {step}")).await;
            let shown: Vec<String> = request.messages.iter().map(|message| message.text()).collect();
            let call = |id: &str, name: &str| {
                ModelEvent::ToolUse(ToolUse {
                    id: id.into(),
                    name: name.into(),
                    arguments: json!({"input": format!("{name} {step}")}).to_string(),
                    native: None,
                })
            };
            let end = |finish| ModelEvent::End { finish, usage: None };
            let events = match step {
                0 | 1 => vec![
                    ModelEvent::Reasoning(format!("Step {step}.")),
                    ModelEvent::Text(format!("Looking, {step}.")),
                    call("1", "left"),
                    call("2", "right"),
                    end(Finish::ToolCalls),
                ],
                _ => vec![ModelEvent::Text(shown.join(" | ")), end(Finish::Stop)],
            };
            stream::iter(events.into_iter().map(Ok))
        })
        .flatten()
        .boxed()
    }
}

fn looks(name: &'static str, world: &World) -> Block<String, String> {
    let world = world.clone();
    handler(name).run(move |what: String, ctx: Ctx| {
        let world = world.clone();
        async move {
            world.call(&what).await;
            ctx.emit().message(format!("saw {what}")).await?;
            Ok(format!("found {what}"))
        }
    })
}

fn app(world: &World) -> Result<Flow, FlowError> {
    let plans = generator::<String>("plans")
        .prompt("Plan.")
        .history(History::all())
        .user(|input: &String, _| input.clone())
        .tool(looks("left", world))
        .tool(looks("right", world));
    flow("f")
        .action("a", action(plans).user_message(|input: &String| input.clone()))
        .instance("i")
}

async fn request(engine: &Engine) -> Result<Option<RequestRef>, Failure> {
    Ok(engine.request(&Principal::default(), "f", "r", Duration::ZERO).await?)
}

/// The records of the request, until `seen` has seen enough.
async fn follow(engine: &Engine, mut seen: impl FnMut(&Fact) -> bool) -> Result<(), Failure> {
    let found = request(engine).await?.ok_or("there is no request")?;
    let mut records = engine.log().follow_sub(&found.sub, 0).await?;
    loop {
        for record in records.page().await? {
            if seen(&decode(&record)?) {
                return Ok(());
            }
        }
    }
}

/// Waits until what has happened is durable, and ends as a kill from outside does.
async fn killed(engine: &Engine, world: &World) -> Result<(), Failure> {
    world.over.notified().await;
    let mut left = world.calls_max;
    let kinds = [ModelReplied::KIND, ToolReturned::KIND];
    if left > 0 {
        let counts = |fact: &Fact| {
            left -= usize::from(kinds.contains(&fact.kind()));
            left == 0
        };
        follow(engine, counts).await?;
    }
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    std::future::pending().await
}

async fn drive(folder: PathBuf, world: World) -> Result<(), Failure> {
    let engine = Engine::builder()
        .flow(app(&world)?)
        .model(Arc::new(Planner(world.clone())))
        .resume_open_requests()
        .open(Options::in_folder(&folder)?)
        .await?;
    if request(&engine).await?.is_none() {
        let submission = Submission {
            flow: "f".into(),
            action: "a".into(),
            input: Some(json!("what now?")),
            user: "u".into(),
            session: Some("s".into()),
            request: Some("r".into()),
            ..Submission::default()
        };
        engine.submit(submission).await?;
    }
    let mut items = Vec::new();
    let ends = |fact: &Fact| {
        if let Fact::ItemCompleted(completed) = fact {
            let (status, body) = (completed.item.status.as_str(), &completed.item.body);
            items.push(format!("{status} {}", serde_json::to_string(body).expect("JSON")));
        }
        fact.is_terminal()
    };
    tokio::select! {
        ended = follow(&engine, ends) => ended?,
        killed = killed(&engine, &world) => killed?,
    }
    items.sort();
    let found = request(&engine).await?.ok_or("there is no request")?;
    let output: Option<Value> = engine.output(&found).await?;
    println!("{}", json!({"output": output, "items": items}));
    engine.close().await;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, journal, rest @ ..] = arguments.as_slice() else {
        eprintln!("loop-driver <data folder> <journal> [calls before the end]");
        return ExitCode::FAILURE;
    };
    let world = World {
        journal: journal.into(),
        calls: Arc::default(),
        calls_max: rest.first().and_then(|calls| calls.parse().ok()).unwrap_or(usize::MAX),
        over: Arc::default(),
    };
    match drive(folder.into(), world).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loop-driver: {error}");
            ExitCode::FAILURE
        }
    }
}
