//! Between the guard and the routes: whose call it is.

use std::fmt;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller::Caller;
use super::error::ApiError;
use super::lease;
use crate::auth::{AuthError, Authenticate, Identity};

/// What the server was told about its defences.
#[derive(Default)]
pub(crate) struct Defences {
    /// The first that accepts a credential says who calls; none means that nobody is asked for one.
    pub(crate) authenticators: Vec<Arc<dyn Authenticate>>,
}

impl fmt::Debug for Defences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authenticators = self.authenticators.len();
        f.debug_struct("Defences")
            .field("authenticators", &authenticators)
            .finish()
    }
}

/// What is answered without a credential: whether the server lives, and nothing else.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/api/flows/healthz"];
/// What only who runs the server is answered.
const OPERATOR: [&str; 1] = ["/metrics"];

/// Lets a call through to the routes, or answers it here.
pub(super) async fn pass(defences: &Arc<Defences>, request: Request, next: Next) -> Response {
    let is_open = request.method().is_safe() && OPEN.contains(&request.uri().path());
    if is_open || defences.authenticators.is_empty() {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    // So that nothing prints it.
    for (name, value) in &mut parts.headers {
        if *name == header::AUTHORIZATION || *name == header::COOKIE {
            value.set_sensitive(true);
        }
    }
    let (identity, caller) = match known(defences, &parts).await {
        Ok(known) => known,
        Err(error) => return error.into_response(),
    };
    if OPERATOR.contains(&parts.uri.path()) && !identity.is_operator {
        return ApiError::OperatorOnly.into_response();
    }
    // Streams are GETs: who opened one is asked about again while it is open.
    let head = (parts.method == Method::GET).then(|| parts.clone());
    parts.extensions.insert(caller);
    let response = next.run(Request::from_parts(parts, body)).await;
    match head {
        Some(head) if lease::is_stream(&response) => lease::until_ended(response, Arc::clone(defences), head, identity),
        _ => response,
    }
}

async fn known(defences: &Defences, call: &Parts) -> Result<(Identity, Caller), ApiError> {
    let identity = defences.identity(call).await.map_err(|error| match error {
        AuthError::Refused => ApiError::Unauthenticated,
        AuthError::Unavailable(reason) => {
            tracing::error!(reason, "credentials can't be checked");
            ApiError::AuthenticationDown
        }
    })?;
    match Caller::of(&identity) {
        Some(caller) => Ok((identity, caller)),
        None => {
            let problem = identity.problem().unwrap_or_default();
            tracing::warn!(problem, "a credential names nobody that can be served");
            Err(ApiError::Unauthenticated)
        }
    }
}

impl Defences {
    /// Who calls, as the first says that accepts the credential.
    pub(super) async fn identity(&self, call: &Parts) -> Result<Identity, AuthError> {
        let mut refusal = AuthError::Refused;
        for authenticator in &self.authenticators {
            match authenticator.authenticate(call).await {
                Ok(identity) => return Ok(identity),
                Err(AuthError::Refused) => {}
                Err(unavailable) => refusal = unavailable,
            }
        }
        Err(refusal)
    }
}
