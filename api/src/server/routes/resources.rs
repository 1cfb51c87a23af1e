//! Resources of a session: GET which there are, a body, the instances of a collection; POST, PATCH and DELETE instances of collections.
//!
//! What follows the resource in a path is `content`, or a topic with `/content` behind it for GET and PATCH, or a topic alone for GET and DELETE. Topics
//! may have slashes, so they are what is left of the path: `/content` at its end is looked for before anything is decoded, and goes first.

use axum::Json;
use axum::extract::{FromRequest, OriginalUri, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flowstate_engine::InstanceQuery;

use super::{Params, Segments};
use crate::server::Api;
use crate::server::body::JsonObject;
use crate::server::caller::Caller;
use crate::server::error::ApiError;
use crate::wire::problem::Problem;
use crate::wire::resource::{
    ChangedAnswer, ContentAnswer, CreateBody, CreatedAnswer, Instance, InstancesBody, ManifestBody, content_of,
};

/// Instances on a page whose size is not asked for, and most of them.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 200;

/// GET /api/flows/sessions/{session}/manifest
pub(crate) async fn manifest(
    State(api): State<Api>,
    caller: Caller,
    Segments(session): Segments<String>,
) -> Result<Json<ManifestBody>, ApiError> {
    let found = api.engine.manifest(&caller.principal, &session).await?;
    let (flow_kind, resources) = found.ok_or(ApiError::UnknownSession(session))?;
    Ok(Json(ManifestBody {
        flow_kind,
        resources: resources.into_iter().map(Into::into).collect(),
    }))
}

/// GET /api/flows/sessions/{session}/resources/{resource}
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Segments((session, resource)): Segments<(String, String)>,
    params: Params,
) -> Result<Json<InstancesBody>, ApiError> {
    let mut problems = Vec::new();
    let mut number = |name: &str, default: usize, allowed: std::ops::RangeInclusive<usize>| {
        let Some(text) = params.text(name) else { return default };
        let number = params.integer(name).filter(|number| allowed.contains(number));
        number.unwrap_or_else(|| {
            let (from, to) = (allowed.start(), allowed.end());
            let bounds = match *to {
                usize::MAX => format!("from {from} on"),
                to => format!("from {from} to {to}"),
            };
            problems.push(Problem::new(
                name,
                &format!("must be a whole number {bounds}, not {text:?}"),
            ));
            default
        })
    };
    let limit = number("limit", PAGE_DEFAULT, 1..=PAGE_MAX);
    let offset = number("offset", 0, 0..=usize::MAX);
    if !problems.is_empty() {
        return Err(ApiError::Fields(problems));
    }
    let query = InstanceQuery {
        prefix: params.text("topicPrefix").map(str::to_owned),
        after: params.text("cursor").map(str::to_owned),
        offset,
        limit,
    };
    let page = api
        .engine
        .list_instances(&caller.principal, &session, &resource, &query)
        .await?;
    Ok(Json(InstancesBody::new(page, offset, limit)))
}

/// GET /api/flows/sessions/{session}/resources/{resource}/content, and the same with a topic before `content`: a body. With a topic alone: what
/// clients see of the instance, or null.
pub(crate) async fn get(
    State(api): State<Api>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    Segments((session, resource, rest)): Segments<(String, String, String)>,
) -> Result<Response, ApiError> {
    let (engine, principal) = (&api.engine, &caller.principal);
    let topic = match Tail::of(uri.path(), &rest) {
        Tail::Topic => {
            let instance = engine.instance(principal, &session, &resource, &rest).await?;
            return Ok(Json(instance.map(Instance::from)).into_response());
        }
        // What is decoded has the same end.
        Tail::ContentOf => rest.strip_suffix("/content").map(str::to_owned),
        Tail::Content => None,
    };
    let content = engine.resource_content(principal, &session, &resource, topic.as_deref());
    let content = content.await?;
    let answer = ContentAnswer {
        resource,
        topic,
        content,
    };
    Ok(Json(answer).into_response())
}

/// POST /api/flows/sessions/{session}/resources/{resource}
pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Segments((session, resource)): Segments<(String, String)>,
    JsonObject(fields): JsonObject,
) -> Result<(StatusCode, Json<CreatedAnswer>), ApiError> {
    let CreateBody { topic, content } = CreateBody::from_fields(fields).map_err(ApiError::Fields)?;
    let created = api
        .engine
        .create_resource(&caller.principal, &session, &resource, &topic, content);
    created.await?;
    Ok((StatusCode::CREATED, Json(CreatedAnswer { topic })))
}

/// PATCH /api/flows/sessions/{session}/resources/{resource}/{topic}/content
pub(crate) async fn write(
    State(api): State<Api>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    Segments((session, resource, rest)): Segments<(String, String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let topic = match Tail::of(uri.path(), &rest) {
        Tail::ContentOf => rest.strip_suffix("/content").unwrap_or_default().to_owned(),
        // A resource's, which clients don't write; a collection says that it has no such instance.
        Tail::Content => String::new(),
        Tail::Topic => return Ok(not_allowed(Method::PATCH, uri.path())),
    };
    let JsonObject(fields) = JsonObject::from_request(request, &()).await?;
    let content = content_of(fields).map_err(ApiError::Fields)?;
    let written = api
        .engine
        .write_resource(&caller.principal, &session, &resource, &topic, content);
    written.await?;
    Ok(Json(ChangedAnswer { resource, topic }).into_response())
}

/// DELETE /api/flows/sessions/{session}/resources/{resource}/{topic}. Everything behind the resource is the topic: only instances are deleted.
pub(crate) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Segments((session, resource, topic)): Segments<(String, String, String)>,
) -> Result<Json<ChangedAnswer>, ApiError> {
    let deleted = api
        .engine
        .delete_resource(&caller.principal, &session, &resource, &topic);
    deleted.await?;
    Ok(Json(ChangedAnswer { resource, topic }))
}

/// What follows the resource in a path.
enum Tail {
    /// `content`: the resource's own body.
    Content,
    /// A topic, and `/content`.
    ContentOf,
    /// A topic.
    Topic,
}

impl Tail {
    /// Of a path as it was sent, and what follows the resource in it, decoded or not.
    fn of(path: &str, rest: &str) -> Self {
        match (path.ends_with("/content"), rest.ends_with("/content")) {
            (true, true) => Self::ContentOf,
            (true, false) => Self::Content,
            (false, _) => Self::Topic,
        }
    }

    fn allowed(&self) -> &'static str {
        match self {
            Self::Content | Self::ContentOf => "GET,HEAD,PATCH,DELETE",
            Self::Topic => "GET,HEAD,DELETE",
        }
    }
}

/// The answer to a method that a path has not. Behind a resource the path says which there are; elsewhere the router does.
pub(crate) fn not_allowed(method: Method, path: &str) -> Response {
    let mut response = ApiError::MethodNotAllowed(method).into_response();
    let behind = path
        .split_once("/flows/sessions/")
        .map(|(_, behind)| behind.splitn(4, '/'));
    if let Some([_, "resources", _, rest]) = behind.map(Vec::from_iter).as_deref() {
        let allowed = HeaderValue::from_static(Tail::of(path, rest).allowed());
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}
