//! The HTTP side: routes, and what stands around them. Sockets are in `server/connection`; what bodies look like is in `wire`.

mod body;
pub(crate) mod caller;
pub(crate) mod connection;
mod error;
pub(crate) mod guard;
mod routes;
mod sse;
mod ui;

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use flowstate_engine::Engine;
use tokio_util::sync::CancellationToken;

use self::error::ApiError;
use self::guard::Guard;
use self::routes::{actions, flows, requests, resources, sessions};

/// What every route works with.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) engine: Engine,
    /// Set when the server stops; open streams end then.
    pub(crate) stopping: CancellationToken,
}

/// All routes, behind the guard.
pub(crate) fn router(api: Api, guard: Arc<Guard>) -> Router {
    Router::new()
        .route("/api/flows", get(flows::list))
        .route("/api/flows/", get(flows::list))
        .route("/api/flows/{kind}/actions/{action}", post(actions::run))
        .route(
            "/api/flows/{kind}/{session}/actions/{action}",
            post(actions::run_in_session),
        )
        .route("/api/flows/{kind}/requests/{request}/stream", get(requests::stream))
        .route("/api/flows/sessions", get(sessions::list))
        .route("/api/flows/sessions/{session}", get(sessions::detail))
        .route("/api/flows/sessions/{session}/state", get(sessions::state))
        .route(
            "/api/flows/sessions/{session}/resources/{resource}",
            post(resources::create),
        )
        .route(
            "/api/flows/sessions/{session}/resources/{resource}/{*rest}",
            get(resources::content)
                .patch(resources::write)
                .delete(resources::delete),
        )
        .merge(ui::routes())
        .fallback(async |uri: Uri| ApiError::NoRoute(uri.path().to_owned()))
        .method_not_allowed_fallback(async |method: Method| ApiError::MethodNotAllowed(method))
        .layer(from_fn_with_state(guard, guard::check))
        .with_state(api)
}
