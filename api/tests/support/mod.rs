//! Routes called without a socket.
#![allow(dead_code)] // each test file uses some of it

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use flowstate::prelude::*;
use flowstate::{FlowState, FlowStateBuilder, memory};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

pub const JSON: (&str, &str) = ("content-type", "application/json");

/// A server of these flows, in memory, without models of the environment.
pub fn serving(flow: Flow) -> FlowStateBuilder {
    FlowState::builder().flow(flow).models(Models::new()).store(memory())
}

pub fn call(method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost:4400");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).expect("a request")
}

pub async fn send(router: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, Bytes) {
    let response = router.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (parts.status, parts.headers, body)
}

/// Status and JSON of the answer; null if it has no body.
pub async fn asked(router: &Router, method: &str, uri: &str, body: Option<Value>) -> (u16, Value) {
    let request = match body {
        Some(body) => call(method, uri, &[JSON], body.to_string()),
        None => call(method, uri, &[], ""),
    };
    let (status, _, body) = send(router, request).await;
    let json = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{body:?} is no JSON")),
    };
    (status.as_u16(), json)
}

/// The frames of a stream's bytes, as id and data; a comment is no frame.
pub fn frames(bytes: &[u8]) -> Vec<(Option<String>, Value)> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let frames = text.split_terminator("\n\n").filter(|frame| !frame.starts_with(':'));
    frames
        .map(|frame| {
            let line = |name: &str| {
                frame
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::to_owned)
            };
            let data = line("data: ").map_or(Value::Null, |data| serde_json::from_str(&data).expect("JSON"));
            (line("id: "), data)
        })
        .collect()
}
