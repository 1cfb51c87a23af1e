//! The resources of one scope, read outside of a run: by client data, and for clients that may read bodies. It knows one stream and one
//! scope's declarations, so no other scope can be reached through it; and it has no way to append, so nothing that clients look
//! at counts as an access.

use std::any::TypeId;
use std::sync::Arc;

use flowstate_log::Log;
use flowstate_log::error::ViewError;
use flowstate_log::record::StreamId;

use super::body;
use super::def::ResourceDef;
use super::define::{Collection, Definition, Resource};
use super::error::{ResourceError, ResourceProblem, undeclared};
use super::key::Key;
use crate::flow::Flow;
use crate::projection::resource::{self, Family, ResourceFold};
use crate::record::{ResourceAt, ScopeKind};
use crate::scope::{Fields, StateProblem};
use crate::value::Data;

/// The resources of one session, user or project, for reading: what [`Scope::client_data_with`](crate::Scope::client_data_with) gives beside
/// the state. Cheap to clone. What it reads is what was durable when it is asked; it counts as no access for
/// [`Eviction::Lru`](crate::Eviction).
#[derive(Clone)]
pub struct ScopeResources {
    log: Log,
    /// `None` as long as nothing of the scope was recorded.
    stream: Option<StreamId>,
    scope: ScopeKind,
    flow: Arc<Flow>,
}

/// A resource, or an instance of a collection, as it is now.
struct Stored {
    fields: Fields,
    /// Position of its last body.
    body: Option<u64>,
}

impl ScopeResources {
    pub(crate) fn new(log: Log, stream: Option<StreamId>, scope: ScopeKind, flow: Arc<Flow>) -> Self {
        Self {
            log,
            stream,
            scope,
            flow,
        }
    }

    /// Whose they are.
    pub fn scope(&self) -> ScopeKind {
        self.scope
    }

    /// The state of a resource; as it begins if nothing was written.
    pub async fn state<S: Data + Default>(&self, of: &Resource<S>) -> Result<S, ResourceError> {
        let def = self.declared(of)?;
        let read = async {
            let stored = self.stored(&def, None).await?;
            typed(&def, &stored.map(|stored| stored.fields).unwrap_or_default())
        };
        read.await.map_err(|problem| problem.of(&def.name))
    }

    /// The body of a resource as readers get it: rendered, if the definition says how. `None` if there is none.
    pub async fn content<S: Data + Default>(&self, of: &Resource<S>) -> Result<Option<String>, ResourceError> {
        let def = self.declared(of)?;
        let read = self.rendered(&def, None).await;
        read.map(Option::flatten).map_err(|problem| problem.of(&def.name))
    }

    /// The state of the instance with this key, if there is one.
    pub async fn find<S: Data + Default>(
        &self,
        of: &Collection<S>,
        key: impl Into<Key>,
    ) -> Result<Option<S>, ResourceError> {
        let def = self.declared(of)?;
        let key = self.key(&def, &key.into())?;
        let read = async {
            let stored = self.stored(&def, Some(&key)).await?;
            stored.map(|stored| typed(&def, &stored.fields)).transpose()
        };
        read.await.map_err(|problem| problem.of(&key))
    }

    /// The body of the instance with this key as readers get it. `None` if there is no such instance, or it has no body.
    pub async fn instance_content<S: Data + Default>(
        &self,
        of: &Collection<S>,
        key: impl Into<Key>,
    ) -> Result<Option<String>, ResourceError> {
        let def = self.declared(of)?;
        let key = self.key(&def, &key.into())?;
        let read = self.rendered(&def, Some(&key)).await;
        read.map(Option::flatten).map_err(|problem| problem.of(&key))
    }

    /// Whole key and state of all instances, in the order of their keys, or of those whose keys begin with `prefix`: of `files/**`, `src/`.
    pub async fn list<S: Data + Default>(
        &self,
        of: &Collection<S>,
        prefix: Option<&str>,
    ) -> Result<Vec<(String, S)>, ResourceError> {
        self.list_page(of, prefix, None, usize::MAX).await
    }

    /// The same, of the keys after `after` (the last one of the page before), and at most so many.
    pub async fn list_page<S: Data + Default>(
        &self,
        of: &Collection<S>,
        prefix: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, S)>, ResourceError> {
        let def = self.declared(of)?;
        let prefix = def.list_prefix(prefix);
        let page = |resources: &ResourceFold| -> Vec<(String, Fields)> {
            let family = resources.family(self.own_flow(), def.family());
            let listed = family.into_iter().flat_map(|family| family.list(&prefix, after));
            let listed = listed.map(|(key, instance)| (key.to_string(), instance.fields.clone()));
            listed.take(limit).collect()
        };
        let page = self.read(page).await;
        let page = page.map_err(|error| ResourceProblem::from(error).of(&def.name))?;
        let typed = page.into_iter().map(|(key, fields)| match typed(&def, &fields) {
            Ok(state) => Ok((key, state)),
            Err(problem) => Err(problem.of(key)),
        });
        typed.collect()
    }

