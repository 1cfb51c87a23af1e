//! The builder of flows: it checks everything at once.

use std::sync::Arc;

use super::scopes::ScopeDefs;
use super::{Action, ActionDef, Flow, RESERVED_KINDS, roots};
use crate::block::{BlockDef, IntoBlock};
use crate::error::FlowError;
use crate::exec::hooks::{Completed, Errored, Finished, Hooks, Started, StepErrored};
use crate::record::ScopeKind;
use crate::scope::Scope;
use crate::value::Data;
use crate::voice::VoiceConfig;

/// Longest kind, instance or action name, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Begins a flow of this kind.
pub fn flow(kind: impl Into<String>) -> FlowBuilder {
    FlowBuilder {
        kind: kind.into(),
        actions: Vec::new(),
        scopes: ScopeDefs::default(),
        hooks: Hooks::default(),
        voice: None,
        problems: Vec::new(),
    }
}

/// A flow that is being declared; see [`flow`].
pub struct FlowBuilder {
    kind: String,
    actions: Vec<ActionDef>,
    scopes: ScopeDefs,
    hooks: Hooks,
    voice: Option<VoiceConfig>,
    problems: Vec<String>,
}

impl FlowBuilder {
    /// Adds an entry point.
    pub fn action<I: Data>(mut self, name: impl Into<String>, action: Action<I>) -> Self {
        let name = name.into();
        self.check_name("action", &name);
        if self.actions.iter().any(|known| known.name == name) {
            self.problems.push(format!("the action {name:?} is declared twice"));
        }
        match action.erase(name.clone()) {
            Ok(def) => {
                let mut problems = Vec::new();
                let mut collect = |block: &BlockDef| problems.extend(block.build_problems());
                def.blocks().for_each(|block| block.walk(&mut |block| collect(block)));
                let of_action = |problem| format!("action {name:?}: {problem}");
                self.problems.extend(problems.into_iter().map(of_action));
                self.actions.push(def);
            }
            Err(problem) => self.problems.push(format!("action {name:?}: {problem}")),
        }
        self
    }

    /// Declares the state that each request has for itself. Without this, requests have none.
    pub fn request<S: Data + Default>(mut self, scope: Scope<S>) -> Self {
        self.declare(ScopeKind::Request, scope);
        self
    }

    /// Declares the session's state and what clients see of it. Without this, sessions have no state.
    pub fn session<S: Data + Default>(mut self, scope: Scope<S>) -> Self {
        self.declare(ScopeKind::Session, scope);
        self
    }

    /// Declares the state that a user has in all sessions, and what clients see of it. It is this kind of flow's own unless it is
    /// declared as [`Scope::shared`].
    pub fn user<S: Data + Default>(mut self, scope: Scope<S>) -> Self {
        self.declare(ScopeKind::User, scope);
        self
    }

    /// Declares the state that a project has for all its users, and what clients see of it. It is this kind of flow's own unless it is
    /// declared as [`Scope::shared`].
    pub fn project<S: Data + Default>(mut self, scope: Scope<S>) -> Self {
        self.declare(ScopeKind::Project, scope);
        self
    }

    /// Speaks the assistant's messages that clients see, for the requests that ask for it.
    pub fn voice(mut self, voice: VoiceConfig) -> Self {
        self.problems.extend(voice.problems());
        if self.voice.replace(voice).is_some() {
            self.problems.push("the voice is declared twice".into());
        }
        self
    }

    /// Whether a request must say whose it is, which is the default. If not, a session without a user gets one of its own.
    pub fn require_user(mut self, required: bool) -> Self {
        self.scopes.anonymous = !required;
        self
    }

    fn declare<S: Data + Default>(&mut self, kind: ScopeKind, scope: Scope<S>) {
        let what = kind.as_str();
        if self.scopes.get(kind).is_declared() {
            self.problems.push(format!("the {what} scope is declared twice"));
        }
        let def = scope.erase(what, &mut self.problems);
        if def.shared && !matches!(kind, ScopeKind::User | ScopeKind::Project) {
            self.problems.push(format!(
                "the {what} scope can't be shared: a {what} belongs to one flow"
            ));
        }
        if !def.client_data.is_empty() && kind == ScopeKind::Request {
            self.problems
                .push("the request scope has no client data: snapshots show what outlives a request".into());
        }
        *self.scopes.get_mut(kind) = def;
    }

