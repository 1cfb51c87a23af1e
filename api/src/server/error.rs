//! Every way a call can fail, and the status, code and words that it is answered with. The one place that maps errors to HTTP:
//! each match names every case, so that a new one can't be forgotten.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flowstate_engine::model::ModelErrorKind as Kind;
use flowstate_engine::voice::TranscribeError;
use flowstate_engine::{
    CancelError, QueryError, RecordError, ResourceAccessError, RetryError, SessionError, SubmitError,
};
use flowstate_log::error::{ReadError, Remedy};

use super::observe::CallError;
use crate::flow_state::ReadyError;
use crate::wire::problem::{ErrorBody, Problem, excerpt};

/// Most problems that one answer tells.
const PROBLEMS_MAX: usize = 50;

/// Why a call is not answered with what it asked for.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// Nothing is served under this path.
    NoRoute(String),
    /// Not with this method.
    MethodNotAllowed(Method),
    /// The path can't be decoded.
    Path(String),
    /// The call names no host, or several.
    HostMissing,
    /// The call is for a host that this server does not answer for.
    HostForeign(String),
    /// A page of another site calls.
    OriginForeign,
    /// The body is not declared as JSON.
    ContentType,
    /// The body is compressed.
    ContentEncoding,
    /// The body is too large.
    BodyTooLarge(usize),
    /// The body did not arrive in time.
    BodyTooSlow,
    /// The body broke off.
    BodyBroken(String),
    /// The body is not a JSON object.
    BodyInvalid(String),
    /// Fields of the body are wrong.
    Fields(Vec<Problem>),
    /// No flow of this kind.
    UnknownFlow(String),
    /// No session with this id.
    UnknownSession(String),
    /// No request with this id, under this flow.
    UnknownRequest(String),
    /// What clients don't see was asked for.
    TraceDenied,
    /// It is not served here.
    NotServed(&'static str),
    /// The request has ended.
    RequestEnded(String),
    /// The idempotency key was used with another body.
    KeyReused,
    /// A session was not made, changed or deleted.
    Session(SessionError),
    /// A request is not done again.
    Retry(RetryError),
    /// A request is not stopped.
    Cancel(CancelError),
    /// Nothing was written down of what was spoken.
    Transcribe(TranscribeError),
    /// No project with this id, for this caller.
    UnknownProject(String),
    /// The engine did not accept a request.
    Submit(SubmitError),
    /// A resource was not given, or not changed.
    Resource(ResourceAccessError),
    /// What is stored could not be given.
    Stored(QueryError),
    /// The server is stopping.
    Stopping,
    /// Nobody that is known here calls.
    Unauthenticated,
    /// Who calls could not be found out.
    AuthenticationDown,
    /// Only who runs the server may.
    OperatorOnly,
    /// A client has reached a limit of its own.
    ClientLimit(&'static str),
    /// The server has reached a limit of its own.
    ServerLimit(&'static str),
    /// The path and the query are too long.
    UriTooLong(usize),
    /// The server could not be opened.
    NotReady(ReadyError),
    /// Code of the server panicked, and said this.
    Panicked(String),
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        Self::Submit(error)
    }
}

impl From<ResourceAccessError> for ApiError {
    fn from(error: ResourceAccessError) -> Self {
        Self::Resource(error)
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self::Stored(error)
    }
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<RetryError> for ApiError {
    fn from(error: RetryError) -> Self {
        Self::Retry(error)
    }
}

impl From<CancelError> for ApiError {
    fn from(error: CancelError) -> Self {
        Self::Cancel(error)
    }
}

impl From<TranscribeError> for ApiError {
    fn from(error: TranscribeError) -> Self {
        Self::Transcribe(error)
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        Self::Stored(error.into())
    }
}

/// What a call is answered with.
struct Answer {
    status: StatusCode,
    code: &'static str,
    error: String,
    details: Vec<Problem>,
    /// What only the operator is told.
    cause: Option<String>,
}

impl Answer {
    fn new(status: StatusCode, code: &'static str, error: impl Into<String>) -> Self {
        Self {
            status,
            code,
            error: error.into(),
            details: Vec::new(),
            cause: None,
        }
    }

    fn unknown_flow(kind: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "flow_not_found",
            format!(
                "no flow is registered under kind {:?}; GET /api/flows lists them",
                excerpt(kind)
            ),
        )
    }

    fn unknown_session(session: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "session_not_found",
            format!(
                "there is no session {:?}; GET /api/flows/sessions lists them",
                excerpt(session)
            ),
        )
    }

    fn unknown_request(request: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "request_not_found",
            format!(
                "this flow has no request {:?}; POST an action to make one",
                excerpt(request)
            ),
        )
    }

    fn invalid(mut details: Vec<Problem>) -> Self {
        details.truncate(PROBLEMS_MAX);
        let problems: Vec<String> = details
            .iter()
            .map(|problem| format!("{}: {}", problem.path, problem.message))
            .collect();
        Self {
            details,
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                format!("the request is invalid: {}", problems.join("; ")),
            )
        }
    }

    /// A failure of the server itself: told in full to its operator, in outline to the caller.
    fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a call failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "what is stored could not be read; the server's diagnostics say why",
        )
        .caused_by(error)
    }

    /// The log is closed or failed: nothing more will be answered before a restart.
    fn broken(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a call failed");
        Self::unavailable("the server's log is closed or failed: try again when the server was restarted")
            .caused_by(error)
    }

    fn caused_by(mut self, error: &dyn std::fmt::Display) -> Self {
        self.cause = Some(error.to_string());
        self
    }

    /// It may pass. What the log says of it names files: that is for the operator.
    fn busy(error: &dyn std::fmt::Display) -> Self {
        tracing::warn!(%error, "a call has to be made again");
        Self::unavailable("what is stored can't be read or written at the moment: try again").caused_by(error)
    }

    /// The log did not take something.
    fn refused(remedy: Remedy, message: String) -> Self {
        match remedy {
            Remedy::FixRequest => Self::new(StatusCode::BAD_REQUEST, "request_refused", message),
            Remedy::Retry => Self::busy(&message),
            Remedy::Reopen => Self::broken(&message),
            Remedy::Report => Self::internal(&message),
        }
    }

    fn unavailable(error: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error)
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::NoRoute(path) => Self::new(
                StatusCode::NOT_FOUND,
                "route_not_found",
                format!(
                    "nothing is served under {:?}; the routes start at /api/flows",
                    excerpt(&path)
                ),
            ),
            ApiError::MethodNotAllowed(method) => Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!(
                    "{} is not possible here; the header `allow` says what is",
                    excerpt(method.as_str())
                ),
            ),
            ApiError::Path(message) => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_path",
                format!(
                    "the path can't be read: {}; percent-encode each segment as UTF-8",
                    excerpt(&message)
                ),
            ),
            ApiError::HostMissing => Self::new(
                StatusCode::BAD_REQUEST,
                "host_missing",
                "the header `host` must be given, once",
            ),
            ApiError::HostForeign(host) => Self::new(
                StatusCode::MISDIRECTED_REQUEST,
                "host_not_allowed",
                format!(
                    "this server does not answer for the host {:?}; allow it with --allow-host or FLOWSTATE_ALLOW_HOST",
                    excerpt(&host)
                ),
            ),
            ApiError::OriginForeign => Self::new(
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "pages of another origin may not call this server; allow theirs with --allow-origin or FLOWSTATE_ALLOW_ORIGIN",
            ),
            ApiError::ContentType => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body must be JSON: send `content-type: application/json`",
            ),
            ApiError::ContentEncoding => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_encoding",
                "compressed bodies are not accepted: send it without `content-encoding`",
            ),
            ApiError::BodyTooLarge(max) => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the body may have at most {max} bytes"),
            ),
            ApiError::BodyTooSlow => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_too_slow",
                "the body did not arrive in time: send it again",
            ),
            ApiError::BodyBroken(message) => Self::new(
                StatusCode::BAD_REQUEST,
                "body_unreadable",
                format!("the body could not be received: {}", excerpt(&message)),
            ),
            ApiError::BodyInvalid(message) => Self::new(StatusCode::BAD_REQUEST, "invalid_body", message),
            ApiError::Fields(problems) => Self::invalid(problems),
            ApiError::UnknownFlow(kind) => Self::unknown_flow(&kind),
            ApiError::UnknownSession(session) => Self::unknown_session(&session),
            ApiError::UnknownRequest(request) => Self::unknown_request(&request),
            ApiError::TraceDenied => Self::new(
                StatusCode::FORBIDDEN,
                "trace_denied",
                "this server shows clients no traces: leave out include=trace, unfiltered and the types of trace items",
            ),
            ApiError::NotServed(what) => Self::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", what),
            ApiError::RequestEnded(request) => Self::new(
                StatusCode::CONFLICT,
                "request_ended",
                format!("the request {:?} has ended", excerpt(&request)),
            ),
            ApiError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "the idempotency key was sent with something else before: send a new key",
            ),
            ApiError::Session(error) => error.into(),
            ApiError::Retry(error) => error.into(),
            ApiError::Cancel(error) => error.into(),
            ApiError::Transcribe(error) => error.into(),
            ApiError::UnknownProject(project) => Self::new(
                StatusCode::NOT_FOUND,
                "project_not_found",
                format!("there is no project {:?} for this credential", excerpt(&project)),
            ),
            ApiError::Submit(error) => error.into(),
            ApiError::Resource(error) => error.into(),
            ApiError::Stored(error) => error.into(),
            ApiError::NotReady(ReadyError::Disposed) => ApiError::Stopping.into(),
            ApiError::NotReady(error @ ReadyError::Open(_)) => {
                Self::unavailable("the server could not be opened: try again later").caused_by(&error)
            }
            ApiError::Panicked(said) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the server failed; its diagnostics say how",
            )
            .caused_by(&said),
            ApiError::Stopping => Self::unavailable("the server is stopping: try again when it is back"),
            ApiError::Unauthenticated => Self::new(
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "a valid credential is needed: send `authorization: Bearer <token>`",
            ),
            ApiError::AuthenticationDown => Self::unavailable("credentials can't be checked at the moment: try again"),
            ApiError::OperatorOnly => Self::new(
                StatusCode::FORBIDDEN,
                "operator_only",
                "this is for who runs the server: the credential is not theirs",
            ),
            ApiError::ClientLimit(what) => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                format!("this client has too many {what}: try again when some have ended"),
            ),
            ApiError::ServerLimit(what) => {
                Self::unavailable(format!("the server has too many {what}: try again in a moment"))
            }
            ApiError::UriTooLong(bytes) => Self::new(
                StatusCode::URI_TOO_LONG,
                "uri_too_long",
                format!("the path and the query may have at most {bytes} bytes together"),
            ),
        }
    }
}

