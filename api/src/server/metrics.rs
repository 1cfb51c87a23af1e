//! What a server counts, and how that is written for Prometheus. Labels have few values, whatever callers send: methods are known ones,
//! routes are templates, statuses are classes.

mod text;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flowstate_engine::Engine;
use flowstate_log::stats::Histogram;
use futures_util::FutureExt;
use parking_lot::Mutex;

use self::text::Text;
use super::Api;

/// What is counted of calls.
#[derive(Default)]
pub(crate) struct Metrics {
    answers: Mutex<BTreeMap<Labels, u64>>,
    durations: Histogram,
    streams: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

/// Of an answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    method: &'static str,
    /// A template, of which there are as many as routes.
    route: Arc<str>,
    class: &'static str,
}

/// Something counts as open as long as this is there.
pub(crate) struct OpenOne(Arc<AtomicU64>);

impl OpenOne {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for OpenOne {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// A stream is open.
    pub(crate) fn stream(&self) -> OpenOne {
        OpenOne::new(&self.streams)
    }

    /// A connection is open.
    pub(crate) fn connection(&self) -> OpenOne {
        OpenOne::new(&self.connections)
    }

    /// A call was answered. `route` is a template, `None` if it met no route.
    pub(super) fn answered(&self, method: &Method, route: Option<&str>, status: StatusCode, took: Duration) {
        let labels = Labels {
            method: known(method),
            route: route.unwrap_or("none").into(),
            class: class(status),
        };
        *self.answers.lock().entry(labels).or_default() += 1;
        self.durations.record(took, 1);
    }

    /// Everything, as Prometheus reads it.
    fn text(&self, engine: &Engine) -> String {
        let mut text = Text::default();
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        text.begin(
            "flowstate_http_responses_total",
            "counter",
            "Calls that were answered, probes left out.",
        );
        for (labels, count) in &*self.answers.lock() {
            let labels = [
                ("method", labels.method),
                ("route", &labels.route),
                ("status", labels.class),
            ];
            text.value(&labels, *count);
        }
        text.histogram(
            "flowstate_http_response_duration_seconds",
            "From a call to the head of its answer.",
            &self.durations.counts(),
        );
        text.gauge(
            "flowstate_http_open_streams",
            "Event streams that are open.",
            read(&self.streams),
        );
        text.gauge(
            "flowstate_http_open_connections",
            "Connections that are open.",
            read(&self.connections),
        );

        let runs = engine.run_counts();
        text.gauge("flowstate_requests_running", "Flow requests that run.", runs.running);
        text.begin(
            "flowstate_requests_total",
            "counter",
            "Flow requests that have ended here.",
        );
        for (outcome, count) in [
            ("completed", runs.completed),
            ("failed", runs.failed),
            ("interrupted", runs.interrupted),
        ] {
            text.value(&[("outcome", outcome)], count);
        }

        let log = engine.log().stats();
        text.histogram(
            "flowstate_log_append_duration_seconds",
            "From an append being handed to the log to its answer, which is durable.",
            &log.appends.counts(),
        );
        text.histogram(
            "flowstate_log_sync_duration_seconds",
            "Syncs of the log's storage.",
            &log.syncs.counts(),
        );
        text.gauge(
            "flowstate_log_queue_appends",
            "Appends that the log was handed and has not answered.",
            read(&log.waiting),
        );
        text.gauge(
            "flowstate_log_failed",
            "1 if the log can store nothing more.",
            u64::from(engine.log().poisoned().now_or_never().is_some()),
        );
        text.0
    }
}

fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE"];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

/// GET /metrics
pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let text = api.observer.metrics.text(&api.engine);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    (
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")],
        text,
    )
        .into_response()
}
