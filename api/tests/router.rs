//! The routes as a service, without a socket: who is let through, what a refusal looks like, how streams end.
//! What flows do, and what survives a crash, is tested elsewhere.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use flowstate::engine::model::{Model, ModelError, ModelEvent, ModelRequest, ScriptedModel};
use flowstate::prelude::*;
use flowstate::{FlowState, FlowStateBuilder, memory};
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

const ACTION: &str = "/api/flows/chat/actions/say";
const JSON: (&str, &str) = ("content-type", "application/json");

fn server() -> FlowStateBuilder {
    let answer = generator("answer").user(|input: &String, _ctx| input.clone());
    let chat = flow("chat")
        .action("say", action(answer).user_message(String::clone))
        .instance("default")
        .expect("a flow");
    FlowState::builder().flow(chat).models(Models::new()).store(memory())
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

fn call(method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost:4400");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).expect("a request")
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let response = router.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (parts.status, parts.headers, body)
}

fn say(request: &str) -> String {
    json!({"userId": "u", "requestId": request, "input": "hello"}).to_string()
}

#[tokio::test]
async fn every_refusal_is_json_that_says_what_is_wrong() {
    let router = server().build().expect("a server").router().expect("routes");
    let text = ("content-type", "text/plain");
    let foreign = ("origin", "http://evil.example");
    for (method, uri, headers, body, status, code) in [
        ("GET", "/api/flows/nope/nope/nope", vec![], "", 404, "route_not_found"),
        ("GET", "/nope", vec![], "", 404, "route_not_found"),
        ("GET", ACTION, vec![], "", 405, "method_not_allowed"),
        ("PUT", "/", vec![], "", 405, "method_not_allowed"),
        ("GET", "/api/flows/sessions/%ff", vec![], "", 400, "invalid_path"),
        ("GET", "/api/flows/sessions/nope", vec![], "", 404, "session_not_found"),
        (
            "GET",
            "/api/flows/sessions/nope/state",
            vec![],
            "",
            404,
            "session_not_found",
        ),
        (
            "GET",
            "/api/flows/nope/requests/r/stream",
            vec![],
            "",
            404,
            "flow_not_found",
        ),
        ("POST", ACTION, vec![], "{}", 415, "unsupported_media_type"),
        ("POST", ACTION, vec![text], "{}", 415, "unsupported_media_type"),
        (
            "POST",
            ACTION,
            vec![JSON, ("content-encoding", "gzip")],
            "{}",
            415,
            "unsupported_encoding",
        ),
        ("POST", ACTION, vec![JSON], "{", 400, "invalid_body"),
        ("POST", ACTION, vec![JSON], "[]", 400, "invalid_body"),
        ("POST", ACTION, vec![JSON], "{}", 400, "invalid_request"),
        (
            "POST",
            ACTION,
            vec![JSON],
            r#"{"userId":"u","input":1}"#,
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/api/flows/nope/actions/say",
            vec![JSON],
            r#"{"userId":"u"}"#,
            404,
            "flow_not_found",
        ),
        (
            "POST",
            "/api/flows/chat/actions/nope",
            vec![JSON],
            r#"{"userId":"u"}"#,
            400,
            "unknown_action",
        ),
        (
            "GET",
            "/api/flows",
            vec![("host", "evil.example")],
            "",
            421,
            "host_not_allowed",
        ),
        ("GET", "/", vec![("host", "evil.example")], "", 421, "host_not_allowed"),
        (
            "GET",
            "http://evil.example/api/flows",
            vec![("host", "localhost")],
            "",
            421,
            "host_not_allowed",
        ),
        (
            "GET",
            "/",
            vec![("host", "localhost"), ("host", "localhost")],
            "",
            400,
            "host_missing",
        ),
        ("POST", ACTION, vec![JSON, foreign], "{}", 403, "origin_not_allowed"),
        (
            "POST",
            ACTION,
            vec![JSON, ("origin", "null")],
            "{}",
            403,
            "origin_not_allowed",
        ),
        (
            "OPTIONS",
            ACTION,
            vec![foreign, ("access-control-request-method", "POST")],
            "",
            405,
            "method_not_allowed",
        ),
    ] {
        let (got, headers, body) = send(&router, call(method, uri, &headers, body)).await;
        let case = format!("{method} {uri}: {}", String::from_utf8_lossy(&body));
        assert_eq!(got.as_u16(), status, "{case}");
        assert_eq!(headers[header::CONTENT_TYPE], "application/json", "{case}");
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{case}");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["code"], code, "{case}");
        assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{case}");
    }
    let hostless = Request::get("/api/flows").body(Body::empty()).expect("a request");
    let (status, _, body) = send(&router, hostless).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{}", String::from_utf8_lossy(&body));
}

#[tokio::test]
async fn a_body_may_have_one_mebibyte_whether_or_not_its_length_is_announced() {
    let router = server()
        .model(ScriptedModel::new(0))
        .build()
        .expect("a server")
        .router()
        .expect("routes");
    let body = |bytes: usize| {
        let start = r#"{"userId":"u","input":"x","pad":""#;
        format!("{start}{}\"}}", "y".repeat(bytes - start.len() - 2))
    };
    for (bytes, status) in [(1 << 20, 202), ((1 << 20) + 1, 413)] {
        let whole = call("POST", ACTION, &[JSON], body(bytes));
        assert_eq!(send(&router, whole).await.0.as_u16(), status, "{bytes} bytes at once");

        let chunks: Vec<String> = body(bytes)
            .as_bytes()
            .chunks(70_000)
            .map(|chunk| String::from_utf8_lossy(chunk).into_owned())
            .collect();
        let chunks = stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
        let chunked = call("POST", ACTION, &[JSON], Body::from_stream(chunks));
        assert_eq!(
            send(&router, chunked).await.0.as_u16(),
            status,
            "{bytes} bytes in chunks"
        );
    }
}

#[tokio::test]
async fn configured_hosts_and_origins_are_let_through_and_no_others() {
    let server = server().allow_host("flows.example").allow_origin("https://app.example");
    let router = server
        .model(ScriptedModel::new(0))
        .build()
        .expect("a server")
        .router()
        .expect("routes");
    let host = ("host", "Flows.example:8443");
    let page = ("origin", "https://app.example");
    let preflight = ("access-control-request-method", "GET");

    let (status, headers, _) = send(&router, call("POST", ACTION, &[JSON, host, page], say("r1"))).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
    assert_eq!(headers[header::VARY], "origin");

    let (status, headers, _) = send(
        &router,
        call(
            "OPTIONS",
            "/api/flows/chat/requests/r1/stream",
            &[host, page, preflight],
            "",
        ),
    )
    .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(
        headers[header::ACCESS_CONTROL_ALLOW_HEADERS]
            .to_str()
            .expect("text")
            .contains("last-event-id")
    );

    for foreign in [
        "http://app.example",
        "https://app.example:444",
        "https://app.example.evil",
        "null",
    ] {
        let (status, headers, _) = send(
            &router,
            call("POST", ACTION, &[JSON, host, ("origin", foreign)], say("r2")),
        )
        .await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{foreign}");
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{foreign}");
        assert_eq!(headers[header::VARY], "origin");
    }
}

#[tokio::test]
async fn the_page_may_load_nothing_from_elsewhere() {
    let router = server().build().expect("a server").router().expect("routes");
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
    ] {
        let (status, headers, body) = send(&router, call("GET", path, &[], "")).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(headers[header::CONTENT_TYPE], content_type);
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(
            headers[header::CONTENT_SECURITY_POLICY]
                .to_str()
                .expect("text")
                .starts_with("default-src 'none';")
        );
        assert!(!body.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_kept_alive_every_15_seconds_and_ends_when_the_server_closes() {
    let server = server().model(Silent).build().expect("a server");
    let router = server.router().expect("routes");
    assert_eq!(
        send(&router, call("POST", ACTION, &[JSON], say("r"))).await.0,
        StatusCode::ACCEPTED
    );
    let follow = call("GET", "/api/flows/chat/requests/r/stream", &[], "");
    let response = router.oneshot(follow).await.expect("an answer");
    let mut chunks = response.into_body().into_data_stream();

    let pings = |seen: &str| seen.matches(": ping\n\n").count();
    let started = tokio::time::Instant::now();
    let mut seen = String::new();
    while pings(&seen) < 2 || !seen.contains("event: request.in_progress") {
        let chunk = chunks.next().await.expect("more").expect("bytes");
        seen.push_str(str::from_utf8(&chunk).expect("text"));
    }
    assert!(started.elapsed().as_secs() >= 15 * pings(&seen) as u64);
    assert!(started.elapsed().as_secs() < 15 * (pings(&seen) as u64 + 1));

    server.dispose().await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(1), async {
        while let Some(chunk) = chunks.next().await {
            rest.extend_from_slice(&chunk.expect("bytes"));
        }
    });
    ended.await.expect("the stream ends");
    let rest = String::from_utf8(rest).expect("text");
    assert!(rest.ends_with(": closing, resume with last-event-id\n\n"), "{rest}");
}

#[tokio::test]
async fn a_cursor_past_the_end_of_a_finished_request_gives_an_empty_stream() {
    let router = server()
        .model(ScriptedModel::new(0))
        .build()
        .expect("a server")
        .router()
        .expect("routes");
    assert_eq!(
        send(&router, call("POST", ACTION, &[JSON], say("r"))).await.0,
        StatusCode::ACCEPTED
    );
    let stream = "/api/flows/chat/requests/r/stream";
    let (_, headers, all) = send(&router, call("GET", stream, &[], "")).await;
    assert_eq!(headers[header::CONTENT_TYPE], "text/event-stream; charset=utf-8");
    let all = String::from_utf8(all.to_vec()).expect("text");
    let last = all
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("id: "))
        .expect("an id");

    for number in [last.rsplit(':').next().expect("a number"), "9007199254740991"] {
        let (status, headers, rest) = send(
            &router,
            call("GET", &format!("{stream}?starting_after={number}"), &[], ""),
        )
        .await;
        assert_eq!((status, &rest[..]), (StatusCode::OK, &b""[..]));
        assert_eq!(headers[header::CONTENT_TYPE], "text/event-stream; charset=utf-8");
    }
    let (_, _, rest) = send(&router, call("GET", stream, &[("last-event-id", last)], "")).await;
    assert!(rest.is_empty());
}

/// Variables can't be set within a process: this test is its own child.
#[tokio::test]
async fn without_models_they_are_those_of_the_environment() {
    const CHILD: &str = "FLOWSTATE_TEST_CHILD";
    let chat = flow("chat").action(
        "say",
        action(generator("answer").user(|input: &String, _ctx| input.clone())),
    );
    let builder = FlowState::builder()
        .flow(chat.instance("default").expect("a flow"))
        .store(memory());
    if std::env::var_os(CHILD).is_some() {
        let server = builder.build().expect("a server");
        println!(
            "default: {}",
            server.ready().await.expect("open").models().default_model()
        );
        return;
    }
    let child = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "without_models_they_are_those_of_the_environment",
            "--nocapture",
        ])
        .env_clear()
        .env(CHILD, "1")
        .env("FLOWSTATE_MODEL", "openai/deployed")
        .output()
        .expect("a child");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("default: openai/deployed"),
        "{said}"
    );
    let server = builder.models(Models::new()).build().expect("a server");
    assert_eq!(server.ready().await.expect("open").models().default_model(), "scripted");
}

