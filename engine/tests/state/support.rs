//! One action that runs a function of the test, and what became of it.

use std::future::Future;
use std::time::Duration;

use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, RequestCompleted, RequestFailed, decode};
use flowstate_engine::{FlowBuilder, Principal, Submission};
use flowstate_log::Options;
use flowstate_log::record::Record;
use serde_json::Value;

/// A state with a field of every kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    pub n: i64,
    pub m: u32,
    pub word: Option<String>,
    pub list: Vec<i64>,
    pub map: std::collections::BTreeMap<String, i64>,
}

/// A flow with the action `go`, which runs `run`.
pub fn going<F, Fut>(kind: &str, run: F) -> FlowBuilder
where
    F: Fn(Value, Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, BlockError>> + Send + 'static,
{
    flow(kind).action("go", action(run))
}

/// A log in memory, small, so that many can be made.
pub fn memory() -> Options {
    let mut options = Options::in_memory();
    (options.limits.segment_bytes, options.limits.commit_bytes_max) = (1 << 20, 1 << 20);
    options.limits.payload_bytes_max = 900 << 10;
    options
}

pub async fn open(flows: impl IntoIterator<Item = Flow>, options: &Options) -> Engine {
    let builder = flows
        .into_iter()
        .fold(Engine::builder(), |builder, flow| builder.flow(flow));
    builder.open(options.clone()).await.expect("an engine")
}

pub async fn engine(flow: FlowBuilder) -> Engine {
    let flow = flow.instance("default").expect("a flow");
    open([flow], &memory()).await
}

pub fn to(flow: &str, user: &str, session: &str, input: Value) -> Submission {
    Submission {
        flow: flow.into(),
        action: "go".into(),
        input: Some(input),
        user: user.into(),
        session: Some(session.into()),
        ..Submission::default()
    }
}

/// The request's records, up to its last.
pub async fn records(engine: &Engine, submission: Submission) -> Vec<(Record, Fact)> {
    let accepted = engine.submit(submission).await.expect("accepted");
    let found = engine
        .request(&Principal::default(), &accepted.flow, &accepted.request, Duration::ZERO)
        .await
        .expect("readable")
        .expect("a request");
    let mut follow = engine.log().follow_sub(&found.sub, 0).await.expect("a cursor");
    let mut seen = Vec::new();
    loop {
        let page = tokio::time::timeout(Duration::from_secs(20), follow.page()).await;
        for record in page.expect("in time").expect("records") {
            let fact = decode(&record).expect("a fact");
            let ends = fact.is_terminal();
            seen.push((record, fact));
            if ends {
                return seen;
            }
        }
    }
}

/// What the request gave.
pub async fn run(engine: &Engine, submission: Submission) -> Result<Value, RequestFailed> {
    let mut records = records(engine, submission).await;
    match records.pop() {
        Some((_, Fact::RequestCompleted(completed))) => Ok(output(&records, &completed)),
        Some((_, Fact::RequestFailed(failed))) => Err(failed),
        other => panic!("it ended as {other:?}"),
    }
}

/// What a request gave that has these records.
pub fn output(records: &[(Record, Fact)], completed: &RequestCompleted) -> Value {
    let stored = completed.same_as.expect("its root recorded it") as usize - 1;
    match &records[stored].1 {
        Fact::BlockEnded(ended) => ended.output.clone().unwrap_or_default(),
        other => panic!("{other:?} has no output"),
    }
}

/// What the request gave, for the user `ann` in the session `s` of the flow `f`.
pub async fn go(engine: &Engine, input: Value) -> Result<Value, RequestFailed> {
    run(engine, to("f", "ann", "s", input)).await
}

pub fn json(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("JSON")
}
