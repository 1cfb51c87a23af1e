//! The resources that a run has touched: what it knows of each, and what it has told the log of them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use flowstate_log::error::{AppendError, ReadError};
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::Ctx;
use super::recorder::{ResourceFact, ResourceWrite};
use super::scopes::RunScope;
use crate::error::RecordError;
use crate::projection::resource::{self, ResourceFold};
use crate::record::{ResourceAt, ScopeKind};
use crate::resource::{Decided, Eviction, InstanceContext, ResourceDef, ResourceProblem};
use crate::scope::{Fields, ResourceMark};

/// So many resources are written before what the run knows of them is let go: it waits then until that is visible.
const WRITTEN_MAX: usize = 1_024;
/// How often a change of a collection is worked out again because others were first.
const ATTEMPTS_MAX: u32 = 64;

/// A resource, or an instance of a collection, as one run knows it.
pub(crate) struct RunResource {
    def: Arc<ResourceDef>,
    at: ResourceAt,
    scope: RunScope,
    /// The last body that this run wrote, and the position of its record.
    body: Mutex<Option<(u64, Bytes)>>,
    /// The run keeps it, because it has written it.
    is_kept: AtomicBool,
}

impl RunResource {
    pub(crate) fn def(&self) -> &ResourceDef {
        &self.def
    }

    pub(crate) fn at(&self) -> &ResourceAt {
        &self.at
    }

    pub(crate) fn scope(&self) -> &RunScope {
        &self.scope
    }

    pub(crate) fn mark(&self) -> ResourceMark {
        ResourceMark {
            at: self.at.clone(),
            is_shown: self.def.client.is_some(),
        }
    }

    /// Whether a hook is told of each change of its state.
    pub(crate) fn is_watched(&self) -> bool {
        self.def.hooks().is_some_and(|hooks| hooks.has_updated())
    }

    /// Waits until a change is durable, and tells the hook.
    pub(crate) async fn tell_updated(&self, ctx: &Ctx, before: &Fields, after: &Fields) -> Result<(), RecordError> {
        ctx.durable().await?;
        if let Some(hooks) = self.def.hooks() {
            let context = ctx.instance_context(&self.def, self.at.scope);
            hooks.tell_updated(self.at.path(), before, after, &self.def.state, &context);
        }
        Ok(())
    }

    /// The body that this run wrote, if nobody else's that is visible came after it.
    pub(crate) fn own_body(&self, visible: Option<u64>) -> Option<Bytes> {
        let body = self.body.lock();
        let (position, text) = body.as_ref()?;
        (Some(*position) > visible).then(|| text.clone())
    }

    /// Appends a body; gives its version.
    pub(crate) async fn write_body(self: &Arc<Self>, ctx: &Ctx, text: String) -> Result<u64, ResourceProblem> {
        if self.def.read_only {
            return Err(ResourceProblem::ReadOnly);
        }
        self.scope.catch_up(ctx).await?;
        let text = Bytes::from(text);
        let write = self.write(vec![ResourceFact::written(self.at.clone(), text.clone())], None);
        let recorder = ctx.recorder();
        let queued = recorder.turn().await?.resource(ctx.place(), write).await?;
        let position = recorder.sequenced(queued).await?;
        {
            let mut body = self.body.lock();
            if body.as_ref().is_none_or(|(last, _)| *last < position) {
                *body = Some((position, text));
            }
        }
        ctx.run_resources().wrote(ctx, self).await?;
        Ok(position)
    }

