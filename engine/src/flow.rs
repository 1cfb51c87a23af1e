//! Flows: what an application declares. Building one checks all of it at once and reports every problem.

mod action;
mod build;
pub(crate) mod client_data;
mod describe;
mod merge;
pub(crate) mod registry;
mod resources;
mod scopes;

use crate::block::BlockDef;
use crate::exec::hooks::Hooks;
use crate::record::ScopeKind;
use crate::scope::ScopeDef;
use crate::voice::VoiceConfig;
use scopes::ScopeDefs;

pub(crate) use action::ActionDef;
pub use action::{Action, action};
pub use build::{FlowBuilder, flow};
pub use client_data::ClientValue;
pub use describe::{ActionDescription, FlowDescription};

/// First segments of paths that the server needs for itself, so no flow may be called so.
pub const RESERVED_KINDS: [&str; 5] = ["capabilities", "sessions", "users", "transcribe", "active-requests"];

/// A declared and checked flow.
pub struct Flow {
    kind: String,
    id: String,
    actions: Vec<ActionDef>,
    scopes: ScopeDefs,
    pub(crate) hooks: Hooks,
    pub(crate) voice: Option<VoiceConfig>,
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Flow({}/{})", self.kind, self.id)
    }
}

impl Flow {
    /// Its kind: its address.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its instance id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether a request must say whose it is.
    pub fn requires_user(&self) -> bool {
        !self.scopes.anonymous
    }

    pub(crate) fn scope(&self, kind: ScopeKind) -> &ScopeDef {
        self.scopes.get(kind)
    }

    pub(crate) fn action(&self, name: &str) -> Option<&ActionDef> {
        self.actions.iter().find(|action| action.name == name)
    }

    pub(crate) fn actions(&self) -> &[ActionDef] {
        &self.actions
    }

    /// Its root blocks, each with what it is for: actions and hooks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (String, &BlockDef)> {
        roots(&self.actions, &self.hooks)
    }
}

fn roots<'a>(actions: &'a [ActionDef], hooks: &'a Hooks) -> impl Iterator<Item = (String, &'a BlockDef)> {
    let of_actions = actions.iter().flat_map(|action| {
        let what = format!("action {:?}", action.name);
        action.blocks().map(move |block| (what.clone(), block))
    });
    of_actions.chain(hooks.blocks().map(|block| ("a hook".to_owned(), block)))
}
