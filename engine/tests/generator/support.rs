//! A model that answers from a list, and requests that are read back whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::item::{Item, ItemBody};
use flowstate_engine::model::{Finish, Model, ModelError, ModelEvent, ModelMessage, ModelRequest, ToolUse, Usage};
use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, decode};
use flowstate_engine::{Principal, RequestStatus, RunResult, Submission};
use flowstate_log::Options;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;
use serde_json::Value;

pub type Events = Vec<Result<ModelEvent, ModelError>>;

/// Gives its answers in order, and keeps what it was asked.
#[derive(Clone, Default)]
pub struct Script {
    answers: Arc<Mutex<VecDeque<Events>>>,
    asked: Arc<Mutex<Vec<ModelRequest>>>,
}

impl Script {
    pub fn new(answers: impl IntoIterator<Item = Events>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            asked: Arc::default(),
        }
    }

    pub fn asked(&self) -> Vec<ModelRequest> {
        self.asked.lock().clone()
    }

    /// The messages of each call, one line each: `user: hi`.
    pub fn heard(&self) -> Vec<Vec<String>> {
        let line = |message: &ModelMessage| format!("{}: {}", message.role().as_str(), message.text());
        let asked = self.asked.lock();
        asked
            .iter()
            .map(|asked| asked.messages.iter().map(line).collect())
            .collect()
    }
}

impl Model for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        self.asked.lock().push(request);
        let answer = self.answers.lock().pop_front();
        stream::iter(answer.expect("the script has an answer left")).boxed()
    }
}

pub fn text(text: &str) -> Result<ModelEvent, ModelError> {
    Ok(ModelEvent::Text(text.into()))
}

pub fn thought(text: &str) -> Result<ModelEvent, ModelError> {
    Ok(ModelEvent::Reasoning(text.into()))
}

pub fn call(id: &str, name: &str, arguments: impl ToString) -> Result<ModelEvent, ModelError> {
    Ok(ModelEvent::ToolUse(ToolUse {
        id: id.into(),
        name: name.into(),
        arguments: arguments.to_string(),
        native: None,
    }))
}

pub fn end(finish: Finish) -> Result<ModelEvent, ModelError> {
    Ok(ModelEvent::End {
        finish,
        usage: Some(Usage::new(10, 2)),
    })
}

/// An answer in words, in two pieces.
pub fn says(words: &str) -> Events {
    let half = words.chars().count() / 2;
    let first: String = words.chars().take(half).collect();
    let second: String = words.chars().skip(half).collect();
    vec![text(&first), text(&second), end(Finish::Stop)]
}

/// An answer that calls tools.
pub fn calls(calls: impl IntoIterator<Item = Result<ModelEvent, ModelError>>) -> Events {
    calls.into_iter().chain([end(Finish::ToolCalls)]).collect()
}

pub async fn engine<I: Data, O: Data, M>(script: &Script, block: impl IntoBlock<I, O, M>) -> Engine {
    let flow = flow("f").action("a", action(block)).instance("i").expect("a flow");
    engine_of(script, flow).await
}

pub async fn engine_of(script: &Script, flow: Flow) -> Engine {
    let builder = Engine::builder().flow(flow).model(Arc::new(script.clone()));
    builder.open(Options::in_memory()).await.expect("an engine")
}

/// A request that has ended, and its records.
pub struct Ran {
    pub result: RunResult,
    pub facts: Vec<Fact>,
}

impl Ran {
    pub fn output(&self) -> &Value {
        assert_eq!(self.result.status, RequestStatus::Completed, "{:?}", self.result.error);
        &self.result.output
    }

    pub fn error(&self) -> &BlockError {
        assert_eq!(self.result.status, RequestStatus::Failed, "{:?}", self.result);
        self.result.error.as_ref().expect("an error")
    }

    /// Its items in the order in which they were added, without errors and live ones: `message completed: hello`.
    pub fn items(&self) -> Vec<String> {
        let mut items: Vec<&Item> = self.result.items.iter().filter(|item| !item.transient).collect();
        items.sort_by_key(|item| item.index);
        items.iter().filter_map(|item| line(item)).collect()
    }
}

fn line(item: &Item) -> Option<String> {
    let said = match &item.body {
        ItemBody::Message { content: parts, .. } | ItemBody::Reasoning { summary: parts } => {
            parts.iter().map(|part| part.as_text()).collect()
        }
        ItemBody::ToolOutput(tool) => match (&tool.output, &tool.error) {
            (Some(output), None) => format!("{} {}", tool.call.name, output),
            (None, Some(error)) => format!(
                "{} failed with {}",
                tool.call.name,
                error.code.as_deref().unwrap_or("?")
            ),
            other => panic!("{other:?}"),
        },
        ItemBody::Source(source) => source.url.clone(),
        ItemBody::Error { .. } => return None,
        other => panic!("{other:?}"),
    };
    Some(format!("{} {}: {said}", item.body.type_name(), item.status.as_str()))
}

/// Runs a block as an action, with a model that answers from this script.
pub async fn run<I: Data, O: Data, M>(script: &Script, block: impl IntoBlock<I, O, M>, input: I) -> Ran {
    run_on(&engine(script, block).await, "s", input).await
}

/// Runs the action `a` of the flow `f` in this session.
pub async fn run_on(engine: &Engine, session: &str, input: impl Serialize) -> Ran {
    let submission = Submission {
        flow: "f".into(),
        action: "a".into(),
        input: Some(serde_json::to_value(input).expect("an input")),
        user: "u".into(),
        session: Some(session.into()),
        ..Submission::default()
    };
    let ran = tokio::time::timeout(Duration::from_secs(60), engine.run_submission(submission)).await;
    let result = ran.expect("in time").expect("a result");
    let facts = facts(engine, &result.accepted.request).await;
    Ran { result, facts }
}

/// The facts of a request, in order.
pub async fn facts(engine: &Engine, request: &str) -> Vec<Fact> {
    let found = engine
        .request(&Principal::default(), "f", request, Duration::ZERO)
        .await;
    let found = found.expect("readable").expect("a request");
    let mut records = engine.log().follow_sub(&found.sub, 0).await.expect("records");
    let mut facts: Vec<Fact> = Vec::new();
    while !facts.last().is_some_and(Fact::is_terminal) {
        for record in records.page().await.expect("a page") {
            facts.push(decode(&record).expect("a fact"));
        }
    }
    facts
}

/// A tool that gives its input back.
pub fn echo(name: &str) -> Block<Query, String> {
    handler(name).run(|query: Query, _| async move { Ok(format!("found {}", query.q)) })
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Query {
    pub q: String,
}

/// A generator that is asked for its input.
pub fn asks() -> flowstate_engine::Generator<String> {
    generator("asks").user(|input: &String, _| input.clone())
}
