//! Spans as a collector receives them. Alone in its process: what is listened for is the process's.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use flowstate::engine::model::{Models, ScriptedModel};
use flowstate::prelude::*;
use flowstate::{FlowState, memory};
use flowstate_tests::http::{call, get_request, post_request, stream};
use parking_lot::Mutex;
use serde_json::json;
use tracing_subscriber::layer::SubscriberExt;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

type Received = Arc<Mutex<Vec<u8>>>;

/// A collector that keeps what it is sent.
async fn collector() -> (String, Received) {
    let received = Received::default();
    let take = |State(received): State<Received>, body: Bytes| async move { received.lock().extend_from_slice(&body) };
    let routes = Router::new()
        .route("/v1/traces", post(take))
        .with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (address, received)
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// A span as it is encoded: its own id and its parent's, from what comes before and behind its name. Field 2 is the id, 4 the parent, 5 the name.
fn span(received: &[u8], name: &str) -> (Vec<u8>, Vec<u8>) {
    let named = [&[0x2a, name.len() as u8], name.as_bytes()].concat();
    let at = received.windows(named.len()).position(|window| window == named);
    let before = &received[..at.unwrap_or_else(|| panic!("no span {name}"))];
    let id = |field: u8, from: usize| {
        let at = before[..from]
            .windows(2)
            .rposition(|window| window == [field, 8])
            .expect("an id");
        (at, before[at + 2..at + 10].to_vec())
    };
    let (at, parent) = id(0x22, before.len());
    (id(0x12, at).1, parent)
}

#[tokio::test(flavor = "current_thread")]
async fn calls_runs_and_models_are_one_trace() {
    let (address, received) = collector().await;
    let spans = flowstate::otel::Spans::to(Some(&address)).expect("an exporter");
    let subscriber = tracing_subscriber::registry().with(spans.layer());
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    let chat = flow("hello-chat")
        .action(
            "chat",
            action(generator("answer").user(|input: &String, _ctx| input.clone())),
        )
        .instance("default")
        .expect("a flow");
    let server = FlowState::builder()
        .models(Models::new())
        .model(ScriptedModel::new(0).named("noting/one"))
        .flow(chat)
        .store(memory())
        .build()
        .expect("a server");
    let router = server.router().expect("routes");
    let body = json!({"userId": "u", "requestId": "r", "input": "the secret question"}).to_string();
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let asked = post_request("/api/flows/hello-chat/actions/chat", &[("traceparent", &parent)], body);
    assert_eq!(call(&router, asked).await.status, 202);
    stream(&router, "r", "", &[]).await;
    call(&router, get_request("/api/flows", &[])).await;
    server.dispose().await;
    spans.close().await;

    let received = received.lock().clone();
    let holds = |what: &[u8]| received.windows(what.len()).any(|window| window == what);
    assert!(holds(&hex(TRACE)) && holds(b"gen_ai.request.model") && holds(b"noting/one"));
    assert!(!holds(b"the secret question"), "what is said is in no span");
    let (call, remote) = span(&received, "call");
    let (run, of_call) = span(&received, "run");
    let (_, of_run) = span(&received, "chat");
    assert_eq!(remote, hex(SPAN));
    assert_eq!(of_call, call);
    assert_eq!(of_run, run);
}
