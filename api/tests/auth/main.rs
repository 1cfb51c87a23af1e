//! Who is let in, as whom, and for how long: API keys, JSON Web Tokens, what an identity may name, streams whose credential ends.
//! Every route with every kind of caller is in `matrix`.

mod keys;
mod names;
mod streams;
mod tokens;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use flowstate::auth::{ApiKey, Identity};
use flowstate::engine::model::ScriptedModel;
use flowstate::prelude::*;
use flowstate::{FlowState, FlowStateBuilder, memory};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

fn server() -> FlowStateBuilder {
    let answer = generator("answer").user(|input: &String, _ctx| input.clone());
    let chat = flow("chat").action("say", action(answer)).instance("default");
    FlowState::builder()
        .flow(chat.expect("a flow"))
        .models(Models::new())
        .model(ScriptedModel::new(0))
        .store(memory())
}

/// A key of this user of the tenant `acme`, and its text.
fn key(name: &str, user: &str) -> (ApiKey, String) {
    ApiKey::generate(name, &Identity::new("acme", user)).expect("a key")
}

fn get(uri: &str, token: &str) -> Request<Body> {
    let request = Request::get(uri).header("host", "localhost");
    let request = match token {
        "" => request,
        token => request.header("authorization", format!("Bearer {token}")),
    };
    request.body(Body::empty()).expect("a request")
}

fn post(uri: &str, token: &str, body: Value) -> Request<Body> {
    let mut request = get(uri, token);
    *request.method_mut() = axum::http::Method::POST;
    let json = "application/json".parse().expect("a value");
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    request.map(|_| Body::from(body.to_string()))
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
    let response = router.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    (parts.status, parts.headers, body)
}

async fn status(router: &Router, request: Request<Body>) -> u16 {
    send(router, request).await.0.as_u16()
}
