//! `flowstate log`: the real binary on folders that the log or a server made.

mod change;
mod erase;
mod live;
mod look;
mod transfer;

use std::path::Path;
use std::process::Output;

use flowstate_engine::offline;
use flowstate_log::append::{Append, NewRecord, Part, Sub, Target};
use flowstate_log::record::{IdempotencyKey, SubStreamId, Subject};
use flowstate_log::{Log, Options};
use flowstate_tests::log::{name, note, part, sub_note};
use flowstate_tests::process::{Server, command};
use serde_json::{Value, json};

/// The command under test.
const BINARY: &str = env!("CARGO_BIN_EXE_flowstate-under-test");

/// How a call ended.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs `flowstate log` on a folder.
fn log(folder: &Path, arguments: &[&str]) -> Ran {
    let arguments = [&["log"], arguments].concat();
    let Output { status, stdout, stderr } = command(BINARY, folder, &arguments).output().expect("the binary starts");
    let ran = Ran {
        code: status.code(),
        stdout: String::from_utf8(stdout).expect("text"),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    };
    assert!(!ran.stderr.contains("panicked"), "{arguments:?}: {}", ran.stderr);
    ran
}

/// The lines of JSON that a call answers with, and its exit code.
fn lines(folder: &Path, arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let ran = log(folder, &[&["--json"], arguments].concat());
    let parsed = ran.stdout.lines().map(|line| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {line}: {}", ran.stderr))
    });
    (parsed.collect(), ran.code)
}

/// The one line of JSON of a call that must go well.
fn told(folder: &Path, arguments: &[&str]) -> Value {
    let ran = log(folder, &[&["--json"], arguments].concat());
    assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", ran.stdout))
}

/// A call that must not go well, with this exit code. What it said.
fn refused(folder: &Path, arguments: &[&str], code: i32) -> String {
    let ran = log(folder, arguments);
    assert_eq!(ran.code, Some(code), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    assert!(!ran.stderr.is_empty(), "{arguments:?} says nothing");
    ran.stderr
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// Opens a folder's log as the command does.
fn open(folder: &Path) -> Log {
    let mut options = Options::in_folder(folder).expect("a folder");
    options.views = offline::views();
    Log::open(options).expect("open")
}

async fn append(log: &Log, append: Append) {
    log.append(append).await.expect("queued").await.expect("appended");
}

/// A log with everything that a record can carry: sub-streams, forks, keys, bytes that are no text, and a payload in a file of its own.
async fn varied(folder: &Path) {
    let log = open(folder);
    let (one, two) = (SubStreamId([1; 16]), SubStreamId([2; 16]));
    append(
        &log,
        Append::of(vec![part(
            "a",
            vec![note("a1"), sub_note(one, Some("r1"), "a2"), sub_note(one, None, "a3")],
        )]),
    )
    .await;
    append(
        &log,
        Append {
            parts: vec![part("b", vec![note(vec![0, 159, 146, 150]), note("b2")])],
            key: IdempotencyKey::new(b"a key of the caller"),
        },
    )
    .await;
    let about = NewRecord {
        subject: Subject(1),
        sub: Some(Sub::Open(two, name("r2"))),
        causation: [1; 16],
        origin: u64::MAX,
        ..note("about something")
    };
    append(
        &log,
        Append::of(vec![part("b", vec![about, note("x".repeat(300 << 10))])]),
    )
    .await;
    let parent = log.stream(&name("a")).await.expect("read").expect("the stream");
    let fork = Part {
        stream: Target::Fork {
            name: name("fork of a"),
            parent,
            position: 2,
        },
        expect: Vec::new(),
        records: vec![note("f3"), note("f4")],
    };
    append(&log, Append::of(vec![fork])).await;
    for number in 0..600 {
        append(
            &log,
            Append::of(vec![part("many", vec![note(format!("number {number}"))])]),
        )
        .await;
    }
    log.close().await;
}

/// Asks the chat, and waits for its answer.
async fn chat(server: &Server, user: &str, session: &str, request: &str, message: &str) {
    let http = flowstate_tests::http::client();
    let body = json!({ "input": { "message": message }, "userId": user, "requestId": request });
    let url = format!("{}/api/flows/hello-chat", server.url);
    let posted = http
        .post(format!("{url}/{session}/actions/chat"))
        .json(&body)
        .send()
        .await;
    assert_eq!(posted.expect("an answer").status(), 202);
    let answered = http
        .get(format!("{url}/requests/{request}/stream"))
        .send()
        .await
        .expect("a stream");
    let frames = answered.text().await.expect("a body");
    assert!(frames.contains("request.completed"), "{frames}");
}

/// Ends a server in order.
fn stop(mut server: Server) {
    server.signal("TERM");
    assert!(server.wait().success());
}

/// A server without pauses.
fn serve(folder: &Path) -> Server {
    Server::start(BINARY, folder, &["--scripted-tokens-per-second", "0"])
}
