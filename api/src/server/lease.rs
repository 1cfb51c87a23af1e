//! How long a stream may stay open: until its credential ends or is taken back. Its body ends then between two frames, as when the server stops,
//! and whoever has another credential goes on from the last id.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use flowstate_log::env::{Env, SystemEnv};
use hyper::body::{Frame, SizeHint};
use tokio::time::sleep;

use super::gate::Gate;
use super::shares::Share;
use crate::auth::Identity;

const ENDED_COMMENT: &[u8] = b": the credential has ended\n\n";

/// Whether this is an event stream.
pub(super) fn is_stream(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|text| text.starts_with(b"text/event-stream"))
}

/// The stream, which keeps its share until its end, and ends when its lease does.
pub(super) fn hold(response: Response, share: Option<Share>, lease: Option<Lease>) -> Response {
    let ended: Option<Ended> = lease.map(|lease| -> Ended { Box::pin(lease.ended()) });
    response.map(|body| {
        Body::new(Held {
            body,
            ended,
            _share: share,
        })
    })
}

/// By whose credential a stream was opened.
pub(super) struct Lease {
    gate: Arc<Gate>,
    head: Parts,
    identity: Identity,
}

impl Lease {
    /// `identity` is whose credential is in `head`.
    pub(super) fn new(gate: Arc<Gate>, head: Parts, identity: Identity) -> Self {
        Self { gate, head, identity }
    }

    /// Returns when the credential counts no more, or can't be checked.
    async fn ended(self) {
        let every = self.gate.limits.credential_check;
        let mut expires = self.identity.expires;
        loop {
            let left = expires.map_or(every, |at| at.duration_since(now()).unwrap_or_default());
            if left.is_zero() {
                return;
            }
            sleep(left.min(every)).await;
            match self.gate.identity(&self.head).await {
                Ok(again) if again.is_still(&self.identity) => expires = again.expires,
                _ => return,
            }
        }
    }
}

type Ended = Pin<Box<dyn Future<Output = ()> + Send>>;

fn now() -> SystemTime {
    let us = u64::try_from(SystemEnv::new().now_us()).unwrap_or_default();
    UNIX_EPOCH + Duration::from_micros(us)
}

/// A body of whole frames that is cut when `ended` is over.
struct Held {
    body: Body,
    ended: Option<Ended>,
    _share: Option<Share>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let ended = self.ended.as_mut().map(|ended| ended.as_mut().poll(context));
        if ended.is_some_and(|ended| ended.is_ready()) {
            self.ended = None;
            self.body = Body::empty();
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(ENDED_COMMENT)))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.ended {
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}
