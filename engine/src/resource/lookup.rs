//! How a block finds the resources of its flow.

use std::any::TypeId;
use std::sync::Arc;

use super::def::ResourceDef;
use super::define::{Collection, Definition, Resource};
use super::error::{ResourceError, ResourceProblem, undeclared};
use super::handle::ResourceRef;
use super::instances::CollectionRef;
use crate::exec::Ctx;
use crate::record::ScopeKind;
use crate::value::Data;

/// The scopes that have resources, in the order in which a name is looked for in them.
pub(crate) const SCOPES: [ScopeKind; 3] = [ScopeKind::Session, ScopeKind::User, ScopeKind::Project];

impl Ctx {
    /// A resource of the flow: the session's, or the user's, or the project's, whichever has it first.
    pub fn resource<S: Data + Default>(&self, of: &Resource<S>) -> Result<ResourceRef<S>, ResourceError> {
        let (scope, def) = self.declared(None, of)?;
        self.one(scope, def)
    }

    /// The resource of this scope.
    pub fn resource_of<S: Data + Default>(
        &self,
        scope: ScopeKind,
        of: &Resource<S>,
    ) -> Result<ResourceRef<S>, ResourceError> {
        let (scope, def) = self.declared(Some(scope), of)?;
        self.one(scope, def)
    }

    /// A collection of the flow: the session's, or the user's, or the project's, whichever has it first.
    pub fn collection<S: Data + Default>(&self, of: &Collection<S>) -> Result<CollectionRef<S>, ResourceError> {
        let (scope, def) = self.declared(None, of)?;
        Ok(CollectionRef::new(self.clone(), scope, def))
    }

    /// The collection of this scope.
    pub fn collection_of<S: Data + Default>(
        &self,
        scope: ScopeKind,
        of: &Collection<S>,
    ) -> Result<CollectionRef<S>, ResourceError> {
        let (scope, def) = self.declared(Some(scope), of)?;
        Ok(CollectionRef::new(self.clone(), scope, def))
    }

    /// The resources of a scope, by name. `None` for the project of a session that has none, and for the request, which has none.
    pub fn resources(&self, scope: ScopeKind) -> Option<Resources> {
        self.scope(scope).filter(|_| SCOPES.contains(&scope))?;
        Some(Resources {
            ctx: self.clone(),
            scope,
        })
    }

    pub(crate) fn one<S>(&self, scope: ScopeKind, def: Arc<ResourceDef>) -> Result<ResourceRef<S>, ResourceError> {
        let at = def.at(scope, self.resource_flow(scope).map(str::to_owned), None, 0);
        let known = self.run_resources().get(self, &def, at);
        let known = known.map_err(|problem| problem.of(&def.name))?;
        Ok(ResourceRef::new(self.clone(), known))
    }

    /// What the flow declares under a definition's name, and in which scope.
    fn declared<S: Data + Default, K>(
        &self,
        scope: Option<ScopeKind>,
        of: &Definition<S, K>,
    ) -> Result<(ScopeKind, Arc<ResourceDef>), ResourceError> {
        let of = of.def();
        let found = self.found(scope, &of.name, of.is_collection)?;
        let is_same = found.1.is_collection == of.is_collection && found.1.is_of(TypeId::of::<S>());
        match Arc::ptr_eq(&found.1, of) || (is_same && found.1.family() == of.family()) {
            true => Ok(found),
            false => {
                let flow = self.flow_kind().to_owned();
                Err(ResourceProblem::Other { flow }.of(&of.name))
            }
        }
    }

    /// What is declared under a name; what is of the asked kind goes first.
    fn found(
        &self,
        scope: Option<ScopeKind>,
        name: &str,
        is_collection: bool,
    ) -> Result<(ScopeKind, Arc<ResourceDef>), ResourceError> {
        let scopes = SCOPES
            .into_iter()
            .filter(|kind| scope.is_none_or(|scope| scope == *kind));
        let found = scopes.filter_map(|kind| Some((kind, self.flow().scope(kind).resource(name)?.clone())));
        let found = found.min_by_key(|(_, def)| def.is_collection != is_collection);
        let (kind, def) = found.ok_or_else(|| undeclared(self.flow_kind(), name))?;
        match self.scope(kind) {
            Some(_) => Ok((kind, def)),
            None => Err(ResourceProblem::NoProject.of(name)),
        }
    }

    /// The kind of flow whose resources a scope has here, unless flows share them, or they are a session's.
    pub(crate) fn resource_flow(&self, scope: ScopeKind) -> Option<&str> {
        let own = scope != ScopeKind::Session && !self.flow().scope(scope).shared;
        own.then(|| self.flow_kind())
    }
}

/// The resources of a scope, by name; see [`Ctx::resources`].
pub struct Resources {
    ctx: Ctx,
    scope: ScopeKind,
}

impl Resources {
    /// Names of its resources and collections, sorted.
    pub fn list(&self) -> Vec<&str> {
        let declared = self.ctx.flow().scope(self.scope).resources();
        declared.map(|def| def.name.as_str()).collect()
    }

    /// The resource of this name. `S` has to be its state's type.
    pub fn get<S: Data>(&self, name: &str) -> Result<ResourceRef<S>, ResourceError> {
        let def = self.typed::<S>(name, false)?;
        self.ctx.one(self.scope, def)
    }

    /// The collection of this name. `S` has to be the type of its instances' states.
    pub fn collection<S: Data>(&self, name: &str) -> Result<CollectionRef<S>, ResourceError> {
        let def = self.typed::<S>(name, true)?;
        Ok(CollectionRef::new(self.ctx.clone(), self.scope, def))
    }

    fn typed<S: Data>(&self, name: &str, is_collection: bool) -> Result<Arc<ResourceDef>, ResourceError> {
        let (_, def) = self.ctx.found(Some(self.scope), name, is_collection)?;
        match def.is_collection == is_collection && def.is_of(TypeId::of::<S>()) {
            true => Ok(def),
            false => {
                let flow = self.ctx.flow_kind().to_owned();
                Err(ResourceProblem::Other { flow }.of(name))
            }
        }
    }
}
