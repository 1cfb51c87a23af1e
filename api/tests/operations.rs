//! What whoever runs a server is told: errors, runs that go on, ids of calls, numbers; and how it stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use flowstate::engine::model::{Model, ModelError, ModelEvent, ModelRequest, ScriptedModel};
use flowstate::engine::record::{self, Fact};
use flowstate::engine::{EngineOpenError, Principal, Submission};
use flowstate::log::Storage;
use flowstate::log::append::{Append, NewRecord, Part, Sub, Target};
use flowstate::log::record::{Kind, Subject};
use flowstate::prelude::*;
use flowstate::{
    CallError, CallInfo, CapturedError, FlowState, FlowStateBuilder, Slot, Store, StoreAdapter, fjall, lsm, memory,
};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const SAY: &str = "/api/flows/chat/actions/say";

fn server() -> FlowStateBuilder {
    let answer = generator("answer").user(|input: &String, _ctx| input.clone());
    let chat = flow("chat")
        .action("say", action(answer).user_message(String::clone))
        .instance("default")
        .expect("a flow");
    FlowState::builder().models(Models::new()).flow(chat)
}

/// A model that is asked and never answers.
struct Silent;

impl Model for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    fn stream(&self, _: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        stream::pending().boxed()
    }
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: &Value) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = match body {
        Value::Null => request.body(Body::empty()),
        body => request
            .header("content-type", "application/json")
            .body(body.to_string().into()),
    };
    request.expect("a request")
}

async fn call(router: &Router, method: &str, uri: &str, body: &Value) -> Response {
    let request = request(method, uri, &[], body);
    router.clone().oneshot(request).await.expect("an answer")
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn say(request: &str) -> Value {
    json!({"userId": "u", "requestId": request, "input": "hello"})
}

/// A store that is not there.
struct Away;

impl StoreAdapter for Away {
    fn name(&self) -> &str {
        "away"
    }

    fn slots(&self) -> &[Slot] {
        &[Slot::Primary]
    }

    fn realise(&self) -> BoxFuture<'_, Result<Storage, EngineOpenError>> {
        Box::pin(async { Err(EngineOpenError::Store("the cable is out".into())) })
    }
}

type Told = Arc<Mutex<Vec<(CallError, CallInfo)>>>;

/// What is told into the list.
fn telling() -> (Told, impl Fn(&CallError, &CallInfo) + Send + Sync + 'static) {
    let told = Told::default();
    let into = told.clone();
    (told, move |error: &CallError, call: &CallInfo| {
        into.lock().push((error.clone(), call.clone()));
        panic!("a sink that fails");
    })
}

