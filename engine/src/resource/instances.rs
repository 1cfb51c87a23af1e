//! A collection as a block sees it.

use std::marker::PhantomData;
use std::sync::Arc;

use super::decide;
use super::def::ResourceDef;
use super::error::{ResourceError, ResourceProblem};
use super::handle::ResourceRef;
use super::key::Key;
use crate::exec::{Ctx, RunResource};
use crate::projection::resource::{self, ResourceFold};
use crate::record::{ResourceAt, ScopeKind};
use crate::scope::{Fields, StateProblem};
use crate::value::Data;

/// How often `get_or_create` looks again for what others make and delete at the same time.
const ATTEMPTS_MAX: u32 = 8;
/// Instances that a list looks at in one go.
const LISTED_AT_ONCE: usize = 4_096;

/// A collection as a block sees it. Keys are given without the part that all of them have: `readme.md` of `files/*`; of a pattern
/// with parameters as pairs, `[("topic", "tea")]`.
pub struct CollectionRef<S> {
    ctx: Ctx,
    scope: ScopeKind,
    def: Arc<ResourceDef>,
    _state: PhantomData<fn() -> S>,
}

impl<S> CollectionRef<S> {
    pub(crate) fn new(ctx: Ctx, scope: ScopeKind, def: Arc<ResourceDef>) -> Self {
        Self {
            ctx,
            scope,
            def,
            _state: PhantomData,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.def.name
    }

    /// Whose it is.
    pub fn scope(&self) -> ScopeKind {
        self.scope
    }

    /// The instance with this key. Counts as an access. `Err` if there is none.
    pub async fn get(&self, key: impl Into<Key>) -> Result<ResourceRef<S>, ResourceError> {
        let (path, found) = self.find_at(key.into()).await?;
        found.ok_or_else(|| ResourceProblem::NotFound.of(path))
    }

    /// The instance with this key, if there is one. Counts as an access then.
    pub async fn find(&self, key: impl Into<Key>) -> Result<Option<ResourceRef<S>>, ResourceError> {
        Ok(self.find_at(key.into()).await?.1)
    }

    /// All instances, in the order of their keys, or those whose keys begin with `prefix`: of `files/**`, `src/`. Counts as no access.
    pub async fn list(&self, prefix: Option<&str>) -> Result<Vec<ResourceRef<S>>, ResourceError> {
        self.list_page(prefix, None, usize::MAX).await
    }

    /// The same, of the keys after `after` (a [`ResourceRef::path`] of the page before), and at most so many.
    pub async fn list_page(
        &self,
        prefix: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ResourceRef<S>>, ResourceError> {
        let prefix = self.def.list_prefix(prefix);
        let (mut listed, mut after) = (Vec::<ResourceRef<S>>::new(), after.map(str::to_owned));
        loop {
            let left = limit.saturating_sub(listed.len()).min(LISTED_AT_ONCE);
            let page = |resources: &ResourceFold| -> Vec<(Arc<str>, u64)> {
                let family = resources.family(self.flow(), self.def.family());
                let listed = family
                    .into_iter()
                    .flat_map(|family| family.list(&prefix, after.as_deref()));
                listed
                    .take(left)
                    .map(|(key, instance)| (key.clone(), instance.created))
                    .collect()
            };
            let page = self.read(page).await.map_err(|problem| problem.of(self.name()))?;
            let is_last = page.len() < left.max(1) || page.is_empty();
            after = page.last().map(|(key, _)| key.to_string());
            listed.extend(page.into_iter().map(|(key, of)| self.instance(key, of)));
            if is_last || listed.len() >= limit {
                return Ok(listed);
            }
        }
    }

    /// How many instances there are. Counts as no access.
    pub async fn count(&self) -> Result<usize, ResourceError> {
        let count = |resources: &ResourceFold| {
            let family = resources.family(self.flow(), self.def.family());
            family.map_or(0, |family| family.count())
        };
        self.read(count).await.map_err(|problem| problem.of(self.name()))
    }

    /// Deletes the instance with this key, with its body. Durable on return; `false` if there was none.
    pub async fn delete(&self, key: impl Into<Key>) -> Result<bool, ResourceError> {
        let at = self.at(&key.into())?;
        let path = at.path().to_owned();
        let delete = async {
            let resources = self.ctx.run_resources();
            let resource = resources.get(&self.ctx, &self.def, at.clone())?;
            let decide = |resources: &ResourceFold| Ok(decide::delete(resources, &self.def, &at));
            let decided = resources.decide(&self.ctx, &resource, decide).await?;
            if decided.is_some() {
                self.tell_deleted(at.path());
            }
            Ok(decided.is_some())
        };
        delete.await.map_err(|problem: ResourceProblem| problem.of(path))
    }

    fn tell_deleted(&self, key: &str) {
        if let Some(hooks) = self.def.hooks() {
            hooks.tell_deleted(key, &self.ctx.instance_context(&self.def, self.scope));
        }
    }

    async fn find_at(&self, key: Key) -> Result<(String, Option<ResourceRef<S>>), ResourceError> {
        let path = self.at(&key)?.path().to_owned();
        let found = self.find_path(&path).await?;
        Ok((path, found))
    }

    /// The instance with this whole key. Counts as an access.
    pub(crate) async fn find_path(&self, path: &str) -> Result<Option<ResourceRef<S>>, ResourceError> {
        let flow = self.flow().map(str::to_owned);
        let at = self.def.at(self.scope, flow, Some(path.to_owned()), 0);
        let created = |resources: &ResourceFold| resources.instance(&at).map(|instance| instance.created);
        let found = async {
            let Some(of) = self.read(created).await? else {
                return Ok(None);
            };
            let found = self.known(path.to_owned(), of)?;
            self.ctx.run_resources().access(&self.ctx, &found).await?;
            Ok(Some(ResourceRef::new(self.ctx.clone(), found)))
        };
        found.await.map_err(|problem: ResourceProblem| problem.of(path))
    }

    fn instance(&self, key: Arc<str>, of: u64) -> ResourceRef<S> {
        ResourceRef::listed(self.ctx.clone(), self.def.clone(), self.scope, key, of)
    }

    fn known(&self, key: String, of: u64) -> Result<Arc<RunResource>, ResourceProblem> {
        let flow = self.flow().map(str::to_owned);
        let at = self.def.at(self.scope, flow, Some(key), of);
        self.ctx.run_resources().get(&self.ctx, &self.def, at)
    }

    /// The kind of flow whose collection it is, unless flows share it.
    fn flow(&self) -> Option<&str> {
        self.ctx.resource_flow(self.scope)
    }

    /// Whichever instance has this key.
    fn at(&self, key: &Key) -> Result<ResourceAt, ResourceError> {
        let flow = self.flow().map(str::to_owned);
        let Some(collection) = &self.def.collection else {
            return Err(super::error::undeclared(self.ctx.flow_kind(), self.name()));
        };
        let key = collection.pattern.storage_key(key);
        let key = key.map_err(|error| ResourceProblem::Key(error).of(self.name()))?;
        Ok(self.def.at(self.scope, flow, Some(key.to_string()), 0))
    }

    /// Looks at what is visible. What this request makes and deletes is, when that returns.
    async fn read<R: Send>(&self, read: impl FnOnce(&ResourceFold) -> R + Send) -> Result<R, ResourceProblem> {
        let scope = self.ctx.scope(self.scope).ok_or(ResourceProblem::NoProject)?;
        match scope.stream(&self.ctx).await? {
            Some(stream) => Ok(resource::read(self.ctx.log(), stream, read).await?),
            None => Ok(read(&ResourceFold::default())),
        }
    }
}

impl<S: Data + Default> CollectionRef<S> {
    /// Makes the instance with this key, whose state begins as the definition says. Durable on return. `Err` if it exists, or if the collection is full and
    /// nobody makes room; who makes room goes in the same append.
    pub async fn create(&self, key: impl Into<Key>) -> Result<ResourceRef<S>, ResourceError> {
        self.create_with(key.into(), None).await
    }

    /// The same, with a state of its own to begin with.
    pub async fn create_as(&self, key: impl Into<Key>, initial: S) -> Result<ResourceRef<S>, ResourceError> {
        self.create_with(key.into(), Some(initial)).await
    }

    /// The instance with this key as it is, which counts as an access; if there is none it is made.
    pub async fn get_or_create(&self, key: impl Into<Key>) -> Result<ResourceRef<S>, ResourceError> {
        self.get_or_create_with(key.into(), None).await
    }

    /// The same, with a state to begin with, if it is made.
    pub async fn get_or_create_as(&self, key: impl Into<Key>, initial: S) -> Result<ResourceRef<S>, ResourceError> {
        self.get_or_create_with(key.into(), Some(initial)).await
    }

    async fn get_or_create_with(&self, key: Key, initial: Option<S>) -> Result<ResourceRef<S>, ResourceError> {
        for _ in 0..ATTEMPTS_MAX {
            if let Some(found) = self.find(key.clone()).await? {
                return Ok(found);
            }
            match self.create_with(key.clone(), initial.clone()).await {
                // Others were first, and may delete it again.
                Err(error) if matches!(error.problem, ResourceProblem::Exists) => {}
                made => return made,
            }
        }
        let attempts = ATTEMPTS_MAX;
        Err(ResourceProblem::Contended { attempts }.of(self.name()))
    }

    async fn create_with(&self, key: Key, initial: Option<S>) -> Result<ResourceRef<S>, ResourceError> {
        let at = self.at(&key)?;
        let path = at.path().to_owned();
        let create = async {
            let state = self.beginning(initial)?;
            let resources = self.ctx.run_resources();
            let resource = resources.get(&self.ctx, &self.def, at.clone())?;
            let decide = |resources: &ResourceFold| decide::create(resources, &self.def, &at, state.clone()).map(Some);
            let Some((first, decided)) = resources.decide(&self.ctx, &resource, decide).await? else {
                return Err(ResourceProblem::Exists);
            };
            decided.evicted.iter().for_each(|key| self.tell_deleted(key));
            if let Some(hooks) = self.def.hooks() {
                let context = self.ctx.instance_context(&self.def, self.scope);
                hooks.tell_created(at.path(), &state, &self.def.state, &context);
            }
            // Behind those that made room.
            self.known(path.clone(), first + decided.evicted.len() as u64)
        };
        let made = create.await.map_err(|problem: ResourceProblem| problem.of(path))?;
        Ok(ResourceRef::new(self.ctx.clone(), made))
    }

    fn beginning(&self, initial: Option<S>) -> Result<Fields, StateProblem> {
        let initial = initial.map(crate::scope::fields_of_state).transpose()?;
        self.def.beginning(initial)
    }
}
