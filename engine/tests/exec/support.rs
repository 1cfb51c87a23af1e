//! Runs blocks as requests, and the laws that every request keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::item::Phase;
use flowstate_engine::model::{Finish, Model, ModelError, ModelEvent, ModelRequest};
use flowstate_engine::prelude::*;
use flowstate_engine::record::{BlockEnded, BlockStarted, BlockStatus, Fact, ItemAdded, decode};
use flowstate_engine::{Principal, RequestRow, RequestStatus, RunResult, Submission, Timer};
use flowstate_log::Options;
use flowstate_log::record::Record;
use futures_util::future::{self, BoxFuture};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

/// Says a word and hangs, or ends if the last word that it is shown is "end".
#[derive(Default)]
pub struct Sayer {
    /// How many said their word: by then it is recorded.
    pub said: Counter,
    /// How often it was asked.
    pub asked: Counter,
}

impl Model for Sayer {
    fn name(&self) -> &str {
        "sayer"
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        self.asked.add(1);
        let asked = request
            .messages
            .last()
            .map(|message| message.text())
            .unwrap_or_default();
        let word = stream::iter([Ok(ModelEvent::Text(format!("so {asked}")))]);
        match asked.as_str() {
            "end" => word
                .chain(stream::iter([Ok(ModelEvent::End {
                    finish: Finish::Stop,
                    usage: None,
                })]))
                .boxed(),
            _ => {
                let said = self.said.clone();
                let hangs = stream::once(async move {
                    said.add(1);
                    std::future::pending().await
                });
                word.chain(hangs).boxed()
            }
        }
    }
}

/// A generator that begins an item and never ends it.
pub fn talker() -> Block<String, String> {
    IntoBlock::into_block(generator("talker").user(|text: &String, _ctx| text.clone()))
}

pub async fn engine(flow: Flow) -> Engine {
    engine_that(flow, &Counter::default()).await
}

/// An engine whose model counts what it said.
pub async fn engine_that(flow: Flow, said: &Counter) -> Engine {
    let sayer = Sayer {
        said: said.clone(),
        ..Sayer::default()
    };
    let builder = Engine::builder().flow(flow).model(Arc::new(sayer));
    builder.open(Options::in_memory()).await.expect("an engine")
}

/// No time passes: a wait is written down and over, or never over.
#[derive(Clone, Default)]
pub struct Waits {
    waited: Arc<Mutex<Vec<u128>>>,
    pub begun: Counter,
    held: bool,
}

impl Waits {
    /// Of which none is over.
    pub fn held() -> Self {
        Self {
            held: true,
            ..Self::default()
        }
    }

    /// How long each was to be, in ms.
    pub fn read(&self) -> Vec<u128> {
        self.waited.lock().clone()
    }
}

impl Timer for Waits {
    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.waited.lock().push(time.as_millis());
        self.begun.add(1);
        match self.held {
            true => future::pending().boxed(),
            false => future::ready(()).boxed(),
        }
    }
}

/// An engine with the block as its only action, that waits on these.
pub async fn engine_on<I: Data, O: Data, M>(block: impl IntoBlock<I, O, M>, waits: &Waits) -> Engine {
    let flow = flow("f").action("a", action(block)).instance("i").expect("a flow");
    let builder = Engine::builder().flow(flow).timer(Arc::new(waits.clone()));
    builder.open(Options::in_memory()).await.expect("an engine")
}

/// What became of a request, and its records.
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

    /// The blocks that began, in their order, with how they ended.
    pub fn blocks(&self) -> Vec<(BlockStarted, BlockEnded)> {
        let mut begun = Vec::new();
        let mut ended = BTreeMap::new();
        for (number, fact) in (1_u64..).zip(&self.facts) {
            match fact {
                Fact::BlockStarted(started) => begun.push((number, started.clone())),
                Fact::BlockEnded(end) => drop(ended.insert(end.started, end.clone())),
                _ => {}
            }
        }
        begun
            .into_iter()
            .map(|(number, started)| (started, ended.remove(&number).expect("an end")))
            .collect()
    }

    /// `path: status` of each block.
    pub fn trace(&self) -> Vec<String> {
        let line = |(started, ended): (BlockStarted, BlockEnded)| {
            let status = serde_json::to_value(ended.status).expect("a word");
            format!("{}: {}", started.path, status.as_str().expect("a word"))
        };
        self.blocks().into_iter().map(line).collect()
    }

    /// Text and status of its items.
    pub fn items(&self) -> Vec<(String, &'static str)> {
        let text = |body: &flowstate_engine::item::ItemBody| match body {
            flowstate_engine::item::ItemBody::Message { content, .. } => {
                content.iter().map(|part| part.as_text()).collect()
            }
            flowstate_engine::item::ItemBody::Error { code, .. } => code.clone(),
            flowstate_engine::item::ItemBody::Status(status) => status.message.clone(),
            other => panic!("{other:?} has no text"),
        };
        let items = self.result.items.iter();
        items.map(|item| (text(&item.body), item.status.as_str())).collect()
    }
}

