//! Keys are told nobody: not in errors, not in what is traced, not in what is shown of a route, whatever a provider says.

use std::io::Write;
use std::sync::Arc;

use flowstate_engine::model::{ModelError, Protocol};
use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use super::failures::refusal;
use super::server::{End, Reply, Server};
use super::support::{Answer, KEY, PROTOCOLS, ask, question, recording, route};

/// The value of a header of the route that is a credential too.
const TOKEN: &str = "marker-token-55aa";

/// All that is traced, at every level.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Traced {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// All ways in which a call fails, with providers that repeat what they were sent.
fn replies(protocol: Protocol) -> Vec<Reply> {
    let echo = format!("Incorrect key {KEY} ({TOKEN}).");
    let half = recording(protocol, "text")
        .split("世")
        .next()
        .expect("a half")
        .to_owned();
    let mut replies: Vec<_> = [400, 401, 403, 404, 429, 500, 529, 302]
        .map(|status| refusal(protocol, status, &echo))
        .to_vec();
    replies.extend([
        Reply::status(401, echo.clone()).header("x-echo", KEY),
        Reply::status(500, format!("{{\"{KEY}\":")),
        Reply::events(recording(protocol, "error")),
        Reply::events(recording(protocol, "malformed").replace(
            "data: {\"id\":\"chatcmpl-BxQ2\",\"choices\":[{\"index\":0,\"del\n",
            &format!("data: {{{KEY}\n"),
        )),
        Reply::events(format!("data: {{\"{KEY}\n\n")),
        Reply::events(format!("data: {{\"type\":\"{KEY}\",\"object\":\"{KEY}\"}}\n\n")),
        Reply::events(half).then(End::Closed),
        Reply::events("").header("content-type", format!("text/{KEY}")),
        Reply::events("").then(End::Gone),
        Reply::events("").then(End::Mute),
        Reply::events("").then(End::Silence),
    ]);
    replies
}

#[tokio::test]
async fn nothing_tells_a_key() {
    let traced = Traced::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(traced.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).expect("the only subscriber");
    tracing::info!("something is traced");
    for protocol in PROTOCOLS {
        for reply in replies(protocol) {
            let server = Server::start([reply]).await;
            let url = server.url.replace("//", &format!("//user:{KEY}@"));
            let mut way = route(protocol, &url);
            way.headers = vec![("proxy-authorization".to_owned(), format!("Bearer {TOKEN}"))];
            way.timeouts.first_byte = std::time::Duration::from_millis(100);
            let answer = Answer::of(ask(&way, question()).await);
            let error = answer.error();
            silent(error);
            let shown = format!("{way:?}");
            assert!(!shown.contains(KEY) && !shown.contains(TOKEN), "{shown}");
        }
    }
    let traced = String::from_utf8_lossy(&traced.0.lock()).into_owned();
    assert!(traced.contains("something is traced"));
    for line in traced.lines() {
        assert!(!line.contains(KEY) && !line.contains(TOKEN), "{line}");
    }
}

fn silent(error: &ModelError) {
    for told in [
        format!("{error}"),
        format!("{error:?}"),
        serde_json::to_string(error).expect("JSON"),
    ] {
        assert!(!told.contains(KEY) && !told.contains(TOKEN), "{told}");
    }
}
