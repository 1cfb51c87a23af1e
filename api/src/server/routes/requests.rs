//! GET the stream of a request.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use flowstate_engine::{QueryError, record};
use flowstate_log::{Log, SubStreamInfo};

use super::{Params, Segments};
use crate::server::Api;
use crate::server::caller::Caller;
use crate::server::error::ApiError;
use crate::server::sse::{self, Frames};
use crate::wire::cursor::cursor;

/// How long a stream waits for its request: clients open it in parallel with the POST.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(3);

/// GET /api/flows/{kind}/requests/{request}/stream
pub(crate) async fn stream(
    State(api): State<Api>,
    caller: Caller,
    Segments((kind, request)): Segments<(String, String)>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if api.engine.flow(&kind).is_none() {
        return Err(ApiError::UnknownFlow(kind));
    }
    let found = api.engine.request(&caller.principal, &kind, &request, REQUEST_WAIT_MAX);
    let found = api
        .stopping
        .run_until_cancelled(found)
        .await
        .ok_or(ApiError::Stopping)??;
    let Some(found) = found else {
        return Err(ApiError::UnknownRequest(request));
    };

    // The header of a frame id is UTF-8, not only ASCII.
    let last_event_id = headers
        .get("last-event-id")
        .and_then(|id| str::from_utf8(id.as_bytes()).ok());
    let cursor = cursor(&request, params.text("starting_after"), last_event_id);
    let log = api.engine.log();
    let after = if cursor < found.sub.count {
        cursor
    } else if has_ended(log, &found.sub).await? {
        return Ok(sse::respond_empty());
    } else {
        found.sub.count
    };
    // From the start on, every item is seen being added.
    let hidden = match after {
        0 => BTreeSet::new(),
        _ => api.engine.hidden_items(&found).await?,
    };
    let frames = Frames::new(request, found.sub.id, api.engine.media(&found.sub), hidden);
    Ok(sse::respond(
        log.follow_sub(&found.sub, after).await?,
        frames,
        api.stopping,
    ))
}

/// Whether the last record of a request is its terminal one.
async fn has_ended(log: &Log, sub: &SubStreamInfo) -> Result<bool, QueryError> {
    let records = log.read_positions(sub.stream, &[sub.last]).await?;
    match records.last() {
        Some(last) => Ok(record::decode(last)?.is_terminal()),
        None => Ok(false),
    }
}
