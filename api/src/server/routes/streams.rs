//! GET the events of a request, or of a whole session: as a stream, or, where streams do not pass, as the answers to polls with the same cursors.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use flowstate_engine::{Principal, QueryError, RequestRef, record};
use flowstate_log::{Log, SubStreamInfo};

use super::{Params, Segments};
use crate::server::Api;
use crate::server::caller::Caller;
use crate::server::error::ApiError;
use crate::server::frames::{Form, Frames, Scope};
use crate::server::sse::{self, Opening, Records};
use crate::wire::cursor::cursor;

/// How long a stream waits for its request: clients open it in parallel with the POST.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(3);
/// How long a poll waits for an event, unless it asks for less.
const POLL_WAIT_MAX: Duration = Duration::from_secs(25);

/// GET /api/flows/{kind}/requests/{request}/stream
pub(crate) async fn request(
    State(api): State<Api>,
    caller: Caller,
    Segments((kind, request)): Segments<(String, String)>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let shown = api.settings.shown(&params)?;
    let found = find(&api, &caller.principal, &kind, &request).await?;
    let cursor = asked_cursor(&request, &params, &headers);
    let Some(after) = go_on(api.engine.log(), &found, cursor).await? else {
        return Ok(sse::respond_empty());
    };
    let mut frames = Frames::new(api.engine.clone(), found.sub.stream, Scope::Request, Form::Sse, shown);
    frames.know(&found, after).await?;
    let records = api.engine.log().follow_sub(&found.sub, after).await?;
    Ok(sse::respond(Records::Request(records), frames, None, api.stopping))
}

/// GET /api/flows/{kind}/requests/{request}/events
pub(crate) async fn request_events(
    State(api): State<Api>,
    caller: Caller,
    Segments((kind, request)): Segments<(String, String)>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let shown = api.settings.shown(&params)?;
    let found = find(&api, &caller.principal, &kind, &request).await?;
    let cursor = asked_cursor(&request, &params, &headers);
    let Some(after) = go_on(api.engine.log(), &found, cursor).await? else {
        return Ok(polled(&[], &format!("{request}:{}", found.sub.count), true));
    };
    let mut frames = Frames::new(api.engine.clone(), found.sub.stream, Scope::Request, Form::Json, shown);
    frames.know(&found, after).await?;
    let records = api.engine.log().follow_sub(&found.sub, after).await?;
    poll(
        &api,
        &params,
        Records::Request(records),
        frames,
        format!("{request}:{after}"),
    )
    .await
}

/// GET /api/flows/sessions/{session}/stream
pub(crate) async fn session(
    State(api): State<Api>,
    caller: Caller,
    Segments(session): Segments<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // Parameters of another dialect, whose clients stop at a 404.
    if params.text("since").is_some() || params.text("session_created_at").is_some() {
        return Err(ApiError::UnknownSession(session));
    }
    let shown = api.settings.shown(&params)?;
    let stream = api.engine.session_records(&caller.principal, &session).await?;
    let stream = stream.ok_or_else(|| ApiError::UnknownSession(session.clone()))?;
    let id: Arc<str> = session.as_str().into();
    let frames = Frames::new(api.engine.clone(), stream, Scope::Session(id.clone()), Form::Sse, shown);
    let log = api.engine.log();
    let cursor = asked_cursor(&session, &params, &headers);
    let (after, opening) = match params.flag("bootstrap") && cursor == 0 {
        true => {
            let prefix = api.engine.prefix(stream).await?;
            (prefix.position(), Some(Opening { session: id, prefix }))
        }
        false => (cursor.min(log.tail(stream).await?), None),
    };
    let records = log.follow(stream, after + 1).await?;
    Ok(sse::respond(Records::Session(records), frames, opening, api.stopping))
}

