//! What clients do with resources: only with those that are declared for them, and only what they are granted.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use flowstate_log::record::StreamId;
use futures_util::FutureExt;
use futures_util::future::{Either, select};

use super::Engine;
use super::place::ScopePlace;
use crate::error::{BlockError, ResourceAccessError};
use crate::exec::panic_message;
use crate::exec::submit::{ClientChange, ClientChangeKind, change};
use crate::flow::Flow;
use crate::principal::Principal;
use crate::projection::{self, SessionSummary};
use crate::record::ScopeKind;
use crate::resource::{ClientAccess, RESOURCE_SCOPES, ResourceDef, ResourceProblem, ScopeResources, StorageKey};

/// Longest time that rendering a body may take.
pub(super) const RENDER_TIME_MAX: Duration = Duration::from_secs(5);

/// A resource that clients may know of, in one session.
pub(super) struct Found {
    stream: StreamId,
    summary: SessionSummary,
    pub(super) flow: Arc<Flow>,
    pub(super) scope: ScopeKind,
    pub(super) place: ScopePlace,
    pub(super) def: Arc<ResourceDef>,
    pub(super) access: ClientAccess,
}

impl Engine {
    /// The body of a resource, or of the instance that `topic` names, as clients get it: rendered. `None` if it has none. `resource` is looked
    /// for in the session, then its user, then its project, among those that are declared with [`Definition::client`](crate::Definition::client).
    /// Counts as no access.
    pub async fn resource_content(
        &self,
        principal: &Principal,
        session: &str,
        resource: &str,
        topic: Option<&str>,
    ) -> Result<Option<String>, ResourceAccessError> {
        let found = self.find_resource(principal, session, resource).await?;
        let keys = match topic {
            Some(topic) => Some(found.keys(topic)?),
            None if found.def.is_collection => return Err(ResourceAccessError::IsACollection(resource.to_owned())),
            None => None,
        };
        found.granted(found.access.read_content, "read the content of")?;
        let log = &self.core.log;
        let stream = found.place.stream(log).await?;
        let resources = ScopeResources::new(log.clone(), stream, found.scope, found.flow.clone());
        let read = async {
            let Some(keys) = keys else {
                return resources.rendered(&found.def, None).await.map(Option::flatten);
            };
            for key in keys {
                if let Some(content) = resources.rendered(&found.def, Some(key.as_str())).await? {
                    return Ok(content);
                }
            }
            Err(ResourceProblem::NotFound)
        };
        // How it is rendered is not ours.
        let read = AssertUnwindSafe(read).catch_unwind().boxed();
        match select(read, self.core.timer.wait(RENDER_TIME_MAX)).await {
            Either::Left((Ok(content), _)) => {
                let failed = |problem| ResourceAccessError::of(problem, resource, topic.unwrap_or_default());
                content.map_err(failed)
            }
            Either::Left((Err(panic), _)) => {
                let what = format!("it panicked: {}", panic_message(&*panic));
                Err(ResourceAccessError::Render(BlockError::new("render_failed", what)))
            }
            Either::Right(_) => Err(ResourceAccessError::RenderTime {
                seconds: RENDER_TIME_MAX.as_secs(),
            }),
        }
    }

    /// Makes an instance of a session's collection, on behalf of a client: its state begins as the definition says, its body as `content` if there is
    /// one. Durable on return. `topic` may be what differs between the keys, or a whole key.
    pub async fn create_resource(
        &self,
        principal: &Principal,
        session: &str,
        resource: &str,
        topic: &str,
        content: Option<String>,
    ) -> Result<(), ResourceAccessError> {
        let found = self.find_resource(principal, session, resource).await?;
        let keys = found.changed(found.access.create, "create instances of", topic)?;
        if content.is_some() {
            found.writable()?;
        }
        let what = ClientChangeKind::Create(content.map(Into::into));
        change(&self.core, found.change(keys, what), topic).await
    }