    /// Runs when a request begins, before its block.
    pub fn on_started<O: Data, M>(mut self, hook: impl IntoBlock<Started, O, M>) -> Self {
        let hook = self.hook("on_started", hook.into_block().into_def());
        self.hooks.started.push(hook);
        self
    }

    /// Runs when a request's block gave its output, after the action's own hooks. What it fails with changes nothing.
    pub fn on_completed<O: Data, M>(mut self, hook: impl IntoBlock<Completed, O, M>) -> Self {
        let hook = self.hook("on_completed", hook.into_block().into_def());
        self.hooks.completed.push(hook);
        self
    }

    /// Runs when a request's block failed, after the action's own hooks.
    pub fn on_errored<O: Data, M>(mut self, hook: impl IntoBlock<Errored, O, M>) -> Self {
        let hook = self.hook("on_errored", hook.into_block().into_def());
        self.hooks.errored.push(hook);
        self
    }

    /// Runs before a request's last record, when its background work is done; also when it was cancelled, but not when the
    /// engine closes.
    pub fn on_finished<O: Data, M>(mut self, hook: impl IntoBlock<Finished, O, M>) -> Self {
        let hook = self.hook("on_finished", hook.into_block().into_def());
        self.hooks.finished.push(hook);
        self
    }

    /// Runs when something fails and the request goes on: a step that is rescued, background work.
    pub fn on_step_errored<O: Data, M>(mut self, hook: impl IntoBlock<StepErrored, O, M>) -> Self {
        let hook = self.hook("on_step_errored", hook.into_block().into_def());
        self.hooks.step_errored.push(hook);
        self
    }

    fn hook(&mut self, name: &str, hook: Arc<BlockDef>) -> Arc<BlockDef> {
        hook.walk(&mut |block| {
            let problems = block.build_problems().map(|problem| format!("{name}: {problem}"));
            self.problems.extend(problems);
        });
        hook
    }

    /// The flow under this instance id. `Err` lists everything that is wrong with it.
    pub fn instance(mut self, id: impl Into<String>) -> Result<Flow, FlowError> {
        let (kind, id) = (self.kind.clone(), id.into());
        self.check_name("flow kind", &kind);
        self.check_name("instance id", &id);
        if RESERVED_KINDS.contains(&kind.as_str()) {
            self.problems.push(format!(
                "the kind {kind:?} is reserved; reserved are {}",
                RESERVED_KINDS.join(", ")
            ));
        }
        if self.actions.is_empty() && self.problems.is_empty() {
            self.problems.push("a flow needs at least one action".into());
        }
        let roots: Vec<_> = roots(&self.actions, &self.hooks).collect();
        self.scopes.merge(&roots, &mut self.problems);
        self.scopes.merge_resources(&roots, &mut self.problems);
        if !self.problems.is_empty() {
            return Err(FlowError {
                kind,
                problems: self.problems,
            });
        }
        Ok(Flow {
            kind,
            id,
            actions: self.actions,
            scopes: self.scopes,
            hooks: self.hooks,
            voice: self.voice,
        })
    }

    fn check_name(&mut self, what: &str, name: &str) {
        if name.trim() != name || name.is_empty() {
            self.problems.push(format!(
                "the {what} {name:?} must not be empty nor begin or end with a space"
            ));
        }
        if name.len() > NAME_BYTES_MAX {
            self.problems.push(format!(
                "the {what} is {} bytes long; at most {NAME_BYTES_MAX} are allowed",
                name.len()
            ));
        }
        if name.contains(|c: char| c.is_control() || c == '/') {
            self.problems
                .push(format!("the {what} {name:?} has a slash or a control character"));
        }
    }
}

#[cfg(test)]
mod tests;
