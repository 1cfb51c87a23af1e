//! Calls to a router without a socket, and what comes back taken apart.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

/// Longest wait for anything in a test.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A client of servers on this machine. Which implementation of TLS there is says who makes a client, so nobody else does.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    builder.build().expect("a client")
}

/// Gets this address of a server on this machine.
pub async fn fetch(url: impl reqwest::IntoUrl) -> reqwest::Result<reqwest::Response> {
    client().get(url).send().await
}

/// A call's answer.
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Content type, or empty.
    pub content_type: String,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A GET with headers; the host is a loopback one unless given.
pub fn get_request(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    with_headers(Request::get(path), headers)
        .body(Body::empty())
        .expect("a request")
}

/// A POST of these bytes with headers; JSON to a loopback host unless given.
pub fn post_request(path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    request(Method::POST, path, headers, body)
}

/// A call of any method with these bytes and headers; JSON to a loopback host unless given.
pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let builder = with_headers(Request::builder().method(method).uri(path), headers);
    let builder = match headers.iter().any(|(name, _)| *name == "content-type") {
        true => builder,
        false => builder.header(header::CONTENT_TYPE, "application/json"),
    };
    builder.body(body.into()).expect("a request")
}

fn with_headers(mut builder: axum::http::request::Builder, headers: &[(&str, &str)]) -> axum::http::request::Builder {
    if !headers.iter().any(|(name, _)| *name == "host") {
        builder = builder.header(header::HOST, "127.0.0.1:4400");
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        builder = builder.header(*name, *value);
    }
    builder
}

/// Makes a call and takes in the whole answer.
pub async fn call(router: &Router, request: Request<Body>) -> Answer {
    let response = tokio::time::timeout(PATIENCE, router.clone().oneshot(request));
    let response = response.await.expect("an answer in time").expect("an answer");
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.map_or(String::new(), |value| value.to_str().unwrap_or_default().to_owned());
    let body = tokio::time::timeout(PATIENCE, response.into_body().collect());
    let body = body.await.expect("a body in time").expect("a body").to_bytes();
    Answer {
        status,
        content_type,
        body,
    }
}

/// GET as JSON; the status must be 200.
pub async fn get(router: &Router, path: &str) -> Value {
    let answer = call(router, get_request(path, &[])).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    answer.json()
}

/// POSTs the chat action; the status must be 202.
pub async fn chat(router: &Router, session: Option<&str>, request: &str, message: &str) -> Value {
    let path = match session {
        Some(session) => format!("/api/flows/hello-chat/{session}/actions/chat"),
        None => "/api/flows/hello-chat/actions/chat".to_owned(),
    };
    let body = json!({ "input": { "message": message }, "userId": "u-1", "requestId": request });
    let answer = call(router, post_request(&path, &[], body.to_string())).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    answer.json()
}

/// One frame of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The frame as it was sent.
    pub raw: String,
    /// Its number.
    pub number: u64,
    /// Its data.
    pub data: Value,
}

impl Frame {
    /// The event's type.
    pub fn kind(&self) -> &str {
        self.data["type"].as_str().unwrap_or_default()
    }

    /// Whether nothing comes after it.
    pub fn is_terminal(&self) -> bool {
        matches!(
            self.kind(),
            "request.completed" | "request.failed" | "request.incomplete"
        )
    }
}

/// Takes whole frames off the front of a buffer. Comments are skipped; every frame is checked for its form.
pub fn take_frames(buffer: &mut String) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(end) = buffer.find("\n\n") {
        let raw: String = buffer.drain(..end + 2).collect();
        if raw.starts_with(':') {
            continue;
        }
        let lines: Vec<&str> = raw.trim_end().split('\n').collect();
        let [id, event, data] = lines[..] else {
            panic!("not three lines: {raw}")
        };
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        let number = data["sequence_number"].as_u64().expect("a number");
        let request = data["requestId"].as_str().expect("a request");
        assert_eq!(id, format!("id: {request}:{number}"));
        assert_eq!(event, format!("event: {}", data["type"].as_str().expect("a type")));
        assert_eq!((&data["stream"], data["ts"].is_i64()), (&json!("request"), true));
        frames.push(Frame { raw, number, data });
    }
    frames
}

/// The path of a request's stream.
pub fn stream_path(request: &str) -> String {
    format!("/api/flows/hello-chat/requests/{request}/stream")
}

/// Reads a request's stream to its end.
pub async fn stream(router: &Router, request: &str, query: &str, headers: &[(&str, &str)]) -> Vec<Frame> {
    let answer = call(
        router,
        get_request(&format!("{}{query}", stream_path(request)), headers),
    )
    .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.content_type, "text/event-stream; charset=utf-8");
    let mut text = answer.text();
    let frames = take_frames(&mut text);
    assert_eq!(text, "", "the body ends with a whole frame");
    assert!(
        frames.windows(2).all(|pair| pair[0].number < pair[1].number),
        "numbers rise strictly"
    );
    frames
}

/// A stream that is read piece by piece.
pub struct Live {
    body: Body,
    text: String,
}

impl Live {
    /// Opens a request's stream.
    pub async fn open(router: &Router, path: &str) -> Self {
        let response = router.clone().oneshot(get_request(path, &[])).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// The next frames, at least one; none at the end.
    pub async fn next(&mut self) -> Vec<Frame> {
        loop {
            let frames = take_frames(&mut self.text);
            if !frames.is_empty() {
                return frames;
            }
            match tokio::time::timeout(PATIENCE, self.body.frame())
                .await
                .expect("a frame in time")
            {
                Some(frame) => {
                    let data = frame.expect("a body").into_data().expect("data");
                    self.text
                        .push_str(std::str::from_utf8(&data).expect("whole characters"));
                }
                None => return Vec::new(),
            }
        }
    }

    /// Everything up to the end.
    pub async fn rest(mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let next = self.next().await;
            if next.is_empty() {
                return frames;
            }
            frames.extend(next);
        }
    }
}
