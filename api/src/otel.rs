//! Spans of calls, runs and calls of models, for a collector: OpenTelemetry over HTTP, in batches. Only with the feature `otel`.
//!
//! A call with a `traceparent` is part of that trace; a run is a child of the call that it was asked for in, though it may go on when that was answered;
//! a call of a model is a child of the run, has the attributes `gen_ai.*` (semantic conventions for generative AI), and its `traceparent` goes to the
//! provider. Texts of prompts and answers are in no span.
//!
//! ```no_run
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tracing_subscriber::layer::SubscriberExt;
//!
//! let spans = flowstate::otel::Spans::to(Some("http://localhost:4318"))?;
//! tracing::subscriber::set_global_default(tracing_subscriber::registry().with(spans.layer()))?;
//! // ... serve ...
//! spans.close().await;
//! # Ok(())
//! # }
//! ```

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::registry::LookupSpan;

/// Longest time that a connection to the collector may take, and that one batch may.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const EXPORT_WITHIN: Duration = Duration::from_secs(10);
/// As much of a collector's answer as is looked at, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Longest time that what is left may take at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// The service's name, unless `OTEL_SERVICE_NAME` says another.
const SERVICE: &str = "flowstate";
/// Where traces go below a collector's address.
const PATH: &str = "/v1/traces";

/// Why spans can't be exported.
#[derive(Debug, thiserror::Error)]
#[error("spans can't be exported: {0}")]
pub struct OtelError(String);

/// Spans on their way to a collector.
#[derive(Debug)]
pub struct Spans(SdkTracerProvider);

impl Spans {
    /// To the collector at this address, such as `http://localhost:4318`; without one, to where `OTEL_EXPORTER_OTLP_ENDPOINT` says. What else the
    /// `OTEL_*` variables of the SDK say (name of the service, sampler, batches) counts too. Called within the runtime that sends.
    pub fn to(collector: Option<&str>) -> Result<Self, OtelError> {
        let runtime = Handle::try_current().map_err(|error| OtelError(error.to_string()))?;
        let address = match collector {
            Some(address) => address.to_owned(),
            None => std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_else(|_| "http://localhost:4318".to_owned()),
        };
        let client = flowstate_engine::http_client(&address, CONNECT_WITHIN).map_err(OtelError)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}{PATH}", address.trim_end_matches('/')))
            .with_timeout(EXPORT_WITHIN)
            .with_http_client(Sender { runtime, client })
            .build()
            .map_err(|error| OtelError(error.to_string()))?;
        let resource = Resource::builder();
        let resource = match std::env::var_os("OTEL_SERVICE_NAME") {
            Some(_) => resource.build(),
            None => resource.with_service_name(SERVICE).build(),
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Self(provider))
    }

    /// What hands spans over, for the application's subscriber. Those of level info and above; a filter of its own may be put on it.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let tracer = self.0.tracer("flowstate");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        layer.with_filter(LevelFilter::INFO)
    }

    /// Sends what is left, for at most 5 s, and ends.
    pub async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(CLOSE_WITHIN));
        match closing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "not all spans reached their collector"),
            Err(error) => tracing::warn!(%error, "not all spans reached their collector"),
        }
    }
}

/// Sends batches on the runtime that it was made in: they come from a thread that has none.
#[derive(Debug)]
struct Sender {
    runtime: Handle,
    client: reqwest::Client,
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Sender {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sending<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let client = self.client.clone();
        let send = async move {
            let mut answer = client.execute(request.try_into()?).await?;
            let status = answer.status();
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await?
                && body.len() <= ANSWER_BYTES_MAX
            {
                body.extend_from_slice(&chunk);
            }
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = status;
            Ok(response)
        };
        // The exporter's own time only says when it gives up trying again.
        let sent = self
            .runtime
            .spawn(async move { tokio::time::timeout(EXPORT_WITHIN, send).await });
        Box::pin(async move { sent.await.map_err(HttpError::from)?.map_err(HttpError::from)? })
    }
}
