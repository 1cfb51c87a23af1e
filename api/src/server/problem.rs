//! Errors as RFC 9457 has them, for callers who ask for that: the same object, with what the type of problem is.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value};

const MEDIA_TYPE: &str = "application/problem+json";
/// What the types of problems begin with; the code follows.
const TYPES: &str = "urn:flowstate:error:";
/// Largest error.
const BYTES_MAX: usize = 1 << 20;

/// Answers with problems where the caller takes them.
pub(crate) async fn problems(request: Request, next: Next) -> Response {
    let takes = request.headers().get_all(header::ACCEPT).iter().any(|accept| {
        let accept = accept.to_str().unwrap_or_default();
        accept.split(',').any(|range| {
            let name = range.split(';').next().unwrap_or_default().trim();
            name.eq_ignore_ascii_case(MEDIA_TYPE)
        })
    });
    let response = next.run(request).await;
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|media_type| media_type == "application/json");
    match takes && is_error && is_json {
        true => as_problem(response).await,
        false => response,
    }
}

async fn as_problem(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = Limited::new(body, BYTES_MAX)
        .collect()
        .await
        .map(|body| body.to_bytes())
    else {
        return Response::from_parts(parts, Body::empty());
    };
    let Ok(Value::Object(error)) = serde_json::from_slice::<Value>(&bytes) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let title = parts.status.canonical_reason().unwrap_or("Error");
    let mut problem = Map::from_iter([
        ("type".to_owned(), Value::from(format!("{TYPES}{}", text("code")))),
        ("title".to_owned(), title.into()),
        ("status".to_owned(), parts.status.as_u16().into()),
        ("detail".to_owned(), text("error").into()),
    ]);
    problem.extend(error);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    parts
        .headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body))
}
