//! The resources that a run has touched: what it knows of each, and what it has told the log of them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use flowstate_log::error::AppendError;
use flowstate_log::record::Subject;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::Ctx;
use super::recorder::{ResourceFact, ResourceWrite};
use super::scopes::RunScope;
use crate::error::RecordError;
use crate::projection::resource::{self, ResourceFold};
use crate::record::{ResourceAt, ScopeKind, resource_subject};
use crate::resource::{Decided, Eviction, InstanceContext, ResourceDef, ResourceProblem};
use crate::scope::{Fields, ResourceMark};

/// So many resources, and bytes of bodies, are written before what the run knows of them is let go: it waits then until that is visible.
const WRITTEN_MAX: usize = 1_024;
const BODIES_BYTES_MAX: usize = 8 << 20;

/// A resource, or an instance of a collection, as one run knows it.
pub(crate) struct RunResource {
    def: Arc<ResourceDef>,
    at: ResourceAt,
    scope: RunScope,
    /// The last body that this run wrote, and the position of its record, until that is visible.
    body: Mutex<Option<(u64, Bytes)>>,
    /// How often the run has written it.
    writes: AtomicU64,
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
            there: None,
        }
    }

    /// Whether a hook is told of each change of its state.
    pub(crate) fn is_watched(&self) -> bool {
        self.def.hooks().is_some_and(|hooks| hooks.has_updated())
    }

    /// Waits until a change is durable, and tells the hook.
    pub(crate) async fn tell_updated(&self, ctx: &Ctx, before: &Fields, after: &Fields) -> Result<(), RecordError> {
        ctx.durable().await?;
        // Who was deleted meanwhile was not changed.
        let is_there = self.scope.catch_up(ctx).await.is_ok();
        if let Some(hooks) = self.def.hooks().filter(|_| is_there) {
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
        let bytes = text.len();
        let position = match self.def.is_live() {
            true => self.write_live_body(ctx, &text).await?,
            false => {
                let write = self.write(vec![ResourceFact::written(self.at.clone(), text.clone())], Vec::new());
                let recorder = ctx.recorder();
                let queued = recorder.turn().await?.resource(ctx.place(), write).await?;
                recorder.sequenced(queued).await?
            }
        };
        {
            let mut body = self.body.lock();
            if body.as_ref().is_none_or(|(last, _)| *last < position) {
                *body = Some((position, text));
            }
        }
        ctx.run_resources().wrote(ctx, self, bytes).await?;
        Ok(position)
    }

    pub(super) fn write(&self, facts: Vec<ResourceFact>, under: Vec<(Subject, u64)>) -> ResourceWrite {
        let facts = facts.into_iter().map(|fact| (fact.subject(&self.def), fact));
        ResourceWrite {
            facts: facts.collect(),
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
    written: Mutex<Written>,
    /// Hashes of the instances whose access this request has recorded.
    accessed: Mutex<HashSet<u64>>,
}

#[derive(Default)]
struct Written {
    /// With how often each was written.
    resources: HashMap<ResourceAt, (Arc<RunResource>, u64)>,
    /// Of bodies that were written since all of it was visible.
    bytes: usize,
}

impl RunResources {
    /// Of a request of which another process has recorded these accesses.
    pub(super) fn resumed(accessed: &[ResourceAt]) -> Self {
        Self {
            accessed: Mutex::new(accessed.iter().map(hash).collect()),
            ..Self::default()
        }
    }

    /// What is known of a resource; `Err` if it is the project's of a session that has none.
    pub(crate) fn get(
        &self,
        ctx: &Ctx,
        def: &Arc<ResourceDef>,
        at: ResourceAt,
    ) -> Result<Arc<RunResource>, ResourceProblem> {
        match ctx.scope(at.scope) {
            Some(around) => Ok(self.within(ctx, around, def, at)),
            None => Err(ResourceProblem::NoProject),
        }
    }

    /// The same of one that was listed: its scope is there.
    pub(crate) fn known(&self, ctx: &Ctx, def: &Arc<ResourceDef>, at: ResourceAt) -> Arc<RunResource> {
        let session = || ctx.scope(ScopeKind::Session).expect("a run has a session");
        self.within(ctx, ctx.scope(at.scope).unwrap_or_else(session), def, at)
    }

    fn within(&self, ctx: &Ctx, around: &RunScope, def: &Arc<ResourceDef>, at: ResourceAt) -> Arc<RunResource> {
        let mut known = self.known.lock();
        if let Some(resource) = known.get(&at).and_then(Weak::upgrade) {
            return resource;
        }
        let resource = Arc::new(RunResource {
            def: def.clone(),
            scope: ctx.resource_scope(around, at.clone(), resource_subject(&at)),
            at: at.clone(),
            body: Mutex::default(),
            writes: AtomicU64::new(0),
        });
        if known.len() >= WRITTEN_MAX && known.len().is_power_of_two() {
            known.retain(|_, resource| resource.strong_count() > 0);
        }
        known.insert(at, Arc::downgrade(&resource));
        resource
    }

    /// The run has written a resource, with so many bytes of a body: what it knows of it is kept until that is visible. The write counts as its access.
    pub(crate) async fn wrote(&self, ctx: &Ctx, resource: &Arc<RunResource>, bytes: usize) -> Result<(), RecordError> {
        if resource.def.eviction() == Eviction::Lru {
            self.accessed.lock().insert(hash(&resource.at));
        }
        let full = {
            let mut written = self.written.lock();
            let writes = resource.writes.fetch_add(1, Ordering::AcqRel) + 1;
            match written.resources.get_mut(&resource.at) {
                Some((_, known)) => *known = writes,
                None => drop(
                    written
                        .resources
                        .insert(resource.at.clone(), (resource.clone(), writes)),
                ),
            }
            written.bytes += bytes;
            let is_full = written.resources.len() > WRITTEN_MAX || written.bytes > BODIES_BYTES_MAX;
            is_full.then(|| {
                written.bytes = 0;
                written.resources.clone()
            })
        };
        let Some(full) = full else { return Ok(()) };
        ctx.durable().await?;
        let mut written = self.written.lock();
        for (at, (resource, writes)) in full {
            // What was written meanwhile is not visible yet.
            if written.resources.get(&at).is_some_and(|(_, known)| *known == writes) {
                written.resources.remove(&at);
                *resource.body.lock() = None;
            }
        }
        Ok(())
    }

    /// Records that an instance was asked for, if that counts and this request has not said so yet.
    pub(crate) async fn access(&self, ctx: &Ctx, resource: &RunResource) -> Result<(), RecordError> {
        let (hash, is_known) = (hash(&resource.at), |hash| self.accessed.lock().contains(hash));
        if resource.def.eviction() != Eviction::Lru || is_known(&hash) {
            return Ok(());
        }
        // Whoever else asks for it waits until that is recorded.
        let turn = ctx.recorder().turn().await?;
        if is_known(&hash) {
            return Ok(());
        }
        let write = resource.write(vec![ResourceFact::accessed(resource.at.clone())], Vec::new());
        let queued = || {
            self.accessed.lock().insert(hash);
        };
        turn.pass_resource(ctx.place(), write, queued).await
    }

    /// Appends what `decide` works out from what is visible. Durable on return. Gives the position of the first fact, and what was decided; `None` if
    /// there is nothing to do. Whoever else in this process changes what it depends on waits for its turn meanwhile, so that nobody else's change comes
    /// between: it is appended under the version all the same.
    pub(crate) async fn decide(
        &self,
        ctx: &Ctx,
        resource: &RunResource,
        decide: impl Fn(&ResourceFold) -> Result<Option<Decided>, ResourceProblem> + Send + Sync,
    ) -> Result<Option<(u64, Decided)>, ResourceProblem> {
        let told = ctx.told(&resource.scope, resource.def.instances_subject(&resource.at));
        let turn = told.turn.clone().lock_owned().await;
        // What this run has appended is part of it.
        ctx.durable().await?;
        let decided = match resource.scope.stream(ctx).await? {
            None => decide(&ResourceFold::default())?,
            Some(stream) => resource::read(ctx.log(), stream, &decide).await??,
        };
        let Some(mut decided) = decided else { return Ok(None) };
        let facts = std::mem::take(&mut decided.facts).into_iter();
        let facts = facts.map(|fact| fact.begins_live(&resource.def)).collect();
        let write = resource.write(facts, vec![decided.under]);
        let queued = ctx.recorder().turn().await?.resource(ctx.place(), write).await?;
        // A task of its own: if this is dropped here, the turn lasts all the same until what was queued is visible.
        let ctx = ctx.clone();
        let seen_through = tokio::spawn(async move {
            let first = ctx.recorder().sequenced(queued).await?;
            ctx.durable().await?;
            // Both: who comes next looks for the turn where this one found it.
            drop((turn, told));
            Ok::<_, RecordError>(first)
        });
        match seen_through.await {
            Ok(first) => Ok(Some((first?, decided))),
            Err(_) => Err(RecordError::Append(AppendError::Closed).into()),
        }
    }
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
