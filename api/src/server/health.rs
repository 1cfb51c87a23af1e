//! Whether the process lives, and whether it can be given work. For probes: no host is checked, and nothing is told but the state.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use serde::Serialize;

use crate::flow_state::{FlowState, Health};

#[derive(Serialize)]
struct Body {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
}

/// Asking for readiness begins an opening that has not begun, or has failed: a server that is sent no call before it is ready gets ready.
pub(super) fn routes() -> Router<FlowState> {
    Router::new()
        .route("/livez", only_get(get(async || answer(StatusCode::OK, "ok", None))))
        .route("/readyz", only_get(get(readyz)))
        .route("/api/flows/healthz", only_get(get(healthz)))
}

fn only_get(get: MethodRouter<FlowState>) -> MethodRouter<FlowState> {
    get.fallback(async |method| super::error::ApiError::MethodNotAllowed(method))
}

/// 200 if calls can be answered.
async fn readyz(State(server): State<FlowState>) -> Response {
    match server.health_now() {
        Health::Ready => answer(StatusCode::OK, "ok", None),
        Health::Initialising | Health::Failed => answer(StatusCode::SERVICE_UNAVAILABLE, "initializing", None),
        Health::Stopping => answer(StatusCode::SERVICE_UNAVAILABLE, "stopping", None),
    }
}

/// The same, and 500 if the last attempt to open failed.
async fn healthz(State(server): State<FlowState>) -> Response {
    const FAILED: &str = "the server could not be opened; its diagnostics say why";
    match server.health_now() {
        Health::Ready => answer(StatusCode::OK, "ok", None),
        Health::Initialising => answer(StatusCode::SERVICE_UNAVAILABLE, "initializing", None),
        Health::Failed => answer(StatusCode::INTERNAL_SERVER_ERROR, "error", Some(FAILED)),
        Health::Stopping => answer(StatusCode::SERVICE_UNAVAILABLE, "stopping", None),
    }
}

fn answer(status: StatusCode, text: &'static str, message: Option<&'static str>) -> Response {
    let body = Json(Body { status: text, message });
    let mut response = (status, [(header::CACHE_CONTROL, "no-store")], body).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
