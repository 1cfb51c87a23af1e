//! API keys, from code and from a file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use axum::http::header;
use flowstate::auth::{ApiKey, ApiKeys};
use serde_json::json;

use super::{get, key, send, server, status};

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("write");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
}

fn file_of(keys: &[&ApiKey]) -> String {
    json!({ "keys": keys }).to_string()
}

#[tokio::test]
async fn a_call_needs_a_key_that_is_known_in_its_header() {
    let (entry, text) = key("one", "ann");
    let keys = ApiKeys::new();
    keys.add(entry).expect("a new key");
    let router = server()
        .authenticate(keys)
        .build()
        .expect("a server")
        .router()
        .expect("routes");

    let (_, unknown) = key("two", "ann");
    let mut other = text.clone();
    other.replace_range(4..5, if text.as_bytes()[4] == b'A' { "B" } else { "A" });
    for token in [
        "",
        &unknown,
        &other,
        &text[..text.len() - 1],
        &format!("{text}x"),
        &"x".repeat(100_000),
    ] {
        let (status, headers, body) = send(&router, get("/api/flows", token)).await;
        assert_eq!((status.as_u16(), &body["code"]), (401, &json!("unauthenticated")));
        assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer");
    }
    for query in ["token", "access_token", "api_key", "authorization"] {
        assert_eq!(
            status(&router, get(&format!("/api/flows?{query}={text}"), "")).await,
            401,
            "{query}"
        );
    }
    for path in ["/", "/nowhere", "/metrics", "/openapi.json"] {
        assert_eq!(status(&router, get(path, "")).await, 401, "{path}");
    }
    assert_eq!(status(&router, get("/api/flows", &text)).await, 200);
    assert_eq!(status(&router, get("/nowhere", &text)).await, 404);
    assert_eq!(status(&router, get("/metrics", &text)).await, 403);
    for path in ["/livez", "/readyz", "/api/flows/healthz"] {
        let status = status(&router, get(path, "")).await;
        assert!(status != 401 && status != 403, "{path}: {status}");
    }
}

#[tokio::test]
async fn several_authenticators_are_asked_in_turn() {
    let (first, first_text) = key("one", "ann");
    let (second, second_text) = key("one", "bob");
    let (all, others) = (ApiKeys::new(), ApiKeys::new());
    all.add(first).expect("a new key");
    others.add(second).expect("a new key");
    let server = server().authenticate(all).authenticate(others.clone());
    let router = server.build().expect("a server").router().expect("routes");
    for text in [&first_text, &second_text] {
        assert_eq!(status(&router, get("/api/flows", text)).await, 200);
    }
    assert!(others.remove("one") && !others.remove("one"));
    assert_eq!(status(&router, get("/api/flows", &second_text)).await, 401);
}

#[test]
fn a_key_is_long_and_only_its_digest_is_kept() {
    let (entry, text) = key("one", "ann");
    assert!(text.starts_with("fsk_") && text.len() >= 4 + 43, "{text}");
    assert_ne!(key("one", "ann").1, text);
    let kept = format!("{entry:?} {}", serde_json::to_string(&entry).expect("JSON"));
    assert!(!kept.contains(&text[4..]), "{kept}");
}

#[test]
fn a_file_that_others_may_read_or_that_is_no_list_of_keys_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    let (one, text) = key("one", "ann");
    let (two, _) = key("two", "bob");
    let good = file_of(&[&one, &two]);
    for mode in [0o644, 0o640, 0o604, 0o660, 0o620] {
        write(&path, &good, mode);
        let error = ApiKeys::from_file(&path).expect_err("refused").to_string();
        assert!(error.contains("chmod 600"), "{mode:o}: {error}");
    }
    let twice = ApiKey {
        name: "two".to_owned(),
        ..one.clone()
    };
    let short = ApiKey {
        hash: text.clone(),
        ..one.clone()
    };
    let nobody = ApiKey {
        user: String::new(),
        ..one.clone()
    };
    let unknown = good.replacen("\"name\"", "\"colour\":\"red\",\"name\"", 1);
    let repeated = good.replacen("\"name\"", "\"user\":\"eve\",\"name\"", 1);
    let in_clear = format!("{{\"keys\":[{{\"name\":\"one\",\"key\":\"{text}\",\"user\":\"ann\"}}]}}");
    for (text_of_file, says) in [
        (file_of(&[&one, &one]), "another key's"),
        (file_of(&[&one, &twice]), "another key's"),
        (file_of(&[&short]), "64 hexadecimal"),
        (file_of(&[&nobody]), "user is empty"),
        (unknown, "line 1 column"),
        (repeated, "line 1 column"),
        (in_clear, "line 1 column"),
        (String::new(), "line 1 column"),
    ] {
        write(&path, &text_of_file, 0o600);
        let error = ApiKeys::from_file(&path).expect_err("refused").to_string();
        assert!(error.contains(says), "{text_of_file}: {error}");
        assert!(
            !error.contains(&text),
            "the error repeats what was in the file: {error}"
        );
    }
    assert!(ApiKeys::from_file(folder.path()).is_err(), "a folder");
    assert!(ApiKeys::from_file(folder.path().join("none")).is_err(), "nothing");
    write(&path, &good, 0o600);
    assert!(ApiKeys::from_file(&path).is_ok());
}

#[tokio::test(start_paused = true)]
async fn keys_that_come_and_go_in_the_file_are_known_soon_and_a_broken_file_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    let ((one, first), (two, second)) = (key("one", "ann"), key("two", "bob"));
    write(&path, &file_of(&[&one]), 0o600);
    let keys = ApiKeys::from_file(&path).expect("keys");
    let router = server()
        .authenticate(keys)
        .build()
        .expect("a server")
        .router()
        .expect("routes");
    let who = async || {
        tokio::time::advance(Duration::from_secs(5)).await;
        [
            status(&router, get("/api/flows", &first)).await,
            status(&router, get("/api/flows", &second)).await,
        ]
    };
    assert_eq!(who().await, [200, 401]);
    write(&path, &file_of(&[&two]), 0o600);
    assert_eq!(who().await, [401, 200]);
    write(&path, "{", 0o600);
    assert_eq!(who().await, [401, 200]);
    write(&path, &file_of(&[&one]), 0o644);
    assert_eq!(who().await, [401, 200]);
    fs::remove_file(&path).expect("remove");
    assert_eq!(who().await, [401, 200]);
    write(&path, &file_of(&[&one, &two]), 0o600);
    assert_eq!(who().await, [200, 200]);
}
