//! Credentials are in no diagnostics, no record and no answer.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flowstate::auth::{ApiKey, ApiKeys, Identity, Jwt, JwtAlgorithm};
use flowstate::{Limits, lsm};
use parking_lot::Mutex;
use ring::hmac;
use tracing_subscriber::fmt::MakeWriter;

use super::{Server, builder, request, status};

/// Diagnostics as they would be printed.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Whether any file below has the text.
fn any_file_has(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => any_file_has(&path, text),
            false => has(&std::fs::read(&path).unwrap_or_default(), text),
        }
    })
}

// One thread, so that everything is printed by this subscriber.
#[tokio::test]
async fn a_credential_is_in_no_line_record_or_answer() {
    let written = Written::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(written.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let folder = tempfile::tempdir().expect("a folder");
    let keys = ApiKeys::new();
    let (key, good) = ApiKey::generate("one", &Identity::new("acme", "ann")).expect("a key");
    keys.add(key).expect("a new key");
    let (_, wrong) = ApiKey::generate("two", &Identity::new("acme", "ann")).expect("a key");
    let secret = "a-shared-secret-of-more-than-32-bytes";
    let jwt = Jwt::new()
        .secret(JwtAlgorithm::HS256, secret.as_bytes())
        .expect("a key");
    let builder = builder().store(lsm(folder.path())).authenticate(keys).authenticate(jwt);
    let server = Server::start(builder.limits(Limits::default())).await;

    let mut answers = Vec::new();
    let forged = format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.{}", &wrong[4..]);
    // Of nobody who can be served: its diagnostics say so.
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
        URL_SAFE_NO_PAD.encode(r#"{"sub":"a\u0000b","exp":4102444800}"#)
    );
    let signature = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        message.as_bytes(),
    );
    let signature = URL_SAFE_NO_PAD.encode(signature);
    let nobodys = format!("{message}.{signature}");
    let say = r#"{"input":"hello","requestId":"r"}"#;
    for (token, method, path, body) in [
        (&good, "POST", "/api/flows/chat/s/actions/say", say),
        (&good, "POST", "/api/flows/chat/s/actions/say", say),
        (&good, "POST", "/api/flows/chat/s/actions/say", "{"),
        (&good, "POST", "/api/flows/none/actions/say", "{}"),
        (&good, "GET", "/api/flows/chat/requests/r/stream", ""),
        (&good, "GET", "/api/flows/sessions/s/state?include_items=true", ""),
        (&good, "GET", "/metrics", ""),
        (&good, "GET", "/nowhere", ""),
        (&wrong, "GET", "/api/flows", ""),
        (&forged, "GET", "/api/flows", ""),
        (&nobodys, "GET", "/api/flows", ""),
    ] {
        let call = request(method, path, body).replacen("host:", &format!("authorization: Bearer {token}\r\nhost:"), 1);
        answers.push(server.send(call).await);
    }
    // Where they do not belong.
    answers.push(server.call("GET", &format!("/api/flows?access_token={good}"), "").await);
    answers.push(
        server
            .send(request("GET", "/api/flows", "").replacen(
                "host:",
                &format!("authorization: Basic {good}\r\nhost:"),
                1,
            ))
            .await,
    );
    let statuses: Vec<u16> = answers.iter().map(|answer| status(answer)).collect();
    assert_eq!(
        statuses,
        [202, 409, 400, 404, 200, 200, 403, 404, 401, 401, 401, 401, 401]
    );
    server.stop().await;

    let lines = written.0.lock().clone();
    let seen = has(&lines, "names nobody that can be served");
    assert!(seen, "the test sees diagnostics");
    assert!(any_file_has(folder.path(), "hello"), "the test reads records");
    for text in [&good[4..], &wrong[4..], secret, &signature] {
        assert!(!has(&lines, text), "diagnostics: {}", String::from_utf8_lossy(&lines));
        assert!(!any_file_has(folder.path(), text), "records");
        assert!(
            !answers.iter().any(|answer| answer.contains(text)),
            "answers: {answers:?}"
        );
    }
}
