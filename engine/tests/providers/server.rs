//! A server on this machine that gives prepared answers, in order, and keeps what it was asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One answer.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub chunks: Vec<Vec<u8>>,
    pub end: End,
}

/// What comes after an answer's last chunk.
#[derive(Clone, Copy, PartialEq)]
pub enum End {
    /// The end, as HTTP has it.
    Whole,
    /// The connection closes.
    Closed,
    /// Nothing, until the other side goes.
    Silence,
    /// Not even the answer's head.
    Mute,
    /// Not even that: the connection closes.
    Gone,
}

impl Reply {
    /// A stream of events.
    pub fn events(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "text/event-stream; charset=utf-8".to_owned())],
            chunks: vec![bytes.into()],
            end: End::Whole,
        }
    }

    /// A refusal.
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            chunks: vec![body.into()],
            end: End::Whole,
        }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    /// In chunks of so many bytes, wherever that cuts.
    pub fn in_chunks_of(mut self, bytes: usize) -> Self {
        let whole = self.chunks.concat();
        self.chunks = whole.chunks(bytes).map(<[u8]>::to_vec).collect();
        self
    }

    pub fn then(mut self, end: End) -> Self {
        self.end = end;
        self
    }
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    /// If it is JSON.
    pub body: Value,
    pub bytes: Vec<u8>,
}

/// The server; it stops when it is dropped.
pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, replies): (_, Vec<_>) = (asked.clone(), replies.into_iter().collect());
        let task = tokio::spawn(async move {
            for reply in replies {
                let (stream, _) = listener.accept().await.expect("a connection");
                // A caller that goes away in the middle is none of the server's business.
                let _ = serve(stream, reply, &kept).await;
            }
        });
        Self { url, asked, task }
    }

    /// Waits until it gave all its answers.
    pub async fn served(mut self) {
        (&mut self.task).await.expect("it gave all");
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, reply: Reply, asked: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    let (bytes, body) = (body.clone(), serde_json::from_slice(&body).unwrap_or_default());
    asked.lock().push(Asked {
        path,
        headers,
        body,
        bytes,
    });
    if !matches!(reply.end, End::Mute | End::Gone) {
        let mut head = format!(
            "HTTP/1.1 {} Said\r\ntransfer-encoding: chunked\r\nconnection: close\r\n",
            reply.status
        );
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(b"\r\n").await?;
        for chunk in reply.chunks.iter().filter(|chunk| !chunk.is_empty()) {
            stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
            stream.write_all(chunk).await?;
            stream.write_all(b"\r\n").await?;
        }
        if reply.end == End::Whole {
            stream.write_all(b"0\r\n\r\n").await?;
        }
        stream.flush().await?;
    }
    if matches!(reply.end, End::Silence | End::Mute) {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
    }
    stream.shutdown().await
}
