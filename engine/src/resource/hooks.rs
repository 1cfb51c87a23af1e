//! What a collection tells of its instances, after that is durable.

use std::any::TypeId;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::exec::panic_message;
use crate::record::ScopeKind;
use crate::scope::{Fields, ScopeDef};
use crate::value::{Data, Val};

/// What a hook knows beside the instance.
#[derive(Debug, Clone)]
pub struct InstanceContext {
    collection: String,
    scope: ScopeKind,
    scope_id: String,
}

impl InstanceContext {
    pub(crate) fn new(collection: &str, scope: ScopeKind, scope_id: &str) -> Self {
        Self {
            collection: collection.to_owned(),
            scope,
            scope_id: scope_id.to_owned(),
        }
    }

    /// Name of the collection.
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// Whose it is.
    pub fn scope(&self) -> ScopeKind {
        self.scope
    }

    /// Id of the session, user or project.
    pub fn scope_id(&self) -> &str {
        &self.scope_id
    }

    /// Writes a line to the process's own log, with the collection and its scope.
    pub fn log(&self, message: &str) {
        let (collection, scope, id) = (&self.collection, self.scope.as_str(), &self.scope_id);
        tracing::info!(collection, scope, id, "{message}");
    }
}

type Created = Arc<dyn Fn(&str, &Val, &InstanceContext) + Send + Sync>;
type Updated = Arc<dyn Fn(&str, &Val, &Val, &InstanceContext) + Send + Sync>;
type Deleted = Arc<dyn Fn(&str, &InstanceContext) + Send + Sync>;

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    on_created: Option<(Created, TypeId)>,
    on_updated: Option<(Updated, TypeId)>,
    on_deleted: Option<(Deleted, TypeId)>,
}

impl Hooks {
    pub(super) fn created<S: Data, F: Fn(&str, &S, &InstanceContext) + Send + Sync + 'static>(&mut self, hook: F) {
        let hook: Created = Arc::new(move |key, state, ctx| {
            if let Ok(state) = state.get::<S>() {
                hook(key, state, ctx);
            }
        });
        self.on_created = Some((hook, TypeId::of::<F>()));
    }

    pub(super) fn updated<S: Data, F: Fn(&str, &S, &S, &InstanceContext) + Send + Sync + 'static>(&mut self, hook: F) {
        let hook: Updated = Arc::new(move |key, state, before, ctx| {
            if let (Ok(state), Ok(before)) = (state.get::<S>(), before.get::<S>()) {
                hook(key, state, before, ctx);
            }
        });
        self.on_updated = Some((hook, TypeId::of::<F>()));
    }

    pub(super) fn deleted<F: Fn(&str, &InstanceContext) + Send + Sync + 'static>(&mut self, hook: F) {
        self.on_deleted = Some((Arc::new(hook), TypeId::of::<F>()));
    }

    /// Tells them apart from others.
    pub(super) fn identity(&self) -> [Option<TypeId>; 3] {
        let id = |hook: Option<&TypeId>| hook.copied();
        [
            id(self.on_created.as_ref().map(|(_, id)| id)),
            id(self.on_updated.as_ref().map(|(_, id)| id)),
            id(self.on_deleted.as_ref().map(|(_, id)| id)),
        ]
    }

    pub(crate) fn has_updated(&self) -> bool {
        self.on_updated.is_some()
    }

    pub(crate) fn tell_created(&self, key: &str, state: &Fields, def: &ScopeDef, ctx: &InstanceContext) {
        if let Some((hook, _)) = &self.on_created {
            guard("on_instance_created", key, || {
                if let Some(state) = typed(key, state, def) {
                    hook(key, &state, ctx);
                }
            });
        }
    }

    pub(crate) fn tell_updated(
        &self,
        key: &str,
        before: &Fields,
        after: &Fields,
        def: &ScopeDef,
        ctx: &InstanceContext,
    ) {
        if let Some((hook, _)) = &self.on_updated {
            guard("on_instance_updated", key, || {
                if let (Some(before), Some(after)) = (typed(key, before, def), typed(key, after, def)) {
                    hook(key, &after, &before, ctx);
                }
            });
        }
    }

    pub(crate) fn tell_deleted(&self, key: &str, ctx: &InstanceContext) {
        if let Some((hook, _)) = &self.on_deleted {
            guard("on_instance_deleted", key, || hook(key, ctx));
        }
    }
}

fn typed(key: &str, state: &Fields, def: &ScopeDef) -> Option<Val> {
    match def.typed(state)? {
        Ok(state) => Some(state),
        Err(message) => {
            tracing::warn!(
                key,
                message,
                "a hook was not told of a state that is not of the declared type"
            );
            None
        }
    }
}

fn guard(hook: &str, key: &str, call: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
        tracing::warn!(hook, key, message = panic_message(&*panic), "a hook panicked");
    }
}
