//! Beside a server: what may look, and what must wait.

use std::io::{BufRead, BufReader};

use flowstate_tests::process::command;
use serde_json::Value;

use super::{BINARY, chat, refused, serve, stop, text, told};

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_works_beside_a_server_and_what_changes_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let server = serve(&data);
    chat(&server, "u", "s", "r", "hello").await;

    assert_eq!(told(&data, &["inspect"])["streams"]["live"], 1);
    assert!(told(&data, &["stats"])["records"].as_u64() > Some(10));
    assert_eq!(told(&data, &["verify"])["ok"], true);
    let export = folder.path().join("export");
    let exported = told(&data, &["export", "--session", "s", text(&export)]);
    assert_eq!(exported["streams"], 1, "{exported}");

    for call in [
        &["cluster"][..],
        &["rebuild"],
        &["trim", "--all", "--keep-last", "1"],
        &["erase", "u", "--yes"],
        &["import", text(&export), "--as-new-names", "x-"],
    ] {
        let said = refused(&data, call, 3);
        assert!(said.contains("in use by another process"), "{call:?}: {said}");
    }
    chat(&server, "u", "s", "r2", "still there?").await;
    stop(server);
    told(&data, &["cluster"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_follows_a_server_without_gaps() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = serve(folder.path());
    chat(&server, "u", "s", "r0", "before").await;
    let mut tail = command(
        BINARY,
        folder.path(),
        &["log", "--json", "tail", "--session", "s", "--from", "1", "--follow"],
    )
    .spawn()
    .expect("the binary starts");
    let mut lines = BufReader::new(tail.stdout.take().expect("stdout")).lines();
    let reader = std::thread::spawn(move || {
        let mut positions = Vec::new();
        let mut completed = 0;
        while completed < 4 {
            let line = lines.next().expect("a line").expect("a line");
            let record: Value = serde_json::from_str(&line).expect("JSON");
            positions.push(record["position"].as_u64().expect("a position"));
            completed += u64::from(record["kind"] == 30);
        }
        positions
    });
    for number in 1..4 {
        chat(&server, "u", "s", &format!("r{number}"), "and then?").await;
        chat(&server, "u", "another", &format!("other-{number}"), "nothing of this").await;
    }
    let positions = tokio::task::spawn_blocking(move || reader.join().expect("all lines"))
        .await
        .expect("joined");
    assert_eq!(positions, (1..=positions.len() as u64).collect::<Vec<_>>());
    tail.kill().expect("kill");
    tail.wait().expect("wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_a_server_is_restored_and_served() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, backup, restored) = (
        folder.path().join("data"),
        folder.path().join("backup"),
        folder.path().join("restored"),
    );
    let server = serve(&data);
    chat(&server, "u", "s", "r1", "the first").await;
    let full = told(&data, &["backup", text(&backup)]);
    chat(&server, "u", "s", "r2", "the second").await;
    let more = told(&data, &["backup", text(&backup)]);
    assert!(
        full["before"].is_null() && more["before"] == full["head"],
        "{full} {more}"
    );
    stop(server);

    let report = told(&data, &["restore", text(&backup), "--to", text(&restored)]);
    assert_eq!(report["backup"], more["head"], "{report}");
    assert_eq!(told(&restored, &["verify"])["ok"], true);
    let said = refused(&data, &["restore", text(&backup), "--to", text(&restored)], 2);
    assert!(said.contains("not empty"), "{said}");
    let server = serve(&restored);
    let url = format!("{}/api/flows/hello-chat/requests/r2/stream", server.url);
    let frames = flowstate_tests::http::fetch(url)
        .await
        .expect("a stream")
        .text()
        .await
        .expect("a body");
    assert!(frames.contains("request.completed"), "{frames}");
    stop(server);
}
