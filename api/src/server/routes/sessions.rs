//! GET sessions: the list, one in detail, and the snapshot of one.

use axum::Json;
use axum::extract::State;
use flowstate_engine::{ItemPage, SessionQuery, SnapshotQuery};

use super::{Params, Segments};
use crate::server::Api;
use crate::server::caller::Caller;
use crate::server::error::ApiError;
use crate::wire::session::{SessionBody, SessionsBody, SnapshotBody};

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
    let query = SnapshotQuery {
        client_data: params.list("clientData").and_then(client_data_filter),
        items: params.flag("include_items").then(|| ItemPage {
            types: params.list("item_types"),
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
