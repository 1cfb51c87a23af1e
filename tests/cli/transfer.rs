//! Export and import.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::look::copy;
use super::{chat, log, open, refused, serve, stop, text, told, varied};

/// The lines of an export.
fn exported(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("read");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// Its records without what the log that has them gives: ids of streams, commits and times.
fn records(file: &Path) -> Vec<Value> {
    let mut records: Vec<Value> = exported(file)
        .into_iter()
        .filter(|line| line["type"] == "record")
        .collect();
    let mut names = std::collections::HashMap::new();
    for record in &records {
        if let Some(name) = record["stream_name"]["name"].as_str() {
            names.insert(record["stream"].to_string(), name.to_owned());
        }
    }
    for record in &mut records {
        record["stream"] = json!(names[&record["stream"].to_string()]);
        if let Some(parent) = record["parent"]["stream"].as_str() {
            let parent = json!(parent).to_string();
            record["parent"]["stream"] = json!(names[&parent]);
        }
        let fields = record.as_object_mut().expect("an object");
        fields.retain(|field, _| !["commit", "index", "time_us", "check"].contains(&field.as_str()));
    }
    records.sort_by_key(|record| (record["stream"].to_string(), record["position"].as_u64()));
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_exported_and_imported_exports_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = |name: &str| folder.path().join(name);
    let (data, other) = (place("data"), place("other"));
    varied(&data).await;
    let first = told(&data, &["export", text(&place("first"))]);
    assert_eq!(
        (&first["streams"], &first["records"]),
        (&json!(4), &json!(609)),
        "{first}"
    );
    let imported = told(&other, &["import", text(&place("first"))]);
    assert_eq!(
        (&imported["records"], &imported["repeated"]),
        (&json!(609), &json!(0)),
        "{imported}"
    );
    told(&other, &["export", text(&place("second"))]);
    let (one, two) = (records(&place("first")), records(&place("second")));
    assert_eq!(one.len(), 609);
    assert!(one == two, "{:?}", one.iter().zip(&two).find(|(one, two)| one != two));
    assert!(one.iter().any(|record| record["repeatable"].is_object()));

    // Once more: everything is there already, and nothing is appended.
    let again = told(&other, &["import", text(&place("first"))]);
    assert_eq!(
        (&again["records"], &again["repeated"]),
        (&json!(609), &json!(609)),
        "{again}"
    );
    told(&other, &["export", text(&place("third"))]);
    assert!(records(&place("third")) == two);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_brings_what_it_continues() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    varied(&data).await;
    let file = folder.path().join("file");
    told(&data, &["export", "--stream", "fork of a", text(&file)]);
    let found: std::collections::BTreeSet<String> = records(&file)
        .iter()
        .map(|record| record["stream"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "fork of a"]);
    let out = log(&data, &["export", "--stream", "a", "-"]).stdout;
    assert_eq!(out.lines().count(), 1 + 3 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_cut_or_changed_is_refused_before_anything_is_appended() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    varied(&data).await;
    let file = folder.path().join("file");
    told(&data, &["export", text(&file)]);
    let whole = fs::read_to_string(&file).expect("read");
    let lines: Vec<&str> = whole.lines().collect();
    let without = |number: usize| {
        let mut lines = lines.clone();
        lines.remove(number);
        lines.join("\n") + "\n"
    };
    let swapped = {
        let mut lines = lines.clone();
        lines.swap(600, 601);
        lines.join("\n") + "\n"
    };
    for (what, changed) in [
        ("cut in a line", whole[..whole.len() / 2].to_owned()),
        ("no trailer", without(lines.len() - 1)),
        ("no header", without(0)),
        ("a line less", without(lines.len() - 5)),
        ("a word changed", whole.replace("number 77", "number 78")),
        ("two lines swapped", swapped),
        ("more behind it", format!("{whole}{}\n", lines[5])),
        ("something else", "{}\n".to_owned()),
        ("nothing", String::new()),
    ] {
        fs::write(&file, changed).expect("write");
        let said = refused(&other, &["import", text(&file)], 1);
        assert!(said.contains("nothing was imported"), "{what}: {said}");
        assert!(!other.exists(), "{what}: a log was made");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_exist_are_refused_or_get_other_names() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    varied(&data).await;
    let file = folder.path().join("file");
    told(&data, &["export", text(&file)]);
    let said = refused(&data, &["import", text(&file)], 1);
    assert!(
        said.contains("exist already") && said.contains("--as-new-names"),
        "{said}"
    );
    let imported = told(&data, &["import", text(&file), "--as-new-names", "copy of "]);
    assert_eq!(imported["records"], 609, "{imported}");
    assert_eq!(told(&data, &["inspect"])["streams"]["live"], 8);
    let again = told(&data, &["import", text(&file), "--as-new-names", "copy of "]);
    assert_eq!(again["repeated"], 609, "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_under_another_name_is_served_as_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let server = serve(&data);
    chat(&server, "u", "s", "r", "say it again").await;
    stop(server);
    let file = folder.path().join("file");
    told(&data, &["export", "--session", "s", text(&file)]);
    told(&data, &["import", text(&file), "--as-new-names", "old-"]);
    let server = serve(&data);
    let listed = flowstate_tests::http::fetch(format!("{}/api/flows/sessions", server.url))
        .await
        .expect("a list");
    let listed: Value = serde_json::from_str(&listed.text().await.expect("a body")).expect("JSON");
    let ids = listed["sessions"]
        .as_array()
        .expect("sessions")
        .iter()
        .map(|session| session["id"].as_str());
    let ids: std::collections::BTreeSet<_> = ids.flatten().collect();
    assert_eq!(ids, ["old-s", "s"].into(), "{listed}");
    let stream = format!("{}/api/flows/hello-chat/requests/old-r/stream", server.url);
    let frames = flowstate_tests::http::fetch(stream)
        .await
        .expect("a stream")
        .text()
        .await
        .expect("a body");
    assert!(frames.contains("request.completed"), "{frames}");
    chat(&server, "u", "old-s", "r2", "and go on with it").await;
    stop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_interrupted_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    varied(&data).await;
    let file = folder.path().join("file");
    told(&data, &["export", text(&file)]);
    told(&other, &["import", text(&file)]);
    // As it was when only the oldest commits had been made: the segments' bytes behind them are not there.
    let partly = folder.path().join("partly");
    fs::create_dir_all(&partly).expect("make the folder");
    let (all, _) = super::lines(&other, &["tail", "--from", "1"]);
    let first = all.iter().find(|line| line["repeatable"].is_object()).expect("a key");
    // Another folder gets the first batches by hand, with the import's own keys.
    let log = open(&partly);
    let stream = first["stream"].clone();
    let batch: Vec<_> = all
        .iter()
        .filter(|line| line["stream"] == stream && line["commit"] == first["commit"])
        .collect();
    let key = first["repeatable"]["key"].as_str().expect("a key");
    let key: Vec<u8> = (0..key.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&key[at..at + 2], 16).expect("hex"))
        .collect();
    let records = batch.iter().map(|line| match line["sub_stream_name"]["name"].as_str() {
        Some(sub) => super::sub_note(
            super::SubStreamId([1; 16]),
            Some(sub),
            line["text"].as_str().expect("text").to_owned(),
        ),
        None if line["sub_stream"].is_object() => super::sub_note(
            super::SubStreamId([1; 16]),
            None,
            line["text"].as_str().expect("text").to_owned(),
        ),
        None => super::note(line["text"].as_str().expect("text").to_owned()),
    });
    let append = flowstate_log::append::Append {
        parts: vec![super::part(
            first["stream_name"]["name"].as_str().expect("a name"),
            records.collect(),
        )],
        key: flowstate_log::record::IdempotencyKey::new(&key),
    };
    super::append(&log, append).await;
    log.close().await;
    drop(log);

    let imported = told(&partly, &["import", text(&file)]);
    assert_eq!(
        (&imported["records"], &imported["repeated"]),
        (&json!(609), &json!(batch.len())),
        "{imported}"
    );
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    told(&other, &["export", text(&one)]);
    told(&partly, &["export", text(&two)]);
    assert!(records_equal(&one, &two));
}

fn records_equal(one: &Path, two: &Path) -> bool {
    records(one) == records(two)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_folder_is_exported_around_the_damage() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, damaged, other) = (
        folder.path().join("data"),
        folder.path().join("damaged"),
        folder.path().join("other"),
    );
    varied(&data).await;
    copy(&data, &damaged);
    let slot = fs::read_dir(damaged.join("log"))
        .expect("read the folder")
        .map(|entry| entry.expect("read the folder").path())
        .find(|path| {
            let bytes = fs::read(path).expect("read");
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("slot-"))
                && find(&bytes, b"number 300").is_some()
        })
        .expect("the segment with the records");
    let mut bytes = fs::read(&slot).expect("read");
    let at = find(&bytes, b"number 300").expect("the record");
    bytes[at] ^= 1;
    fs::write(&slot, bytes).expect("write");

    let file = folder.path().join("file");
    let said = refused(&damaged, &["export", text(&file)], 1);
    assert!(said.contains("--around-damage"), "{said}");
    assert!(!file.exists(), "half an export is there");
    assert_eq!(
        fs::read_dir(folder.path()).expect("read").count(),
        2,
        "something is left behind"
    );
    let said = refused(&damaged, &["verify"], 1);
    assert!(said.contains("findings"), "{said}");

    let said = refused(&damaged, &["export", "--around-damage", text(&file)], 1);
    assert!(said.contains("left out"), "{said}");
    let lines = exported(&file);
    assert!(lines.iter().any(|line| line["type"] == "damage"));
    let texts: Vec<_> = lines.iter().filter_map(|line| line["text"].as_str()).collect();
    assert!(!texts.contains(&"number 300") && texts.contains(&"number 299") && texts.contains(&"number 301"));

    let said = refused(&other, &["import", text(&file)], 1);
    assert!(said.contains("--partial"), "{said}");
    let imported = told(&other, &["import", "--partial", text(&file)]);
    assert_eq!(imported["records"], 3 + 4 + 2 + 300, "{imported}");
    assert_eq!(imported["left_out"][0]["records"], 299, "{imported}");
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
