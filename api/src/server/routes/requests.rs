//! Requests besides their events: how far one is, stopping one, doing one again; and those that run or were left.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use flowstate_engine::{RequestRef, RequestStatus};
use serde_json::Value;

use super::actions::{accepted, again, key};
use super::{Params, Segments};
use crate::server::Api;
use crate::server::body::OptionalJsonObject;
use crate::server::caller::Caller;
use crate::server::error::ApiError;
use crate::wire::problem::Problem;
use crate::wire::request::{ActiveBody, ActiveRequest, InterruptedBody, StatusBody};

/// GET /api/flows/{kind}/requests/{request}/status
pub(crate) async fn status(
    State(api): State<Api>,
    caller: Caller,
    Segments((kind, request)): Segments<(String, String)>,
) -> Result<Json<StatusBody>, ApiError> {
    let found = find(&api, &caller, &kind, &request).await?;
    Ok(Json(StatusBody::new(found.row, now(&api))))
}

/// POST /api/flows/{kind}/requests/{request}/abort
pub(crate) async fn abort(
    State(api): State<Api>,
    caller: Caller,
    Segments((kind, request)): Segments<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let found = find(&api, &caller, &kind, &request).await?;
    if found.row.status != RequestStatus::InProgress {
        return Err(ApiError::RequestEnded(request));
    }
    // Who asks twice is told the same.
    api.engine.cancel(&caller.principal, &request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// POST /api/flows/{kind}/sessions/{session}/requests/{request}/retry
pub(crate) async fn retry(
    State(api): State<Api>,
    caller: Caller,
    Segments((kind, session, request)): Segments<(String, String, String)>,
    headers: HeaderMap,
    OptionalJsonObject(mut fields): OptionalJsonObject,
) -> Result<Response, ApiError> {
    let known = api.engine.session(&caller.principal, &session).await?;
    let known = known.ok_or_else(|| ApiError::UnknownSession(session.clone()))?;
    if known.summary.flow != kind {
        return Err(match api.engine.flow(&kind) {
            None => ApiError::UnknownFlow(kind),
            Some(_) => ApiError::Fields(vec![Problem::new("kind", "is not the kind of the session's flow")]),
        });
    }
    let input: Option<Value> = fields.remove("inputOverride");
    let key = key(&headers, &caller, &format!("{kind}/{session}/retry/{request}"))?;
    if let Some(earlier) = again(&api, &caller, key.as_ref(), |asked| {
        asked.retry_of.as_ref() == Some(&request) && input.as_ref().is_none_or(|input| *input == asked.input)
    })
    .await?
    {
        return Ok(accepted(&earlier, Some(&request)));
    }
    let id = key.map(|key| key.request);
    let new = api
        .engine
        .retry(&caller.principal, &session, &request, input, id)
        .await?;
    Ok(accepted(&new, Some(&request)))
}

/// GET /api/flows/active-requests
pub(crate) async fn active(State(api): State<Api>, caller: Caller) -> Result<Json<ActiveBody>, ApiError> {
    let now = now(&api);
    let running = api.engine.active_requests(&caller.principal).await?;
    let entries = running.into_iter().map(|request| ActiveRequest::new(request, now));
    Ok(Json(ActiveBody {
        entries: entries.collect(),
    }))
}

/// POST /api/flows/users/{user}/check-interrupted. A request runs in the process that has its store, or not at all: so what was left is known
/// from the start on, and the threshold decides nothing.
pub(crate) async fn interrupted(
    State(api): State<Api>,
    caller: Caller,
    Segments(user): Segments<String>,
    params: Params,
) -> Result<Json<InterruptedBody>, ApiError> {
    const THRESHOLD: &str = "staleThresholdMs";
    if params.text(THRESHOLD).is_some() && params.integer(THRESHOLD).is_none() {
        let what = "must be a whole number of milliseconds";
        return Err(ApiError::Fields(vec![Problem::new(THRESHOLD, what)]));
    }
    let left = api.engine.interrupted_requests(&caller.principal, &user).await?;
    Ok(Json(InterruptedBody {
        interrupted: left.into_iter().map(Into::into).collect(),
    }))
}

async fn find(api: &Api, caller: &Caller, kind: &str, request: &str) -> Result<RequestRef, ApiError> {
    if api.engine.flow(kind).is_none() {
        return Err(ApiError::UnknownFlow(kind.to_owned()));
    }
    let found = api
        .engine
        .request(&caller.principal, kind, request, Duration::ZERO)
        .await?;
    found.ok_or_else(|| ApiError::UnknownRequest(request.to_owned()))
}

/// Milliseconds since the Unix epoch.
fn now(api: &Api) -> i64 {
    api.engine.log().env().now_us() / 1_000
}
