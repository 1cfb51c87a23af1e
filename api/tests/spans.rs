//! Spans of calls, runs and calls of models. Alone in its process: what is listened for is the process's.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use flowstate::engine::model::ScriptedModel;
use flowstate::prelude::*;
use flowstate::{FlowState, memory};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::json;
use tower::ServiceExt;

/// What is written into, as a writer of diagnostics.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn calls_runs_and_models_have_spans() {
    let lines = Lines::default();
    let into = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || into.clone())
        .with_ansi(false)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    let answer = generator("answer").user(|input: &String, _ctx| input.clone());
    let chat = flow("chat")
        .action("say", action(answer))
        .instance("default")
        .expect("a flow");
    let built = FlowState::builder()
        .models(Models::new())
        .model(ScriptedModel::new(0).named("noting/one"))
        .flow(chat)
        .store(memory())
        .build()
        .expect("a server");
    let router = built.router().expect("routes");
    let say = json!({"userId": "u", "requestId": "r", "input": "hello"}).to_string();
    let post = Request::post("/api/flows/chat/actions/say").header("content-type", "application/json");
    let post = post
        .header("x-request-id", "call-7")
        .header("host", "localhost")
        .body(Body::from(say));
    let posted = router
        .clone()
        .oneshot(post.expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(posted.status().as_u16(), 202);
    let get = Request::get("/api/flows/chat/requests/r/stream").header("host", "localhost");
    let stream = router
        .oneshot(get.body(Body::empty()).expect("a request"))
        .await
        .expect("an answer");
    let streamed = stream.into_body().collect().await.expect("a body").to_bytes();
    assert!(String::from_utf8_lossy(&streamed).contains("request.completed"));
    built.dispose().await;
    let lines = String::from_utf8(lines.0.lock().clone()).expect("text");
    for (span, target, fields) in [
        (
            "call{request_id=\"call-7\" method=\"POST\"",
            "flowstate::server::observe:",
            ["route=\"/api/flows/{kind}/actions/{action}\"", "status=202", "ms="].as_slice(),
        ),
        (
            "run{request=\"r\"",
            "flowstate_engine::exec::submit:",
            &["flow=\"chat\" action=\"say\""],
        ),
        (
            "chat{otel.kind=\"client\" gen_ai.operation.name=\"chat\"",
            "flowstate_engine::block::generator::ask:",
            &[
                "gen_ai.provider.name=\"noting\"",
                "gen_ai.request.model=\"noting/one\"",
                "gen_ai.usage.output_tokens=",
                "gen_ai.response.finish_reasons=[Stop]",
            ],
        ),
    ] {
        let closed = lines
            .lines()
            .filter(|line| line.contains(&format!("{target} close")) && line.contains(span));
        let told = closed
            .filter(|line| fields.iter().all(|field| line.contains(field)))
            .count();
        assert_eq!(told, 1, "{span}: {lines}");
    }
}
