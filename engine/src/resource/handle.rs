//! A resource, or an instance of a collection, as a block sees it.

use std::marker::PhantomData;
use std::sync::Arc;

use super::body::{self, ContentVersion};
use super::def::ResourceDef;
use super::error::{ResourceError, ResourceProblem};
use crate::exec::{Ctx, RunResource};
use crate::record::ScopeKind;
use crate::scope::StateRef;

/// A resource, or an instance of a collection, as a block sees it: a typed state and a text body. Cheap to clone.
pub struct ResourceRef<S> {
    ctx: Ctx,
    of: Of,
    _state: PhantomData<fn() -> S>,
}

/// Which one: one that the run knows, or one of a list, which it gets to know when it is used.
#[derive(Clone)]
enum Of {
    Known(Arc<RunResource>),
    Listed {
        def: Arc<ResourceDef>,
        scope: ScopeKind,
        key: Arc<str>,
        created: u64,
    },
}

impl<S> Clone for ResourceRef<S> {
    fn clone(&self) -> Self {
        Self {
            ctx: self.ctx.clone(),
            of: self.of.clone(),
            _state: PhantomData,
        }
    }
}

impl<S> ResourceRef<S> {
    pub(crate) fn new(ctx: Ctx, of: Arc<RunResource>) -> Self {
        Self {
            ctx,
            of: Of::Known(of),
            _state: PhantomData,
        }
    }

    pub(crate) fn listed(ctx: Ctx, def: Arc<ResourceDef>, scope: ScopeKind, key: Arc<str>, created: u64) -> Self {
        let of = Of::Listed {
            def,
            scope,
            key,
            created,
        };
        Self {
            ctx,
            of,
            _state: PhantomData,
        }
    }

    /// What the run knows of it.
    fn known(&self) -> Arc<RunResource> {
        match &self.of {
            Of::Known(of) => of.clone(),
            Of::Listed {
                def,
                scope,
                key,
                created,
            } => {
                let flow = self.ctx.resource_flow(*scope).map(str::to_owned);
                let at = def.at(*scope, flow, Some(key.to_string()), *created);
                self.ctx.run_resources().known(&self.ctx, def, at)
            }
        }
    }

    fn def(&self) -> &ResourceDef {
        match &self.of {
            Of::Known(of) => of.def(),
            Of::Listed { def, .. } => def,
        }
    }

    fn key(&self) -> Option<&str> {
        match &self.of {
            Of::Known(of) => of.at().key.as_deref(),
            Of::Listed { key, .. } => Some(key),
        }
    }

    /// Whose it is.
    pub fn scope(&self) -> ScopeKind {
        match &self.of {
            Of::Known(of) => of.at().scope,
            Of::Listed { scope, .. } => *scope,
        }
    }

    /// Its name, or that of its collection.
    pub fn name(&self) -> &str {
        &self.def().name
    }

    /// Its name, or, in a collection, its key: what clients and models know it as. `files/readme.md`.
    pub fn path(&self) -> &str {
        self.key().unwrap_or_else(|| self.name())
    }

    /// In a collection, its key without the part that all keys have: `readme.md`.
    pub fn topic(&self) -> Option<&str> {
        let key = self.key()?;
        let collection = self.def().collection.as_ref()?;
        Some(collection.pattern.topic(key))
    }

    /// Its state, with all operations that states have: `get`, `set`, `atomic`, `patch`, `inc`, `push`, `record_set` and `record_delete`. They are
    /// records; each gives the state's version.
    pub fn state(&self) -> StateRef<S> {
        StateRef::of_resource(self.ctx.clone(), self.known())
    }

    /// Its body as readers get it: rendered, if the definition says how. `None` if there is none.
    pub async fn read_content(&self) -> Result<Option<String>, ResourceError> {
        self.rendered().await.map_err(|problem| problem.of(self.path()))
    }

    pub(crate) async fn rendered(&self) -> Result<Option<String>, ResourceProblem> {
        let Some(body) = self.raw().await? else {
            return Ok(None);
        };
        let known = self.known();
        known.scope().catch_up(&self.ctx).await?;
        let state = known.scope().overlay.lock().fields().clone();
        let rendered = self.def().rendered(body, &state).await;
        rendered.map(Some).map_err(ResourceProblem::Render)
    }

    /// Its body as it was written, or as the definition says. `None` if there is none.
    pub async fn read_content_raw(&self) -> Result<Option<String>, ResourceError> {
        self.raw().await.map_err(|problem| problem.of(self.path()))
    }

    async fn raw(&self) -> Result<Option<String>, ResourceProblem> {
        let known = self.known();
        let (scope, at) = (known.scope(), known.at());
        scope.catch_up(&self.ctx).await?;
        self.ctx.run_resources().access(&self.ctx, &known).await?;
        let stream = scope.stream(&self.ctx).await?;
        let last = match stream {
            Some(stream) => body::last(self.ctx.log(), stream, at).await?,
            None => None,
        };
        if let Some(own) = known.own_body(last) {
            return Ok(Some(body::text(own)));
        }
        match (stream, last) {
            (Some(stream), Some(last)) => body::read(self.ctx.log(), stream, last).await.map(Some),
            _ => Ok(self.def().body.as_deref().map(str::to_owned)),
        }
    }

    /// Replaces its body; the last one that is written counts. Gives its version when it has its place in the order of everything;
    /// [`Ctx::durable`] waits until it survives a power cut. Every body stays in the log.
    pub async fn write_content(&self, text: impl Into<String>) -> Result<u64, ResourceError> {
        let written = self.known().write_body(&self.ctx, text.into()).await;
        written.map_err(|problem| problem.of(self.path()))
    }

    /// All bodies that were written since it was made, the first one first; what this request has written, too. Not those that were given up with
    /// their stream's past.
    pub async fn content_versions(&self) -> Result<Vec<ContentVersion>, ResourceError> {
        let read = async {
            let known = self.known();
            self.ctx.durable().await?;
            known.scope().catch_up(&self.ctx).await?;
            match known.scope().stream(&self.ctx).await? {
                Some(stream) => body::versions(self.ctx.log(), stream, known.at()).await,
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
            let known = self.known();
            self.ctx.durable().await?;
            known.scope().catch_up(&self.ctx).await?;
            let stream = known.scope().stream(&self.ctx).await?.ok_or_else(none)?;
            body::version(self.ctx.log(), stream, known.at(), version).await
        };
        read.await.map_err(|problem: ResourceProblem| problem.of(self.path()))
    }
}
