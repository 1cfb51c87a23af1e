//! A client that costs little: one connection, HTTP/1.1 as it is on the wire, nothing parsed that is not asked for.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection.
pub struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
}

/// What came.
pub struct Answer {
    pub status: u16,
    pub bytes: u64,
    pub events: u64,
}

impl Connection {
    pub async fn open(address: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            buffer: vec![0; 64 << 10],
        })
    }

    /// Sends a call; a POST or PATCH if there is a body.
    pub async fn send(&mut self, method: &str, path: &str, accept: &str, body: &str) -> io::Result<()> {
        let length = match body {
            "" => String::new(),
            body => format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()),
        };
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\n{length}\r\n{body}");
        self.socket.write_all(head.as_bytes()).await
    }

    /// The next bytes of an answer; empty at the end of the connection.
    pub async fn some(&mut self) -> io::Result<&[u8]> {
        let read = self.socket.read(&mut self.buffer).await?;
        Ok(&self.buffer[..read])
    }

    /// Reads one whole answer. `told` is given all its bytes as they come.
    pub async fn answer(&mut self, mut told: impl FnMut(&[u8])) -> io::Result<Answer> {
        let mut head = Vec::new();
        let end = loop {
            let some = self.some().await?;
            if some.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            head.extend_from_slice(some);
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let body = head.split_off(end);
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let length = text.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.split('\r').next()?.parse::<u64>().ok());
        let mut reading = Reading::new(length);
        told(&body);
        reading.take(&body);
        while !reading.is_whole() {
            let some = self.some().await?;
            if some.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            told(some);
            reading.take(some);
        }
        Ok(Answer {
            status,
            bytes: reading.bytes,
            events: reading.events,
        })
    }
}

/// How far a body is, of a length that was told, or in chunks up to an empty one.
struct Reading {
    length: Option<u64>,
    bytes: u64,
    events: u64,
    last: [u8; 5],
}

impl Reading {
    fn new(length: Option<u64>) -> Self {
        Self {
            length,
            bytes: 0,
            events: 0,
            last: [0; 5],
        }
    }

    fn take(&mut self, some: &[u8]) {
        self.bytes += some.len() as u64;
        let mut before = self.last[4];
        for &byte in some {
            self.events += u64::from(byte == b'\n' && before == b'\n');
            before = byte;
        }
        for &byte in &some[some.len().saturating_sub(5)..] {
            self.last.rotate_left(1);
            self.last[4] = byte;
        }
    }

    fn is_whole(&self) -> bool {
        match self.length {
            Some(length) => self.bytes >= length,
            None => &self.last == b"0\r\n\r\n",
        }
    }
}
