//! Sessions: the list, one in detail, its requests, and the snapshot of one; making, describing and deleting one.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use flowstate_engine::{ItemPage, NewSession, RequestQuery, SessionQuery, SnapshotQuery};

use super::{Params, Segments};
use crate::server::Api;
use crate::server::body::JsonObject;
use crate::server::caller::Caller;
use crate::server::error::ApiError;
use crate::wire::request::{RequestsBody, asked_status};
use crate::wire::session::{CreateSession, SessionBody, SessionsBody, SnapshotBody, description_of};

/// Most sessions, and most items, that one answer holds.
const LIMIT_MAX: usize = 1_000;
/// Items of a page whose size is not asked for.
const ITEMS_LIMIT_DEFAULT: usize = 100;

/// GET /api/flows/sessions
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    params: Params,
) -> Result<Json<SessionsBody>, ApiError> {
    let query = SessionQuery {
        flow: params.text("flowKind").map(str::to_owned),
        user: caller.user("userId", params.text("userId").map(str::to_owned))?,
        limit: params.integer("limit"),
        offset: params.integer("offset").unwrap_or(0),
    };
    let sessions = api.engine.sessions(&caller.principal, &query).await?;
    Ok(Json(SessionsBody {
        sessions: sessions.into_iter().map(Into::into).collect(),
    }))
}

/// GET /api/flows/sessions/{session}
pub(crate) async fn detail(
    State(api): State<Api>,
    caller: Caller,
    Segments(session): Segments<String>,
) -> Result<Json<SessionBody>, ApiError> {
    match api.engine.session(&caller.principal, &session).await? {
        Some(detail) => Ok(Json(SessionBody { session: detail.into() })),
        None => Err(ApiError::UnknownSession(session)),
    }
}

/// POST /api/flows/{kind}/sessions
pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Segments(kind): Segments<String>,
    JsonObject(fields): JsonObject,
) -> Result<(StatusCode, Json<SessionBody>), ApiError> {
    let flow = api
        .engine
        .flow(&kind)
        .ok_or_else(|| ApiError::UnknownFlow(kind.clone()))?;
    let requires_user = flow.requires_user() && caller.proven.is_none();
    let body = CreateSession::from_fields(fields, requires_user).map_err(ApiError::Fields)?;
    let new = NewSession {
        principal: caller.principal.clone(),
        flow: kind,
        user: caller.user("userId", body.user_id)?.unwrap_or_default(),
        session: body.session_id,
        project: caller.project(body.project_id)?,
        description: body.description,
        state: body.state,
    };
    let session = api.engine.create_session(new).await?.into();
    Ok((StatusCode::CREATED, Json(SessionBody { session })))
}

/// PATCH /api/flows/sessions/{session}/metadata
pub(crate) async fn describe(
    State(api): State<Api>,
    caller: Caller,
    Segments(session): Segments<String>,
    JsonObject(fields): JsonObject,
) -> Result<Json<SessionBody>, ApiError> {
    let change = description_of(fields).map_err(ApiError::Fields)?;
    let session = api
        .engine
        .describe_session(&caller.principal, &session, change)
        .await?
        .into();
    Ok(Json(SessionBody { session }))
}

/// DELETE /api/flows/sessions/{session}
pub(crate) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Segments(session): Segments<String>,
) -> Result<StatusCode, ApiError> {
    api.engine.delete_session(&caller.principal, &session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// GET /api/flows/sessions/{session}/requests
pub(crate) async fn requests(
    State(api): State<Api>,
    caller: Caller,
    Segments(session): Segments<String>,
    params: Params,
) -> Result<Json<RequestsBody>, ApiError> {
    let asked = params.text("status").map(asked_status);
    let items = match params.flag("include_items") {
        true => Some(ItemPage {
            types: params.list("item_types"),
            hidden: api.settings.shown(&params)?.trace,
            offset: 0,
            limit: LIMIT_MAX,
        }),
        false => None,
    };
    let query = RequestQuery {
        status: asked.flatten().map(|(status, _)| status),
        cancelled: asked.flatten().and_then(|(_, cancelled)| cancelled),
        limit: params.integer("limit"),
        offset: params.integer("offset").unwrap_or(0),
        items,
    };
    let query = match asked {
        // No request is ever what has another name.
        Some(None) => RequestQuery {
            limit: Some(0),
            ..query
        },
        _ => query,
    };
    let requests = api.engine.requests(&caller.principal, &session, &query).await?;
    let requests = requests.ok_or(ApiError::UnknownSession(session))?;
    Ok(Json(RequestsBody {
        requests: requests.into_iter().map(Into::into).collect(),
    }))
}

/// GET /api/flows/sessions/{session}/state
pub(crate) async fn state(
    State(api): State<Api>,
    caller: Caller,
    Segments(session): Segments<String>,
    params: Params,
) -> Result<Json<SnapshotBody>, ApiError> {
    let offset = params.integer("offset").unwrap_or(0);
    let limit = params.integer("limit").unwrap_or(ITEMS_LIMIT_DEFAULT);
    let limit = limit.clamp(1, LIMIT_MAX);
    let types = params.list("item_types");
    let shown = api.settings.shown(&params)?;
    let query = SnapshotQuery {
        client_data: params.list("clientData").and_then(client_data_filter),
        items: params.flag("include_items").then_some(ItemPage {
            types,
            hidden: shown.trace,
            offset,
            limit,
        }),
    };
    match api.engine.snapshot(&caller.principal, &session, &query).await? {
        Some(snapshot) if api.engine.flow(&snapshot.flow).is_none() => Err(ApiError::UnknownFlow(snapshot.flow)),
        Some(snapshot) => {
            for error in &snapshot.client_data_errors {
                tracing::warn!(
                    session,
                    scope = error.scope,
                    name = error.name,
                    error = error.message,
                    "no client data"
                );
            }
            Ok(Json(SnapshotBody::new(snapshot, offset, limit)))
        }
        None => Err(ApiError::UnknownSession(session)),
    }
}

/// The entries that are asked for, as scope and name; `None` (everything) if nothing valid is.
/// An entry is `scope.name`, or a name alone, which is one of the session.
fn client_data_filter(entries: Vec<String>) -> Option<Vec<(String, String)>> {
    let entry = |entry: String| {
        let mut parts = entry.split('.').map(str::trim);
        let (scope, name) = match (parts.next()?, parts.next()) {
            (name, None) => ("session", name),
            ("org", Some(name)) => ("project", name),
            (scope @ ("session" | "user" | "project"), Some(name)) => (scope, name),
            (_, Some(_)) => return None,
        };
        (!name.is_empty()).then(|| (scope.to_owned(), name.to_owned()))
    };
    let wanted: Vec<_> = entries.into_iter().filter_map(entry).collect();
    (!wanted.is_empty()).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_data_filter_has_scopes_and_names() {
        let filter = |text: &str| {
            let entries = text.split(',').map(str::to_owned).collect();
            client_data_filter(entries).map(|wanted| {
                let wanted: Vec<String> = wanted
                    .into_iter()
                    .map(|(scope, name)| format!("{scope}:{name}"))
                    .collect();
                wanted.join(" ")
            })
        };
        assert_eq!(filter("session.a,user.b").as_deref(), Some("session:a user:b"));
        assert_eq!(filter("a").as_deref(), Some("session:a"));
        assert_eq!(
            filter("org.theme,project.x.y").as_deref(),
            Some("project:theme project:x")
        );
        assert_eq!(filter("session., .a,planet.earth,.").as_deref(), None);
        assert_eq!(filter("session.,a").as_deref(), Some("session:a"));
    }
}
