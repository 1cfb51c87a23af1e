//! How the process starts and ends: signals, a second process, a taken port, an unwritable folder.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use flowstate_tests::http::take_frames;
use flowstate_tests::process::{Server, command};
use serde_json::json;

use super::BINARY;

fn refused(data: &Path, arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = command(BINARY, data, arguments).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert!(status.code().is_some_and(|code| code != 0), "it should refuse: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_open_streams_and_the_process_with_0() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut server = Server::start(BINARY, folder.path(), &["--scripted-tokens-per-second", "10"]);
        let http = flowstate_tests::http::client();
        let body = json!({ "input": { "message": "hello" }, "userId": "u", "requestId": "r" });
        let post = http
            .post(format!("{}/api/flows/hello-chat/s/actions/chat", server.url))
            .json(&body);
        assert_eq!(post.send().await.expect("an answer").status(), 202);
        let stream = format!("{}/api/flows/hello-chat/requests/r/stream", server.url);
        let mut open = http.get(&stream).send().await.expect("a stream");
        let mut received = open.chunk().await.expect("a chunk").expect("frames").to_vec();
        server.signal(signal);
        while let Ok(Some(chunk)) = open.chunk().await {
            received.extend_from_slice(&chunk);
        }
        let status = tokio::task::block_in_place(|| server.wait());
        assert_eq!(status.code(), Some(0), "SIG{signal}");

        let server = Server::start(BINARY, folder.path(), &[]);
        let stream = format!("{}/api/flows/hello-chat/requests/r/stream", server.url);
        let mut text = http
            .get(stream)
            .send()
            .await
            .expect("a stream")
            .text()
            .await
            .expect("a body");
        let (now, before) = (
            take_frames(&mut text),
            take_frames(&mut String::from_utf8(received).expect("text")),
        );
        assert!(now.starts_with(&before));
        assert_eq!(now.last().map(|frame| frame.kind()), Some("request.incomplete"));
    }
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let _server = Server::start(BINARY, folder.path(), &[]);
    let said = refused(folder.path(), &["--listen", "127.0.0.1:0"]);
    assert!(
        said.contains("in use by another process") && said.contains("--data-dir"),
        "{said}"
    );
}

#[test]
fn a_taken_port_and_an_unusable_folder_are_told_with_the_flag_that_helps() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let said = refused(&folder.path().join("a"), &["--listen", &address]);
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");

    // A file in the way can't be a folder, not even for root.
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("write");
    let said = refused(&file.join("data"), &["--listen", "127.0.0.1:0"]);
    assert!(said.contains("--data-dir"), "{said}");
    let said = refused(&folder.path().join("b"), &["--listen", "nonsense"]);
    assert!(said.contains("--listen"), "{said}");
}

#[test]
fn damage_is_refused_and_nothing_is_changed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut server = Server::start(BINARY, folder.path(), &[]);
    server.signal("TERM");
    assert!(server.wait().success());
    let manifest = folder.path().join("log/manifest");
    let mut bytes = Vec::new();
    std::fs::File::open(&manifest)
        .expect("open")
        .read_to_end(&mut bytes)
        .expect("read");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&manifest, &bytes).expect("write");
    let said = refused(folder.path(), &["--listen", "127.0.0.1:0"]);
    assert!(said.contains("damaged") && said.contains("manifest"), "{said}");
    assert_eq!(std::fs::read(&manifest).expect("read"), bytes);
}

#[test]
fn strangers_are_not_served_by_accident_and_keys_that_others_can_read_are_no_keys() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, keys) = (folder.path().join("data"), folder.path().join("keys.json"));
    std::fs::write(&keys, r#"{"keys":[]}"#).expect("write");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o644)).expect("permissions");
    let exposed = ["--listen", "0.0.0.0:0"];
    let said = refused(&data, &exposed);
    for part in ["--api-keys", "FLOWSTATE_API_KEYS", "--allow-unauthenticated-public"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let file = ["--api-keys", keys.to_str().expect("text")];
    let said = refused(&data, &[exposed, file].concat());
    assert!(said.contains("chmod 600") && said.contains("--api-keys"), "{said}");
    assert!(!data.exists(), "nothing was opened");

    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    for allowed in [&file[..], &["--allow-unauthenticated-public"]] {
        let mut command = command(BINARY, &data, &[&exposed[..], allowed].concat());
        let mut server = command.spawn().expect("the binary starts");
        let mut line = String::new();
        let mut said = BufReader::new(server.stdout.take().expect("stdout"));
        said.read_line(&mut line).expect("a line");
        assert!(line.contains("ready"), "{allowed:?}: {line}");
        server.kill().expect("kill");
        server.wait().expect("wait");
    }
}

#[test]
fn a_model_that_has_no_meaning_or_no_key_is_refused_before_anything_is_opened() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    for (name, parts) in [
        ("gtp-5", ["no model is named \"gtp-5\"", "provider/model"]),
        ("preset/fast", ["one model", "--model"]),
        ("openai/gpt-5-mini", ["openai/gpt-5-mini", "OPENAI_API_KEY"]),
    ] {
        let flag = refused(&data, &["--listen", "127.0.0.1:0", "--model", name]);
        let variable = command(BINARY, &data, &["--listen", "127.0.0.1:0"])
            .env("FLOWSTATE_MODEL", name)
            .output();
        let variable = variable.expect("the binary starts");
        assert!(!variable.status.success());
        for said in [flag, String::from_utf8_lossy(&variable.stderr).into_owned()] {
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
            assert!(said.contains("--model") && said.contains("FLOWSTATE_MODEL"), "{said}");
        }
    }
    let address = command(BINARY, &data, &["--listen", "127.0.0.1:0"])
        .env("OPENAI_BASE_URL", "example.org")
        .output();
    let said = String::from_utf8_lossy(&address.expect("the binary starts").stderr).into_owned();
    assert!(said.contains("OPENAI_BASE_URL"), "{said}");
    assert!(!data.exists());
}
