//! One request that runs a block, and what it left.

use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::item::Item;
use flowstate_engine::model::{Finish, Model, ModelError, ModelEvent, ModelRequest};
use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, ItemRecord, decode};
use flowstate_engine::{ItemPage, Principal, SnapshotQuery, Submission};
use flowstate_log::Options;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::Value;

fn memory() -> Options {
    let mut options = Options::in_memory();
    (options.limits.segment_bytes, options.limits.commit_bytes_max) = (1 << 20, 1 << 20);
    options.limits.payload_bytes_max = 900 << 10;
    options
}

/// A model that says what it was told.
struct Parrot;

impl Model for Parrot {
    fn name(&self) -> &str {
        "parrot"
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        let heard = request.messages.into_iter().map(|message| message.text());
        let text = ModelEvent::Text(heard.collect::<Vec<_>>().join("; "));
        let end = ModelEvent::End {
            finish: Finish::Stop,
            usage: None,
        };
        stream::iter([Ok(text), Ok(end)]).boxed()
    }
}

/// The facts of one request that runs `block` in the session `s`, and the session's items after it.
pub async fn emitted<M>(block: impl IntoBlock<Value, Value, M>) -> (Vec<Fact>, Vec<Item>) {
    let flow = flow("f")
        .action("go", action(block))
        .instance("default")
        .expect("a flow");
    let engine = Engine::builder()
        .flow(flow)
        .model(Arc::new(Parrot))
        .open(memory())
        .await
        .expect("an engine");
    let submission = Submission {
        flow: "f".into(),
        action: "go".into(),
        user: "ann".into(),
        session: Some("s".into()),
        request: Some("r".into()),
        ..Submission::default()
    };
    engine.submit(submission).await.expect("accepted");
    let found = engine.request(&Principal::default(), "f", "r", Duration::ZERO).await;
    let sub = found.expect("readable").expect("a request").sub;
    let mut follow = engine.log().follow_sub(&sub, 0).await.expect("a cursor");
    let mut facts = Vec::new();
    while !facts.last().is_some_and(Fact::is_terminal) {
        let page = tokio::time::timeout(Duration::from_secs(10), follow.page()).await;
        let page = page.expect("in time").expect("records");
        facts.extend(page.iter().map(|record| decode(record).expect("a fact")));
    }
    let query = SnapshotQuery {
        items: Some(ItemPage {
            limit: 100,
            ..ItemPage::default()
        }),
        ..SnapshotQuery::default()
    };
    let snapshot = engine.snapshot(&Principal::default(), "s", &query).await;
    let items = snapshot.expect("readable").expect("a session").items.expect("items");
    (facts, items)
}

pub fn completed(facts: &[Fact]) -> Vec<&ItemRecord> {
    facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::ItemCompleted(completed) => Some(&completed.item),
            _ => None,
        })
        .collect()
}