impl From<SubmitError> for Answer {
    fn from(error: SubmitError) -> Self {
        let message = error.to_string();
        match error {
            SubmitError::UnknownFlow(kind) => Self::unknown_flow(&kind),
            SubmitError::UnknownAction { action, known, .. } => Self::new(
                StatusCode::BAD_REQUEST,
                "unknown_action",
                format!(
                    "this flow has no action {:?}; it has {}",
                    excerpt(&action),
                    known.join(", ")
                ),
            ),
            SubmitError::Invalid { details } => Self::invalid(problems(details)),
            SubmitError::SessionMismatch { .. } => Self::new(
                StatusCode::BAD_REQUEST,
                "session_mismatch",
                format!("{message}; use another session id, or none for a new session"),
            ),
            SubmitError::RequestIdTaken(_) => Self::new(
                StatusCode::CONFLICT,
                "request_id_taken",
                format!("{message}; send a new requestId, or none"),
            ),
            SubmitError::Unavailable { remedy, .. } => Self::refused(remedy, message),
        }
    }
}

impl From<ResourceAccessError> for Answer {
    fn from(error: ResourceAccessError) -> Self {
        use ResourceAccessError as Error;
        let message = excerpt(&error.to_string());
        match error {
            Error::UnknownSession(session) => Self::unknown_session(&session),
            Error::UnknownFlow(kind) => Self::unknown_flow(&kind),
            Error::UnknownResource(_) | Error::NotFound { .. } | Error::ContentGone { .. } => {
                Self::new(StatusCode::NOT_FOUND, "resource_not_found", message)
            }
            Error::NotACollection(_) => Self::new(StatusCode::BAD_REQUEST, "not_a_collection", message),
            Error::IsACollection(_) => Self::new(StatusCode::BAD_REQUEST, "is_a_collection", message),
            Error::Topic(_) => Self::new(StatusCode::BAD_REQUEST, "invalid_topic", message),
            Error::NotGranted { .. } => Self::new(StatusCode::FORBIDDEN, "resource_not_granted", message),
            Error::ReadOnly(_) => Self::new(StatusCode::FORBIDDEN, "resource_read_only", message),
            Error::NotTheSessions { .. } => Self::new(StatusCode::NOT_IMPLEMENTED, "scope_not_supported", message),
            Error::Exists { .. } => Self::new(StatusCode::CONFLICT, "resource_exists", message),
            Error::Full { .. } => Self::new(StatusCode::CONFLICT, "collection_full", message),
            Error::Contended { .. } => Self::new(StatusCode::CONFLICT, "contended", message),
            Error::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "content_too_large", message),
            // Mistakes of the flow: what its functions said is for the operator.
            Error::Beginning(_) | Error::Render(_) | Error::RenderTime { .. } => {
                tracing::error!(%error, "a call failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the resource's definition failed; the server's diagnostics say how",
                )
                .caused_by(&error)
            }
            Error::Query(error) => error.into(),
            Error::Unavailable { remedy, .. } => Self::refused(remedy, message),
        }
    }
}

