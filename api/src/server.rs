//! The HTTP side: routes, and what stands around them. Sockets are in `server/connection`; what bodies look like is in `wire`.

mod body;
pub(crate) mod caller;
pub(crate) mod connection;
mod error;
mod frames;
pub(crate) mod front;
pub(crate) mod gate;
pub(crate) mod guard;
mod head;
mod health;
mod lease;
pub(crate) mod limits;
pub(crate) mod metrics;
pub(crate) mod observe;
mod openapi;
pub(crate) mod paths;
mod problem;
mod routes;
pub(crate) mod settings;
mod shares;
mod sse;
mod traces;
mod ui;

use std::sync::Arc;

use axum::Router;
use axum::extract::OriginalUri;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, patch, post};
use flowstate_engine::Engine;
use tokio_util::sync::CancellationToken;

use self::error::ApiError;
use self::guard::Guard;
use self::observe::Observer;
use self::paths::Paths;
use self::routes::{actions, flows, requests, resources, sessions, streams, voice};
use self::settings::Settings;

/// What every route works with.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) engine: Engine,
    pub(crate) settings: Arc<Settings>,
    /// Set when the server stops; open streams end then.
    pub(crate) stopping: CancellationToken,
    /// Whether a call needs a credential, which says whose it is.
    pub(crate) asks_who: bool,
    /// What is noted of calls.
    pub(crate) observer: Arc<Observer>,
}

/// The routes under `/api/flows`. Names that are fixed go before those that vary, so no flow can be called as they are.
fn flows_routes() -> Paths<Api> {
    Paths::new()
        .route("/", head::get(flows::list))
        .route("/capabilities", head::get(flows::capabilities))
        .route("/transcribe", post(voice::transcribe))
        .route("/active-requests", head::get(requests::active))
        .route("/users/{user}/stream", head::get(flows::user_stream))
        .route("/users/{user}/check-interrupted", post(requests::interrupted))
        .route("/sessions", head::get(sessions::list))
        .route(
            "/sessions/{session}",
            head::get(sessions::detail).delete(sessions::delete),
        )
        .route("/sessions/{session}/state", head::get(sessions::state))
        .route("/sessions/{session}/requests", head::get(sessions::requests))
        .route("/sessions/{session}/metadata", patch(sessions::describe))
        .route("/sessions/{session}/stream", head::get(streams::session))
        .route("/sessions/{session}/events", head::get(streams::session_events))
        .route("/sessions/{session}/manifest", head::get(resources::manifest))
        .route(
            "/sessions/{session}/resources/{resource}",
            head::get(resources::list).post(resources::create),
        )
        .route(
            "/sessions/{session}/resources/{resource}/{*rest}",
            head::get(resources::get)
                .patch(resources::write)
                .delete(resources::delete),
        )
        .route("/{kind}/sessions", post(sessions::create))
        .route("/{kind}/actions/{action}", post(actions::run))
        .route("/{kind}/{session}/actions/{action}", post(actions::run_in_session))
        .route("/{kind}/requests/{request}/stream", head::get(streams::request))
        .route("/{kind}/requests/{request}/events", head::get(streams::request_events))
        .route("/{kind}/requests/{request}/status", head::get(requests::status))
        .route("/{kind}/requests/{request}/abort", post(requests::abort))
        .route(
            "/{kind}/sessions/{session}/requests/{request}/retry",
            post(requests::retry),
        )
}

/// All paths. Each is in `api/tests/matrix.rs`, with what every kind of caller is answered.
pub(crate) fn paths() -> Paths<Api> {
    Paths::new()
        .nest("/api/flows", flows_routes())
        .route("/api/flows/", head::get(flows::list))
        // What a client makes of it that is told that the API is at `/api`.
        .nest("/api/api/flows", flows_routes())
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(openapi::openapi))
        .merge(ui::routes())
}

/// All routes, behind the guard.
pub(crate) fn router(api: Api, guard: Arc<Guard>) -> Router {
    paths()
        .router()
        .fallback(async |OriginalUri(uri): OriginalUri| ApiError::NoRoute(uri.path().to_owned()))
        .method_not_allowed_fallback(async |method: Method, OriginalUri(uri): OriginalUri| {
            resources::not_allowed(method, uri.path())
        })
        .layer(from_fn_with_state(guard, guard::check))
        .layer(from_fn(observe::route))
        .with_state(api)
}
