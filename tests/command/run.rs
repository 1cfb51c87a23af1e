//! `run`: what it prints, where it runs, how it ends.

use std::io::{BufRead, BufReader, Write};
use std::process::Child;

use flowstate_tests::http::{fetch, take_frames};
use flowstate_tests::process::Server;
use serde_json::{Value, json};

use super::{Ran, prepared, ran, ran_with, serve, text};

const HELLO: [&str; 5] = ["run", "hello-chat", "chat", "--input", r#"{"message": "hello"}"#];

/// The data of each frame of a request's stream.
async fn streamed(server: &Server, flow: &str, request: &str) -> Vec<String> {
    let url = format!("{}/api/flows/{flow}/requests/{request}/stream", server.url);
    let mut text = fetch(url).await.expect("a stream").text().await.expect("a body");
    let frames = take_frames(&mut text);
    let data = |raw: &str| {
        raw.lines()
            .find_map(|line| line.strip_prefix("data: "))
            .expect("data")
            .to_owned()
    };
    frames.iter().map(|frame| data(&frame.raw)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_run_here_or_by_a_server_prints_the_events_of_its_stream() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let here = ran(&data, &[&HELLO[..], &["--request", "here", "--session", "s"]].concat()).with(0);
    let server = serve(&data, &[]);
    let there = ran(
        &data,
        &[
            &HELLO[..],
            &["--request", "there", "--session", "s", "--url", &server.url],
        ]
        .concat(),
    )
    .with(0);
    for (request, ran) in [("here", here), ("there", there)] {
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(lines, streamed(&server, "hello-chat", request).await, "{request}");
        let kinds: Vec<_> = ran.lines().iter().map(|event| event["type"].clone()).collect();
        assert_eq!(
            (&kinds[0], kinds.last()),
            (&json!("request.created"), Some(&json!("request.completed")))
        );
        assert!(kinds.contains(&json!("content.delta")), "{kinds:?}");
        assert_eq!(ran.stderr, "");
    }
    // The session is one, and its user the same.
    let shown = ran(&data, &["sessions", "show", "s", "--json", "--url", &server.url])
        .with(0)
        .json();
    assert_eq!(
        (&shown["session"]["requestCount"], &shown["session"]["userId"]),
        (&json!(2), &json!("local"))
    );

    let locked = ran(&data, &HELLO).with(3);
    assert!(locked.stderr.contains("--url"), "{}", locked.stderr);
}

#[test]
fn people_read_what_is_said_on_stdout_and_what_is_done_on_stderr() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let tell = [
        "run",
        "work",
        "tell",
        "--text",
        "--memory",
        "--request",
        "r",
        "--input",
        r#"{"name": "Ann"}"#,
    ];
    let told = ran(&data, &tell).with(0);
    // What a terminal would obey is no part of it.
    assert_eq!(told.stdout, "Hello, Ann\u{fffd}[2J!\n");
    assert_eq!(told.stderr, "[looking around]\n[find({\"what\":1})]\n[completed (r)]\n");
    assert!(!data.exists(), "memory keeps nothing");

    let chat = ran(&data, &[&HELLO[..], &["--text", "--memory", "--user", "ann"]].concat()).with(0);
    assert!(
        chat.stdout.contains("hello") && chat.stdout.ends_with('\n'),
        "{}",
        chat.stdout
    );
    assert!(!chat.stdout.contains('{'), "{}", chat.stdout);
}

#[test]
fn an_input_comes_from_the_line_a_file_or_stdin() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let file = folder.path().join("input.json");
    std::fs::write(&file, r#"{"name": "file"}"#).expect("written");
    let said = |input: &str, stdin: &str| {
        let arguments = ["run", "work", "tell", "--text", "--memory", "--input", input];
        ran_with(&data, &arguments, stdin).with(0).stdout
    };
    assert!(said(r#"{"name": "line"}"#, "").starts_with("Hello, line"));
    assert!(said(&format!("@{}", text(&file)), "").starts_with("Hello, file"));
    assert!(said("-", r#"{"name": "stdin"}"#).starts_with("Hello, stdin"));
    let large = std::fs::File::create(&file).and_then(|file| file.set_len((64 << 20) + 1));
    large.expect("a large file");
    let input = format!("@{}", text(&file));
    let refused = ran(&data, &["run", "work", "tell", "--memory", "--input", &input]).with(2);
    assert!(refused.stderr.contains("64 MiB"), "{}", refused.stderr);
}

#[test]
fn wrong_calls_end_with_2_and_say_everything_that_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let refused = |arguments: &[&str]| {
        let arguments = [&["run", "--memory", "--json"], arguments].concat();
        let ran = ran(&data, &arguments).with(2);
        assert_eq!(ran.stdout, "");
        ran.failure()
    };
    let unknown = refused(&["nothing", "say"]);
    assert!(
        unknown["error"].as_str().is_some_and(|error| error.contains("nothing")),
        "{unknown}"
    );
    assert_eq!(unknown["code"], "flow_not_found");
    let unknown = refused(&["work", "nothing"]);
    assert!(
        unknown["error"].as_str().is_some_and(|error| error.contains("tell")),
        "{unknown}"
    );
    let wrong = refused(&["work", "tell", "--input", r#"{"name": ""}"#]);
    assert_eq!(wrong["details"][0]["path"], "input.name", "{wrong}");
    let none = refused(&["work", "tell"]);
    assert_eq!(none["details"][0]["path"], "input", "{none}");
    for input in ["hello", "@/nowhere/at/all", "{"] {
        let wrong = refused(&["work", "tell", "--input", input]);
        assert!(wrong["error"].is_string(), "{wrong}");
    }
    // What is no command at all is told in JSON as well.
    let wrong = ran(&data, &["run", "--json", "--no-such-flag"]).with(2).failure();
    assert!(
        wrong["error"]
            .as_str()
            .is_some_and(|error| error.contains("--no-such-flag")),
        "{wrong}"
    );
    let text = ran(
        &data,
        &["run", "--memory", "work", "tell", "--input", r#"{"name": ""}"#],
    )
    .with(2);
    assert_eq!(text.stderr.matches("input.name: ").count(), 1, "{}", text.stderr);
    let both = ran(
        &data,
        &[
            "run",
            "work",
            "tell",
            "--url",
            "http://127.0.0.1:1",
            "--model",
            "scripted",
        ],
    )
    .with(2);
    assert!(both.stderr.contains("--model"), "{}", both.stderr);
    let serving = ran(&data, &["--listen", "127.0.0.1:0", "run", "work", "tell"]).with(2);
    assert!(
        serving.stderr.contains("--listen means nothing to `flowstate run`"),
        "{}",
        serving.stderr
    );
    let gone = ran(&data, &["run", "work", "tell", "--url", "http://127.0.0.1:1"]).with(1);
    assert!(gone.stderr.contains("can't be reached"), "{}", gone.stderr);
}

#[test]
fn what_fails_ends_with_1_and_its_last_event() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let failed = ran(&folder.path().join("data"), &["run", "work", "fail", "--memory"]).with(1);
    let lines = failed.lines();
    assert_eq!(lines.last().map(|event| &event["type"]), Some(&json!("request.failed")));
    assert!(failed.stdout.contains("no_luck"), "{}", failed.stdout);
    let failed = ran(
        &folder.path().join("data"),
        &["run", "work", "fail", "--memory", "--text"],
    )
    .with(1);
    assert!(
        failed.stderr.contains("no_luck") && failed.stderr.contains("[failed ("),
        "{}",
        failed.stderr
    );
}

fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("kill -{name} {}", child.id()))
        .status();
    assert!(sent.expect("sh").success());
}

/// Starts an action, and waits until it has said something.
fn begun(folder: &std::path::Path) -> (Child, impl Iterator<Item = String> + use<>) {
    let arguments = ["run", "work", "wait", "--request", "r", "--session", "s"];
    let mut child = prepared(folder, &arguments).spawn().expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout"))
        .lines()
        .map_while(Result::ok);
    assert!(lines.any(|line| line.contains("item.done")), "it says something");
    (child, lines)
}

#[test]
fn an_interrupt_stops_the_request_and_waits_for_its_last_event() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let (child, lines) = begun(&data);
    signal(&child, "INT");
    let last: Value = serde_json::from_str(&lines.last().expect("lines")).expect("JSON");
    assert_eq!(last["type"], "request.incomplete");
    let ended = Ran::of(child.wait_with_output().expect("it ends")).with(1);
    assert!(ended.stderr.contains("once more leaves"), "{}", ended.stderr);
    let shown = ran(&data, &["sessions", "show", "s", "--json"]).with(0).json();
    assert_eq!(shown["requests"][0]["status"], "aborted", "{shown}");
}

#[test]
fn what_a_killed_process_left_open_stays_so_for_a_server() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let (mut child, _lines) = begun(&data);
    child.kill().expect("killed");
    child.wait().expect("it ends");
    // Looking, and running something else, closes nothing.
    ran(&data, &HELLO).with(0);
    let shown = ran(&data, &["sessions", "show", "s", "--json"]).with(0).json();
    assert_eq!(shown["requests"][0]["status"], "in_progress", "{shown}");
    let server = serve(&data, &[]);
    let shown = ran(&data, &["sessions", "show", "s", "--json", "--url", &server.url])
        .with(0)
        .json();
    assert_eq!(shown["requests"][0]["status"], "interrupted", "{shown}");
}

/// A server that accepts a request and never tells how it ends, even if it is asked to stop it. If it `breaks` off the stream, it does not
/// answer who asks for it again. Its lines say what it was asked.
fn silent(breaks: bool) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (asked, asks) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            let is_action = line.contains("/actions/");
            let answer = match line.contains("/abort") {
                true => "HTTP/1.1 204 No Content\r\n\r\n",
                false if is_action => {
                    "HTTP/1.1 200 OK\r\nx-request-id: header\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"type\":\"request.created\",\"requestId\":\"r\"}\n\n"
                }
                false => "",
            };
            stream.write_all(answer.as_bytes()).expect("written");
            if breaks && is_action {
                stream.shutdown(std::net::Shutdown::Write).expect("shut");
            }
            open.push((stream, reader));
            if asked.send(line).is_err() {
                return;
            }
        }
    });
    (url, asks)
}

