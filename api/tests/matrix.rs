//! Every route with every kind of caller: nobody, a stranger, the owner. Who adds a route adds a row.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use flowstate::auth::{ApiKey, ApiKeys, Identity};
use flowstate::engine::model::ScriptedModel;
use flowstate::engine::{ClientAccess, Collection, NoState, collection};
use flowstate::prelude::*;
use flowstate::{FlowState, memory};
use futures_util::StreamExt;
use serde_json::Value;
use tower::ServiceExt;

/// A route, what is sent to it, and the status that the owner of what it names is answered with.
struct Row(&'static str, &'static str, &'static str, u16);

/// In the order in which they are called: what reads, what changes, what deletes, what makes. `{…}` in paths and bodies is what [`Names`] has.
const ROWS: &[Row] = &[
    Row("GET", "/", "", 200),
    Row("GET", "/app.js", "", 200),
    Row("GET", "/style.css", "", 200),
    Row("GET", "/openapi.json", "", 200),
    Row("GET", "/api/flows", "", 200),
    Row("GET", "/api/flows/", "", 200),
    // For who runs the server, which she does not.
    Row("GET", "/metrics", "", 403),
    Row("GET", "/api/flows/capabilities", "", 200),
    Row("GET", "/api/flows/active-requests", "", 200),
    Row("GET", "/api/flows/users/{user}/stream", "", 501),
    Row("POST", "/api/flows/users/{user}/check-interrupted", "", 200),
    Row("POST", "/api/flows/transcribe", r#"{"audio":"AAAA"}"#, 501),
    Row("GET", "/api/flows/sessions", "", 200),
    Row("GET", "/api/flows/sessions/{session}", "", 200),
    Row("GET", "/api/flows/sessions/{session}/state", "", 200),
    Row("GET", "/api/flows/sessions/{session}/requests", "", 200),
    Row("GET", "/api/flows/sessions/{session}/stream", "", 200),
    Row("GET", "/api/flows/sessions/{session}/manifest", "", 200),
    Row("GET", "/api/flows/sessions/{session}/resources/files", "", 200),
    Row("GET", "/api/flows/sessions/{session}/resources/files/first", "", 200),
    Row("GET", "/api/flows/sessions/{session}/events", "", 200),
    Row("GET", "/api/flows/sessions/{session}/resources/files/{*rest}", "", 200),
    Row("GET", "/api/flows/{kind}/requests/{request}/stream", "", 200),
    Row("GET", "/api/flows/{kind}/requests/{request}/events", "", 200),
    Row("GET", "/api/flows/{kind}/requests/{request}/status", "", 200),
    Row("POST", "/api/flows/{kind}/requests/{request}/abort", "", 409),
    Row(
        "POST",
        "/api/flows/{kind}/sessions/{session}/requests/{request}/retry",
        "",
        409,
    ),
    Row(
        "PATCH",
        "/api/flows/sessions/{session}/metadata",
        r#"{"title":"new"}"#,
        200,
    ),
    Row(
        "PATCH",
        "/api/flows/sessions/{session}/resources/files/{*rest}",
        r#"{"content":"new"}"#,
        200,
    ),
    Row(
        "POST",
        "/api/flows/sessions/{session}/resources/files",
        r#"{"topic":"second"}"#,
        201,
    ),
    Row("DELETE", "/api/flows/sessions/{session}/resources/files/first", "", 200),
    Row("DELETE", "/api/flows/sessions/{session}", "", 204),
    Row(
        "POST",
        "/api/flows/{kind}/sessions",
        r#"{"sessionId":"{session}"}"#,
        201,
    ),
    Row(
        "POST",
        "/api/flows/{kind}/{session}/actions/say",
        r#"{"input":"hello"}"#,
        202,
    ),
    Row("POST", "/api/flows/{kind}/actions/say", r#"{"input":"hello"}"#, 202),
];

/// What is answered without a credential.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/api/flows/healthz"];

/// What paths and bodies name. Both have the same lengths.
#[derive(Clone, Copy)]
struct Names {
    session: &'static str,
    request: &'static str,
    user: &'static str,
}

const ANNS: Names = Names {
    session: "s-ann",
    request: "r-ann",
    user: "ann",
};
const NOBODYS: Names = Names {
    session: "s-nob",
    request: "r-nob",
    user: "nob",
};

impl Names {
    fn fill(&self, text: &str) -> String {
        let filled = [
            ("{kind}", "chat"),
            ("{*rest}", "first/content"),
            ("{action}", "say"),
            ("{resource}", "files"),
        ]
        .into_iter()
        .chain([
            ("{session}", self.session),
            ("{request}", self.request),
            ("{user}", self.user),
        ])
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
        assert!(
            !filled.starts_with("/api") || !filled.contains('{'),
            "{filled} has a name that is not known here"
        );
        filled
    }

    /// The text with what the call named taken out.
    fn blank(&self, text: &str) -> String {
        [self.session, self.request, self.user]
            .iter()
            .fold(text.to_owned(), |text, name| text.replace(name, "_"))
    }
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

async fn call(router: &Router, token: &str, method: &str, path: &str, body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(Body::from(body.to_owned())).expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let is_stream = parts
        .headers
        .get("content-type")
        .is_some_and(|text| text.as_bytes().starts_with(b"text/event-stream"));
    let mut chunks = body.into_data_stream();
    let mut body = Vec::new();
    // Of a stream, which may never end, only how it begins.
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk.expect("bytes"));
        if is_stream {
            break;
        }
    }
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// The same without what differs between two answers to one question.
fn comparable(answer: &Answer, names: Names) -> (u16, Vec<String>, String) {
    let is_error = answer.status.is_client_error() || answer.status.is_server_error();
    let varies = |name: &str| match name {
        "date" | "x-request-id" | "traceparent" => true,
        "content-length" => !is_error,
        _ => false,
    };
    let headers = answer.headers.iter().filter(|(name, _)| !varies(name.as_str()));
    let headers =
        headers.map(|(name, value)| format!("{name}: {}", names.blank(&String::from_utf8_lossy(value.as_bytes()))));
    let body = match serde_json::from_str::<Value>(&answer.body) {
        Ok(body) if !is_error => shape(&body),
        _ if is_error => names.blank(&answer.body),
        _ => answer.body.clone(),
    };
    (answer.status.as_u16(), headers.collect(), body)
}

/// Which fields of which types there are.
fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(values) => format!("{:?}", values.iter().map(shape).collect::<Vec<_>>()),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}: {}", shape(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

fn files() -> Collection<NoState> {
    let everything = ClientAccess::new()
        .read_state()
        .read_content()
        .create()
        .update()
        .delete();
    collection("files", "files/**").client(everything)
}

struct Server {
    router: Router,
    ann: String,
    /// Of the same tenant, of another with the same name, and who runs the server.
    strangers: [String; 3],
}

/// A server on which `ann` has a session, a request that has ended, and a resource.
async fn server() -> Server {
    let answer = generator("answer").user(|input: &String, _ctx| input.clone());
    let chat = flow("chat")
        .action("say", action(answer))
        .session(scope::<NoState>().resource(&files()));
    let keys = ApiKeys::new();
    let token = |name: &str, identity: Identity| {
        let (key, text) = ApiKey::generate(name, &identity).expect("a key");
        keys.add(key).expect("a new key");
        text
    };
    let ann = token("ann", Identity::new("acme", "ann"));
    let mut operator = Identity::new("", "root");
    operator.is_operator = true;
    let strangers = [
        token("bob", Identity::new("acme", "bob")),
        token("other ann", Identity::new("other", "ann")),
        token("operator", operator),
    ];
    let server = FlowState::builder()
        .flow(chat.instance("default").expect("a flow"))
        .models(Models::new())
        .model(ScriptedModel::new(0))
        .store(memory())
        .authenticate(keys);
    let router = server.build().expect("a server").router().expect("routes");
    let server = Server { router, ann, strangers };

    let say = r#"{"input":"hello","requestId":"r-ann"}"#;
    let said = server.as_ann("POST", "/api/flows/chat/s-ann/actions/say", say).await;
    assert_eq!(said.status, 202, "{said:?}");
    let request = Request::get("/api/flows/chat/requests/r-ann/stream").header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {}", server.ann));
    let stream = server
        .router
        .clone()
        .oneshot(request.body(Body::empty()).expect("a request"))
        .await;
    let mut chunks = stream.expect("an answer").into_body().into_data_stream();
    while chunks.next().await.is_some() {}
    let first = r#"{"topic":"first","content":"anns"}"#;
    let made = server
        .as_ann("POST", "/api/flows/sessions/s-ann/resources/files", first)
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    server
}

impl Server {
    async fn as_ann(&self, method: &str, path: &str, body: &str) -> Answer {
        call(&self.router, &self.ann, method, path, body).await
    }

    /// All that there is of ann's.
    async fn all_of_anns(&self) -> Vec<String> {
        let mut all = Vec::new();
        for path in [
            "sessions",
            "sessions/s-ann",
            "sessions/s-ann/requests",
            "sessions/s-ann/state?include_items=true",
            "sessions/s-ann/resources/files/first/content",
        ] {
            let answer = self.as_ann("GET", &format!("/api/flows/{path}"), "").await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            all.push(answer.body);
        }
        all
    }
}

/// The template without the second place where the same routes are.
fn plain(template: &str) -> String {
    template.replacen("/api/api/flows", "/api/flows", 1)
}

#[tokio::test(start_paused = true)]
async fn every_route_is_in_the_table() {
    let server = server().await;
    let mut missing = Vec::new();
    for template in FlowState::paths() {
        let path = NOBODYS.fill(&template);
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let answer = call(&server.router, &server.strangers[2], method.as_str(), &path, "").await;
            let is_known = ROWS.iter().any(|Row(known, path, _, _)| {
                let path = path
                    .replace("/files", "/{resource}")
                    .replace("/first", "/{*rest}")
                    .replace("/say", "/{action}");
                *known == method.as_str() && path == plain(&template)
            });
            if answer.status != StatusCode::METHOD_NOT_ALLOWED && !is_known && !OPEN.contains(&template.as_str()) {
                missing.push(format!("{method} {template}"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new(), "routes without a row");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_answered_without_a_credential() {
    let server = server().await;
    for Row(method, path, body, _) in ROWS {
        for token in ["", "fsk_unknown"] {
            let answer = call(&server.router, token, method, &ANNS.fill(path), &ANNS.fill(body)).await;
            assert_eq!(answer.status, 401, "{method} {path}: {answer:?}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            assert!(
                answer.body.contains("\"code\":\"unauthenticated\""),
                "{method} {path}: {answer:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_anothers_can_not_be_told_from_what_is_not_there() {
    let server = server().await;
    let before = server.all_of_anns().await;
    for (index, stranger) in server.strangers.iter().enumerate() {
        // It names nobody, and its numbers move from call to call.
        for Row(method, path, body, _) in ROWS.iter().filter(|row| row.1 != "/metrics") {
            let mut answers = Vec::new();
            for names in [ANNS, NOBODYS] {
                let answer = call(&server.router, stranger, method, &names.fill(path), &names.fill(body)).await;
                assert_ne!(answer.status, 401, "{method} {path}: {answer:?}");
                answers.push(comparable(&answer, names));
            }
            assert_eq!(answers[0], answers[1], "stranger {index}: {method} {path}");
        }
    }
    assert_eq!(server.all_of_anns().await, before, "strangers have changed something");
}

#[tokio::test(start_paused = true)]
async fn the_owner_is_answered() {
    let server = server().await;
    for Row(method, path, body, status) in ROWS {
        let answer = server.as_ann(method, &ANNS.fill(path), &ANNS.fill(body)).await;
        assert_eq!(answer.status.as_u16(), *status, "{method} {path}: {answer:?}");
    }
}

/// What a caller may do in a session ends with the claim to its project.
#[tokio::test(start_paused = true)]
async fn a_session_is_gone_for_whoever_has_lost_its_project() {
    let answer = generator("answer").user(|input: &String, _ctx| input.clone());
    let chat = flow("chat")
        .action("say", action(answer))
        .session(scope::<NoState>().resource(&files()));
    let keys = ApiKeys::new();
    let token = |name: &str, identity: Identity| {
        let (key, text) = ApiKey::generate(name, &identity).expect("a key");
        keys.add(key).expect("a new key");
        text
    };
    let mut member = Identity::new("acme", "ann");
    member.projects.insert("apollo".into());
    let (with, without) = (token("with", member), token("without", Identity::new("acme", "ann")));
    let server = FlowState::builder()
        .flow(chat.instance("default").expect("a flow"))
        .models(Models::new())
        .model(ScriptedModel::new(0))
        .store(memory())
        .authenticate(keys);
    let router = server.build().expect("a server").router().expect("routes");
    let say = r#"{"input":"hello","requestId":"r-ann","projectId":"apollo"}"#;
    let said = call(&router, &with, "POST", "/api/flows/chat/s-ann/actions/say", say).await;
    assert_eq!(said.status, 202, "{said:?}");
    for Row(method, path, body, _) in ROWS.iter().filter(|row| row.1 != "/metrics") {
        // What is made in the session of this name would be refused, because she has it.
        if *method == "POST" && (path.ends_with("/sessions") || path.contains("/actions/")) {
            continue;
        }
        let mut answers = Vec::new();
        for names in [ANNS, NOBODYS] {
            let answer = call(&router, &without, method, &names.fill(path), &names.fill(body)).await;
            answers.push(comparable(&answer, names));
        }
        assert_eq!(answers[0], answers[1], "{method} {path}");
    }
    let more = r#"{"input":"hello"}"#;
    let refused = call(&router, &without, "POST", "/api/flows/chat/s-ann/actions/say", more).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let listed = call(&router, &without, "GET", "/api/flows/sessions", "").await;
    assert_eq!(listed.body, r#"{"sessions":[]}"#);
    let kept = call(&router, &with, "GET", "/api/flows/sessions/s-ann", "").await;
    assert_eq!(kept.status, 200, "{kept:?}");
}
