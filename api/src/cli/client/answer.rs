//! What comes back: whole answers, refusals, and why there is none.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};

use crate::cli::failure::{Failure, Refusal};

/// Largest answer that is no stream.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What a route answered instead.
pub(super) async fn refusal(response: Response<Body>) -> Failure {
    let status = response.status();
    let bytes = whole(response.into_body()).await.unwrap_or_default();
    let refusal = serde_json::from_slice(&bytes).unwrap_or_else(|_| Refusal {
        status: 0,
        error: format!("the server answered {status}"),
        code: None,
        details: Vec::new(),
    });
    let more = match status {
        StatusCode::UNAUTHORIZED => {
            "; the variable FLOWSTATE_API_KEY, or that of --api-key-env, has no key that counts"
        }
        _ => "",
    };
    Failure::Refused(Refusal {
        status: status.as_u16(),
        error: format!("{}{more}", refusal.error),
        ..refusal
    })
}

/// All of a body.
pub(super) async fn whole(body: Body) -> Result<bytes::Bytes, Failure> {
    let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let collected = collected.map_err(|error| Failure::Failed(format!("the answer broke off: {error}")))?;
    Ok(collected.to_bytes())
}

/// What went wrong, and what made it so.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