/// GET /api/flows/sessions/{session}/events
pub(crate) async fn session_events(
    State(api): State<Api>,
    caller: Caller,
    Segments(session): Segments<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let shown = api.settings.shown(&params)?;
    let stream = api.engine.session_records(&caller.principal, &session).await?;
    let stream = stream.ok_or_else(|| ApiError::UnknownSession(session.clone()))?;
    let scope = Scope::Session(session.as_str().into());
    let frames = Frames::new(api.engine.clone(), stream, scope, Form::Json, shown);
    let log = api.engine.log();
    let after = asked_cursor(&session, &params, &headers).min(log.tail(stream).await?);
    let records = log.follow(stream, after + 1).await?;
    poll(
        &api,
        &params,
        Records::Session(records),
        frames,
        format!("{session}:{after}"),
    )
    .await
}

/// The stream of a request that was just accepted, from its start.
pub(crate) async fn accepted(api: Api, principal: &Principal, kind: &str, request: &str) -> Result<Response, ApiError> {
    let shown = api.settings.shown(&Params::default())?;
    let found = find(&api, principal, kind, request).await?;
    let mut frames = Frames::new(api.engine.clone(), found.sub.stream, Scope::Request, Form::Sse, shown);
    frames.know(&found, 0).await?;
    let records = api.engine.log().follow_sub(&found.sub, 0).await?;
    Ok(sse::respond(Records::Request(records), frames, None, api.stopping))
}

/// The request, which may be about to be submitted.
async fn find(api: &Api, principal: &Principal, kind: &str, request: &str) -> Result<RequestRef, ApiError> {
    if api.engine.flow(kind).is_none() {
        return Err(ApiError::UnknownFlow(kind.to_owned()));
    }
    let found = api.engine.request(principal, kind, request, REQUEST_WAIT_MAX);
    let found = api.stopping.run_until_cancelled(found).await;
    let found = found.ok_or(ApiError::Stopping)??;
    found.ok_or_else(|| ApiError::UnknownRequest(request.to_owned()))
}

fn asked_cursor(of: &str, params: &Params, headers: &HeaderMap) -> u64 {
    // The header of a frame id is UTF-8, not only ASCII.
    let last_event_id = headers.get("last-event-id");
    let last_event_id = last_event_id.and_then(|id| str::from_utf8(id.as_bytes()).ok());
    cursor(of, params.text("starting_after"), last_event_id)
}

/// The number behind which a request's events go on; `None` if it has ended and there are none. What lies beyond its end is its end.
async fn go_on(log: &Log, found: &RequestRef, cursor: u64) -> Result<Option<u64>, QueryError> {
    if cursor < found.sub.count {
        Ok(Some(cursor))
    } else if has_ended(log, &found.sub).await? {
        Ok(None)
    } else {
        Ok(Some(found.sub.count))
    }
}

/// Whether the last record of a request is its terminal one.
async fn has_ended(log: &Log, sub: &SubStreamInfo) -> Result<bool, QueryError> {
    let records = log.read_positions(sub.stream, &[sub.last]).await?;
    match records.last() {
        Some(last) => Ok(record::decode(last)?.is_terminal()),
        None => Ok(false),
    }
}

async fn poll(
    api: &Api,
    params: &Params,
    records: Records,
    mut frames: Frames,
    cursor: String,
) -> Result<Response, ApiError> {
    let asked = params.integer("wait_ms").and_then(|ms| u64::try_from(ms).ok());
    let wait = asked.map_or(POLL_WAIT_MAX, Duration::from_millis).min(POLL_WAIT_MAX);
    let answer = sse::poll(records, &mut frames, wait, &api.stopping).await?;
    let cursor = frames.last().map_or(cursor, |last| last.to_string());
    Ok(polled(&answer.events, &cursor, answer.is_done))
}

/// `{"events": [...], "cursor": "<id>", "done": false}`; `events` has a comma before each.
fn polled(events: &[u8], cursor: &str, is_done: bool) -> Response {
    let cursor = serde_json::Value::from(cursor);
    let events = events.strip_prefix(b",").unwrap_or(events);
    let mut body = b"{\"events\":[".to_vec();
    body.extend_from_slice(events);
    body.extend_from_slice(format!("],\"cursor\":{cursor},\"done\":{is_done}}}").as_bytes());
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}
