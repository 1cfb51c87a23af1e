//! Frames of an event stream, taken off its body.

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::Value;

use super::failure::Failure;

/// Largest frame.
const FRAME_BYTES_MAX: usize = 256 << 20;

/// An event as it was sent.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// By which the stream is gone on with.
    pub(super) id: Option<String>,
    /// Its data, one line of JSON.
    pub(super) line: String,
    /// The same, read.
    pub(super) data: Value,
}

impl Event {
    /// What it tells.
    pub(super) fn kind(&self) -> &str {
        self.data["type"].as_str().unwrap_or_default()
    }

    /// Whether it is the last one of its request, and if so, whether that completed.
    pub(super) fn ends(&self) -> Option<bool> {
        match self.kind() {
            "request.completed" => Some(true),
            "request.failed" | "request.incomplete" | "request.aborted" | "request.interrupted" => Some(false),
            _ => None,
        }
    }
}

/// The events of a stream.
pub(super) struct Events {
    body: Body,
    bytes: Vec<u8>,
    /// So much of the beginning has no end of a frame.
    seen: usize,
}

impl Events {
    pub(super) fn new(body: Body) -> Self {
        Self {
            body,
            bytes: Vec::new(),
            seen: 0,
        }
    }

    /// The next event; `None` when the stream has ended or broken off. Dropping this loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            while let Some(frame) = self.frame() {
                if let Some(event) = event(&frame)? {
                    return Ok(Some(event));
                }
            }
            if self.bytes.len() > FRAME_BYTES_MAX {
                return Err(Failure::Failed("an event is larger than 256 MiB".to_owned()));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self
                    .bytes
                    .extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..])),
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }

    fn frame(&mut self) -> Option<Vec<u8>> {
        let from = self.seen.saturating_sub(1);
        match self.bytes[from..].windows(2).position(|pair| pair == b"\n\n") {
            Some(at) => {
                self.seen = 0;
                Some(self.bytes.drain(..from + at + 2).collect())
            }
            None => {
                self.seen = self.bytes.len();
                None
            }
        }
    }
}

/// The event of a frame; a comment, or an id alone, is none.
fn event(frame: &[u8]) -> Result<Option<Event>, Failure> {
    let frame = String::from_utf8_lossy(frame);
    let field = |name: &str| {
        frame
            .lines()
            .find_map(|line| line.strip_prefix(name).map(str::to_owned))
    };
    let Some(line) = field("data: ") else {
        return Ok(None);
    };
    let data = serde_json::from_str(&line);
    Ok(Some(Event {
        id: field("id: "),
        data: data.map_err(|error| Failure::Failed(format!("an event is no JSON: {error}: {line}")))?,
        line,
    }))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn frames_are_whole_however_their_bytes_come() {
        let text = ": ping\n\nid: r:1\nevent: content.delta\ndata: {\"type\":\"content.delta\",\"delta\":\"é\"}\n\nid: s:9\n\n\
                    id: r:2\nevent: request.failed\ndata: {\"type\":\"request.failed\"}\n\nid: r:3\nda";
        for size in [1, 2, 7, 1_000] {
            let pieces: Vec<_> = text
                .as_bytes()
                .chunks(size)
                .map(<[u8]>::to_vec)
                .map(Ok::<_, Infallible>)
                .collect();
            let mut events = Events::new(Body::from_stream(futures_util::stream::iter(pieces)));
            let first = events.next().await.expect("an event").expect("an event");
            assert_eq!(first.line, "{\"type\":\"content.delta\",\"delta\":\"é\"}");
            assert_eq!((first.id.as_deref(), first.ends()), (Some("r:1"), None));
            let second = events.next().await.expect("an event").expect("an event");
            assert_eq!((second.id.as_deref(), second.ends()), (Some("r:2"), Some(false)));
            assert!(events.next().await.expect("the end").is_none());
        }
    }
}
