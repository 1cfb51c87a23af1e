//! `sessions` and `tail`: the same beside a server as on a folder that nobody has open.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Ran, prepared, ran, serve};

/// Chats in a session.
fn chat(folder: &std::path::Path, user: &str, session: &str, request: &str, more: &[&str]) {
    let arguments = ["run", "hello-chat", "chat", "--input", r#"{"message": "hello"}"#];
    let who = ["--user", user, "--session", session, "--request", request];
    ran(folder, &[&arguments[..], &who, more].concat()).with(0);
}

#[test]
fn sessions_are_listed_shown_and_deleted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    chat(&data, "ann", "s1", "r1", &[]);
    chat(&data, "bob", "s2", "r2", &[]);
    chat(&data, "ann", "s1", "r3", &[]);
    let server = serve(&data, &[]);
    let beside = ["--url", server.url.as_str()];
    let all = |place: &[&str]| {
        let call = |arguments: &[&str]| ran(&data, &[arguments, place].concat()).with(0);
        let listed = call(&["sessions", "--json"]).lines();
        let ids: Vec<_> = listed
            .iter()
            .map(|session| (session["id"].clone(), session["requestCount"].clone()))
            .collect();
        assert_eq!(ids, [(json!("s1"), json!(2)), (json!("s2"), json!(1))]);
        assert_eq!(call(&["sessions", "--user", "bob", "--json"]).json()["id"], "s2");
        assert_eq!(call(&["sessions", "--limit", "1", "--json"]).json()["id"], "s1");
        assert_eq!(call(&["sessions", "--flow", "work", "--json"]).stdout, "");
        let table = call(&["sessions"]).stdout;
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0][..4], ["SESSION", "FLOW", "USER", "REQUESTS"]);
        assert_eq!(lines[1][..4], ["s1", "hello-chat", "ann", "2"]);
        let shown = call(&["sessions", "show", "s1", "--json"]).json();
        let requests: Vec<_> = shown["requests"]
            .as_array()
            .expect("requests")
            .iter()
            .map(|request| &request["id"])
            .collect();
        assert_eq!(requests, ["r3", "r1"]);
        assert_eq!(shown["items"]["byType"]["message"], 4, "{shown}");
        let text = call(&["sessions", "show", "s1"]).stdout;
        assert!(
            text.contains("r3") && text.contains("4 message") && text.contains("completed"),
            "{text}"
        );
    };
    all(&beside);
    let locked = ran(&data, &["sessions"]).with(3);
    assert!(locked.stderr.contains("--url"), "{}", locked.stderr);
    drop(server);
    all(&[]);

    let asked = ran(&data, &["sessions", "delete", "s1"]).with(2);
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    assert_eq!(
        ran(&data, &["sessions", "delete", "s1", "--yes", "--json"])
            .with(0)
            .json()["deleted"],
        "s1"
    );
    assert_eq!(ran(&data, &["sessions", "--json"]).with(0).json()["id"], "s2");
    let gone = ran(&data, &["sessions", "show", "s1", "--json"]).with(2).failure();
    assert_eq!(gone["code"], "session_not_found", "{gone}");
    let nothing = ran(&folder.path().join("nothing"), &["sessions"]).with(2);
    assert!(nothing.stderr.contains("--data-dir"), "{}", nothing.stderr);
    assert!(!folder.path().join("nothing").exists());
}

#[test]
fn a_session_is_told_from_any_position_and_a_request_from_any_number() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    chat(&data, "ann", "s", "r1", &[]);
    chat(&data, "ann", "s", "r2", &[]);
    let whole = ran(&data, &["tail", "s", "--json"]).with(0).lines();
    let of = |events: &[Value], request: &str| -> Vec<Value> {
        events
            .iter()
            .filter(|event| event["requestId"] == request)
            .cloned()
            .collect()
    };
    let second = ran(&data, &["tail", "--request", "r2", "--json"]).with(0).lines();
    assert_eq!(of(&whole, "r2"), second);
    assert_eq!(of(&whole, "r1").len() + second.len(), whole.len());
    let number = second[3]["sequence_number"].as_u64().expect("a number");
    let rest = ran(
        &data,
        &["tail", "--request", "r2", "--json", "--from", &number.to_string()],
    )
    .with(0)
    .lines();
    assert_eq!(rest, second[3..]);
    let beyond = ran(&data, &["tail", "s", "--json", "--from", "100000"]).with(0);
    assert_eq!(beyond.stdout, "");
    let text = ran(&data, &["tail", "s"]).with(0).stdout;
    assert_eq!(text.matches("user: hello\nassistant: ").count(), 2, "{text}");
    for unknown in [&["tail", "nothing"][..], &["tail", "--request", "nothing"]] {
        let refused = ran(&data, unknown).with(2);
        assert!(refused.stderr.contains("nothing"), "{}", refused.stderr);
    }
    ran(&data, &["tail"]).with(2);
    ran(&data, &["tail", "s", "--follow"]).with(2);
}

#[test]
fn a_session_of_more_than_a_thousand_events_is_told_whole_without_waiting() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let mut told = Vec::new();
    for request in ["r1", "r2", "r3"] {
        let many = ["run", "work", "many", "--input", "400", "--session", "s", "--json"];
        let ran = ran(&data, &[&many[..], &["--request", request]].concat()).with(0);
        told.extend(ran.lines());
    }
    assert!(told.len() > 1_000, "{}", told.len());
    let whole = |place: &[&str]| {
        let (sender, ended) = std::sync::mpsc::channel();
        let mut command = prepared(&data, &[&["tail", "s", "--json"], place].concat());
        std::thread::spawn(move || sender.send(command.output()));
        // Less than a poll may wait.
        let output = ended.recv_timeout(Duration::from_secs(20)).expect("it ends");
        Ran::of(output.expect("the binary starts")).with(0).lines()
    };
    let here = whole(&[]);
    assert!(here == told, "{} of {}", here.len(), told.len());
    let server = serve(&data, &[]);
    let there = whole(&["--url", &server.url]);
    assert!(there == told, "{} of {}", there.len(), told.len());
}

#[test]
fn a_session_of_a_server_is_followed_as_it_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let server = serve(&data, &[]);
    let beside = ["--url", server.url.as_str()];
    chat(&data, "ann", "s", "r1", &beside);
    let follow = [&["tail", "s", "--follow", "--json"], &beside[..]].concat();
    let mut tail = prepared(&data, &follow).spawn().expect("the binary starts");
    let mut lines = BufReader::new(tail.stdout.take().expect("stdout"))
        .lines()
        .map_while(Result::ok);
    let mut until = |end: &str| {
        let mut told = Vec::new();
        for line in lines.by_ref() {
            let event: Value = serde_json::from_str(&line).expect("JSON");
            let is_end = event["type"] == "request.completed" && event["requestId"] == end;
            told.push(event);
            if is_end {
                return told;
            }
        }
        panic!("it ended before {end}");
    };
    let first = until("r1");
    chat(&data, "ann", "s", "r2", &beside);
    let second = until("r2");
    tail.kill().expect("killed");
    tail.wait().expect("it ends");
    let whole = ran(&data, &[&["tail", "s", "--json"], &beside[..]].concat())
        .with(0)
        .lines();
    assert_eq!([first, second].concat(), whole);
    // A request that has ended is followed to its end.
    let ended = ran(
        &data,
        &[&["tail", "--request", "r2", "--follow", "--json"], &beside[..]].concat(),
    )
    .with(0);
    assert_eq!(
        ended.lines().last().map(|event| &event["type"]),
        Some(&json!("request.completed"))
    );
}
