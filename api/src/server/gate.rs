//! Between the guard and the routes: whether there is room for a call, and whose it is.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flowstate_engine::Principal;

use super::body::Arriving;
use super::caller::Caller;
use super::error::ApiError;
use super::lease::{self, Lease};
use super::limits::Limits;
use super::shares::{Client, Full, Share, Shares};
use crate::auth::{AuthError, Authenticate, Identity};

/// What a server is told about its defences.
#[derive(Default)]
pub(crate) struct Defences {
    /// The first that accepts a credential says who calls; none means that nobody is asked for one.
    pub(crate) authenticators: Vec<Arc<dyn Authenticate>>,
    pub(crate) limits: Limits,
    /// Whether it may be reached from elsewhere although nobody is asked for a credential.
    pub(crate) is_public: bool,
}

/// The defences of a server that runs.
pub(crate) struct Gate {
    authenticators: Vec<Arc<dyn Authenticate>>,
    pub(crate) limits: Arc<Limits>,
    is_public: bool,
    /// Streams and long polls, from the call on.
    streams: Arc<Shares>,
    /// Other calls, from their head until that of the answer.
    calls: Arc<Shares>,
    /// The same, by who turned out to call.
    calls_of_clients: Arc<Shares>,
    bodies: Arc<Arriving>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authenticators = self.authenticators.len();
        f.debug_struct("Gate")
            .field("authenticators", &authenticators)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What is answered without a credential, and however much there is to do: whether the server lives, and nothing else.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/api/flows/healthz"];
/// What only who runs the server is answered.
const OPERATOR: [&str; 1] = ["/metrics"];
/// How the paths end that stay open until something happens.
const HELD: [&str; 2] = ["/stream", "/events"];

/// Lets a call through to the routes, or answers it here.
pub(super) async fn pass(gate: &Arc<Gate>, request: Request, next: Next) -> Response {
    match gate.pass(request, next).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

impl Gate {
    pub(crate) fn new(defences: Defences) -> Arc<Self> {
        let limits = defences.limits;
        Arc::new(Self {
            authenticators: defences.authenticators,
            is_public: defences.is_public,
            streams: Shares::new(limits.streams, limits.streams_per_client),
            calls: Shares::new(limits.calls, usize::MAX),
            calls_of_clients: Shares::new(usize::MAX, limits.calls_per_client),
            bodies: Arriving::new(limits.bodies_bytes),
            limits: Arc::new(limits),
        })
    }

    /// Whether a call needs a credential.
    pub(crate) fn asks_who(&self) -> bool {
        !self.authenticators.is_empty()
    }

    /// Whether strangers may reach the server.
    pub(crate) fn may_be_public(&self) -> bool {
        self.is_public || self.asks_who()
    }

    async fn pass(self: &Arc<Self>, mut request: Request, next: Next) -> Result<Response, ApiError> {
        let path = request.uri().path();
        let uri_bytes = path.len() + request.uri().query().map_or(0, |query| query.len() + 1);
        if uri_bytes > self.limits.uri_bytes {
            return Err(ApiError::UriTooLong(self.limits.uri_bytes));
        }
        let is_open = request.method().is_safe() && OPEN.contains(&path);
        let is_held = holds(&request);
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let address = peer.map(|ConnectInfo(peer)| Client::at(peer.ip()));
        request.extensions_mut().insert(Arc::clone(&self.limits));
        request.extensions_mut().insert(Arc::clone(&self.bodies));
        if is_open {
            return Ok(next.run(request).await);
        }
        let _room = match is_held {
            true => None,
            false => Some(self.calls.take(None).map_err(|full| refusal(full, "calls"))?),
        };
        let (mut parts, body) = request.into_parts();
        let known = self.known(&mut parts).await?;
        let client = known
            .as_ref()
            .map(|(_, principal)| Client::Known(principal.as_str().into()));
        let (_call, stream) = self.shares(is_held, client.or(address))?;
        // Who opened a stream is asked about again while it is open.
        let lease = match (known, is_held) {
            (Some((identity, _)), true) => Some(Lease::new(Arc::clone(self), parts.clone(), identity)),
            _ => None,
        };
        let response = next.run(Request::from_parts(parts, body)).await;
        Ok(match lease::is_stream(&response) {
            true => lease::hold(response, stream, lease),
            false => response,
        })
    }

    /// What the call takes of what is shared: as a call, or as a stream.
    fn shares(&self, is_held: bool, client: Option<Client>) -> Result<(Option<Share>, Option<Share>), ApiError> {
        if is_held {
            let stream = self.streams.take(client).map_err(|full| refusal(full, "streams"))?;
            return Ok((None, Some(stream)));
        }
        let call = self
            .calls_of_clients
            .take(client)
            .map_err(|full| refusal(full, "calls"))?;
        Ok((Some(call), None))
    }

    /// Who calls, which is left in `call` for the routes; `None` if nobody is asked.
    async fn known(&self, call: &mut Parts) -> Result<Option<(Identity, Principal)>, ApiError> {
        if !self.asks_who() {
            return Ok(None);
        }
        // So that nothing prints it.
        for (name, value) in &mut call.headers {
            if *name == header::AUTHORIZATION || *name == header::COOKIE {
                value.set_sensitive(true);
            }
        }
        let identity = self.identity(call).await.map_err(|error| match error {
            AuthError::Refused => ApiError::Unauthenticated,
            AuthError::Unavailable(reason) => {
                tracing::error!(reason, "credentials can't be checked");
                ApiError::AuthenticationDown
            }
        })?;
        let Some(caller) = Caller::of(&identity) else {
            let problem = identity.problem().unwrap_or_default();
            tracing::warn!(problem, "a credential names nobody that can be served");
            return Err(ApiError::Unauthenticated);
        };
        if OPERATOR.contains(&call.uri.path()) && !identity.is_operator {
            return Err(ApiError::OperatorOnly);
        }
        let principal = caller.principal.clone();
        call.extensions.insert(caller);
        Ok(Some((identity, principal)))
    }

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

/// Whether what answers a call may stay open until something happens: a stream, a poll, or a POST whose answer is a stream.
fn holds(request: &Request) -> bool {
    match *request.method() {
        Method::GET | Method::HEAD => HELD.iter().any(|end| request.uri().path().ends_with(end)),
        Method::POST => takes_stream(request.headers()),
        _ => false,
    }
}

/// Whether a call wants a stream for an answer.
pub(super) fn takes_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.trim().eq_ignore_ascii_case("text/event-stream"))
}

fn refusal(full: Full, of: &'static str) -> ApiError {
    match full {
        Full::OfClient => ApiError::ClientLimit(of),
        Full::OfAll => ApiError::ServerLimit(of),
    }
}
