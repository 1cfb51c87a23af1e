//! What a server on a real socket does about callers who are slow, greedy, malformed or malicious, and that it goes on serving the others.

mod bodies;
mod exposure;
mod heads;
mod limits;
mod secrets;
mod texts;

use std::net::SocketAddr;
use std::time::Duration;

use flowstate::engine::model::ScriptedModel;
use flowstate::prelude::*;
use flowstate::{FlowState, FlowStateBuilder, Limits, memory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

fn builder() -> FlowStateBuilder {
    let answer = generator("answer").user(|input: &String, _ctx| input.clone());
    let chat = flow("chat").action("say", action(answer).user_message(String::clone));
    FlowState::builder()
        .flow(chat.instance("default").expect("a flow"))
        .models(Models::new())
        .model(ScriptedModel::new(0))
        .store(memory())
}

/// A server that listens.
struct Server {
    address: SocketAddr,
    state: FlowState,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(builder: FlowStateBuilder) -> Self {
        let state = builder.build().expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = state.clone();
        let serving = tokio::spawn(async move {
            let served = served.serve_on(listener, std::future::pending()).await;
            served.expect("loopback may be served");
        });
        Self {
            address,
            state,
            serving,
        }
    }

    async fn with(limits: Limits) -> Self {
        Self::start(builder().limits(limits)).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Sends bytes on a connection of their own, and takes what comes until the server closes it.
    async fn send(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut socket = self.connect().await;
        // A server that has heard enough may close before it has heard all.
        let _ = socket.write_all(bytes.as_ref()).await;
        rest(&mut socket).await
    }

    /// A call with a body, if there is one; the connection is closed after it.
    async fn call(&self, method: &str, path: &str, body: &str) -> String {
        self.send(request(method, path, body)).await
    }

    async fn assert_alive(&self, after: &str) {
        let answer = self.call("GET", "/api/flows", "").await;
        assert_eq!(status(&answer), 200, "after {after}: {answer}");
    }

    async fn stop(self) {
        self.state.dispose().await;
        timeout(PATIENCE, self.serving)
            .await
            .expect("in time")
            .expect("no panic");
    }
}

fn request(method: &str, path: &str, body: &str) -> String {
    let length = match body {
        "" => String::new(),
        body => format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()),
    };
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{length}\r\n{body}")
}

/// What comes until the end.
async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, socket.read_to_end(&mut bytes))
        .await
        .expect("the server closes in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until this text came.
async fn until(socket: &mut TcpStream, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        let mut bytes = [0; 4096];
        let read = timeout(PATIENCE, socket.read(&mut bytes))
            .await
            .expect("in time")
            .expect("bytes");
        assert!(read > 0, "the connection ended without {text:?}: {all}");
        all.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    all
}

/// The status of an answer; 0 if there is none.
fn status(answer: &str) -> u16 {
    let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..));
    let status = status.and_then(|rest| rest.get(..3));
    status.map_or(0, |status| status.parse().expect("a status"))
}

fn assert_refused(answer: &str, expected: u16, what: &str) {
    assert_eq!(status(answer), expected, "{what}: {answer}");
    assert!(
        answer.to_ascii_lowercase().contains("retry-after: 1\r\n"),
        "{what}: {answer}"
    );
    assert!(answer.contains("\"code\":\""), "{what}: {answer}");
}
