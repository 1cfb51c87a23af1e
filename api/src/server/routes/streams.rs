//! GET the events of a request, or of a whole session: as a stream, or, where streams do not pass, as the answers to polls with the same cursors.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use flowstate_engine::{Principal, QueryError, RequestRef, record};
use flowstate_log::record::StreamId;
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
    asked: Asked,
) -> Result<Response, ApiError> {
    match of_request(&api, &caller, &kind, &request, &asked, Form::Sse).await? {
        OfRequest::Open { records, frames, .. } => Ok(sse::respond(records, *frames, None, api.stopping)),
        OfRequest::Ended { .. } => Ok(sse::respond_empty()),
    }
}

/// GET /api/flows/{kind}/requests/{request}/events
pub(crate) async fn request_events(
    State(api): State<Api>,
    caller: Caller,
    Segments((kind, request)): Segments<(String, String)>,
    asked: Asked,
) -> Result<Response, ApiError> {
    match of_request(&api, &caller, &kind, &request, &asked, Form::Json).await? {
        OfRequest::Open { records, frames, after } => {
            poll(&api, &asked.params, records, *frames, format!("{request}:{after}")).await
        }
        OfRequest::Ended { last } => Ok(polled(&[], &format!("{request}:{last}"), true)),
    }
}

/// GET /api/flows/sessions/{session}/stream
pub(crate) async fn session(
    State(api): State<Api>,
    caller: Caller,
    Segments(session): Segments<String>,
    asked: Asked,
) -> Result<Response, ApiError> {
    // Parameters of another dialect, whose clients stop at a 404.
    if asked.params.text("since").is_some() || asked.params.text("session_created_at").is_some() {
        return Err(ApiError::UnknownSession(session));
    }
    let (stream, frames) = of_session(&api, &caller, &session, &asked, Form::Sse).await?;
    let log = api.engine.log();
    let cursor = asked.cursor(&session);
    let (after, opening) = match asked.params.flag("bootstrap") && cursor == 0 {
        true => {
            let prefix = api.engine.prefix(stream).await?;
            let session = session.as_str().into();
            (prefix.position(), Some(Opening { session, prefix }))
        }
        false => (session_cursor(log, stream, cursor).await?, None),
    };
    let records = log.follow(stream, after + 1).await?;
    Ok(sse::respond(Records::Session(records), frames, opening, api.stopping))
}

/// GET /api/flows/sessions/{session}/events
pub(crate) async fn session_events(
    State(api): State<Api>,
    caller: Caller,
    Segments(session): Segments<String>,
    asked: Asked,
) -> Result<Response, ApiError> {
    let (stream, frames) = of_session(&api, &caller, &session, &asked, Form::Json).await?;
    let log = api.engine.log();
    let after = session_cursor(log, stream, asked.cursor(&session)).await?;
    let records = Records::Session(log.follow(stream, after + 1).await?);
    poll(&api, &asked.params, records, frames, format!("{session}:{after}")).await
}

/// What a call for events says besides whose.
pub(crate) struct Asked {
    params: Params,
    /// What the caller had last. The header of a frame's id is UTF-8, not only ASCII.
    last_event_id: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let id = parts.headers.get("last-event-id");
        let last_event_id = id.and_then(|id| str::from_utf8(id.as_bytes()).ok()).map(str::to_owned);
        let params = Params::from_request_parts(parts, state).await?;
        Ok(Self { params, last_event_id })
    }
}

impl Asked {
    fn cursor(&self, of: &str) -> u64 {
        cursor(of, self.params.text("starting_after"), self.last_event_id.as_deref())
    }
}

/// A request's events behind a cursor.
enum OfRequest {
    Open {
        records: Records,
        frames: Box<Frames>,
        after: u64,
    },
    /// There are none, and there will be none.
    Ended { last: u64 },
}

async fn of_request(
    api: &Api,
    caller: &Caller,
    kind: &str,
    request: &str,
    asked: &Asked,
    form: Form,
) -> Result<OfRequest, ApiError> {
    let shown = api.settings.shown(&asked.params)?;
    let found = find(api, &caller.principal, kind, request).await?;
    let log = api.engine.log();
    let Some(after) = go_on(log, &found, asked.cursor(request)).await? else {
        return Ok(OfRequest::Ended { last: found.sub.count });
    };
    let mut frames = Frames::new(api.engine.clone(), found.sub.stream, Scope::Request, form, shown);
    frames.know(&found, after).await?;
    let records = Records::Request(log.follow_sub(&found.sub, after).await?);
    Ok(OfRequest::Open {
        records,
        frames: Box::new(frames),
        after,
    })
}

async fn of_session(
    api: &Api,
    caller: &Caller,
    session: &str,
    asked: &Asked,
    form: Form,
) -> Result<(StreamId, Frames), ApiError> {
    let shown = api.settings.shown(&asked.params)?;
    let stream = api.engine.session_records(&caller.principal, session).await?;
    let stream = stream.ok_or_else(|| ApiError::UnknownSession(session.to_owned()))?;
    let scope = Scope::Session(session.into());
    Ok((stream, Frames::new(api.engine.clone(), stream, scope, form, shown)))
}

/// The position behind which a session's events go on. One that the session has not reached is of another session, which had the id before,
/// or of none: it counts as none. What was trimmed is passed over.
async fn session_cursor(log: &Log, stream: StreamId, cursor: u64) -> Result<u64, QueryError> {
    let known = if cursor <= log.tail(stream).await? { cursor } else { 0 };
    Ok(known.max(log.oldest(stream).await? - 1))
}

/// The stream of a request that was just accepted, from its start.
pub(crate) async fn accepted(
    api: Api,
    principal: &Principal,
    kind: &str,
    request: &str,
    params: &Params,
) -> Result<Response, ApiError> {
    let shown = api.settings.shown(params)?;
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
