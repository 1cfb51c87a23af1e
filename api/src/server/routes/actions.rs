//! POST an action.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use flowstate_engine::Submission;
use serde_json::{Map, Value};

use super::Segments;
use crate::server::Api;
use crate::server::body::JsonObject;
use crate::server::caller::Caller;
use crate::server::error::ApiError;
use crate::wire::action::{AcceptedBody, AcceptedRequest, AcceptedSession, ActionBody};

/// POST /api/flows/{kind}/actions/{action}
pub(crate) async fn run(
    State(api): State<Api>,
    caller: Caller,
    Segments((kind, action)): Segments<(String, String)>,
    JsonObject(fields): JsonObject,
) -> Result<Response, ApiError> {
    let body = read(&api, &caller, &kind, fields)?;
    submit(&api, caller, kind, action, body).await
}

/// POST /api/flows/{kind}/{session}/actions/{action}
pub(crate) async fn run_in_session(
    State(api): State<Api>,
    caller: Caller,
    Segments((kind, session, action)): Segments<(String, String, String)>,
    JsonObject(fields): JsonObject,
) -> Result<Response, ApiError> {
    let body = read(&api, &caller, &kind, fields)?;
    let session_id = Some(session);
    submit(&api, caller, kind, action, ActionBody { session_id, ..body }).await
}

fn read(api: &Api, caller: &Caller, kind: &str, fields: Map<String, Value>) -> Result<ActionBody, ApiError> {
    let requires_user = api.engine.flow(kind).is_none_or(|flow| flow.requires_user());
    let body = ActionBody::from_fields(fields, requires_user && caller.proven.is_none()).map_err(ApiError::Fields)?;
    Ok(ActionBody {
        user_id: caller.user("userId", body.user_id)?,
        project_id: caller.project(body.project_id)?,
        ..body
    })
}

async fn submit(
    api: &Api,
    caller: Caller,
    flow: String,
    action: String,
    body: ActionBody,
) -> Result<Response, ApiError> {
    let submission = Submission {
        principal: caller.principal,
        flow,
        action,
        input: body.input,
        user: body.user_id.unwrap_or_default(),
        session: body.session_id,
        request: body.request_id,
        project: body.project_id,
        metadata: body.metadata,
    };
    let accepted = api.engine.submit(submission).await?;
    let status = "in_progress";
    let body = AcceptedBody {
        status,
        request_id: &accepted.request,
        request: AcceptedRequest {
            id: &accepted.request,
            flow_kind: &accepted.flow,
            flow_id: &accepted.flow_id,
            action_name: &accepted.action,
            status,
        },
        session: AcceptedSession { id: &accepted.session },
    };
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}
