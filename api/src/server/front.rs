//! What a call meets first: what is answered whether or not the server is open, and the opening for everything else.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;

use super::error::ApiError;
use super::observe::observe;
use super::problem::problems;
use super::{head, health};
use crate::flow_state::FlowState;

/// All routes of a server, which is opened by the first call that needs it.
pub(crate) fn router(server: FlowState) -> Router {
    let observed = from_fn_with_state(Arc::clone(server.observer()), observe);
    health::routes()
        .fallback(open.layer(observed))
        .layer(from_fn(problems))
        .with_state(server)
}

async fn open(State(server): State<FlowState>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    match server.routes().await {
        Ok(routes) => match routes.oneshot(request).await {
            Ok(mut response) => {
                head::unlist(&path, &mut response);
                response
            }
            Err(never) => match never {},
        },
        Err(error) => ApiError::NotReady(error).into_response(),
    }
}
