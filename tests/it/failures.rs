//! What a client sees when the model or a block fails.

use std::sync::Mutex;

use axum::Router;
use flowstate::engine::model::{Finish, Model, ModelError, ModelErrorKind, ModelEvent, ModelRequest};
use flowstate::prelude::*;
use flowstate::{FlowState, memory};
use flowstate_tests::http::{Live, chat, get, stream, stream_path};
use futures_util::stream::{self as futures_stream, BoxStream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;

#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
struct ChatInput {
    message: String,
}

async fn server_with(model: impl Model) -> (FlowState, Router) {
    let answer = generator("answer").user(|input: &ChatInput, _ctx| input.message.clone());
    let check = handler("check").run(|answer: String, _ctx: Ctx| async move {
        assert!(!answer.contains("panic"), "asked to");
        Ok(answer)
    });
    let app = flow("hello-chat")
        .action("chat", action(sequencer("chat").then(answer).then(check)))
        .instance("default")
        .expect("a flow");
    let server = FlowState::builder()
        .flow(app)
        .models(Models::new())
        .model(model)
        .store(memory())
        .build()
        .expect("a server");
    let router = server.router().expect("routes");
    (server, router)
}

/// A model whose answer is what the test sends it.
struct Fed {
    answer: Mutex<Option<mpsc::UnboundedReceiver<Result<ModelEvent, ModelError>>>>,
}

impl Model for Fed {
    fn name(&self) -> &str {
        "fed"
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        assert!(!request.messages.is_empty());
        let answer = self.answer.lock().expect("lock").take().expect("asked once");
        futures_stream::unfold(answer, async |mut answer| Some((answer.recv().await?, answer))).boxed()
    }
}

type Feed = mpsc::UnboundedSender<Result<ModelEvent, ModelError>>;

fn fed() -> (Feed, Fed) {
    let (feed, answer) = mpsc::unbounded_channel();
    let model = Fed {
        answer: Mutex::new(Some(answer)),
    };
    (feed, model)
}

fn say(feed: &Feed, text: &str) {
    feed.send(Ok(ModelEvent::Text(text.to_owned())))
        .expect("the run listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_stops_in_mid_answer_leaves_exactly_what_it_said() {
    for ends_with_error in [true, false] {
        let (feed, model) = fed();
        let (_server, router) = server_with(model).await;
        chat(&router, Some("s"), "r", "hello").await;
        let mut live = Live::open(&router, &stream_path("r")).await;
        let mut seen = Vec::new();
        for token in ["About ", "twenty ", "min"] {
            say(&feed, token);
            // Each token arrives by itself, before the model goes on: none waits for the next.
            while seen
                .last()
                .is_none_or(|frame: &flowstate_tests::http::Frame| frame.data["delta"] != *token)
            {
                let next = live.next().await;
                assert!(!next.is_empty(), "the stream ended");
                seen.extend(next);
            }
        }
        if ends_with_error {
            let error = ModelError::new("fed", ModelErrorKind::Provider, "the line is dead");
            feed.send(Err(error)).expect("the run listens");
        }
        drop(feed);
        seen.extend(live.rest().await);
        let kinds: Vec<&str> = seen.iter().map(|frame| frame.kind()).collect();
        assert_eq!(
            kinds.iter().filter(|kind| **kind == "content.delta").count(),
            3,
            "{kinds:?}"
        );
        let tail = &kinds[kinds.len() - 4..];
        assert_eq!(
            tail,
            ["item.done", "item.added", "item.done", "request.failed"],
            "{kinds:?}"
        );
        let (message, error) = (&seen[seen.len() - 4].data["item"], &seen[seen.len() - 2].data["item"]);
        assert_eq!(
            (&message["status"], &message["content"][0]["text"]),
            (&json!("failed"), &json!("About twenty min"))
        );
        assert_eq!(
            (&error["type"], &error["status"], &error["code"]),
            (&json!("error"), &json!("failed"), &json!("model_error"))
        );
        let snapshot = get(&router, "/api/flows/sessions/s/state?include_items=true").await;
        assert_eq!(snapshot["items"][0], *message);
        assert_eq!(seen, stream(&router, "r", "", &[]).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_block_fails_its_request_and_no_other() {
    let (feed, model) = fed();
    let (_server, router) = server_with(model).await;
    chat(&router, Some("s"), "r", "hello").await;
    say(&feed, "panic");
    feed.send(Ok(ModelEvent::End {
        finish: Finish::Stop,
        usage: None,
    }))
    .expect("the run listens");
    let frames = Live::open(&router, &stream_path("r")).await.rest().await;
    assert_eq!(frames.last().map(|frame| frame.kind()), Some("request.failed"));
    let error = &frames[frames.len() - 2].data["item"];
    assert_eq!(error["code"], "panic");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|message| message.contains("asked to")),
        "{error}"
    );
    get(&router, "/api/flows/sessions/s").await;
}
