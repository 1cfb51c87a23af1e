//! Streams and polls: records read from the log, as events. There is no other source of events, and a reader that is slow or gone costs nobody
//! else anything: it is a cursor. What events are made of is in `server/frames`.

use std::convert::Infallible;
use std::time::Duration;

use async_stream::stream;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flowstate_engine::{Prefix, QueryError};
use flowstate_log::error::ReadError;
use flowstate_log::record::Record;
use flowstate_log::{Follow, FollowSub};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::frames::{End, Frames, StreamError};
use super::observe::BrokenOff;

/// Time between two keep-alive comments. Clients take twice as long a silence for a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_COMMENT: &[u8] = b": ping\n\n";
/// The last words of a stream that ends before its request, because the server stops. A client goes on behind the last event that it has.
const CLOSING_COMMENT: &[u8] = b": closing, resume with last-event-id\n\n";

/// A cursor over the records of a request or of a session, which waits at their end.
pub(crate) enum Records {
    /// Of a request.
    Request(FollowSub),
    /// Of a session.
    Session(Follow),
}

impl Records {
    async fn page(&mut self) -> Result<Vec<Record>, ReadError> {
        match self {
            Self::Request(records) => records.page().await,
            Self::Session(records) => records.page().await,
        }
    }

    async fn present(&mut self) -> Result<Option<Vec<Record>>, ReadError> {
        match self {
            Self::Request(records) => records.present().await,
            Self::Session(records) => records.present().await,
        }
    }
}

/// What a stream opens with, before its records: a session as it is, and where its records go on.
pub(crate) struct Opening {
    pub(crate) session: std::sync::Arc<str>,
    pub(crate) prefix: Prefix,
}

/// A stream of the events that `records` holds, until the last one of a request or until `stopping`.
pub(crate) fn respond(
    mut records: Records,
    mut frames: Frames,
    opening: Option<Opening>,
    stopping: CancellationToken,
) -> Response {
    let broken = BrokenOff::default();
    let on_break = broken.clone();
    let body = stream! {
        if let Some(mut opening) = opening {
            loop {
                let Some(page) = stopping.run_until_cancelled(opening.prefix.page()).await else {
                    yield Ok(Bytes::from_static(CLOSING_COMMENT));
                    return;
                };
                let told = match page {
                    Ok(Some(facts)) => frames.fold(facts).await,
                    Ok(None) => break,
                    Err(error) => Err(error.into()),
                };
                if let Err(error) = told {
                    return broke_off(&on_break, &error);
                }
                yield Ok::<_, Infallible>(frames.bytes.split().freeze());
            }
            frames.mark(opening.session, opening.prefix.position());
            yield Ok(frames.bytes.split().freeze());
        }
        let mut keep_alive = tokio::time::interval(KEEP_ALIVE);
        keep_alive.reset();
        loop {
            let page = tokio::select! {
                biased;
                () = stopping.cancelled() => {
                    yield Ok(Bytes::from_static(CLOSING_COMMENT));
                    return;
                }
                _ = keep_alive.tick() => {
                    yield Ok(Bytes::from_static(KEEP_ALIVE_COMMENT));
                    continue;
                }
                page = records.page() => page,
            };
            let mut page = match page {
                Ok(page) => page.into_iter(),
                Err(error) => return broke_off(&on_break, &error.into()),
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
                    Err(error) => return broke_off(&on_break, &error),
                }
            }
        }
    };
    let mut response = event_stream(Body::from_stream(body));
    response.extensions_mut().insert(broken);
    response
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

/// Tells of a stream that ends before its time. That a session is gone is no failure, nor that what a slow reader had before it is: it comes again
/// and goes on with what is left.
fn broke_off(broken: &BrokenOff, error: &StreamError) {
    match error {
        StreamError::Read(ReadError::Deleted(_) | ReadError::UnknownStream(_) | ReadError::Trimmed { .. }) => {}
        error => {
            tracing::error!(%error, "a stream broke off");
            broken.set(error);
        }
    }
}

/// What a poll gave: the events as elements of a JSON array, and whether nothing comes after them.
pub(crate) struct Polled {
    /// With a comma before each.
    pub(crate) events: Bytes,
    pub(crate) is_done: bool,
}

/// The events of the next records, waiting up to `wait` for the first that there is an event of.
pub(crate) async fn poll(
    mut records: Records,
    frames: &mut Frames,
    wait: Duration,
    stopping: &CancellationToken,
) -> Result<Polled, QueryError> {
    let until = Instant::now() + wait;
    let mut is_done = false;
    while frames.bytes.is_empty() && !is_done && !stopping.is_cancelled() {
        // What is there is given however little time there is.
        let page = match records.present().await? {
            Some(page) => page,
            None => tokio::select! {
                page = records.page() => page?,
                () = tokio::time::sleep_until(until) => break,
                () = stopping.cancelled() => break,
            },
        };
        match frames.push(&mut page.into_iter()).await {
            Ok(end) => is_done = end == End::Terminal,
            Err(StreamError::Read(error)) => return Err(error.into()),
            Err(StreamError::Decode(error)) => return Err(error.into()),
            Err(StreamError::Query(error)) => return Err(error),
            Err(StreamError::Encode(error)) => {
                let message = error.to_string();
                return Err(QueryError::Row {
                    view: "events",
                    message,
                });
            }
        }
    }
    Ok(Polled {
        events: frames.bytes.split().freeze(),
        is_done,
    })
}