#[tokio::test]
async fn calls_that_fail_are_told_with_more_than_their_caller_is_told() {
    let (told, on_error) = telling();
    let built = server()
        .store(Store::new(Away))
        .on_error(on_error)
        .build()
        .expect("a server");
    let router = built.router().expect("routes");
    assert_eq!(
        call(&router, "GET", "/readyz", &Value::Null).await.status().as_u16(),
        503
    );
    let failed = call(&router, "POST", SAY, &say("r")).await;
    let id = failed.headers()["x-request-id"].to_str().expect("ASCII").to_owned();
    assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!text(failed).await.contains("cable"));
    let told = told.lock();
    let [(error, call)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(
        (error.status, error.code),
        (Some(StatusCode::SERVICE_UNAVAILABLE), "unavailable")
    );
    assert!(error.message.contains("the cable is out"), "{error:?}");
    assert_eq!(
        (&call.method, call.path.as_str(), &call.request_id),
        (&Method::POST, SAY, &id)
    );
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_told_and_a_refusal_is_not() {
    let (told, on_error) = telling();
    let built = server()
        .model(Silent)
        .store(memory())
        .on_error(on_error)
        .build()
        .expect("a server");
    let router = built.router().expect("routes");
    assert_eq!(call(&router, "GET", "/nope", &Value::Null).await.status().as_u16(), 404);
    assert_eq!(call(&router, "POST", SAY, &say("r")).await.status().as_u16(), 202);
    let path = "/api/flows/chat/requests/r/stream";
    let streamed = call(&router, "GET", path, &Value::Null).await;
    let engine = built.ready().await.expect("open");
    let found = engine
        .request(&Principal::default(), "chat", "r", Default::default())
        .await;
    let sub = found.expect("the views").expect("the request").sub;
    let record = NewRecord {
        kind: Kind(9_999),
        subject: Subject::NONE,
        sub: Some(Sub::Next(sub.id)),
        causation: [0; 16],
        origin: 0,
        payload: "{}".into(),
    };
    let part = Part {
        stream: Target::Id(sub.stream),
        expect: Vec::new(),
        records: vec![record],
    };
    engine
        .log()
        .append(Append::of(vec![part]))
        .await
        .expect("open")
        .await
        .expect("appended");
    assert!(!text(streamed).await.contains("request.completed"));
    let told = std::mem::take(&mut *told.lock());
    let [(error, call)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(
        (error.status, error.code, call.path.as_str()),
        (None, "stream_broken", path)
    );
    assert!(error.message.contains("9999"), "{error:?}");
    built.dispose().await;
}

/// What a sink was told, in a line.
fn line(failure: &CapturedError<'_>) -> String {
    format!(
        "{} {:?} {} {}.{} {:?} {} in {}/{} for {} {} {:?} transient={}",
        failure.block,
        failure.kind,
        failure.error.code(),
        failure.path,
        failure.attempt,
        failure.scope,
        failure.instance,
        failure.flow,
        failure.action,
        failure.user,
        failure.session,
        failure.project,
        failure.transient,
    )
}

/// At most two letters.
#[derive(Clone, Serialize, Deserialize, JsonSchema, Validate)]
struct Short {
    #[garde(length(max = 2))]
    text: String,
}

#[tokio::test]
async fn every_failing_attempt_is_told_once_with_the_block_that_failed() {
    let tries = Arc::new(AtomicUsize::new(0));
    let flaky = handler("flaky")
        .run(move |input: String, _| {
            let before = tries.fetch_add(1, Ordering::SeqCst);
            async move {
                match before {
                    0 | 1 => Err(BlockError::new("busy", "later").retryable(true)),
                    _ => Ok(input),
                }
            }
        })
        .retry(Retry::attempts(3));
    let fails = |name: &str| {
        handler(name).run(|_: String, _| async move { Err::<String, _>(BlockError::new("broken", "for good")) })
    };
    let guarded = sequencer::<String>("guarded")
        .then(fails("inner"))
        .rescue(any_error().run(handler("saves").run(|_: Rescued, _: Ctx| async move { Ok("saved".to_owned()) })));
    let strict = handler("strict")
        .run(|input: Short, _| async move { Ok(input) })
        .validated();
    let chain = sequencer::<String>("chain")
        .then(flaky)
        .work(fails("beside"))
        .then(guarded)
        .map(|text: String, _| async move { Ok(Short { text }) })
        .then(strict);
    let app = flow("app")
        .action("go", action(chain))
        .instance("default")
        .expect("a flow");
    let told = Arc::new(Mutex::new(Vec::new()));
    let into = told.clone();
    let built = server()
        .flow(app)
        .store(memory())
        .error_capture(move |failure: &CapturedError<'_>| {
            into.lock().push(line(failure));
            panic!("a sink that fails");
        })
        .build()
        .expect("a server");
    let submission = Submission {
        flow: "app".into(),
        action: "go".into(),
        input: Some(json!("hi")),
        user: "u".into(),
        session: Some("s".into()),
        request: Some("r".into()),
        project: Some("p".into()),
        ..Submission::default()
    };
    let engine = built.ready().await.expect("open");
    let ran = engine.run_submission(submission).await;
    // The last step refuses its input, which is nobody's failure.
    assert!(format!("{ran:?}").contains("validation_error"), "{ran:?}");
    let mut told = std::mem::take(&mut *told.lock());
    told.sort();
    let expected = [
        "beside Handler broken root/work[1].0 Work r:root/work[1]:0 in app/go for u s Some(\"p\") transient=false",
        "flaky Handler busy root/then[0].0 Main r:root/then[0]:0 in app/go for u s Some(\"p\") transient=true",
        "flaky Handler busy root/then[0].1 Main r:root/then[0]:1 in app/go for u s Some(\"p\") transient=true",
        "inner Handler broken root/then[2]/then[0].0 Main r:root/then[2]/then[0]:0 in app/go for u s Some(\"p\") transient=false",
    ];
    assert_eq!(told, expected);
    built.dispose().await;
}

#[tokio::test]
async fn a_host_learns_of_each_run_before_its_caller_and_when_it_ends() {
    let runs: Arc<Mutex<Vec<BoxFuture<'static, ()>>>> = Arc::default();
    let into = runs.clone();
    let built = server()
        .model(Silent)
        .store(memory())
        .on_background_work(move |run| {
            into.lock().push(run);
            panic!("a host that fails");
        })
        .build()
        .expect("a server");
    let router = built.router().expect("routes");
    assert_eq!(call(&router, "POST", SAY, &json!({})).await.status().as_u16(), 400);
    assert_eq!(call(&router, "POST", SAY, &say("r")).await.status().as_u16(), 202);
    let mut told = std::mem::take(&mut *runs.lock());
    assert_eq!(told.len(), 1);
    let mut run = told.remove(0);
    assert!(futures_util::poll!(&mut run).is_pending());
    let engine = built.ready().await.expect("open");
    engine.cancel(&Principal::default(), "r").await.expect("it runs");
    run.await;
    let found = engine
        .request(&Principal::default(), "chat", "r", Default::default())
        .await;
    let row = found.expect("the views").expect("the request").row;
    assert_eq!(row.status, flowstate::engine::RequestStatus::Interrupted);
    built.dispose().await;
}

#[tokio::test]
async fn every_answer_names_its_call() {
    let built = server().store(memory()).build().expect("a server");
    let router = built.router().expect("routes");
    let long = "x".repeat(129);
    for (given, kept) in [
        (Some("abc-1.2_3:4"), true),
        (Some(""), false),
        (Some("a b"), false),
        (Some("a\u{e9}"), false),
        (Some(long.as_str()), false),
        (None, false),
    ] {
        for uri in ["/api/flows", "/nope"] {
            let headers: Vec<_> = given.map(|id| ("x-request-id", id)).into_iter().collect();
            let request = request("GET", uri, &headers, &Value::Null);
            let answered = router.clone().oneshot(request).await.expect("an answer");
            let id = answered.headers()["x-request-id"].to_str().expect("ASCII");
            assert_eq!(given == Some(id), kept, "{given:?} {id}");
            assert!(
                kept || (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())),
                "{id}"
            );
        }
    }
}

