//! What tools need that open the engine's log while no engine runs: its views, and what its names and payloads mean.

use std::sync::Arc;

use bytes::Bytes;
use flowstate_log::Log;
use flowstate_log::error::ViewError;
use flowstate_log::record::{Kind, Name, NameError, StreamId};
use flowstate_log::view::View;
use serde_json::Value;

use crate::principal::Principal;
use crate::projection;
use crate::projection::session::List;
use crate::record::{RequestAccepted, SessionCreated};

/// Rows that are looked at in one go.
const ROWS_AT_ONCE: usize = 1_000;
/// What the names of sessions' streams begin with.
const SESSION: &str = "session/";

/// The engine's views. A log that is opened without them has its view store emptied.
pub fn views() -> Vec<Arc<dyn View>> {
    projection::views()
}

/// Name of the stream that holds a session.
pub fn session_stream(principal: &Principal, session: &str) -> Result<Name, NameError> {
    principal.session_stream(session)
}

/// The streams of all sessions of a user, and the user's own. The log must have been opened with [`views`].
pub async fn streams_of_user(log: &Log, principal: &Principal, user: &str) -> Result<Vec<StreamId>, ViewError> {
    let prefix = List::User(user).prefix(principal.as_str());
    let (mut found, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let view = projection::session::ID;
        let rows = log.index(view, &prefix, after.as_deref(), ROWS_AT_ONCE).await?;
        let Some((last, _)) = rows.last() else { break };
        after = Some(last.clone());
        for (key, _) in &rows {
            if let Some(id) = key.last_chunk::<16>() {
                found.push(StreamId(*id));
            }
        }
    }
    if let Ok(name) = principal.user_stream(user) {
        let own = log.stream(&name).await;
        found.extend(own.map_err(|error| ViewError::Store(error.to_string()))?);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A stream's name with a prefix before what its callers call it: of a session before the session's id.
pub fn renamed_stream(name: &Name, prefix: &str) -> Result<Name, NameError> {
    let renamed = match name.name().strip_prefix(SESSION) {
        Some(session) => format!("{SESSION}{prefix}{session}"),
        None => format!("{prefix}{}", name.name()),
    };
    Name::new(name.principal(), &renamed)
}

/// What a record says when session and request are called otherwise. Payloads that name neither are unchanged.
pub fn renamed_payload(kind: Kind, payload: &Bytes, prefix: &str) -> Bytes {
    let fields: &[&str] = match kind {
        SessionCreated::KIND => &["session"],
        RequestAccepted::KIND => &["session", "request"],
        _ => return payload.clone(),
    };
    let Ok(Value::Object(mut said)) = serde_json::from_slice(payload) else {
        return payload.clone();
    };
    for field in fields {
        if let Some(Value::String(id)) = said.get_mut(*field) {
            id.insert_str(0, prefix);
        }
    }
    serde_json::to_vec(&said).map_or_else(|_| payload.clone(), Bytes::from)
}
