//! Redis Streams over a unix socket, synced at every event loop turn. Requests of one append are sent together, and answers awaited.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use flowstate_bench::drive::Store;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// A `redis-server` of its own, ended when dropped.
pub struct Redis {
    server: Child,
    /// One for each writer.
    connections: Vec<Mutex<BufReader<UnixStream>>>,
}

impl Redis {
    /// Starts a server in this folder with this many connections. `Err` says why there is none.
    pub async fn start(folder: &Path, connections: usize) -> Result<Self, Box<dyn Error>> {
        let socket: PathBuf = folder.join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            "0",
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ]);
        command
            .arg("--unixsocket")
            .arg(&socket)
            .arg("--dir")
            .arg(folder)
            .stdout(Stdio::null());
        let server = command
            .spawn()
            .map_err(|error| format!("redis-server does not start: {error}"))?;
        let mut redis = Self {
            server,
            connections: Vec::new(),
        };
        for _ in 0..connections {
            let mut tries = 0;
            let stream = loop {
                match UnixStream::connect(&socket).await {
                    Ok(stream) => break stream,
                    Err(error) if tries == 100 => return Err(error.into()),
                    Err(_) => tries += 1,
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            redis.connections.push(Mutex::new(BufReader::new(stream)));
        }
        Ok(redis)
    }

    /// Up to `limit` records of a stream from number `from` (the first is 0) on.
    pub async fn read(&self, stream: u64, from: u64, limit: usize) -> io::Result<usize> {
        let mut connection = self.connections[0].lock().await;
        let (key, from, limit) = (stream.to_string(), format!("{}-0", from + 1), limit.to_string());
        let mut request = Vec::new();
        put(
            &mut request,
            &[
                b"XRANGE",
                key.as_bytes(),
                from.as_bytes(),
                b"+",
                b"COUNT",
                limit.as_bytes(),
            ],
        );
        connection.write_all(&request).await?;
        let count = line(&mut connection).await?;
        for _ in 0..count {
            // An entry: its id, and an array of a field and its value.
            for expected in [b'*', b'$', b'*', b'$', b'$'] {
                let length = typed(&mut connection, expected).await?;
                if expected == b'$' {
                    let mut value = vec![0; length + 2];
                    connection.read_exact(&mut value).await?;
                }
            }
        }
        Ok(count)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn put(request: &mut Vec<u8>, arguments: &[&[u8]]) {
    request.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
    for argument in arguments {
        request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        request.extend_from_slice(argument);
        request.extend_from_slice(b"\r\n");
    }
}

async fn typed(connection: &mut BufReader<UnixStream>, expected: u8) -> io::Result<usize> {
    let mut text = String::new();
    connection.read_line(&mut text).await?;
    let wrong = || io::Error::other(format!("redis answered {text:?}"));
    match text.as_bytes().first() {
        Some(first) if *first == expected => text[1..].trim_end().parse().map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

async fn line(connection: &mut BufReader<UnixStream>) -> io::Result<usize> {
    typed(connection, b'*').await
}

impl Store for Redis {
    async fn append(&self, stream: u64, number: u64, tokens: Vec<Bytes>) {
        let connection = &self.connections[stream as usize % self.connections.len()];
        let mut connection = connection.lock().await;
        let (key, mut request) = (stream.to_string(), Vec::new());
        let count = tokens.len();
        for (number, token) in (number + 1..).zip(&tokens) {
            put(
                &mut request,
                &[b"XADD", key.as_bytes(), format!("{number}-0").as_bytes(), b"d", token],
            );
        }
        connection.write_all(&request).await.expect("a request");
        for _ in 0..count {
            // The id of the entry.
            let length = typed(&mut connection, b'$').await.expect("an answer");
            let mut id = vec![0; length + 2];
            connection.read_exact(&mut id).await.expect("an answer");
        }
    }
}
