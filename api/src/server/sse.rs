//! A request's stream: records read from the log, filtered, as SSE frames. There is no other source of events:
//! live, resumed and replayed streams are this one loop, and a reader that is slow or gone costs nobody else anything.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::time::Duration;

use async_stream::stream;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use flowstate_engine::record::{self, DecodeError, Fact};
use flowstate_log::record::{Record, SubStreamId};
use flowstate_log::{FollowSub, error::ReadError};
use tokio_util::sync::CancellationToken;

use crate::wire::event::Event;

/// Time between two keep-alive comments. Clients take twice as long a silence for a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_COMMENT: &[u8] = b": ping\n\n";
/// What a frame takes besides its record's payload, about.
const FRAME_BYTES: usize = 256;

/// A stream of the events that `records` holds, until the terminal one or until `stopping`.
pub(crate) fn respond(mut records: FollowSub, mut frames: Frames, stopping: CancellationToken) -> Response {
    let body = stream! {
        let mut keep_alive = tokio::time::interval(KEEP_ALIVE);
        keep_alive.reset();
        loop {
            let page = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                _ = keep_alive.tick() => {
                    yield Ok::<_, Infallible>(Bytes::from_static(KEEP_ALIVE_COMMENT));
                    continue;
                }
                page = records.page() => page,
            };
            let end = page.map_err(StreamError::from).and_then(|page| frames.push(&page));
            // What was encoded before an error is whole and true.
            if !frames.bytes.is_empty() {
                yield Ok(frames.bytes.split().freeze());
            }
            match end {
                Ok(End::Open) => {}
                Ok(End::Terminal) => return,
                Err(error) => {
                    tracing::error!(request = frames.request, %error, "a stream broke off");
                    return;
                }
            }
        }
    };
    event_stream(Body::from_stream(body))
}

/// A stream without events.
pub(crate) fn respond_empty() -> Response {
    event_stream(Body::empty())
}

fn event_stream(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
    ];
    (headers, [("x-accel-buffering", "no")], body).into_response()
}

#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("an event can't be encoded: {0}")]
    Encode(#[from] io::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Terminal,
}

/// Turns a request's records, in order, into frames.
pub(crate) struct Frames {
    request: String,
    sub: SubStreamId,
    /// Items that clients may not see; what their content says is not sent either.
    hidden: BTreeSet<u32>,
    bytes: BytesMut,
}

impl Frames {
    /// `hidden` are the hidden items among those that the records to come may go on with.
    pub(crate) fn new(request: String, sub: SubStreamId, hidden: BTreeSet<u32>) -> Self {
        Self {
            request,
            sub,
            hidden,
            bytes: BytesMut::new(),
        }
    }

    fn push(&mut self, page: &[Record]) -> Result<End, StreamError> {
        let payload: usize = page.iter().map(|record| record.payload.len()).sum();
        self.bytes.reserve(payload + page.len() * FRAME_BYTES);
        for record in page {
            let Some((_, number)) = record.sub else {
                continue; // of the session, not of the request
            };
            let fact = record::decode(record)?;
            let end = if fact.is_terminal() { End::Terminal } else { End::Open };
            if self.is_shown(&fact)
                && let Some(event) = Event::of(fact, record, &self.request, self.sub)
            {
                event.encode(&self.request, number, record.time_us / 1_000, &mut self.bytes)?;
            }
            if end == End::Terminal {
                return Ok(end);
            }
        }
        Ok(End::Open)
    }

