//! Flows behind AWS Lambda: the routes are a tower service, and this is the adapter around it. A function URL (or an HTTP API) sends a call as
//! JSON; the answer goes back as bytes of `application/vnd.awslambda.http-integration-response`: a head as JSON, eight zero bytes, and the
//! body as it comes, so that event streams reach the client event by event. The function stays alive for the runs that a POST began.
//!
//! What polls the runtime for calls (the crate `lambda_runtime`, say) hands them to [`answer`]. Here, two calls are made and printed.
//! The store of a function that scales must not be a folder of one instance: use a store of your own there.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Request, Response};
use flowstate::prelude::*;
use flowstate::{FlowState, memory};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tower::ServiceExt;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A call as Lambda tells it (payload format 2.0).
fn request(event: &Value) -> Result<Request<Body>, Failure> {
    let text = |path: &str| event.pointer(path).and_then(Value::as_str);
    let path = text("/rawPath").unwrap_or("/");
    let uri = match text("/rawQueryString") {
        None | Some("") => path.to_owned(),
        Some(query) => format!("{path}?{query}"),
    };
    let method = text("/requestContext/http/method").unwrap_or("GET");
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in event["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap_or_default());
    }
    if event["isBase64Encoded"] == true {
        return Err("the routes take JSON only, which comes as text".into());
    }
    Ok(request.body(text("/body").unwrap_or_default().to_owned().into())?)
}

/// An answer as Lambda streams it.
fn response(response: Response<Body>) -> Result<BoxStream<'static, Result<Bytes, Failure>>, Failure> {
    let (mut parts, body) = response.into_parts();
    if is_events(parts.headers.get("content-type")) {
        // Nothing on the way may keep events back, or press them together.
        let name = HeaderName::from_static("x-accel-buffering");
        parts.headers.insert(name, HeaderValue::from_static("no"));
        parts.headers.remove("content-length");
    }
    let mut headers = Map::new();
    for (name, value) in &parts.headers {
        let value = value.to_str()?;
        let joined = match headers.get(name.as_str()).and_then(Value::as_str) {
            Some(earlier) => format!("{earlier}, {value}"),
            None => value.to_owned(),
        };
        headers.insert(name.to_string(), joined.into());
    }
    let head = json!({"statusCode": parts.status.as_u16(), "headers": headers});
    let head = Bytes::from([head.to_string().as_bytes(), &[0; 8]].concat());
    let body = body.into_data_stream().map(|chunk| Ok(chunk?));
    Ok(stream::iter([Ok(head)]).chain(body).boxed())
}

fn is_events(content_type: Option<&HeaderValue>) -> bool {
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// Runs that go on behind the answers: an instance that is frozen does not go on with them.
#[derive(Clone, Default)]
struct Runs(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Runs {
    /// Waits for all of them.
    async fn ended(&self) {
        loop {
            let runs = std::mem::take(&mut *self.0.lock());
            if runs.is_empty() {
                return;
            }
            futures_util::future::join_all(runs).await;
        }
    }
}

/// Answers a call. The invocation is over when the stream has ended, and so have the runs.
async fn answer(
    routes: &Router,
    runs: &Runs,
    event: &Value,
) -> Result<BoxStream<'static, Result<Bytes, Failure>>, Failure> {
    let answered = routes.clone().oneshot(request(event)?).await?;
    let runs = runs.clone();
    let after = stream::once(async move { runs.ended().await }).filter_map(async |()| None);
    Ok(response(answered)?.chain(after).boxed())
}

fn flows(runs: &Runs) -> Result<FlowState, Failure> {
    let echo = handler("echo").run(|input: String, _ctx: Ctx| async move { Ok(input) });
    let app = flow("echo").action("say", action(echo)).instance("default")?;
    let runs = runs.clone();
    let flows = FlowState::builder()
        .flow(app)
        .models(Models::new())
        .store(memory())
        .allow_host("abc.lambda-url.eu-west-1.on.aws")
        .on_background_work(move |run| runs.0.lock().push(run));
    Ok(flows.build()?)
}

fn event(method: &str, path: &str, body: &str) -> Value {
    json!({
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "abc.lambda-url.eu-west-1.on.aws", "content-type": "application/json"},
        "requestContext": {"http": {"method": method}},
        "body": body,
        "isBase64Encoded": false,
    })
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let runs = Runs::default();
    let routes = flows(&runs)?.router()?;
    let body = json!({"userId": "u", "requestId": "r", "input": "hello"}).to_string();
    for event in [
        event("POST", "/api/flows/echo/actions/say", &body),
        event("GET", "/api/flows/echo/requests/r/stream", ""),
    ] {
        let mut chunks = answer(&routes, &runs, &event).await?;
        while let Some(chunk) = chunks.next().await {
            print!("{}", String::from_utf8_lossy(&chunk?).replace('\0', "\n"));
        }
        println!();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(routes: &Router, runs: &Runs, event: &Value) -> (Value, String) {
        let mut chunks = answer(routes, runs, event).await.expect("an answer");
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk.expect("bytes"));
        }
        let end = bytes.windows(8).position(|window| window == [0; 8]).expect("a head");
        let body = String::from_utf8(bytes[end + 8..].to_vec()).expect("text");
        (serde_json::from_slice(&bytes[..end]).expect("JSON"), body)
    }

    #[tokio::test]
    async fn a_call_and_its_stream_go_through_and_the_run_has_ended_with_the_answer() {
        let runs = Runs::default();
        let flows = flows(&runs).expect("flows");
        let routes = flows.router().expect("routes");
        let body = json!({"userId": "u", "requestId": "r", "input": "hello"}).to_string();
        let say = event("POST", "/api/flows/echo/actions/say", &body);
        let (head, accepted) = answered(&routes, &runs, &say).await;
        assert_eq!(head["statusCode"], 202, "{accepted}");
        let engine = flows.ready().await.expect("open");
        assert_eq!(engine.run_counts().completed, 1);
        let stream = event("GET", "/api/flows/echo/requests/r/stream", "");
        let (head, events) = answered(&routes, &runs, &stream).await;
        assert_eq!(head["statusCode"], 200);
        assert_eq!(head["headers"]["x-accel-buffering"], "no");
        assert!(events.contains("event: request.completed"), "{events}");
        let (head, error) = answered(&routes, &runs, &event("GET", "/nope", "")).await;
        assert_eq!(head["statusCode"], 404, "{error}");
    }
}
