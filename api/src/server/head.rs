//! HEAD: the contract's routes have it not, though they have GET. A stream would be opened for nobody to read.

use axum::extract::{MatchedPath, OriginalUri};
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{self, MethodRouter};

use super::Api;
use super::routes::resources;

/// What the contract's routes have in their paths.
const CONTRACT: &str = "/api/flows";

/// A route of the contract that is read.
pub(super) fn get<H, T>(handler: H) -> MethodRouter<Api>
where
    H: Handler<T, Api>,
    T: 'static,
{
    routing::get(handler).head(refused)
}

async fn refused(path: MatchedPath, OriginalUri(uri): OriginalUri) -> Response {
    let mut response = resources::not_allowed(Method::HEAD, uri.path());
    // What such a path has besides; behind a resource it depends on the path.
    let allowed = match path.as_str() {
        path if path.ends_with("/sessions/{session}") => "GET,DELETE",
        path if path.ends_with("/resources/{resource}") => "GET,POST",
        _ => "GET",
    };
    let allow = response.headers_mut().entry(header::ALLOW);
    allow.or_insert(HeaderValue::from_static(allowed));
    response
}

/// The router says that whoever has GET has HEAD.
pub(super) fn unlist(path: &str, response: &mut Response) {
    if response.status() != StatusCode::METHOD_NOT_ALLOWED || !path.contains(CONTRACT) {
        return;
    }
    let Some(allowed) = response
        .headers()
        .get(header::ALLOW)
        .and_then(|allowed| allowed.to_str().ok())
    else {
        return;
    };
    let allowed: Vec<&str> = allowed.split(',').filter(|method| *method != "HEAD").collect();
    if let Ok(allowed) = HeaderValue::from_str(&allowed.join(",")) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
}