/// The value of a line of metrics that begins so.
fn value(metrics: &str, line: &str) -> Option<u64> {
    let rest = metrics.lines().find_map(|found| found.strip_prefix(line))?;
    rest.trim().parse().ok()
}

#[tokio::test]
async fn what_happened_is_in_the_metrics() {
    let folder = tempfile::tempdir().expect("a folder");
    for store in [
        memory(),
        lsm(folder.path().join("lsm")),
        fjall(folder.path().join("fjall")),
    ] {
        let built = server().model(Silent).store(store).build().expect("a server");
        let router = built.router().expect("routes");
        assert_eq!(call(&router, "POST", SAY, &say("r")).await.status().as_u16(), 202);
        let stream = call(&router, "GET", "/api/flows/chat/requests/r/stream", &Value::Null).await;
        let metrics = async || {
            let answered = call(&router, "GET", "/metrics", &Value::Null).await;
            assert_eq!(
                answered.headers()["content-type"],
                "text/plain; version=0.0.4; charset=utf-8"
            );
            text(answered).await
        };
        let now = metrics().await;
        let posts = "flowstate_http_responses_total{method=\"POST\",route=\"/api/flows/{kind}/actions/{action}\",status=\"2xx\"}";
        assert_eq!(value(&now, posts), Some(1), "{now}");
        assert_eq!(value(&now, "flowstate_http_open_streams"), Some(1), "{now}");
        assert_eq!(value(&now, "flowstate_requests_running"), Some(1), "{now}");
        assert_eq!(value(&now, "flowstate_log_failed"), Some(0), "{now}");
        assert!(
            value(&now, "flowstate_log_append_duration_seconds_count") >= Some(1),
            "{now}"
        );
        assert!(
            value(&now, "flowstate_log_sync_duration_seconds_count") >= Some(1),
            "{now}"
        );
        let engine = built.ready().await.expect("open");
        engine.cancel(&Principal::default(), "r").await.expect("it runs");
        assert!(text(stream).await.contains("request."));
        let now = metrics().await;
        assert_eq!(value(&now, "flowstate_http_open_streams"), Some(0), "{now}");
        assert_eq!(
            value(&now, "flowstate_requests_total{outcome=\"interrupted\"}"),
            Some(1),
            "{now}"
        );
        built.dispose().await;
    }
}

#[tokio::test]
async fn hostile_calls_make_no_new_labels() {
    let built = server().store(memory()).build().expect("a server");
    let router = built.router().expect("routes");
    let long = "x".repeat(2_000);
    for number in 0..200 {
        for uri in [
            format!("/nope/{number}/{long}"),
            format!("/api/flows/k{number}/actions/a{number}"),
            format!("/api/flows/sessions/s%22%0A{number}?x={number}"),
            format!("/api/flows/sessions/{number}/resources/r{number}/a/b/{number}"),
        ] {
            for method in ["GET", &format!("M{number}")] {
                let answered = router
                    .clone()
                    .oneshot(request(method, &uri, &[("x-request-id", &uri)], &Value::Null));
                assert!(answered.await.expect("an answer").status().is_client_error());
            }
        }
    }
    let metrics = text(call(&router, "GET", "/metrics", &Value::Null).await).await;
    let lines: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("flowstate_http_responses_total"))
        .collect();
    assert!((6..=10).contains(&lines.len()), "{lines:#?}");
    assert!(metrics.len() < 16 << 10, "{} bytes", metrics.len());
    let other = lines
        .iter()
        .any(|line| line.contains("method=\"other\",route=\"none\",status=\"4xx\""));
    assert!(other, "{lines:#?}");
}

