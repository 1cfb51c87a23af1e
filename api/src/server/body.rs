//! Reading the body of a POST: content type, size, time, and that it is one JSON object.
//! Which fields it has is in `wire/action`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::BytesMut;
use http_body::Body as _;
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::error::ApiError;
use super::limits::Limits;
use crate::wire::json;

/// How much of the rest of a body that is too large is received, and how long: most clients read no answer before they have sent everything.
const DISCARD_BYTES_MAX: usize = 16 << 20;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

/// The memory that bodies may take while they arrive, all together.
#[derive(Debug)]
pub(crate) struct Arriving {
    max: usize,
    bytes: AtomicUsize,
}

/// What one body takes of it; given back when it is dropped.
pub(crate) struct Taken {
    of: Option<Arc<Arriving>>,
    bytes: usize,
}

impl Arriving {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            bytes: AtomicUsize::new(0),
        })
    }
}

impl Taken {
    fn more(&mut self, bytes: usize) -> Result<(), ApiError> {
        let Some(of) = &self.of else { return Ok(()) };
        self.bytes += bytes;
        match of.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= of.max {
            true => Ok(()),
            false => Err(ApiError::ServerLimit("bytes of bodies on their way")),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(of) = &self.of {
            of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// A body that is one JSON object.
pub(crate) struct JsonObject(pub(crate) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        check_media_type(request.headers())?;
        let limits = Limits::of(request.extensions());
        let (bytes, _taken) = received(request, limits.body_bytes).await?;
        json::object(&bytes, limits.json())
            .map(Self)
            .map_err(ApiError::BodyInvalid)
    }
}

/// The same, or no body at all, which is an object without fields.
pub(crate) struct OptionalJsonObject(pub(crate) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for OptionalJsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match request.body().is_end_stream() {
            true => Ok(Self(Map::new())),
            false => JsonObject::from_request(request, state).await.map(|body| Self(body.0)),
        }
    }
}

/// The whole body, of at most `max` bytes, and what it takes for as long as it is kept.
pub(crate) async fn received(request: Request, max: usize) -> Result<(BytesMut, Taken), ApiError> {
    let time = Limits::of(request.extensions()).body_time;
    check_headers(request.headers(), max)?;
    let taken = Taken {
        of: request.extensions().get::<Arc<Arriving>>().cloned(),
        bytes: 0,
    };
    let mut body = request.into_body();
    let received = timeout(time, receive(&mut body, max, taken))
        .await
        .unwrap_or(Err(ApiError::BodyTooSlow));
    if matches!(received, Err(ApiError::BodyTooLarge(_))) {
        let _ = timeout(DISCARD_TIME_MAX, discard(&mut body)).await;
    }
    received
}

async fn receive(body: &mut Body, max: usize, mut taken: Taken) -> Result<(BytesMut, Taken), ApiError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::BodyBroken(error.to_string()))?;
        let data = frame.into_data().unwrap_or_default();
        if bytes.len() + data.len() > max {
            return Err(ApiError::BodyTooLarge(max));
        }
        taken.more(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, taken))
}

async fn discard(body: &mut Body) {
    let mut discarded = 0;
    while discarded < DISCARD_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        discarded += frame.data_ref().map_or(0, |data| data.len());
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim());
    if !media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json")) {
        return Err(ApiError::ContentType);
    }
    Ok(())
}

fn check_headers(headers: &HeaderMap, max: usize) -> Result<(), ApiError> {
    if headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(ApiError::ContentEncoding);
    }
    // A client that asks first is told before it has sent anything.
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if headers.contains_key(header::EXPECT) && announced.is_some_and(|bytes| bytes > max as u64) {
        return Err(ApiError::BodyTooLarge(max));
    }
    Ok(())
}