impl From<SessionError> for Answer {
    fn from(error: SessionError) -> Self {
        let message = excerpt(&error.to_string());
        match error {
            SessionError::UnknownFlow(kind) => Self::unknown_flow(&kind),
            SessionError::UnknownSession(session) => Self::unknown_session(&session),
            SessionError::Exists(_) => Self::new(StatusCode::CONFLICT, "session_exists", message),
            SessionError::Invalid { details } => Self::invalid(problems(details)),
            SessionError::StateNotAllowed(_) => Self::new(
                StatusCode::FORBIDDEN,
                "state_not_allowed",
                format!("{message}; the flow declares which with set_by_clients"),
            ),
            SessionError::Query(error) => error.into(),
            SessionError::Unavailable { remedy, .. } => Self::refused(remedy, message),
        }
    }
}

impl From<RetryError> for Answer {
    fn from(error: RetryError) -> Self {
        let message = excerpt(&error.to_string());
        match error {
            RetryError::UnknownRequest(request) => Self::unknown_request(&request),
            RetryError::NotRetryable { .. } => Self::new(StatusCode::CONFLICT, "not_retryable", message),
            RetryError::Submit(error) => error.into(),
            RetryError::Query(error) => error.into(),
        }
    }
}

impl From<CancelError> for Answer {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::UnknownRequest(request) => Self::unknown_request(&request),
            CancelError::Query(error) => error.into(),
            CancelError::Record(RecordError::Append(error)) => Self::refused(error.kind(), error.to_string()),
            CancelError::Record(error) => Self::internal(&error),
        }
    }
}

