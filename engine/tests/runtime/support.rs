//! A chat flow, a model that says what it is told to, and what a request leaves.

use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::item::ItemBody;
use flowstate_engine::model::{Finish, Model, ModelError, ModelEvent, ModelRequest};
use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, decode};
use flowstate_engine::{Accepted, ItemPage, Principal, RequestRef, Snapshot, SnapshotQuery, Submission};
use flowstate_log::Options;
use flowstate_log::record::Record;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};

#[derive(Clone, Serialize, Deserialize, JsonSchema, Validate)]
pub struct ChatInput {
    #[garde(length(min = 1))]
    pub message: String,
    #[garde(range(max = 9))]
    #[serde(default)]
    pub mood: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChatState {
    pub turns: u32,
    pub topic: Option<String>,
}

/// Gives these events to every request and remembers what it was asked; then hangs, if told so.
pub struct Puppet {
    pub events: Vec<Result<ModelEvent, ModelError>>,
    pub hangs: bool,
    pub asked: Arc<Mutex<Vec<ModelRequest>>>,
}

impl Puppet {
    pub fn new(events: Vec<Result<ModelEvent, ModelError>>) -> Self {
        Self {
            events,
            hangs: false,
            asked: Arc::default(),
        }
    }

    pub fn hanging_after(text: &str) -> Self {
        Self {
            hangs: true,
            ..Self::new(vec![Ok(ModelEvent::Text(text.into()))])
        }
    }
}

impl Model for Puppet {
    fn name(&self) -> &str {
        "puppet"
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        self.asked.lock().push(request);
        let events = stream::iter(self.events.clone());
        if self.hangs {
            events.chain(stream::pending()).boxed()
        } else {
            events.boxed()
        }
    }
}

pub fn said(text: &str) -> Vec<Result<ModelEvent, ModelError>> {
    vec![
        Ok(ModelEvent::Text(text.into())),
        Ok(ModelEvent::End {
            finish: Finish::Stop,
            usage: None,
        }),
    ]
}

pub fn chat_flow() -> Flow {
    let chat = generator("chat")
        .prompt("Be brief.")
        .history(History::all())
        .user(|input: &ChatInput, _ctx| input.message.clone());
    let count = handler("count").run(|answer: String, ctx: Ctx| async move {
        ctx.session::<ChatState>().inc("turns", 1).await?;
        Ok(answer)
    });
    let misuse = |input: Value, ctx: Ctx| async move {
        let state = ctx.session::<ChatState>();
        match input.as_str() {
            Some("unknown") => state.inc("tunrs", 1).await.map(drop)?,
            Some("text") => state.inc("topic", 1).await.map(drop)?,
            Some("negative") => state.inc("turns", -1).await.map(drop)?,
            Some("type") => state.patch(json!({"topic": 7})).await.map(drop)?,
            Some("shape") => state.patch(7).await.map(drop)?,
            _ => {
                state.inc("turns", 2).await?;
                state.patch(json!({"topic": "tea"})).await?;
            }
        }
        Ok(serde_json::to_value(state.get().await?)?)
    };
    flow("chat")
        .action(
            "chat",
            action(sequencer("pipeline").then(chat).then(count))
                .user_message(|input: &ChatInput| input.message.clone()),
        )
        .action("state", action(misuse))
        .action(
            "panic",
            action(|_: (), _: Ctx| async move { if true { panic!("boom") } else { Ok(()) } }),
        )
        .session(scope::<ChatState>().client_data("turns", |state: &ChatState| state.turns))
        .instance("default")
        .expect("a flow")
}

pub fn other_flow() -> Flow {
    let echo = |input: Value, _: Ctx| async move { Ok(input) };
    let twice = |input: Value, _: Ctx| async move { Ok(vec![input.clone(), input]) };
    let complain = |input: String, _: Ctx| async move { Err::<(), _>(BlockError::new("c", input.repeat(2))) };
    let mute = generator::<Value>("mute").history(History::all());
    flow("other")
        .action("mute", action(mute))
        .action("echo", action(echo))
        .action("twice", action(twice))
        .action("complain", action(complain))
        .instance("default")
        .expect("a flow")
}

pub async fn open(model: impl Model, options: &Options) -> Engine {
    let builder = Engine::builder()
        .flow(other_flow())
        .flow(chat_flow())
        .model(Arc::new(model));
    builder.open(options.clone()).await.expect("an engine")
}

pub async fn engine(model: impl Model) -> Engine {
    open(model, &Options::in_memory()).await
}

pub fn submission(action: &str, input: Value) -> Submission {
    Submission {
        flow: "chat".into(),
        action: action.into(),
        input: Some(input),
        user: "ann".into(),
        session: Some("s1".into()),
        ..Submission::default()
    }
}

pub async fn find(engine: &Engine, accepted: &Accepted) -> RequestRef {
    let found = engine
        .request(&Principal::default(), &accepted.flow, &accepted.request, Duration::ZERO)
        .await;
    found.expect("a readable request").expect("a request")
}

/// The request's records up to the one for which `last` holds, in order and without gaps.
pub async fn records_until(engine: &Engine, accepted: &Accepted, last: impl Fn(&Fact) -> bool) -> Vec<(Record, Fact)> {
    let mut follow = engine
        .log()
        .follow_sub(&find(engine, accepted).await.sub, 0)
        .await
        .expect("a cursor");
    let mut seen = Vec::new();
    loop {
        let page = tokio::time::timeout(Duration::from_secs(10), follow.page())
            .await
            .expect("in time")
            .expect("records");
        for record in page {
            let fact = decode(&record).expect("a fact");
            assert_eq!(
                record.sub.expect("in the request").1,
                seen.len() as u64 + 1,
                "numbers are dense"
            );
            let ends = last(&fact);
            seen.push((record, fact));
            if ends {
                return seen;
            }
        }
    }
}

pub async fn run(engine: &Engine, submission: Submission) -> Vec<(Record, Fact)> {
    let accepted = engine.submit(submission).await.expect("accepted");
    records_until(engine, &accepted, Fact::is_terminal).await
}

/// What the request with these records gave.
pub async fn output(engine: &Engine, records: &[(Record, Fact)]) -> Option<Value> {
    let Fact::RequestAccepted(accepted) = &records[0].1 else {
        panic!("{:?}", records[0].1)
    };
    let principal = Principal::default();
    let found = engine.request(&principal, &accepted.flow, &accepted.request, Duration::ZERO);
    let found = found.await.expect("readable").expect("a request");
    engine.output(&found).await.expect("readable")
}

/// Kinds that tell where blocks began and ended, which is a theme of its own.
pub const EXECUTION: [u16; 2] = [40, 41];

/// Kinds of the records in order, without those of [`EXECUTION`].
pub fn kinds(records: &[(Record, Fact)]) -> Vec<u16> {
    let kinds = records.iter().map(|(record, _)| record.kind.0);
    let mut kinds: Vec<u16> = kinds.filter(|kind| !EXECUTION.contains(kind)).collect();
    kinds.dedup();
    kinds
}

pub async fn snapshot(engine: &Engine, session: &str) -> Snapshot {
    let query = SnapshotQuery {
        client_data: None,
        items: Some(ItemPage {
            hidden: false,
            types: None,
            offset: 0,
            limit: 100,
        }),
    };
    engine
        .snapshot(&Principal::default(), session, &query)
        .await
        .expect("readable")
        .expect("a session")
}

pub fn delta(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::ContentDelta(delta) => Some(&delta.delta),
        _ => None,
    }
}

pub fn text(body: &ItemBody) -> String {
    match body {
        ItemBody::Message { content, .. } => content.iter().map(|part| part.as_text()).collect(),
        ItemBody::Error { message, .. } => message.clone(),
        other => panic!("{other:?} has no text"),
    }
}
