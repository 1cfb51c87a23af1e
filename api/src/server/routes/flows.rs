//! GET the list of flows, and what the server can do.

use axum::Json;
use axum::extract::State;

use crate::server::Api;
use crate::server::error::ApiError;
use crate::wire::flow::{CapabilitiesBody, FlowsBody};

/// GET /api/flows
pub(crate) async fn list(State(api): State<Api>) -> Json<FlowsBody> {
    let flows = api.engine.flows().iter();
    Json(FlowsBody {
        flows: flows.map(|flow| flow.describe().into()).collect(),
    })
}

/// GET /api/flows/capabilities
pub(crate) async fn capabilities() -> Json<CapabilitiesBody> {
    Json(CapabilitiesBody { user_stream: false })
}

/// GET /api/flows/users/{user}/stream
pub(crate) async fn user_stream() -> ApiError {
    ApiError::NotServed("there is no stream of a user; GET /api/flows/sessions/{session}/stream follows a session")
}
