//! Voice over HTTP: what is spoken of an answer, streamed, resumed and remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use flowstate::engine::model::{ModelError, ScriptedModel};
use flowstate::engine::prelude::*;
use flowstate::engine::voice::{ScriptedSpeech, Speech, SpeechModel, SpeechRequest};
use flowstate::{FlowState, lsm};
use flowstate_tests::http::{Frame, Live, call, get, post_request, stream, stream_path};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::watch;

/// Speaks the second sentence, and those behind it, when it may.
struct Gated {
    open: watch::Receiver<bool>,
    asked: AtomicBool,
}

impl SpeechModel for Gated {
    fn name(&self) -> &str {
        "gated"
    }

    fn generate(&self, request: SpeechRequest) -> BoxFuture<'static, Result<Speech, ModelError>> {
        let (mut open, is_first) = (self.open.clone(), !self.asked.swap(true, Ordering::SeqCst));
        async move {
            if !is_first {
                open.wait_for(|open| *open).await.expect("a gate");
            }
            ScriptedSpeech.generate(request).await
        }
        .boxed()
    }
}

async fn server(folder: &std::path::Path) -> (FlowState, Router, watch::Sender<bool>) {
    let (open, gate) = watch::channel(false);
    let asked = AtomicBool::new(false);
    let gated = Gated { open: gate, asked };
    let chat = generator("chat").user(|input: &String, _| input.clone());
    let flow = flow("hello-chat")
        .action("chat", action(chat))
        .voice(VoiceConfig::tts(Arc::new(gated)).speed(4.0))
        .instance("default")
        .expect("a flow");
    let builder = FlowState::builder().flow(flow).model(ScriptedModel::new(0));
    let built = builder.store(lsm(folder)).build().expect("a server");
    let router = built.router().expect("routes");
    (built, router, open)
}

async fn chat(router: &Router, metadata: Value) {
    let body = json!({
        "userId": "u", "sessionId": "s", "requestId": "r", "input": "Tell me.", "metadata": metadata,
    });
    let request = post_request("/api/flows/hello-chat/actions/chat", &[], body.to_string());
    let answer = call(router, request).await;
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.text());
}

fn is_audio(frame: &Frame) -> bool {
    frame.data["content"]["type"] == "output_audio"
}

/// Frames as they were sent.
fn raw(frames: &[Frame]) -> String {
    frames.iter().map(|frame| frame.raw.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_in_mid_speech_goes_on_with_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, router, open) = server(folder.path()).await;
    chat(&router, json!({"voice": {"ttsEnabled": true}})).await;
    let mut live = Live::open(&router, &stream_path("r")).await;
    let mut seen = Vec::new();
    while !seen.iter().any(is_audio) {
        seen.extend(live.next().await);
    }
    drop(live);
    seen.truncate(1 + seen.iter().position(is_audio).expect("audio"));
    let last = seen.last().expect("frames");
    assert_eq!((last.kind(), &last.data["contentIndex"]), ("content.added", &json!(1)));
    open.send_replace(true);
    let rest = stream(&router, "r", "", &[("last-event-id", &format!("r:{}", last.number))]).await;
    seen.extend(rest);
    let whole = stream(&router, "r", "", &[]).await;
    assert_eq!(raw(&seen), raw(&whole));
    for frame in whole.iter().filter(|frame| is_audio(frame) || frame.number % 16 == 0) {
        let after: Vec<Frame> = whole
            .iter()
            .filter(|other| other.number > frame.number)
            .cloned()
            .collect();
        let resumed = stream(&router, "r", &format!("?starting_after={}", frame.number), &[]).await;
        assert_eq!(raw(&resumed), raw(&after), "after {}", frame.number);
    }

    // Each part once whole as it is added and once as it is done, without a gap, before the item is done and the request ends.
    let audio: Vec<&Frame> = whole.iter().filter(|frame| is_audio(frame)).collect();
    let parts = audio.chunks(2).enumerate().map(|(at, pair)| {
        let [added, done] = pair else { panic!("{pair:?}") };
        assert_eq!((added.kind(), done.kind()), ("content.added", "content.done"));
        assert_eq!(added.data["content"], done.data["content"]);
        assert_eq!([&added.data["contentIndex"], &done.data["contentIndex"]], [at + 1; 2]);
        added.data["content"].clone()
    });
    let parts: Vec<Value> = parts.collect();
    assert!(parts.len() >= 3, "{} sentences", parts.len());
    let first = &parts[0];
    let (bytes, seconds) = (first["audio"].as_str().expect("base64"), first["duration"].as_f64());
    assert!(bytes.starts_with("UklGR"), "a WAV file");
    assert_eq!(first["mediaType"], "audio/wav");
    let said = first["transcript"].as_str().expect("a sentence");
    let expected = said.chars().count() as f64 * 0.06 / 4.0;
    assert!(
        seconds.is_some_and(|seconds| (seconds - expected).abs() < 0.001),
        "{seconds:?}"
    );
    let [.., done, end] = &whole[..] else { panic!("frames") };
    assert_eq!((done.kind(), end.kind()), ("item.done", "request.completed"));
    let content = done.data["item"]["content"].as_array().expect("content");
    assert_eq!(content[1..], parts);
    let spoken: Vec<&str> = parts.iter().filter_map(|part| part["transcript"].as_str()).collect();
    assert_eq!(content[0]["text"], spoken.join(" "));

    let shown = get(&router, "/api/flows/sessions/s/state?include_items=true").await;
    assert_eq!(shown["items"][0], done.data["item"]);
    server.dispose().await;
    let (_server, router, _open) = self::server(folder.path()).await;
    assert_eq!(
        raw(&stream(&router, "r", "", &[]).await),
        raw(&whole),
        "after a restart"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_ask_to_be_spoken_to_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, router, _open) = server(folder.path()).await;
    chat(&router, json!({"voice": {"ttsEnabled": false}})).await;
    let whole = stream(&router, "r", "", &[]).await;
    assert!(!whole.iter().any(is_audio));
    assert_eq!(whole.last().map(Frame::kind), Some("request.completed"));
}