    fn write(&self, facts: Vec<ResourceFact>, under: Option<u64>) -> ResourceWrite {
        ResourceWrite {
            facts,
            subject: self.scope.subject,
            stream: self.scope.target(),
            under,
            is_shown: self.def.client.is_some(),
        }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct RunResources {
    known: Mutex<HashMap<ResourceAt, Weak<RunResource>>>,
    /// Those that the run has written, until that is visible.
    written: Mutex<Vec<Arc<RunResource>>>,
    /// Hashes of the instances whose access this request has recorded.
    accessed: Mutex<HashSet<u64>>,
}

impl RunResources {
    /// Of a request of which another process has recorded these accesses.
    pub(super) fn resumed(accessed: &[ResourceAt]) -> Self {
        Self {
            accessed: Mutex::new(accessed.iter().map(hash).collect()),
            ..Self::default()
        }
    }

    /// What is known of a resource.
    pub(crate) fn get(
        &self,
        ctx: &Ctx,
        def: &Arc<ResourceDef>,
        at: ResourceAt,
    ) -> Result<Arc<RunResource>, ResourceProblem> {
        let mut known = self.known.lock();
        if let Some(resource) = known.get(&at).and_then(Weak::upgrade) {
            return Ok(resource);
        }
        let around = ctx.scope(at.scope).ok_or(ResourceProblem::NoProject)?;
        let resource = Arc::new(RunResource {
            def: def.clone(),
            scope: ctx.resource_scope(around, at.clone(), def.subject(&at)),
            at: at.clone(),
            body: Mutex::default(),
            is_kept: AtomicBool::new(false),
        });
        if known.len() >= WRITTEN_MAX && known.len().is_power_of_two() {
            known.retain(|_, resource| resource.strong_count() > 0);
        }
        known.insert(at, Arc::downgrade(&resource));
        Ok(resource)
    }

    /// The run has written a resource: what it knows of it is kept until that is visible. The write counts as its access.
    pub(crate) async fn wrote(&self, ctx: &Ctx, resource: &Arc<RunResource>) -> Result<(), RecordError> {
        if resource.is_kept.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        if resource.def.eviction() == Eviction::Lru {
            self.accessed.lock().insert(hash(&resource.at));
        }
        let full = {
            let mut written = self.written.lock();
            written.push(resource.clone());
            (written.len() > WRITTEN_MAX).then(|| std::mem::take(&mut *written))
        };
        if let Some(full) = full {
            // Whoever writes one of them from now on keeps it again.
            full.iter()
                .for_each(|resource| resource.is_kept.store(false, Ordering::Release));
            ctx.durable().await?;
        }
        Ok(())
    }

    /// Records that an instance was asked for, if that counts and this request has not said so yet.
    pub(crate) async fn access(&self, ctx: &Ctx, resource: &RunResource) -> Result<(), RecordError> {
        if resource.def.eviction() != Eviction::Lru || !self.accessed.lock().insert(hash(&resource.at)) {
            return Ok(());
        }
        let write = resource.write(vec![ResourceFact::accessed(resource.at.clone())], None);
        ctx.recorder().turn().await?.pass_resource(ctx.place(), write).await
    }

    /// Appends what `decide` works out from what is visible, again if others were first. Durable on return. Gives the position of the first
    /// fact, and what was decided; `None` if there is nothing to do.
    pub(crate) async fn decide(
        &self,
        ctx: &Ctx,
        resource: &RunResource,
        decide: impl Fn(&ResourceFold) -> Result<Option<Decided>, ResourceProblem> + Send + Sync,
    ) -> Result<Option<(u64, Decided)>, ResourceProblem> {
        for _ in 0..ATTEMPTS_MAX {
            // What this run has appended is part of it.
            ctx.durable().await?;
            let stream = resource.scope.stream(ctx).await?;
            let decided = match stream {
                None => decide(&ResourceFold::default())?,
                Some(stream) => resource::read(ctx.log(), stream, &decide).await??,
            };
            let Some(mut decided) = decided else { return Ok(None) };
            let facts = std::mem::take(&mut decided.facts);
            let write = resource.write(facts, Some(decided.version));
            let turn = ctx.recorder().turn().await?;
            match turn.decide_resource(ctx.place(), write).await {
                Ok(first) => {
                    ctx.durable().await?;
                    return Ok(Some((first, decided)));
                }
                Err(RecordError::Append(AppendError::VersionMismatch { actual, .. })) => {
                    visible(ctx, resource, actual).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let attempts = ATTEMPTS_MAX;
        Err(ResourceProblem::Contended { attempts })
    }
}

/// Waits until a record of the resource's stream is visible.
async fn visible(ctx: &Ctx, resource: &RunResource, position: u64) -> Result<(), ReadError> {
    if let Some(stream) = resource.scope.stream(ctx).await? {
        ctx.log().follow(stream, position).await?.page().await?;
    }
    Ok(())
}

fn hash(at: &ResourceAt) -> u64 {
    let (scope, key) = (at.scope.as_str(), at.path());
    xxh3_64(format!("{scope}\0{}\0{key}\0{}", at.resource, at.of).as_bytes())
}

impl Ctx {
    pub(crate) fn instance_context(&self, def: &ResourceDef, scope: ScopeKind) -> InstanceContext {
        let id = match scope {
            ScopeKind::User => self.user_id(),
            ScopeKind::Project => self.project_id().unwrap_or_default(),
            _ => self.session_id(),
        };
        InstanceContext::new(&def.name, scope, id)
    }
}
