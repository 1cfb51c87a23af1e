//! What only looks: inspect, tail, stats, verify; and calls that are wrong.

use std::fs;

use flowstate_log::append::Append;
use flowstate_tests::log::{note, part};
use flowstate_tests::process::command;
use serde_json::json;

use super::{BINARY, append, lines, log, open, refused, text, told, varied};

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_is_told_and_not_changed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    varied(folder).await;
    let before = contents(folder);

    let inspected = told(folder, &["inspect"]);
    assert_eq!(inspected["streams"]["live"], 4, "{inspected}");
    assert_eq!(inspected["streams"]["forks"], 1);
    assert_eq!(inspected["blobs"], 1);
    assert_eq!(
        (
            inspected["clean"].as_bool(),
            inspected["damage"].as_array().map(Vec::len)
        ),
        (Some(true), Some(0))
    );
    assert!(inspected["tip"]["commit"].as_u64() >= Some(604), "{inspected}");
    let shown = log(folder, &["inspect"]);
    assert_eq!(shown.code, Some(0));
    for word in ["store", "chain", "slot", "bytes"] {
        assert!(shown.stdout.contains(word), "{}", shown.stdout);
    }

    let stats = told(folder, &["stats", "--largest", "2"]);
    let largest = stats["largest"].as_array().expect("streams");
    assert_eq!((largest.len(), &largest[0]["shown"]), (2, &json!("b")), "{stats}");
    assert_eq!(stats["records"], 3 + 4 + 2 + 600, "{stats}");
    assert_eq!(stats["indexed_records"], stats["records"]);

    let (verified, code) = lines(folder, &["verify"]);
    assert_eq!((code, &verified[0]["ok"]), (Some(0), &json!(true)), "{verified:?}");
    assert!(contents(folder) == before, "looking changed something");
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_shows_the_last_records_or_those_from_a_position() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    varied(folder).await;
    let (last, _) = lines(folder, &["tail"]);
    let texts: Vec<_> = last
        .iter()
        .map(|line| line["text"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        texts,
        (590..600).map(|number| format!("number {number}")).collect::<Vec<_>>()
    );

    let (from, _) = lines(folder, &["tail", "--stream", "many", "--from", "599"]);
    let positions: Vec<_> = from.iter().map(|line| line["position"].as_u64()).collect();
    assert_eq!(positions, [Some(599), Some(600)]);
    let (all, _) = lines(folder, &["tail", "--from", "1"]);
    assert_eq!(all.len(), 609);
    assert_eq!(
        (&all[0]["stream_name"]["name"], &all[1]["sub_stream"]["number"]),
        (&json!("a"), &json!(1))
    );
    assert_eq!(all[3]["bytes"], "009f9296", "bytes that are no text");
    let shown = log(folder, &["tail", "--stream", "many"]).stdout;
    assert_eq!(shown.lines().count(), 10);
    assert!(shown.contains("many#600") && shown.contains("number 599"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_was_kept_finds_a_folder_that_was_rolled_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    varied(&data).await;
    let older = folder.path().join("older");
    copy(&data, &older);
    let log = open(&data);
    append(&log, Append::of(vec![part("a", vec![note("more")])])).await;
    log.close().await;
    drop(log);
    let head = folder.path().join("head");
    told(&data, &["verify", "--write-head", text(&head)]);
    told(&data, &["verify", "--head", text(&head)]);
    let said = refused(&older, &["verify", "--head", text(&head)], 1);
    assert!(said.contains("findings"), "{said}");
    fs::write(&head, "no head").expect("write");
    let said = refused(&data, &["verify", "--head", text(&head)], 2);
    assert!(said.contains("can't be read"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_are_told_apart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let absent = folder.path().join("absent");
    for call in [
        &["inspect"][..],
        &["tail"],
        &["verify"],
        &["stats"],
        &["rebuild"],
        &["cluster"],
        &["export", "-"],
    ] {
        let said = refused(&absent, call, 2);
        assert!(said.contains("--data-dir"), "{call:?}: {said}");
    }
    assert!(!absent.exists(), "looking made a folder");
    varied(&data).await;
    let file = folder.path().join("file");
    fs::write(&file, "x").expect("write");
    for (call, hint) in [
        (&["tail", "--stream", "nothing"][..], "no stream"),
        (&["export", "--session", "nothing", "-"], "no stream"),
        (&["export", text(&file)], "exists already"),
        (&["import", "-"], "file"),
        (&["trim", "--all"], "--before"),
        (&["trim", "--keep-last", "1"], "--all"),
        (&["trim", "--older-than", "3 days", "--all"], "30d"),
        (&["trim", "--before", "5", "--all"], "--all"),
        (&["erase", "nobody", "--yes"], "nothing in the folder"),
        (&["erase", ""], "USER"),
        (&["backup", text(&data.join("log/backup"))], "inside"),
        (&["restore", text(&absent), "--to", text(&absent)], "no backup"),
        (&["nonsense"], "nonsense"),
    ] {
        let said = refused(&data, call, 2);
        assert!(said.contains(hint), "{call:?}: {said}");
    }
}

#[test]
fn flags_of_a_server_are_refused_beside_a_tool() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pairs = [
        ["--store", "fjall"],
        ["--listen", "127.0.0.1:1"],
        ["--allow-host", "example.com"],
        ["--allow-origin", "https://example.com"],
        ["--scripted-tokens-per-second", "9"],
    ];
    for [flag, value] in pairs {
        let ran = command(BINARY, folder.path(), &[flag, value, "log", "inspect"]).output();
        let ran = ran.expect("the binary starts");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{flag}: {said}");
        assert!(said.contains(flag) && said.contains("flowstate log"), "{said}");
    }
}

/// Everything in a folder.
fn contents(folder: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("read the folder") {
        let path = entry.expect("read the folder").path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.clone(), fs::read(&path).expect("read"))),
        }
    }
    found.sort();
    found
}

/// Copies a folder.
pub(super) fn copy(from: &std::path::Path, to: &std::path::Path) {
    for (path, bytes) in contents(from) {
        let place = to.join(path.strip_prefix(from).expect("below"));
        fs::create_dir_all(place.parent().expect("a folder")).expect("make the folder");
        fs::write(place, bytes).expect("write");
    }
}
