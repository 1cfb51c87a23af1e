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

use super::gate::Defences;
use crate::auth::Identity;

/// Longest time between two questions whether the credential of an open stream still counts.
const CHECK_EVERY: Duration = Duration::from_secs(15);
const ENDED_COMMENT: &[u8] = b": the credential has ended\n\n";

/// Whether this is an event stream.
pub(super) fn is_stream(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|text| text.starts_with(b"text/event-stream"))
}

/// The stream, which ends when the credential of `head` does. `identity` is whose it was when it was opened.
pub(super) fn until_ended(response: Response, defences: Arc<Defences>, head: Parts, identity: Identity) -> Response {
    let ended = Box::pin(ended(defences, head, identity));
    response.map(|body| {
        Body::new(Leased {
            body,
            ended: Some(ended),
        })
    })
}

/// Returns when the credential counts no more, or can't be checked.
async fn ended(defences: Arc<Defences>, head: Parts, identity: Identity) {
    let mut expires = identity.expires;
    loop {
        let left = expires.map_or(CHECK_EVERY, |at| at.duration_since(now()).unwrap_or_default());
        if left.is_zero() {
            return;
        }
        sleep(left.min(CHECK_EVERY)).await;
        match defences.identity(&head).await {
            Ok(again) if again.is_still(&identity) => expires = again.expires,
            _ => return,
        }
    }
}

fn now() -> SystemTime {
    let us = u64::try_from(SystemEnv::new().now_us()).unwrap_or_default();
    UNIX_EPOCH + Duration::from_micros(us)
}

/// A body of whole frames that is cut when `ended` is over.
struct Leased {
    body: Body,
    /// `None` once it is over.
    ended: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl HttpBody for Leased {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(ended) = &mut self.ended else {
            return Poll::Ready(None);
        };
        if ended.as_mut().poll(context).is_ready() {
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
        SizeHint::default()
    }
}
