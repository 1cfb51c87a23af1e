//! A request's stream: records read from the log, filtered, as SSE frames. There is no other source of events:
//! live, resumed and replayed streams are this one loop, and a reader that is slow or gone costs nobody else anything. Bytes that records
//! refer to are read from the log too, when the record is sent.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::time::Duration;
use std::vec;

use async_stream::stream;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use flowstate_engine::record::{self, DecodeError, Fact};
use flowstate_engine::{Media, QueryError};
use flowstate_log::record::{Record, SubStreamId};
use flowstate_log::{FollowSub, error::ReadError};
use tokio_util::sync::CancellationToken;

use crate::wire::event::Event;

/// Time between two keep-alive comments. Clients take twice as long a silence for a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_COMMENT: &[u8] = b": ping\n\n";
/// So many encoded bytes are sent before more are made: a record can stand for much more than it has.
const SENT_BYTES: usize = 1 << 20;
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
            let mut page = match page {
                Ok(page) => page.into_iter(),
                Err(error) => return frames.broke_off(&error.into()),
            };
            loop {
                let end = frames.push(&mut page).await;
                // What was encoded before an error is whole and true.
                if !frames.bytes.is_empty() {
                    yield Ok(frames.bytes.split().freeze());
                }
                match end {
                    Ok(End::More) => {}
                    Ok(End::Open) => break,
                    Ok(End::Terminal) => return,
                    Err(error) => return frames.broke_off(&error),
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
    #[error(transparent)]
    Media(#[from] QueryError),
    #[error("an event can't be encoded: {0}")]
    Encode(#[from] io::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The page has more.
    More,
    Open,
    Terminal,
}

/// Turns a request's records, in order, into frames.
pub(crate) struct Frames {
    request: String,
    sub: SubStreamId,
    /// Items that clients may not see; what their content says is not sent either.
    hidden: BTreeSet<u32>,
    media: Media,
    bytes: BytesMut,
}

impl Frames {
    /// `hidden` are the hidden items among those that the records to come may go on with; `media` is that of the request in `sub`.
    pub(crate) fn new(request: String, sub: SubStreamId, media: Media, hidden: BTreeSet<u32>) -> Self {
        Self {
            request,
            sub,
            hidden,
            media,
            bytes: BytesMut::new(),
        }
    }

    /// Encodes records of a page until that is much, or the page or the request is at its end.
    async fn push(&mut self, page: &mut vec::IntoIter<Record>) -> Result<End, StreamError> {
        let payload: usize = page.as_slice().iter().map(|record| record.payload.len()).sum();
        self.bytes.reserve((payload + page.len() * FRAME_BYTES).min(SENT_BYTES));
        for record in page {
            let Some((_, number)) = record.sub else {
                continue; // of the session, not of the request
            };
            let mut fact = record::decode(&record)?;
            let is_last = fact.is_terminal();
            if self.is_shown(&fact) {
                self.media.fill(number, &mut fact).await?;
                if let Some(event) = Event::of(fact, &record, &self.request, self.sub) {
                    event.encode(&self.request, number, record.time_us / 1_000, &mut self.bytes)?;
                }
            }
            match is_last {
                true => return Ok(End::Terminal),
                false if self.bytes.len() >= SENT_BYTES => return Ok(End::More),
                false => {}
            }
        }
        Ok(End::Open)
    }

    fn broke_off(&self, error: &StreamError) {
        tracing::error!(request = self.request, %error, "a stream broke off");
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
            | Fact::InstanceStateChanged(_)
            | Fact::ResourceCreated(_)
            | Fact::ResourceChanged(_)
            | Fact::ResourceWritten(_)
            | Fact::ResourceDeleted(_)
            | Fact::ResourceAccessed(_)
            | Fact::ResourceNoted(_)
            | Fact::MediaStored(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use flowstate_engine::Engine;
    use flowstate_engine::item::{ItemBody, ItemStatus, Role, Visibility};
    use flowstate_engine::record::{ContentDelta, ItemAdded, ItemCompleted, ItemRecord, ModelCalled, RequestCompleted};
    use flowstate_log::record::{Extras, Kind, StreamId, Subject};
    use flowstate_log::{Options, SubStreamInfo};
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

    async fn frames(hidden: BTreeSet<u32>) -> Frames {
        let engine = Engine::builder().open(Options::in_memory()).await.unwrap();
        let request = SubStreamInfo {
            stream: StreamId([1; 16]),
            id: SUB,
            first: 1,
            last: 9,
            count: 9,
        };
        Frames::new("r".to_owned(), SUB, engine.media(&request), hidden)
    }

    #[tokio::test]
    async fn hidden_items_and_their_content_are_left_out_and_nothing_follows_the_end() {
        let mut frames = frames(BTreeSet::new()).await;
        assert_eq!(frames.push(&mut records().into_iter()).await.unwrap(), End::Terminal);
        assert_eq!(ids(&frames.bytes), ["1", "5", "7", "8"]);
    }

    #[tokio::test]
    async fn content_of_a_hidden_item_stays_hidden_when_resumed_in_its_middle() {
        let mut frames = frames(BTreeSet::from([1])).await;
        let mut page = records()[3..7].to_vec().into_iter();
        assert_eq!(frames.push(&mut page).await.unwrap(), End::Open);
        assert_eq!(ids(&frames.bytes), ["5", "7"]);
    }

    #[tokio::test]
    async fn what_is_encoded_is_sent_before_it_is_much() {
        let mut frames = frames(BTreeSet::new()).await;
        let delta = ContentDelta {
            item: 0,
            part: 0,
            delta: "x".repeat(SENT_BYTES / 2),
        };
        let records: Vec<_> = (1..=5)
            .map(|number| record(number, ContentDelta::KIND, &delta))
            .collect();
        let (mut page, mut sent) = (records.into_iter(), Vec::new());
        loop {
            let end = frames.push(&mut page).await.unwrap();
            sent.push(ids(&frames.bytes.split()));
            if end == End::Open {
                break;
            }
        }
        assert_eq!(sent, [vec!["1", "2"], vec!["3", "4"], vec!["5"]]);
    }

    #[tokio::test]
    async fn a_record_without_meaning_ends_the_stream_after_what_came_before() {
        let mut records = records();
        records[4].kind = Kind(999);
        let mut frames = frames(BTreeSet::new()).await;
        let end = frames.push(&mut records.into_iter()).await;
        assert!(matches!(end, Err(StreamError::Decode(_))));
        assert_eq!(ids(&frames.bytes), ["1"]);
    }
}
