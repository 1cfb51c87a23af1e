//! Erasing a user, and looking whether it worked.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{chat, log, refused, serve, stop, text, told};

/// Files below a folder that hold some bytes.
fn holding(folder: &Path, what: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("read the folder") {
        let path = entry.expect("read the folder").path();
        if path.is_dir() {
            found.extend(holding(&path, what));
        } else if fs::read(&path)
            .expect("read")
            .windows(what.len())
            .any(|window| window == what.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_said_is_gone_from_every_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let secret = "my locker at the station opens with 4711";
    let server = serve(folder);
    chat(&server, "alice", "s-alice", "r1", secret).await;
    chat(&server, "bob", "s-bob", "r2", "what bob said stays where it is").await;
    chat(&server, "alice", "s-alice", "r3", "and another thing about the locker").await;
    stop(server);
    assert!(!holding(folder, secret).is_empty());
    let kept = told(folder, &["stats"])["records"].as_u64();

    let said = refused(folder, &["erase", "alice"], 2);
    assert!(said.contains("--yes") && said.contains("nothing was changed"), "{said}");
    assert_eq!(told(folder, &["stats"])["records"].as_u64(), kept);

    // Something that no command knows of holds it too.
    fs::write(folder.join("notes.txt"), secret).expect("write");
    let said = refused(folder, &["erase", "alice", "--yes"], 1);
    assert!(said.contains("1 files"), "{said}");
    assert_eq!(
        holding(folder, secret),
        [folder.join("notes.txt").display().to_string()]
    );
    fs::remove_file(folder.join("notes.txt")).expect("remove");
    let said = refused(folder, &["erase", "alice", "--yes"], 2);
    assert!(said.contains("nothing in the folder"), "{said}");
    let out = log(folder, &["export", "-"]).stdout;
    assert!(!out.contains("alice") && out.contains("what bob said"), "{out}");
    assert_eq!(told(folder, &["verify"])["ok"], json!(true));

    let server = serve(folder);
    let list = format!("{}/api/flows/sessions", server.url);
    let listed = flowstate_tests::http::fetch(list)
        .await
        .expect("a list")
        .text()
        .await
        .expect("a body");
    assert!(!listed.contains("alice") && listed.contains("s-bob"), "{listed}");
    stop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_tells_what_it_looked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let server = serve(folder);
    chat(&server, "alice", "s-alice", "r1", "only alice would say it like this").await;
    chat(&server, "bob", "s-bob", "r2", "and bob says it his own way").await;
    stop(server);
    let erased = told(folder, &["erase", "alice", "--yes"]);
    assert_eq!(
        (&erased["streams"], &erased["user"]),
        (&json!(1), &json!("alice")),
        "{erased}"
    );
    let proof = &erased["proof"];
    assert!(
        proof["texts"].as_u64() > Some(0) && proof["files"].as_u64() > Some(3),
        "{erased}"
    );
    assert_eq!((&proof["records_left"], &proof["files_left"]), (&json!(0), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_without_what_was_erased_since() {
    let folders = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folders.path().join(name);
    let (data, backup) = (at("data"), at("backup"));
    let secret = "what alice said before the backup";
    let server = serve(&data);
    chat(&server, "alice", "s-alice", "r1", secret).await;
    chat(&server, "bob", "s-bob", "r2", "what bob said").await;
    stop(server);
    told(&data, &["backup", text(&backup)]);
    told(&data, &["erase", "alice", "--yes"]);

    let (with, without) = (at("with"), at("without"));
    let restored = told(&data, &["restore", text(&backup), "--to", text(&with)]);
    assert_eq!(restored["streams_erased"], 0, "{restored}");
    assert!(
        log(&with, &["export", "-"]).stdout.contains(secret),
        "a backup is what it was"
    );
    let arguments = [
        "restore",
        text(&backup),
        "--to",
        text(&without),
        "--erasures-from",
        text(&data),
    ];
    let restored = told(&data, &arguments);
    assert_eq!(restored["streams_erased"], 1, "{restored}");
    assert_eq!(holding(&without, secret), Vec::<String>::new());
    let left = log(&without, &["export", "-"]).stdout;
    assert!(!left.contains(secret) && left.contains("what bob said"), "{left}");
    assert_eq!(told(&without, &["verify"])["ok"], json!(true));

    let (third, absent) = (at("third"), at("nowhere"));
    let nowhere = [
        "restore",
        text(&backup),
        "--to",
        text(&third),
        "--erasures-from",
        text(&absent),
    ];
    let said = refused(&data, &nowhere, 2);
    assert!(said.contains("nowhere"), "{said}");
}
