//! GET the list of flows.

use axum::Json;
use axum::extract::State;

use crate::server::Api;
use crate::wire::flow::FlowsBody;

/// GET /api/flows
pub(crate) async fn list(State(api): State<Api>) -> Json<FlowsBody> {
    let flows = api.engine.flows().iter();
    Json(FlowsBody {
        flows: flows.map(|flow| flow.describe().into()).collect(),
    })
}
