//! The body of a stream, watched to its end: that it is open counts, and that it broke off is told.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tracing::Span;

use super::{BrokenOff, CallError, CallInfo, Observer};
use crate::server::metrics::OpenOne;

pub(super) struct Watched {
    body: Body,
    broken: BrokenOff,
    observer: Arc<Observer>,
    call: CallInfo,
    span: Span,
    _open: OpenOne,
}

impl Watched {
    pub(super) fn new(body: Body, broken: BrokenOff, observer: Arc<Observer>, call: CallInfo, span: Span) -> Self {
        Self {
            _open: observer.metrics.stream(),
            body,
            broken,
            observer,
            call,
            span,
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let _inside = this.span.enter();
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _inside = self.span.enter();
        tracing::debug!("a stream ended");
        if let Some(message) = self.broken.0.get() {
            let error = CallError {
                status: None,
                code: "stream_broken",
                message: message.clone(),
            };
            self.observer.tell(&error, &self.call);
        }
    }
}
