//! Resources of a session: GET a body; POST, PATCH and DELETE instances of collections.
//!
//! What follows the resource in a path is `content`, or a topic with `/content` behind it for GET and PATCH, or a topic alone for DELETE. Topics
//! may have slashes, so they are what is left of the path: `/content` at its end is looked for before anything is decoded, and goes first.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};

use super::Segments;
use crate::server::Api;
use crate::server::body::JsonObject;
use crate::server::caller::Caller;
use crate::server::error::ApiError;
use crate::wire::resource::{ChangedAnswer, ContentAnswer, CreateBody, CreatedAnswer, content_of};

/// GET /api/flows/sessions/{session}/resources/{resource}/content, and the same with a topic before `content`
pub(crate) async fn content(
    State(api): State<Api>,
    caller: Caller,
    uri: Uri,
    Segments((session, resource, rest)): Segments<(String, String, String)>,
) -> Result<Json<ContentAnswer>, ApiError> {
    let topic = of_content(&uri, rest)?;
    let engine = &api.engine;
    let content = engine.resource_content(&caller.principal, &session, &resource, topic.as_deref());
    let content = content.await?;
    Ok(Json(ContentAnswer {
        resource,
        topic,
        content,
    }))
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
    uri: Uri,
    Segments((session, resource, rest)): Segments<(String, String, String)>,
    JsonObject(fields): JsonObject,
) -> Result<Json<ChangedAnswer>, ApiError> {
    // Without a topic it is a resource's, which clients don't write; a collection says that it has no such instance.
    let topic = of_content(&uri, rest)?.unwrap_or_default();
    let content = content_of(fields).map_err(ApiError::Fields)?;
    let written = api
        .engine
        .write_resource(&caller.principal, &session, &resource, &topic, content);
    written.await?;
    Ok(Json(ChangedAnswer { resource, topic }))
}

/// DELETE /api/flows/sessions/{session}/resources/{resource}/{topic}
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

/// The topic before `/content`; `None` if there is only `content`. `rest` is decoded, and its end is the path's.
fn of_content(uri: &Uri, rest: String) -> Result<Option<String>, ApiError> {
    match rest.strip_suffix("/content") {
        _ if !uri.path().ends_with("/content") => Err(ApiError::NoRoute(uri.path().to_owned())),
        Some(topic) => Ok(Some(topic.to_owned())),
        None => Ok(None),
    }
}