impl From<TranscribeError> for Answer {
    fn from(error: TranscribeError) -> Self {
        let message = excerpt(&error.to_string());
        let failed = match error {
            TranscribeError::NoProvider => {
                return Self::new(StatusCode::NOT_IMPLEMENTED, "transcription_not_configured", message);
            }
            TranscribeError::UnknownModel(model) if model.is_empty() => {
                let what = "name the model that is to write it down: this server has none of its own choice";
                return Self::new(StatusCode::BAD_REQUEST, "no_model", what);
            }
            TranscribeError::UnknownModel(_) => return Self::new(StatusCode::NOT_FOUND, "model_not_found", message),
            TranscribeError::NoAudio => return Self::new(StatusCode::BAD_REQUEST, "no_audio", message),
            TranscribeError::Model(error) => error,
        };
        tracing::warn!(error = %failed, "what was spoken was not written down");
        // What the provider said may name the operator's account: it is for the diagnostics.
        let (status, code, message) = match failed.kind {
            Kind::BadRequest => (
                StatusCode::BAD_REQUEST,
                "invalid_input",
                "the model does not take this sound",
            ),
            Kind::RateLimit => (
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit",
                "the model is asked too often: try again later",
            ),
            Kind::Unavailable | Kind::Provider => (
                StatusCode::SERVICE_UNAVAILABLE,
                "provider_unavailable",
                "the model can't be reached: try again later",
            ),
            // The server's credential, not the caller's.
            Kind::Auth => (
                StatusCode::BAD_GATEWAY,
                "auth",
                "the model does not accept the server's credential",
            ),
            Kind::Network | Kind::Timeout | Kind::Cut => (
                StatusCode::BAD_GATEWAY,
                "network",
                "the model did not answer: try again",
            ),
            Kind::Malformed | Kind::Other => (StatusCode::BAD_GATEWAY, "unknown", "the model failed"),
        };
        Self::new(status, code, message)
    }
}

fn problems(details: Vec<flowstate_engine::Problem>) -> Vec<Problem> {
    let problem = |problem: flowstate_engine::Problem| Problem::new(field(&problem.path), &problem.message);
    details.into_iter().map(problem).collect()
}

/// The body's name for a field of a submission.
fn field(path: &str) -> &str {
    match path {
        "user" => "userId",
        "session" => "sessionId",
        "request" => "requestId",
        "project" => "projectId",
        _ => path,
    }
}

impl From<QueryError> for Answer {
    fn from(error: QueryError) -> Self {
        // A session may be deleted while somebody looks at it.
        if error.is_gone() {
            return Self::new(
                StatusCode::NOT_FOUND,
                "session_not_found",
                "the session was deleted meanwhile",
            );
        }
        match error.kind() {
            // The names were resolved before; what is missing now was lost by the server.
            Remedy::FixRequest | Remedy::Report => Self::internal(&error),
            Remedy::Retry => Self::busy(&error),
            Remedy::Reopen => Self::broken(&error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Answer {
            status,
            code,
            error,
            details,
            cause,
        } = self.into();
        let failure = CallError::answered(status, code, cause.unwrap_or_else(|| error.clone()));
        let body = ErrorBody { error, code, details };
        let mut response = (status, Json(body)).into_response();
        if status.is_server_error() {
            response.extensions_mut().insert(failure);
        }
        let (name, value) = match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => (header::RETRY_AFTER, "1"),
            StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, "Bearer"),
            _ => return response,
        };
        response.headers_mut().insert(name, HeaderValue::from_static(value));
        response
    }
}
