//! A flow whose action does what it is told to resources, and what clients are then given.

use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, decode};
use flowstate_engine::{FlowBuilder, Principal, ResourceAccessError, Snapshot, SnapshotQuery, Submission, Timer};
use flowstate_log::Options;
use flowstate_log::record::{Name, Record, StreamId};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

/// A state, and what it must not show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    pub n: i64,
    pub secret: String,
}

/// A flow with the action `go`, which runs `run`.
pub fn going<F, Fut>(run: F) -> FlowBuilder
where
    F: Fn(Value, Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, BlockError>> + Send + 'static,
{
    flow("f").action("go", action(run))
}

/// A log in memory, small, so that many can be made.
pub fn memory() -> Options {
    let mut options = Options::in_memory();
    (options.limits.segment_bytes, options.limits.commit_bytes_max) = (1 << 20, 1 << 20);
    options.limits.payload_bytes_max = 64 << 10;
    options
}

pub async fn engine(flow: FlowBuilder) -> Engine {
    open(flow, Arc::new(Gate::default()), &memory()).await
}

pub async fn open(flow: FlowBuilder, timer: Arc<Gate>, options: &Options) -> Engine {
    let flow = flow.instance("default").expect("a flow");
    let builder = Engine::builder().flow(flow).timer(timer);
    builder.open(options.clone()).await.expect("an engine")
}

/// Time that passes when a test says so.
pub struct Gate {
    over: watch::Sender<bool>,
    waits: Mutex<Vec<Duration>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            over: watch::Sender::new(false),
            waits: Mutex::default(),
        }
    }
}

impl Gate {
    pub fn pass(&self) {
        self.over.send_replace(true);
    }

    /// What was waited for.
    pub fn waits(&self) -> Vec<Duration> {
        self.waits.lock().clone()
    }
}

impl Timer for Gate {
    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.waits.lock().push(time);
        let mut over = self.over.subscribe();
        async move { drop(over.wait_for(|over| *over).await) }.boxed()
    }
}

/// Runs the action in this session to its end.
pub async fn go(engine: &Engine, session: &str, project: Option<&str>, input: Value) {
    let submission = Submission {
        flow: "f".into(),
        action: "go".into(),
        input: Some(input),
        user: "ann".into(),
        session: Some(session.into()),
        project: project.map(str::to_owned),
        ..Submission::default()
    };
    let accepted = engine.submit(submission).await.expect("accepted");
    let principal = Principal::default();
    let found = engine.request(&principal, "f", &accepted.request, Duration::ZERO);
    let found = found.await.expect("readable").expect("a request");
    let mut follow = engine.log().follow_sub(&found.sub, 0).await.expect("a cursor");
    loop {
        let page = tokio::time::timeout(Duration::from_secs(20), follow.page()).await;
        for record in page.expect("in time").expect("records") {
            match decode(&record).expect("a fact") {
                Fact::RequestCompleted(_) => return,
                fact if fact.is_terminal() => panic!("{fact:?}"),
                _ => {}
            }
        }
    }
}

pub async fn snapshot(engine: &Engine, session: &str, wanted: Option<&[(&str, &str)]>) -> Snapshot {
    let wanted = wanted.map(|wanted| {
        let wanted = wanted.iter();
        wanted.map(|(scope, name)| ((*scope).into(), (*name).into())).collect()
    });
    let query = SnapshotQuery {
        client_data: wanted,
        items: None,
    };
    let found = engine.snapshot(&Principal::default(), session, &query).await;
    found.expect("readable").expect("a session")
}

pub fn json(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("JSON")
}

/// The stream of the session `s`.
pub async fn stream(engine: &Engine) -> StreamId {
    let name = Name::new("", "session/s").expect("a name");
    engine.log().stream(&name).await.expect("names").expect("a stream")
}

/// What was recorded in the session `s` and in no request, since it was made.
pub async fn clients_records(engine: &Engine) -> Vec<(Record, Fact)> {
    let records = engine
        .log()
        .read(stream(engine).await, 2, 10_000)
        .await
        .expect("records");
    let own = records.into_iter().filter(|record| record.sub.is_none());
    own.map(|record| {
        let fact = decode(&record).expect("a fact");
        (record, fact)
    })
    .collect()
}

type Done<T> = Result<T, ResourceAccessError>;

pub async fn content(engine: &Engine, resource: &str, topic: Option<&str>) -> Done<Option<String>> {
    let who = Principal::default();
    engine.resource_content(&who, "s", resource, topic).await
}

pub async fn create(engine: &Engine, resource: &str, topic: &str, content: Option<&str>) -> Done<()> {
    let (who, content) = (Principal::default(), content.map(str::to_owned));
    engine.create_resource(&who, "s", resource, topic, content).await
}

pub async fn write(engine: &Engine, resource: &str, topic: &str, content: &str) -> Done<()> {
    let who = Principal::default();
    engine.write_resource(&who, "s", resource, topic, content.into()).await
}

pub async fn delete(engine: &Engine, resource: &str, topic: &str) -> Done<()> {
    engine
        .delete_resource(&Principal::default(), "s", resource, topic)
        .await
}
