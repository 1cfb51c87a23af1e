//! An event stream as a client reads it: frame by frame, with the time at which it ended.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Response;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::case::Until;
use super::values::has_at_least;

/// A stream that is being read. Its connection is left when it is dropped.
pub(crate) struct Reading {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    status: u16,
    headers: Map<String, Value>,
    /// Not yet taken apart.
    bytes: Vec<u8>,
    frames: Vec<Value>,
    comments: usize,
    ended: bool,
    closed_after: Option<Duration>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reading {
    pub(crate) fn of(answer: Response) -> Self {
        let state = State {
            status: answer.status().as_u16(),
            headers: headers(&answer),
            ..State::default()
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Notify::new(),
        });
        let task = tokio::spawn(read(answer, Arc::clone(&shared)));
        Self { shared, task }
    }

    /// What has come when `until` holds, which must be soon.
    pub(crate) async fn until(&self, until: &Until, patience: Duration) -> Result<Value, String> {
        let reached = async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                {
                    let state = self.shared.state.lock();
                    if state.has(until) {
                        return Ok(state.shown());
                    }
                    if state.ended {
                        return Err(format!("the stream ended before {until:?}: {}", state.shown()));
                    }
                }
                changed.await;
            }
        };
        let waited = tokio::time::timeout(patience, reached).await;
        waited.unwrap_or_else(|_| Err(format!("{until:?} never came: {}", self.shared.state.lock().shown())))
    }
}

/// Names and values, as text.
pub(crate) fn headers(answer: &Response) -> Map<String, Value> {
    let each = answer.headers().iter();
    each.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect()
}

async fn read(mut answer: Response, shared: Arc<Shared>) {
    let mut last = Instant::now();
    loop {
        let chunk = answer.chunk().await;
        let mut state = shared.state.lock();
        match chunk {
            Ok(Some(chunk)) => {
                state.bytes.extend_from_slice(&chunk);
                state.take();
                last = Instant::now();
            }
            ended => {
                state.ended = true;
                state.closed_after = ended.is_ok().then(|| last.elapsed());
                drop(state);
                shared.changed.notify_waiters();
                return;
            }
        }
        drop(state);
        shared.changed.notify_waiters();
    }
}

impl State {
    /// Takes apart what is whole.
    fn take(&mut self) {
        while let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\n\n") {
            let raw: Vec<u8> = self.bytes.drain(..end + 2).collect();
            let raw = String::from_utf8_lossy(&raw).into_owned();
            if raw.starts_with(':') {
                self.comments += 1;
                continue;
            }
            let field = |name: &str| raw.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let data = field("data").and_then(|data| serde_json::from_str(data).ok());
            let data: Value = data.unwrap_or(Value::Null);
            let (id, event) = (field("id"), field("event"));
            self.frames
                .push(json!({"id": id, "event": event, "data": data, "raw": raw}));
        }
    }

    fn has(&self, until: &Until) -> bool {
        match until {
            Until::End => self.ended,
            Until::Frames(count) => self.frames.len() >= *count,
            Until::Comments(count) => self.comments >= *count,
            Until::Sees(pattern) => self.frames.iter().any(|frame| has_at_least(&frame["data"], pattern)),
        }
    }

    fn shown(&self) -> Value {
        let rest = String::from_utf8_lossy(&self.bytes).into_owned();
        let closed_after = self.closed_after.map(|after| after.as_millis() as u64);
        json!({
            "status": self.status,
            "headers": self.headers,
            "frames": self.frames,
            "comments": self.comments,
            "rest": rest,
            "body": serde_json::from_str(&rest).unwrap_or(Value::Null),
            "ended": self.ended,
            "closedAfterMs": closed_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> State {
        let mut state = State::default();
        for byte in text.bytes() {
            state.bytes.push(byte);
            state.take();
        }
        state
    }

    #[test]
    fn frames_are_taken_whole_and_comments_are_none() {
        let state =
            taken("id: r:1\nevent: a\ndata: {\"type\":\"a\"}\n\n: ping\n\nid: r:2\ndata: x\n\nid: r:3\ndata: 1\n");
        assert_eq!((state.frames.len(), state.comments), (2, 1));
        let expected = json!({"id": "r:1", "event": "a", "data": {"type": "a"}, "raw": "id: r:1\nevent: a\ndata: {\"type\":\"a\"}\n\n"});
        assert_eq!(state.frames[0], expected);
        assert_eq!(
            (&state.frames[1]["event"], &state.frames[1]["data"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(state.shown()["rest"], "id: r:3\ndata: 1\n");
        assert!(state.has(&Until::Sees(json!({"type": "a"}))) && !state.has(&Until::Sees(json!({"type": "b"}))));
        assert!(state.has(&Until::Frames(2)) && !state.has(&Until::Frames(3)) && !state.has(&Until::End));
        assert!(state.has(&Until::Comments(1)) && !state.has(&Until::Comments(2)));
    }
}