/// A model that notes what it was asked, and says nothing.
struct Noting(Arc<Mutex<Vec<ModelRequest>>>);

impl Model for Noting {
    fn name(&self) -> &str {
        "noting/one"
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        self.0.lock().push(request.clone());
        ScriptedModel::new(0).stream(request)
    }
}

#[tokio::test]
async fn a_trace_goes_from_the_call_to_the_record_and_to_the_model() {
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let asked = Arc::default();
    let built = server()
        .model(Noting(Arc::clone(&asked)))
        .store(memory())
        .build()
        .expect("a server");
    let router = built.router().expect("routes");
    for (id, sent) in [("good", Some(PARENT)), ("bad", Some("00-1-2-3")), ("none", None)] {
        let headers: Vec<_> = sent.map(|sent| ("traceparent", sent)).into_iter().collect();
        let answered = router.clone().oneshot(request("POST", SAY, &headers, &say(id))).await;
        assert_eq!(answered.expect("an answer").status().as_u16(), 202);
        let stream = format!("/api/flows/chat/requests/{id}/stream");
        assert!(
            text(call(&router, "GET", &stream, &Value::Null).await)
                .await
                .contains("request.completed")
        );
    }
    let traces: Vec<_> = asked.lock().iter().map(|asked: &ModelRequest| asked.trace).collect();
    let [Some(child), None, None] = traces.as_slice() else {
        panic!("{traces:?}")
    };
    let child = child.to_string();
    assert_eq!((&child[..36], &child[52..]), (&PARENT[..36], "-01"));
    assert_ne!(&child[36..52], &PARENT[36..52]);
    let engine = built.ready().await.expect("open");
    for (id, trace) in [("good", Some(PARENT)), ("bad", None)] {
        let found = engine
            .request(&Principal::default(), "chat", id, Default::default())
            .await;
        let sub = found.expect("the views").expect("the request").sub;
        let first = engine
            .log()
            .read_positions(sub.stream, &[sub.first])
            .await
            .expect("records");
        let Ok(Fact::RequestAccepted(accepted)) = record::decode(&first[0]) else {
            panic!("{first:?}")
        };
        assert_eq!(accepted.trace.as_deref(), trace);
    }
    built.dispose().await;
}

/// A connection to a server on this machine, with this sent.
async fn connected(address: std::net::SocketAddr, sent: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    socket.write_all(sent.as_bytes()).await.expect("it is sent");
    socket
}

#[tokio::test]
async fn a_stop_ends_streams_whole_and_cuts_what_does_not_end_in_time() {
    let built = server()
        .model(Silent)
        .store(memory())
        .drain_within(Duration::from_millis(100))
        .build()
        .expect("a server");
    let router = built.router().expect("routes");
    assert_eq!(call(&router, "POST", SAY, &say("r")).await.status().as_u16(), 202);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    let serving = {
        let (built, stop) = (built.clone(), stop.clone());
        tokio::spawn(async move { built.serve_on(listener, stop.cancelled()).await })
    };
    let get = "GET /api/flows/chat/requests/r/stream HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut stream = connected(address, get).await;
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("request.in_progress") {
        assert!(stream.read_buf(&mut seen).await.expect("bytes") > 0);
    }
    let post = format!(
        "POST {SAY} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n"
    );
    let mut half = connected(address, &post).await;
    let mut told = [0; 12];
    // The server waits for the body.
    half.read_exact(&mut told).await.expect("bytes");
    assert_eq!(&told, b"HTTP/1.1 100");
    stop.cancel();
    let began = tokio::time::Instant::now();
    stream.read_to_end(&mut seen).await.expect("an end");
    let seen = String::from_utf8(seen).expect("text");
    let (events, last) = seen.rsplit_once("\r\n26\r\n").expect("a last chunk");
    assert_eq!(last, ": closing, resume with last-event-id\n\n\r\n0\r\n\r\n");
    assert!(events.ends_with("\n\n"), "{events}");
    tokio::time::timeout(Duration::from_secs(3), serving)
        .await
        .expect("in time")
        .expect("no panic")
        .expect("served");
    assert!(began.elapsed() >= Duration::from_millis(100));
    built.dispose().await;
}