/// Runs a block as the only action of a flow.
pub async fn run<I: Data, O: Data, M>(block: impl IntoBlock<I, O, M>, input: I) -> Ran {
    run_that(block, input, &Counter::default()).await
}

/// The same, with a model that counts what it said.
pub async fn run_that<I: Data, O: Data, M>(block: impl IntoBlock<I, O, M>, input: I, said: &Counter) -> Ran {
    let flow = flow("f").action("a", action(block)).instance("i").expect("a flow");
    run_on(&engine_that(flow, said).await, input).await
}

/// Runs the action `a` of a flow `f`.
pub async fn run_flow(flow: Flow, input: impl Serialize) -> Ran {
    run_on(&engine(flow).await, input).await
}

/// Runs the action `a` of the flow `f` of an engine.
pub async fn run_on(engine: &Engine, input: impl Serialize) -> Ran {
    let result = engine.run("f", "a", input);
    let result = tokio::time::timeout(Duration::from_secs(60), result)
        .await
        .expect("in time")
        .expect("a result");
    read(engine, result).await
}

/// The records of a request that has ended, which keep the laws.
pub async fn read(engine: &Engine, result: RunResult) -> Ran {
    let (row, facts) = recorded(engine, &result.accepted.request).await;
    assert_eq!(row.status, result.status, "the request's row says how it ended");
    holds_to_the_laws(&facts);
    Ran { result, facts }
}

/// Submits, waits until `begun` is so much, cancels, and gives the end.
pub async fn cancelled(engine: &Engine, input: impl Serialize, (begun, count): (&Counter, usize)) -> Ran {
    let run = engine.run_submission(Submission {
        request: Some("r".into()),
        ..submission(input)
    });
    let cancel = async {
        begun.reached(count).await;
        let cancelled = engine.cancel(&Principal::default(), "r").await;
        assert!(cancelled.expect("a request"), "it was not asked before");
    };
    let (result, ()) = tokio::join!(run, cancel);
    let result: RunResult = result.expect("a result");
    assert_eq!(result.status, RequestStatus::Interrupted);
    read(engine, result).await
}

/// What is known of a request of the flow `f`, and its records up to now.
pub async fn recorded(engine: &Engine, request: &str) -> (RequestRow, Vec<Fact>) {
    let principal = Principal::default();
    let found = engine.request(&principal, "f", request, Duration::ZERO);
    let found = found.await.expect("readable").expect("a request");
    let mut facts = Vec::new();
    let mut from = found.sub.first;
    loop {
        let records = engine.log().read(found.sub.stream, from, 10_000).await;
        let records = records.expect("records");
        let Some(last) = records.last() else { break };
        from = last.position + 1;
        let own = |record: &&Record| record.sub.is_some_and(|(sub, _)| sub == found.sub.id);
        for record in records.iter().filter(own) {
            assert_eq!(
                record.sub.expect("its number").1,
                facts.len() as u64 + 1,
                "numbers are dense"
            );
            facts.push(decode(record).expect("a fact"));
        }
    }
    (found.row, facts)
}