    /// How many instances there are.
    pub async fn count<S: Data + Default>(&self, of: &Collection<S>) -> Result<usize, ResourceError> {
        let def = self.declared(of)?;
        let count = self.read(|resources| self.count_in(resources, &def)).await;
        count.map_err(|error| ResourceProblem::from(error).of(&def.name))
    }

    /// A resource, or a collection, in what was read.
    pub(crate) fn family<'a>(&self, resources: &'a ResourceFold, def: &ResourceDef) -> Option<&'a Family> {
        resources.family(self.own_flow(), def.family())
    }

    /// How many instances a collection has in what was read.
    pub(crate) fn count_in(&self, resources: &ResourceFold, def: &ResourceDef) -> usize {
        let family = resources.family(self.own_flow(), def.family());
        family.map_or(0, |family| family.count())
    }

    /// Which one this is, of those in this scope.
    pub(crate) fn at(&self, def: &ResourceDef, key: Option<&str>) -> ResourceAt {
        let (flow, key) = (self.own_flow().map(str::to_owned), key.map(str::to_owned));
        def.at(self.scope, flow, key, 0)
    }

    /// The rendered body of a resource, or of an instance. `None` if there is no such instance.
    pub(crate) async fn rendered(
        &self,
        def: &ResourceDef,
        key: Option<&str>,
    ) -> Result<Option<Option<String>>, ResourceProblem> {
        let stored = match (self.stored(def, key).await?, key) {
            (None, Some(_)) => return Ok(None),
            (stored, _) => stored,
        };
        let (fields, last) = match stored {
            Some(stored) => (stored.fields, stored.body),
            None => (Fields::new(), None),
        };
        let body = match (self.stream, last) {
            (Some(stream), Some(last)) => Some(body::read(&self.log, stream, last).await?),
            _ => def.body.as_deref().map(str::to_owned),
        };
        let Some(body) = body else { return Ok(Some(None)) };
        let rendered = def.rendered(body, &fields).await.map_err(ResourceProblem::Render)?;
        Ok(Some(Some(rendered)))
    }

    /// Looks at what there is.
    pub(crate) async fn read<R: Send>(&self, read: impl FnOnce(&ResourceFold) -> R + Send) -> Result<R, ViewError> {
        match self.stream {
            Some(stream) => resource::read(&self.log, stream, read).await,
            None => Ok(read(&ResourceFold::default())),
        }
    }

    async fn stored(&self, def: &ResourceDef, key: Option<&str>) -> Result<Option<Stored>, ViewError> {
        let at = self.at(def, key);
        let stored = |resources: &ResourceFold| {
            let instance = resources.instance(&at)?;
            Some(Stored {
                fields: instance.fields.clone(),
                body: instance.bodies.last().copied(),
            })
        };
        self.read(stored).await
    }

    /// The kind of flow whose resources they are, unless flows share them, or they are a session's.
    fn own_flow(&self) -> Option<&str> {
        let own = self.scope != ScopeKind::Session && !self.flow.scope(self.scope).shared;
        own.then(|| self.flow.kind())
    }

    /// What this scope declares under a definition's name.
    fn declared<S: Data + Default, K>(&self, of: &Definition<S, K>) -> Result<Arc<ResourceDef>, ResourceError> {
        let (of, flow) = (of.def(), self.flow.kind());
        let Some(found) = self.flow.scope(self.scope).resource(&of.name) else {
            let others = super::RESOURCE_SCOPES.into_iter();
            let has = |scope: &ScopeKind| self.flow.scope(*scope).resource(&of.name).is_some();
            return Err(match others.into_iter().find(has) {
                Some(scope) => ResourceProblem::Elsewhere { scope, of: self.scope }.of(&of.name),
                None => undeclared(flow, &of.name),
            });
        };
        let is_same = found.is_collection == of.is_collection && found.is_of(TypeId::of::<S>());
        match Arc::ptr_eq(found, of) || is_same {
            true => Ok(found.clone()),
            false => Err(ResourceProblem::Other { flow: flow.to_owned() }.of(&of.name)),
        }
    }

    fn key(&self, def: &ResourceDef, key: &Key) -> Result<String, ResourceError> {
        let Some(collection) = &def.collection else {
            return Err(undeclared(self.flow.kind(), &def.name));
        };
        let key = collection.pattern.storage_key(key);
        key.map(|key| key.to_string())
            .map_err(|error| ResourceProblem::Key(error).of(&def.name))
    }
}

fn typed<S: Data>(def: &ResourceDef, fields: &Fields) -> Result<S, ResourceProblem> {
    let state = match def.state.typed(fields) {
        Some(Ok(state)) => state.take::<S>().map_err(|error| error.to_string()),
        Some(Err(message)) => Err(message),
        None => Err("it has no type".into()),
    };
    let type_name = std::any::type_name::<S>();
    state.map_err(|message| ResourceProblem::State(StateProblem::Type { type_name, message }))
}
