//! The built-in page: three files, compiled in. What they hold is in `ui/`.

use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::paths::Paths;

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes of the page.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Paths<S> {
    let html = include_bytes!("../../ui/index.html");
    let script = include_bytes!("../../ui/app.js");
    let style = include_bytes!("../../ui/style.css");
    Paths::new()
        .route("/", get(async || file("text/html; charset=utf-8", html)))
        .route("/app.js", get(async || file("text/javascript; charset=utf-8", script)))
        .route("/style.css", get(async || file("text/css; charset=utf-8", style)))
}

fn file(content_type: &'static str, bytes: &'static [u8]) -> impl IntoResponse {
    const HEADERS: [(HeaderName, &str); 3] = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    ];
    (HEADERS, [(header::CONTENT_TYPE, content_type)], bytes)
}
