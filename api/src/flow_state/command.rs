//! What the command asks of a builder and of a server besides what everybody may.

use flowstate_engine::model::{Models, Resolver};

use crate::{FlowState, FlowStateBuilder};

impl FlowStateBuilder {
    /// Leaves the requests alone that were open when the store was last closed: for programs that look at a store, or run a request of their
    /// own, between two runs of its server. They stay as they are until a server closes them or goes on with them.
    pub fn leave_open_requests(mut self) -> Self {
        self.engine = self.engine.leave_open_requests();
        self
    }

    /// Whoever holds the router is let in: for callers in this process.
    pub(crate) fn without_authentication(mut self) -> Self {
        self.defences.authenticators.clear();
        self
    }

    /// Whether it was told where everything is kept.
    pub(crate) fn has_store(&self) -> bool {
        !self.profiles.declared.is_empty()
    }

    /// The model of generators that name none, whatever was said of that before.
    pub(crate) fn default_model(mut self, name: &str) -> Self {
        let models = self.models.take().unwrap_or_else(Models::from_env);
        self.models = Some(models.default_override(name));
        self
    }
}

impl FlowState {
    /// Whether strangers may reach it.
    pub(crate) fn may_be_public(&self) -> bool {
        self.life.guard.gate.may_be_public()
    }

    /// The models that flows may name.
    pub(crate) fn models(&self) -> &Resolver {
        self.life.assembly.models()
    }
}
