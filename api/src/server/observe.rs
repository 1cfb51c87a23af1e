//! What is noted of every call but probes: its id, a span, what it counts as, and, if it failed, who is told.

mod body;

use std::convert::Infallible;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flowstate_engine::TraceParent;
use flowstate_log::env::{Env, SystemEnv};
use futures_util::FutureExt;
use tracing::Instrument;

use self::body::Watched;
use super::error::ApiError;
use super::metrics::Metrics;

/// The header that names a call, in both directions.
const REQUEST_ID: &str = "x-request-id";
/// Longest id that is taken over from a caller.
const REQUEST_ID_BYTES_MAX: usize = 128;

pub(crate) type OnError = dyn Fn(&CallError, &CallInfo) + Send + Sync;

/// A call that could not be answered, as the server's operator is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallError {
    /// What it was answered with; `None` if its stream broke off.
    pub status: Option<StatusCode>,
    /// For programs.
    pub code: &'static str,
    /// What went wrong. The caller may have been told less.
    pub message: String,
}

/// Which call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallInfo {
    /// Its method.
    pub method: Method,
    /// Its path, as the server's routes saw it: without what they are mounted under.
    pub path: String,
    /// Its id, which the caller was told.
    pub request_id: String,
}

impl CallError {
    pub(super) fn answered(status: StatusCode, code: &'static str, message: String) -> Self {
        Self {
            status: Some(status),
            code,
            message,
        }
    }
}

/// Why a stream broke off, once it has.
#[derive(Debug, Clone, Default)]
pub(super) struct BrokenOff(Arc<OnceLock<String>>);

impl BrokenOff {
    pub(super) fn set(&self, error: &impl Display) {
        let _ = self.0.set(error.to_string());
    }
}

/// Who is told, and what mints ids.
pub(crate) struct Observer {
    on_error: Option<Box<OnError>>,
    env: SystemEnv,
    pub(crate) metrics: Metrics,
}

impl Observer {
    pub(crate) fn new(on_error: Option<Box<OnError>>) -> Self {
        Self {
            on_error,
            env: SystemEnv::new(),
            metrics: Metrics::default(),
        }
    }

    /// Tells of a failure. What is told may itself fail.
    fn tell(&self, error: &CallError, call: &CallInfo) {
        let Some(on_error) = &self.on_error else { return };
        if catch_unwind(AssertUnwindSafe(|| on_error(error, call))).is_err() {
            tracing::error!("on_error panicked");
        }
    }

    /// The caller's id for the call, if that can be one, or a new one.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let is_sane = |id: &&str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
            (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(allowed)
        };
        let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_sane);
        given.map_or_else(|| hex(&self.env.mint()), str::to_owned)
    }
}

/// The trace that a call is part of. A `traceparent` that is none counts as not sent.
pub(crate) struct Traced(pub(crate) Option<TraceParent>);

impl<S: Send + Sync> FromRequestParts<S> for Traced {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let own = parts.extensions.get::<TraceParent>().copied();
        Ok(Self(own.or_else(|| trace_parent(&parts.headers))))
    }
}

/// What a caller says that a call is part of.
fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut sent = headers.get_all("traceparent").into_iter();
    let only = sent.next().filter(|_| sent.next().is_none());
    only?.to_str().ok()?.parse().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Answers a call, whatever happens in it.
pub(super) async fn observe(State(observer): State<Arc<Observer>>, mut request: Request, next: Next) -> Response {
    let call = CallInfo {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        request_id: observer.request_id(request.headers()),
    };
    let span = tracing::info_span!(
        "call",
        request_id = call.request_id,
        method = call.method.as_str(),
        route = tracing::field::Empty,
        status = tracing::field::Empty,
        ms = tracing::field::Empty,
    );
    if let Some(trace) = trace_parent(request.headers()) {
        trace.adopt(&span);
    }
    // If spans are exported, what is asked for here goes on from this one.
    if let Some(own) = TraceParent::of(&span) {
        request.extensions_mut().insert(own);
    }
    let began = observer.env.monotonic();
    let answered = AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .instrument(span.clone())
        .await;
    let mut response = answered.unwrap_or_else(|panic| {
        let said = panic_message(&*panic);
        span.in_scope(|| tracing::error!(said, "a call panicked"));
        ApiError::Panicked(said.to_owned()).into_response()
    });
    let took = observer.env.monotonic().saturating_sub(began);
    let route = response.extensions_mut().remove::<MatchedPath>();
    let route = route.as_ref().map(MatchedPath::as_str);
    observer.metrics.answered(&call.method, route, response.status(), took);
    span.record("route", route);
    span.record("status", response.status().as_u16());
    span.record("ms", took.as_secs_f64() * 1_000.0);
    span.in_scope(|| tracing::debug!("answered"));
    if response.status().is_server_error() {
        let failure = response.extensions_mut().remove::<CallError>();
        let failure = failure.unwrap_or_else(|| CallError::answered(response.status(), "internal", String::new()));
        observer.tell(&failure, &call);
    }
    if let Ok(id) = HeaderValue::from_str(&call.request_id) {
        // Where a flow request is answered inline, the header names that.
        response.headers_mut().entry(REQUEST_ID).or_insert(id);
    }
    match response.extensions_mut().remove::<BrokenOff>() {
        Some(broken) => {
            let watched = move |body| Watched::new(body, broken, observer, call, span);
            response.map(|body| axum::body::Body::new(watched(body)))
        }
        None => response,
    }
}

/// Hands the route that a call has met to [`observe`].
pub(super) async fn route(matched: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(matched) = matched {
        response.extensions_mut().insert(matched);
    }
    response
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    match panic.downcast_ref::<&str>() {
        Some(text) => text,
        None => panic.downcast_ref::<String>().map_or("no message", String::as_str),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_and_what_it_said_is_for_the_operator() {
        let (told, telling) = std::sync::mpsc::channel();
        let on_error: Box<OnError> = Box::new(move |error, call| drop(told.send((error.clone(), call.clone()))));
        let observer = Arc::new(Observer::new(Some(on_error)));
        let router: Router = Router::new()
            .route("/boom", get(async || -> () { panic!("the secret is {}", 42) }))
            .layer(from_fn_with_state(observer, observe));
        let request = Request::get("/boom").body(Body::empty()).expect("a request");
        let answered = router.oneshot(request).await.expect("an answer");
        assert_eq!(answered.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answered.headers().contains_key(REQUEST_ID));
        let body = answered.into_body().collect().await.expect("a body").to_bytes();
        assert!(!String::from_utf8_lossy(&body).contains("42"), "{body:?}");
        let (error, call) = telling.recv().expect("it was told");
        assert_eq!(
            (error.message.as_str(), call.path.as_str()),
            ("the secret is 42", "/boom")
        );
    }
}