    /// Replaces the body of an instance of a session's collection, on behalf of a client. Durable on return.
    pub async fn write_resource(
        &self,
        principal: &Principal,
        session: &str,
        resource: &str,
        topic: &str,
        content: String,
    ) -> Result<(), ResourceAccessError> {
        let found = self.find_resource(principal, session, resource).await?;
        let keys = found.changed(found.access.update, "write the content of", topic)?;
        found.writable()?;
        let what = ClientChangeKind::Write(content.into());
        change(&self.core, found.change(keys, what), topic).await
    }

    /// Deletes an instance of a session's collection, on behalf of a client; nothing if there is none. Durable on return.
    pub async fn delete_resource(
        &self,
        principal: &Principal,
        session: &str,
        resource: &str,
        topic: &str,
    ) -> Result<(), ResourceAccessError> {
        let found = self.find_resource(principal, session, resource).await?;
        let keys = found.changed(found.access.delete, "delete instances of", topic)?;
        change(&self.core, found.change(keys, ClientChangeKind::Delete), topic).await
    }

    pub(super) async fn find_resource(
        &self,
        principal: &Principal,
        session: &str,
        resource: &str,
    ) -> Result<Found, ResourceAccessError> {
        let unknown = || ResourceAccessError::UnknownSession(session.to_owned());
        let stream = self.session_stream(principal, session).await?.ok_or_else(unknown)?;
        let summary = projection::session::read(&self.core.log, stream, |fold| fold.summary().cloned());
        let summary = summary.await?.ok_or_else(unknown)?;
        let flow = self.core.registry.flow(&summary.flow).cloned();
        let flow = flow.ok_or_else(|| ResourceAccessError::UnknownFlow(summary.flow.clone()))?;
        let found = RESOURCE_SCOPES.into_iter().find_map(|scope| {
            let def = flow.scope(scope).resource(resource)?;
            let place = ScopePlace::of(principal, stream, &summary, scope)?;
            Some((scope, place, def.clone(), def.client?))
        });
        let Some((scope, place, def, access)) = found else {
            return Err(ResourceAccessError::UnknownResource(resource.to_owned()));
        };
        Ok(Found {
            stream,
            summary,
            flow,
            scope,
            place,
            def,
            access,
        })
    }
}

impl Found {
    fn name(&self) -> String {
        self.def.name.clone()
    }

    pub(super) fn granted(&self, is_granted: bool, what: &'static str) -> Result<(), ResourceAccessError> {
        let resource = self.name();
        is_granted
            .then_some(())
            .ok_or(ResourceAccessError::NotGranted { resource, what })
    }

    fn writable(&self) -> Result<(), ResourceAccessError> {
        match self.def.read_only {
            true => Err(ResourceAccessError::ReadOnly(self.name())),
            false => Ok(()),
        }
    }

    /// The keys that a topic may mean.
    pub(super) fn keys(&self, topic: &str) -> Result<Vec<StorageKey>, ResourceAccessError> {
        let Some(collection) = &self.def.collection else {
            return Err(ResourceAccessError::NotACollection(self.name()));
        };
        collection.pattern.client_key(topic).map_err(ResourceAccessError::Topic)
    }

    /// The keys that a topic may mean, if clients may do this to whichever instance it is.
    fn changed(
        &self,
        is_granted: bool,
        what: &'static str,
        topic: &str,
    ) -> Result<Vec<StorageKey>, ResourceAccessError> {
        let keys = self.keys(topic)?;
        self.granted(is_granted, what)?;
        match self.scope {
            ScopeKind::Session => Ok(keys),
            scope => {
                let resource = self.name();
                Err(ResourceAccessError::NotTheSessions { resource, scope })
            }
        }
    }

    fn change(self, keys: Vec<StorageKey>, what: ClientChangeKind) -> ClientChange {
        ClientChange {
            stream: self.stream,
            session: self.summary.session,
            def: self.def,
            keys,
            what,
        }
    }
}