    /// Whether clients may see a fact; remembers the hidden items that it introduces.
    fn is_shown(&mut self, fact: &Fact) -> bool {
        match fact {
            Fact::ItemAdded(added) if !added.item.visibility.client => {
                self.hidden.insert(added.item.index);
                false
            }
            Fact::ItemCompleted(completed) => completed.item.visibility.client,
            Fact::ContentAdded(content) => !self.hidden.contains(&content.item),
            Fact::ContentDelta(content) => !self.hidden.contains(&content.item),
            Fact::ContentDone(content) => !self.hidden.contains(&content.item),
            Fact::ItemAdded(_)
            | Fact::SessionCreated(_)
            | Fact::RequestAccepted(_)
            | Fact::RequestStarted(_)
            | Fact::RequestResumed(_)
            | Fact::StateChanged(_)
            | Fact::StateNoted(_)
            | Fact::ModelCalled(_)
            | Fact::ModelReplied(_)
            | Fact::ModelFailed(_)
            | Fact::ToolReturned(_)
            | Fact::RequestCompleted(_)
            | Fact::RequestFailed(_)
            | Fact::RequestInterrupted(_)
            | Fact::BlockStarted(_)
            | Fact::BlockEnded(_)
            | Fact::RouteChosen(_)
            | Fact::CancelRequested(_)
            | Fact::InstanceStateChanged(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use flowstate_engine::item::{ItemBody, ItemStatus, Role, Visibility};
    use flowstate_engine::record::{ContentDelta, ItemAdded, ItemCompleted, ItemRecord, ModelCalled, RequestCompleted};
    use flowstate_log::record::{Extras, Kind, StreamId, Subject};
    use serde::Serialize;

    use super::*;

    const SUB: SubStreamId = SubStreamId([7; 16]);

    fn record(number: u64, kind: Kind, payload: impl Serialize) -> Record {
        Record {
            stream: StreamId([1; 16]),
            position: number,
            sub: Some((SUB, number)),
            subject: Subject::NONE,
            kind,
            commit: number,
            index: 0,
            time_us: 5_000_999,
            causation: SUB.0,
            origin: 0,
            extras: Extras::default(),
            erased: false,
            payload: serde_json::to_vec(&payload).unwrap().into(),
        }
    }

    fn item(index: u32, client: bool) -> ItemRecord {
        ItemRecord {
            index,
            ts_ms: 1,
            status: ItemStatus::InProgress,
            provenance: Default::default(),
            visibility: Visibility { client, history: true },
            transient: false,
            owned_by: None,
            body: ItemBody::Message {
                role: Role::Assistant,
                content: Vec::new(),
            },
        }
    }

    /// Two items whose records alternate; item 1 is hidden.
    fn records() -> Vec<Record> {
        let delta = |item| ContentDelta {
            item,
            part: 0,
            delta: "x".to_owned(),
        };
        vec![
            record(1, ItemAdded::KIND, ItemAdded { item: item(0, true) }),
            record(2, ItemAdded::KIND, ItemAdded { item: item(1, false) }),
            record(3, ModelCalled::KIND, ModelCalled::default()),
            record(4, ContentDelta::KIND, delta(1)),
            record(5, ContentDelta::KIND, delta(0)),
            record(6, ItemCompleted::KIND, ItemCompleted { item: item(1, false) }),
            record(7, ItemCompleted::KIND, ItemCompleted { item: item(0, true) }),
            record(8, RequestCompleted::KIND, RequestCompleted::default()),
            record(9, ContentDelta::KIND, delta(0)),
        ]
    }

    fn ids(frames: &BytesMut) -> Vec<String> {
        let text = str::from_utf8(frames).unwrap();
        let ids = text.lines().filter_map(|line| line.strip_prefix("id: r:"));
        ids.map(str::to_owned).collect()
    }

    #[test]
    fn hidden_items_and_their_content_are_left_out_and_nothing_follows_the_end() {
        let mut frames = Frames::new("r".to_owned(), SUB, BTreeSet::new());
        assert_eq!(frames.push(&records()).unwrap(), End::Terminal);
        assert_eq!(ids(&frames.bytes), ["1", "5", "7", "8"]);
    }

    #[test]
    fn content_of_a_hidden_item_stays_hidden_when_resumed_in_its_middle() {
        let mut frames = Frames::new("r".to_owned(), SUB, BTreeSet::from([1]));
        assert_eq!(frames.push(&records()[3..7]).unwrap(), End::Open);
        assert_eq!(ids(&frames.bytes), ["5", "7"]);
    }

    #[test]
    fn a_record_without_meaning_ends_the_stream_after_what_came_before() {
        let mut records = records();
        records[4].kind = Kind(999);
        let mut frames = Frames::new("r".to_owned(), SUB, BTreeSet::new());
        assert!(matches!(frames.push(&records), Err(StreamError::Decode(_))));
        assert_eq!(ids(&frames.bytes), ["1"]);
    }
}