/// One last record and nothing after it; before it, every item is final and every block has ended. What a block of the chain left
/// open is closed before it ends: the blocks below it, and if it did not give an output their items too. Background work goes on.
pub fn holds_to_the_laws(facts: &[Fact]) {
    let terminal: Vec<usize> = (0..facts.len()).filter(|index| facts[*index].is_terminal()).collect();
    assert_eq!(terminal, [facts.len() - 1], "one last record, at the end: {facts:#?}");
    let (mut items, mut blocks) = (BTreeMap::new(), BTreeMap::new());
    let (mut shown, mut changes) = (BTreeSet::new(), BTreeSet::new());
    for (number, fact) in (1_u64..).zip(facts) {
        match fact {
            Fact::ItemAdded(ItemAdded { item }) => {
                let path = item.provenance.instance.split(':').nth_back(1).unwrap_or_default();
                shown.insert(item.index);
                let earlier = items.insert(item.index, (item.provenance.phase, path.to_owned()));
                assert!(earlier.is_none(), "an item is added once");
            }
            Fact::ItemCompleted(completed) => {
                assert!(items.remove(&completed.item.index).is_some(), "an item ends once")
            }
            Fact::StateChanged(change) => {
                let item = change.item.as_ref();
                assert!(
                    item.is_none_or(|item| changes.insert(item.index)),
                    "a number is given once: {fact:?}"
                );
            }
            Fact::StateNoted(noted) => assert!(changes.insert(noted.item.index), "a number is given once: {fact:?}"),
            Fact::BlockStarted(block) => drop(blocks.insert(number, (block.phase, block.path.clone()))),
            Fact::BlockEnded(ended) => {
                let begun = blocks.remove(&ended.started);
                let (phase, path) = begun.unwrap_or_else(|| panic!("a block ends once: {ended:?}"));
                let is_left = |(of, place): &(Phase, String)| {
                    let below = place.strip_prefix(&path).is_some_and(|rest| rest.starts_with('/'));
                    (phase, *of) == (Phase::Main, Phase::Main) && (below || *place == path)
                };
                let open: Vec<_> = blocks.values().filter(|block| is_left(block)).collect();
                assert!(open.is_empty(), "{path} ended before {open:?}");
                if ended.status != BlockStatus::Completed {
                    let open: Vec<_> = items.values().filter(|item| is_left(item)).collect();
                    assert!(open.is_empty(), "{path} ended and left {open:?} open");
                }
            }
            _ => {}
        }
    }
    let twice: Vec<_> = shown.intersection(&changes).collect();
    assert!(twice.is_empty(), "numbers that are given twice: {twice:?}");
    assert!(items.is_empty(), "open items: {items:?} in {facts:#?}");
    assert!(blocks.is_empty(), "open blocks: {blocks:?} in {facts:#?}");
}

pub fn submission(input: impl Serialize) -> Submission {
    Submission {
        flow: "f".into(),
        action: "a".into(),
        input: Some(serde_json::to_value(input).expect("an input")),
        user: "u".into(),
        ..Submission::default()
    }
}

/// Adds a number.
pub fn add(by: i64) -> Block<i64, i64> {
    handler(format!("add-{by}")).run(move |n: i64, _| async move { Ok(n + by) })
}

/// Gives its input once the count is so much.
pub fn after<I: Data>(counter: &Counter, count: usize) -> Block<I, I> {
    let counter = counter.clone();
    handler("after").run(move |input: I, _| {
        let counter = counter.clone();
        async move {
            counter.reached(count).await;
            Ok(input)
        }
    })
}

/// Fails with this code.
pub fn fails<I: Data, O: Data>(code: &'static str) -> Block<I, O> {
    handler(format!("fails-{code}"))
        .run(move |_: I, _| async move { Err::<O, _>(BlockError::new(code, format!("it is {code}"))) })
}

/// Panics.
pub fn panics<I: Data, O: Data>() -> Block<I, O> {
    handler("panics").run(|_: I, _| async move {
        if true {
            panic!("boom")
        } else {
            Err::<O, _>(BlockError::new("never", "never"))
        }
    })
}

/// Never ends; the count says how often one was dropped while it ran.
pub fn hangs<I: Data, O: Data>(dropped: &Counter) -> Block<I, O> {
    let dropped = dropped.clone();
    handler("hangs").run(move |_: I, _| {
        let guard = CountsDrop(dropped.clone());
        async move {
            std::future::pending::<()>().await;
            drop(guard);
            Err::<O, _>(BlockError::new("never", "never"))
        }
    })
}

/// The same, and counts that it began.
pub fn begins<I: Data, O: Data>(begun: &Counter, dropped: &Counter) -> Block<I, O> {
    let begun = begun.clone();
    hangs::<I, O>(dropped).map_input(move |input: I, _| {
        begun.add(1);
        input
    })
}

struct CountsDrop(Counter);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.add(1);
    }
}

/// A count that blocks share with their test.
#[derive(Clone)]
pub struct Counter(Arc<watch::Sender<usize>>);

impl Default for Counter {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Counter {
    pub fn add(&self, by: usize) -> usize {
        self.0.send_modify(|count| *count += by);
        self.get()
    }

    pub fn sub(&self) {
        self.0.send_modify(|count| *count -= 1);
    }

    pub fn get(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until it is so much at least.
    pub async fn reached(&self, count: usize) {
        let mut watched = self.0.subscribe();
        let reached = watched.wait_for(|now| *now >= count);
        let reached = tokio::time::timeout(Duration::from_secs(20), reached).await;
        reached.expect("in time").expect("a count");
    }
}

/// What blocks did, in order.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub fn write(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    pub fn read(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}