#[tokio::test]
async fn head_is_none_of_the_contracts_methods() {
    let router = server().build().expect("a server").router().expect("routes");
    let allowed = async |method: &str, path: &str| {
        let (status, headers, _) = send(&router, call(method, path, &[], "")).await;
        let allowed = headers
            .get(header::ALLOW)
            .map(|allowed| allowed.to_str().expect("text"));
        let allowed = allowed.into_iter().flat_map(|all| all.split(','));
        let mut allowed: Vec<String> = allowed.map(str::to_owned).collect();
        allowed.sort();
        (status.as_u16(), allowed)
    };
    let mut checked = 0;
    for template in FlowState::paths() {
        let path = template.replace("{*rest}", "first").replace(['{', '}'], "");
        if !template.contains("/api/flows") {
            let as_get = send(&router, call("GET", &path, &[], "")).await.0;
            let as_head = send(&router, call("HEAD", &path, &[], "")).await.0;
            assert_eq!(as_head, as_get, "{path}");
            continue;
        }
        let head = allowed("HEAD", &path).await;
        assert_eq!(head, allowed("PUT", &path).await, "{path}");
        assert!(head.0 == 405 && !head.1.is_empty(), "{path}: {head:?}");
        assert!(head.1.iter().all(|method| method != "HEAD"), "{path}: {head:?}");
        checked += 1;
    }
    assert!(checked > 40, "{checked}");
    assert_eq!(allowed("HEAD", "/api/flows/none/none/none").await.0, 404);
    for path in ["/livez", "/readyz", "/metrics", "/"] {
        assert_eq!(allowed("HEAD", path).await.0, 200, "{path}");
    }
}
