//! What the load is put on, each in a process of its own: this server, and the least that axum can do, as the unit to compare with.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use flowstate::engine::model::{Finish, Model, ModelError, ModelEvent, ModelRequest, Models};
use flowstate::prelude::*;
use flowstate::{FlowState, Limits, lsm};
use flowstate_log::env::{Env, SystemEnv};
use futures_util::Stream;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::interval;

/// How the process is told that it is a server.
pub const SERVE: &str = "--serve";
/// The answer of the plain server, of the size of ours.
const DATA: &str = "{\"stream\":\"request\",\"type\":\"content.delta\",\"requestId\":\"req_0123456789abcdef\",\"sequence_number\":123456,\
                    \"ts\":1763662800000,\"id\":\"req_0123456789abcdef:123456\",\"itemId\":\"item_01a201a5eff270038c8c9f6475048f83_1\",\
                    \"contentIndex\":0,\"delta\":\"1763662800000000 brave new world \"}";

/// Serves what `args` name until the process is killed: `ours <folder>`, or `axum`.
pub fn run(args: &[String]) {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("an address"));
        match args {
            [ours, folder] if ours == "ours" => {
                let server = ours_in(folder);
                server.ready().await.expect("it opens");
                server
                    .serve_on(listener, std::future::pending())
                    .await
                    .expect("it serves");
            }
            _ => {
                let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
                axum::serve(listener, plain()).await.expect("it serves");
            }
        }
    });
}

/// As many tokens as the message says, at its pace, each beginning with the time at which it was made: microseconds since the Unix epoch.
struct Stamped;

impl Model for Stamped {
    fn name(&self) -> &str {
        "stamped"
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        let text = request
            .messages
            .last()
            .map(|message| message.text())
            .unwrap_or_default();
        let mut numbers = text.split(' ').filter_map(|number| number.parse::<u64>().ok());
        let (tokens, per_second) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let env = SystemEnv::new();
        let answer = async_stream::stream! {
            let mut clock = (per_second > 0).then(|| interval(Duration::from_secs(1) / per_second as u32));
            for _ in 0..tokens {
                if let Some(clock) = &mut clock {
                    clock.tick().await;
                }
                yield Ok(ModelEvent::Text(format!("{} brave new world ", env.now_us())));
            }
            yield Ok(ModelEvent::End { finish: Finish::Stop, usage: None });
        };
        answer.boxed()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Ask {
    tokens: u64,
    per_second: u64,
}

/// `tokens` streams what a model says, `steps` is a sequencer of three handlers that do next to nothing.
fn flow_of_bench() -> Result<Flow, FlowError> {
    let answer = generator("answer").user(|ask: &Ask, _ctx| format!("{} {}", ask.tokens, ask.per_second));
    let step = |name: &str| handler(name).run(|number: u64, _ctx| async move { Ok(number + 1) });
    flow("bench")
        .action("tokens", action(answer))
        .action(
            "steps",
            action(
                sequencer("steps")
                    .then(step("one"))
                    .then(step("two"))
                    .then(step("three")),
            ),
        )
        .instance("default")
}

/// With everything that it takes on set out of the way: who limits the load is the machine.
fn ours_in(folder: &str) -> FlowState {
    let many = 1 << 20;
    let limits = Limits {
        connections: many,
        connections_per_address: many,
        streams: many,
        streams_per_client: many,
        calls: many,
        calls_per_client: many,
        ..Limits::default()
    };
    FlowState::builder()
        .flow(flow_of_bench().expect("a flow"))
        .models(Models::new())
        .model(Stamped)
        .store(lsm(folder))
        .limits(limits)
        .build()
        .expect("a server")
}

#[derive(Deserialize)]
struct Count {
    n: u64,
}

/// The least that axum can do: its own events, events that are encoded by hand, a stream in which nothing happens, and an empty answer.
fn plain() -> Router {
    let events = |Query(Count { n }): Query<Count>| async move {
        let event = |number: u64| {
            Event::default()
                .id(number.to_string())
                .event("content.delta")
                .data(DATA)
        };
        Sse::new(stream::iter(0..n).map(move |number| Ok::<_, Infallible>(event(number))))
    };
    let encoded = |Query(Count { n }): Query<Count>| async move {
        let event = |number: u64| Bytes::from(format!("id: {number}\nevent: content.delta\ndata: {DATA}\n\n"));
        event_stream(stream::iter(0..n).map(move |number| Ok::<_, Infallible>(event(number))))
    };
    let idle = || async {
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b": hi\n\n"))]);
        event_stream(first.chain(stream::pending()))
    };
    let accept = |body: Bytes| async move {
        std::hint::black_box(body.len());
        let headers = [(header::CONTENT_TYPE, "application/json")];
        (
            StatusCode::ACCEPTED,
            headers,
            "{\"requestId\":\"req_0123456789abcdef\",\"status\":\"in_progress\"}",
        )
    };
    Router::new()
        .route("/events", get(events))
        .route("/encoded", get(encoded))
        .route("/idle", get(idle))
        .route("/accept", post(accept))
}

fn event_stream(frames: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(frames)).into_response()
}
