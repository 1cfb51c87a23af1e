//! POST an action. What is sent twice with one `Idempotency-Key` is done once: the key decides the request's id, and its first record says what
//! was asked.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flowstate_engine::record::RequestAccepted;
use flowstate_engine::{Accepted, Submission, SubmitError, TraceParent};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Params, Segments, streams};
use crate::server::Api;
use crate::server::body::JsonObject;
use crate::server::caller::Caller;
use crate::server::error::ApiError;
use crate::server::gate::takes_stream;
use crate::server::observe::Traced;
use crate::wire::action::{self, AcceptedBody, AcceptedSession, ActionBody};
use crate::wire::problem::Problem;

/// Longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// POST /api/flows/{kind}/actions/{action}
pub(crate) async fn run(
    State(api): State<Api>,
    caller: Caller,
    Traced(trace): Traced,
    Segments((kind, action)): Segments<(String, String)>,
    headers: HeaderMap,
    params: Params,
    JsonObject(fields): JsonObject,
) -> Result<Response, ApiError> {
    let body = read(&api, &caller, &kind, fields)?;
    submit(api, caller, trace, kind, action, &headers, &params, body).await
}

/// POST /api/flows/{kind}/{session}/actions/{action}
pub(crate) async fn run_in_session(
    State(api): State<Api>,
    caller: Caller,
    Traced(trace): Traced,
    Segments((kind, session, action)): Segments<(String, String, String)>,
    headers: HeaderMap,
    params: Params,
    JsonObject(fields): JsonObject,
) -> Result<Response, ApiError> {
    let body = read(&api, &caller, &kind, fields)?;
    let session_id = Some(session);
    submit(
        api,
        caller,
        trace,
        kind,
        action,
        &headers,
        &params,
        ActionBody { session_id, ..body },
    )
    .await
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

#[allow(clippy::too_many_arguments)] // what a call is made of
async fn submit(
    api: Api,
    caller: Caller,
    trace: Option<TraceParent>,
    flow: String,
    action: String,
    headers: &HeaderMap,
    params: &Params,
    body: ActionBody,
) -> Result<Response, ApiError> {
    let wants_stream = takes_stream(headers);
    if wants_stream {
        // What it may not see is told before anything is started.
        api.settings.shown(params)?;
    }
    // A request id that a caller chooses is what makes its POST one of a kind.
    let key = match body.request_id {
        Some(_) => None,
        None => key(headers, &caller, &format!("{flow}/{action}"))?,
    };
    // What is asked is kept for a key only: an input may be large.
    let named = key.as_ref().map(|_| body.clone());
    let is_same = |asked: &RequestAccepted| {
        named.as_ref().is_some_and(|named| {
            let session = named
                .session_id
                .as_ref()
                .is_none_or(|session| *session == asked.session);
            let user = named.user_id.as_ref().is_none_or(|user| *user == asked.user);
            let project = named.project_id.is_none() || named.project_id == asked.project;
            let input = named.input.as_ref().unwrap_or(&Value::Null);
            session && user && project && *input == asked.input && named.metadata == asked.metadata
        })
    };
    let earlier = again(&api, &caller, key.as_ref(), is_same).await?;
    let new = match earlier {
        Some(earlier) => earlier,
        None => {
            let submission = Submission {
                principal: caller.principal.clone(),
                flow,
                action,
                input: body.input,
                user: body.user_id.unwrap_or_default(),
                session: body.session_id,
                request: body.request_id.or(key.as_ref().map(|key| key.request.clone())),
                project: body.project_id,
                metadata: body.metadata,
                retry_of: None,
                trace,
            };
            match api.engine.submit(submission).await {
                // Whoever sent the same key at the same moment was first.
                Err(SubmitError::RequestIdTaken(_)) if key.is_some() => again(&api, &caller, key.as_ref(), is_same)
                    .await?
                    .ok_or(ApiError::KeyReused)?,
                submitted => submitted?,
            }
        }
    };
    if !wants_stream {
        return Ok(accepted(&new, None));
    }
    let mut response = streams::accepted(api, &caller.principal, &new.flow, &new.request, params).await?;
    let ids = [("x-request-id", &new.request), ("x-session-id", &new.session)];
    for (name, id) in ids {
        if let Ok(id) = HeaderValue::from_str(id) {
            response.headers_mut().insert(name, id);
        }
    }
    Ok(response)
}

/// The answer 202 to what was accepted.
pub(super) fn accepted(new: &Accepted, retry_of: Option<&str>) -> Response {
    let status = "in_progress";
    let body = AcceptedBody {
        status,
        request_id: &new.request,
        request: action::AcceptedRequest {
            id: &new.request,
            flow_kind: &new.flow,
            flow_id: &new.flow_id,
            action_name: &new.action,
            status,
            retry_of,
        },
        session: AcceptedSession { id: &new.session },
    };
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

/// An idempotency key, as the id of the request that it stands for.
pub(super) struct Key {
    pub(super) request: String,
}

/// The call's `Idempotency-Key`, for what `route` names. Callers have keys of their own, and so do routes.
pub(super) fn key(headers: &HeaderMap, caller: &Caller, route: &str) -> Result<Option<Key>, ApiError> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let is_usable = !key.is_empty() && key.len() <= KEY_BYTES_MAX;
    if !is_usable {
        let what = format!("must be 1 to {KEY_BYTES_MAX} bytes long");
        return Err(ApiError::Fields(vec![Problem::new("idempotency-key", &what)]));
    }
    let mut hash = Sha256::new();
    for part in [caller.principal.as_str().as_bytes(), route.as_bytes(), key.as_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let request: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(Key {
        request: format!("req_{request}"),
    }))
}

/// What was accepted under this key before, if `is_same` as what is asked now. `Err` if something else was.
pub(super) async fn again(
    api: &Api,
    caller: &Caller,
    key: Option<&Key>,
    is_same: impl Fn(&RequestAccepted) -> bool,
) -> Result<Option<Accepted>, ApiError> {
    let Some(key) = key else { return Ok(None) };
    let Some(asked) = api.engine.asked_for(&caller.principal, &key.request).await? else {
        return Ok(None);
    };
    if !is_same(&asked) {
        return Err(ApiError::KeyReused);
    }
    Ok(Some(Accepted {
        request: asked.request,
        session: asked.session,
        flow: asked.flow,
        flow_id: asked.flow_id,
        action: asked.action,
    }))
}
