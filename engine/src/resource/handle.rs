//! A resource, or an instance of a collection, as a block sees it.

use std::marker::PhantomData;
use std::sync::Arc;

use super::body::{self, ContentVersion};
use super::error::{ResourceError, ResourceProblem};
use crate::exec::{Ctx, RunResource};
use crate::record::ScopeKind;
use crate::scope::StateRef;

/// A resource, or an instance of a collection, as a block sees it: a typed state and a text body. Cheap to clone.
pub struct ResourceRef<S> {
    ctx: Ctx,
    of: Arc<RunResource>,
    _state: PhantomData<fn() -> S>,
}

impl<S> Clone for ResourceRef<S> {
    fn clone(&self) -> Self {
        Self::new(self.ctx.clone(), self.of.clone())
    }
}

impl<S> ResourceRef<S> {
    pub(crate) fn new(ctx: Ctx, of: Arc<RunResource>) -> Self {
        Self {
            ctx,
            of,
            _state: PhantomData,
        }
    }

    /// Whose it is.
    pub fn scope(&self) -> ScopeKind {
        self.of.at().scope
    }

    /// Its name, or that of its collection.
    pub fn name(&self) -> &str {
        &self.of.at().resource
    }

    /// Its name, or, in a collection, its key: what clients and models know it as. `files/readme.md`.
    pub fn path(&self) -> &str {
        self.of.at().path()
    }

    /// In a collection, its key without the part that all keys have: `readme.md`.
    pub fn topic(&self) -> Option<&str> {
        let key = self.of.at().key.as_deref()?;
        let collection = self.of.def().collection.as_ref()?;
        Some(collection.pattern.topic(key))
    }

    /// Its state, with all operations that states have: `get`, `set`, `atomic`, `patch`, `inc`, `push`, `record_set` and `record_delete`. They are
    /// records; each gives the state's version.
    pub fn state(&self) -> StateRef<S> {
        StateRef::of_resource(self.ctx.clone(), self.of.clone())
    }

    /// Its body as readers get it: rendered, if the definition says how. `None` if there is none.
    pub async fn read_content(&self) -> Result<Option<String>, ResourceError> {
        self.rendered().await.map_err(|problem| problem.of(self.path()))
    }

    pub(crate) async fn rendered(&self) -> Result<Option<String>, ResourceProblem> {
        let Some(body) = self.raw().await? else {
            return Ok(None);
        };
        let scope = self.of.scope();
        scope.catch_up(&self.ctx).await?;
        let state = scope.overlay.lock().fields().clone();
        let rendered = self.of.def().rendered(body, &state).await;
        rendered.map(Some).map_err(ResourceProblem::Render)
    }

    /// Its body as it was written, or as the definition says. `None` if there is none.
    pub async fn read_content_raw(&self) -> Result<Option<String>, ResourceError> {
        self.raw().await.map_err(|problem| problem.of(self.path()))
    }

    async fn raw(&self) -> Result<Option<String>, ResourceProblem> {
        let (scope, at) = (self.of.scope(), self.of.at());
        scope.catch_up(&self.ctx).await?;
        self.ctx.run_resources().access(&self.ctx, &self.of).await?;
        let stream = scope.stream(&self.ctx).await?;
        let last = match stream {
            Some(stream) => body::last(self.ctx.log(), stream, at).await?,
            None => None,
        };
        if let Some(own) = self.of.own_body(last) {
            return body::text(own).map(Some);
        }
        match (stream, last) {
            (Some(stream), Some(last)) => body::read(self.ctx.log(), stream, at, last).await.map(Some),
            _ => Ok(self.of.def().body.as_deref().map(str::to_owned)),
        }
    }

    /// Replaces its body; the last one that is written counts. Gives its version when it has its place in the order of everything;
    /// [`Ctx::durable`] waits until it survives a power cut. Every body stays in the log.
    pub async fn write_content(&self, text: impl Into<String>) -> Result<u64, ResourceError> {
        let written = self.of.write_body(&self.ctx, text.into()).await;
        written.map_err(|problem| problem.of(self.path()))
    }

    /// All bodies that were written since it was made, the first one first; what this request has written, too. Not those that were given up with
    /// their stream's past.
    pub async fn content_versions(&self) -> Result<Vec<ContentVersion>, ResourceError> {
        let read = async {
            self.ctx.durable().await?;
            self.of.scope().catch_up(&self.ctx).await?;
            match self.of.scope().stream(&self.ctx).await? {
                Some(stream) => body::versions(self.ctx.log(), stream, self.of.at()).await,
                None => Ok(Vec::new()),
            }
        };
        read.await.map_err(|problem: ResourceProblem| problem.of(self.path()))
    }

    /// The body of a version, as it was written.
    pub async fn read_content_version(&self, version: u64) -> Result<String, ResourceError> {
        let none = || ResourceProblem::NoBody {
            version,
            why: "nothing was written yet",
        };
        let read = async {
            self.ctx.durable().await?;
            let stream = self.of.scope().stream(&self.ctx).await?.ok_or_else(none)?;
            body::read(self.ctx.log(), stream, self.of.at(), version).await
        };
        read.await.map_err(|problem: ResourceProblem| problem.of(self.path()))
    }
}