/// Runs an action of that server, and interrupts it twice when it was asked what these lines begin with.
fn interrupted_twice(breaks: bool, asked: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (url, asks) = silent(breaks);
    let arguments = ["run", "work", "wait", "--json", "--url", &url];
    let mut child = prepared(&folder.path().join("data"), &arguments)
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    assert!(
        lines
            .next()
            .expect("a line")
            .expect("a line")
            .contains("request.created")
    );
    let is_asked = |line: &str| {
        let call = asks.recv_timeout(flowstate_tests::http::PATIENCE).expect("a call");
        assert!(call.starts_with(line), "{call}");
    };
    for line in asked.iter().copied() {
        is_asked(line);
    }
    signal(&child, "INT");
    is_asked("POST /api/flows/work/requests/r/abort ");
    signal(&child, "INT");
    let ended = Ran::of(child.wait_with_output().expect("it ends")).with(130);
    assert!(
        ended.failure()["note"]
            .as_str()
            .is_some_and(|note| note.contains("once more leaves")),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_second_interrupt_leaves_at_once() {
    interrupted_twice(false, &["POST /api/flows/work/actions/wait "]);
}

#[test]
fn a_stream_that_is_asked_for_again_can_be_interrupted() {
    let again = "GET /api/flows/work/requests/r/stream ";
    interrupted_twice(true, &["POST /api/flows/work/actions/wait ", again]);
}

#[test]
fn what_a_server_says_is_no_command_to_a_terminal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut line = String::new();
        let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
        reader.read_line(&mut line).expect("a line");
        let body = r#"{"error": "no\u001b[2J\u009b such thing"}"#;
        let answer = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).expect("written");
        // Until the other side has all of it.
        let _ = reader.lines().count();
    });
    let refused = ran(
        &folder.path().join("data"),
        &["run", "work", "wait", "--text", "--url", &url],
    )
    .with(2);
    assert_eq!(refused.stderr, "flowstate: no\u{fffd}[2J\u{fffd} such thing\n");
}
