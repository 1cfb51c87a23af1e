//! A loop of answers and tools whose process is killed at each of its transitions, and gone on with in another one.

use std::path::Path;
use std::process::{Command, Output};

use flowstate_tests::http::{client, take_frames};
use flowstate_tests::process::Server;
use serde_json::json;

use super::BINARY;

const DRIVER: &str = env!("CARGO_BIN_EXE_loop-driver");

fn driven(folder: &Path, calls: Option<usize>) -> Output {
    let mut command = Command::new(DRIVER);
    command.arg(folder.join("data")).arg(folder.join("journal"));
    command
        .args(calls.map(|calls| calls.to_string()))
        .output()
        .expect("the driver")
}

/// What has happened outside, sorted: tools run at once.
fn journal(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("journal")).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_second_process_goes_on_at_any_transition_and_repeats_no_call() {
    let whole = tempfile::tempdir().expect("a folder");
    let expected = driven(whole.path(), None);
    assert!(expected.status.success(), "{expected:?}");
    let usual = journal(whole.path());
    assert_eq!(usual.len(), 7, "three answers and four tools: {usual:?}");
    for calls in 0..7 {
        let folder = tempfile::tempdir().expect("a folder");
        let killed = driven(folder.path(), Some(calls));
        assert_eq!(killed.status.code(), None, "killed before call {calls}: {killed:?}");
        assert_eq!(journal(folder.path()).len(), calls);
        let second = driven(folder.path(), None);
        let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said(&second), said(&expected), "killed before call {calls}");
        assert_eq!(
            journal(folder.path()),
            usual,
            "killed before call {calls}: each call once"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_with_what_it_was_killed_over_if_it_is_told_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = Server::start(BINARY, folder.path(), &["--scripted-tokens-per-second", "20"]);
    let body = json!({ "input": { "message": "hello" }, "userId": "u", "requestId": "r" });
    let post = client().post(format!("{}/api/flows/hello-chat/s/actions/chat", server.url));
    assert_eq!(post.json(&body).send().await.expect("an answer").status(), 202);
    let stream = |url: &str| {
        client()
            .get(format!("{url}/api/flows/hello-chat/requests/r/stream"))
            .send()
    };
    let mut open = stream(&server.url).await.expect("a stream");
    let mut received = String::new();
    while !received.contains("content.delta") {
        let chunk = open.chunk().await.expect("a chunk").expect("frames");
        received.push_str(&String::from_utf8_lossy(&chunk));
    }
    tokio::task::block_in_place(|| server.kill());

    let server = Server::start(
        BINARY,
        folder.path(),
        &["--resume", "--scripted-tokens-per-second", "0"],
    );
    let mut text = stream(&server.url)
        .await
        .expect("a stream")
        .text()
        .await
        .expect("a body");
    let frames = take_frames(&mut text);
    let done: Vec<(&str, &str)> = frames
        .iter()
        .filter(|frame| frame.kind() == "item.done")
        .map(|frame| (&frame.data["item"]["role"], &frame.data["item"]["status"]))
        .map(|(role, status)| (role.as_str().unwrap_or("?"), status.as_str().unwrap_or("?")))
        .collect();
    let expected = [
        ("user", "completed"),
        ("assistant", "incomplete"),
        ("assistant", "completed"),
    ];
    assert_eq!(done, expected, "what had come of the answer stays");
    assert_eq!(frames.last().map(|frame| frame.kind()), Some("request.completed"));
}
