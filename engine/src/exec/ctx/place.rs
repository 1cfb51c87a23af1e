//! Where a block instance stands in its run, and what its records say of that.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use crate::item::{Phase, Provenance};
use crate::scope::{InstanceState, Views};

/// The place of a block instance in its run.
pub(crate) struct Place {
    pub(super) block: Arc<str>,
    /// What it needs of the states.
    pub(super) views: Arc<Views>,
    /// `root/then[0]/…`
    pub(super) path: Arc<str>,
    pub(super) parent: Option<Arc<Place>>,
    pub(super) step_index: Option<u32>,
    pub(super) attempt: u32,
    pub(super) phase: Phase,
    /// Nothing of its block runs before everything that the request has recorded is durable, its own start included.
    pub(super) synced: bool,
    /// Nothing that is recorded of an earlier execution at this place counts: what it is in began anew.
    pub(super) fresh: bool,
    /// How often each tool was called from here, by its part of the path.
    pub(super) tool_calls: Mutex<HashMap<String, u32>>,
    /// What it is stopped with: the chain, or a piece of background work.
    pub(super) task: u32,
    /// The instance whose container it is in.
    pub(super) owned_by: Option<Arc<Place>>,
    /// Of this execution, if its block declares one.
    pub(super) state: Option<Arc<InstanceState>>,
    /// The states of what ran in this one: the last of each name.
    pub(super) dispatched: Mutex<Vec<Arc<InstanceState>>>,
}

/// The chain that leads to the output, and the hooks around it.
pub(super) const MAIN: u32 = 0;

impl Place {
    pub(super) fn copy(&self) -> Self {
        Self {
            block: self.block.clone(),
            views: self.views.clone(),
            path: self.path.clone(),
            parent: self.parent.clone(),
            step_index: self.step_index,
            attempt: self.attempt,
            phase: self.phase,
            synced: self.synced,
            fresh: self.fresh,
            tool_calls: Mutex::default(),
            task: self.task,
            owned_by: self.owned_by.clone(),
            state: None,
            dispatched: Mutex::default(),
        }
    }

    /// The places that this one is in, the nearest first.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &Arc<Place>> {
        std::iter::successors(self.parent.as_ref(), |place| place.parent.as_ref())
    }

    pub(in crate::exec) fn block(&self) -> &Arc<str> {
        &self.block
    }

    pub(in crate::exec) fn path(&self) -> &Arc<str> {
        &self.path
    }

    pub(in crate::exec) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(in crate::exec) fn phase(&self) -> Phase {
        self.phase
    }

    pub(in crate::exec) fn is_synced(&self) -> bool {
        self.synced
    }

    pub(in crate::exec) fn task(&self) -> u32 {
        self.task
    }

    /// The number that records carry for it.
    pub(crate) fn origin(&self) -> u64 {
        xxh3_64(self.path.as_bytes())
    }

    pub(super) fn instance(&self, request: &str) -> String {
        format!("{request}:{}:{}", self.path, self.attempt)
    }

    /// The instance whose container it is in, if it is in one.
    pub(in crate::exec) fn owned_by(&self, request: &str) -> Option<String> {
        self.owned_by.as_ref().map(|owner| owner.instance(request))
    }

    /// What items say of where they come from; `action` is `<flow kind>/<action>`.
    pub(in crate::exec) fn provenance(&self, request: &str, action: &str) -> Provenance {
        Provenance {
            block_name: self.block.to_string(),
            instance: self.instance(request),
            parent: self.parent.as_ref().map(|parent| parent.instance(request)),
            phase: self.phase,
            step_index: self.step_index,
            attempt: Some(self.attempt),
            definition: Some(format!("{action}/{}", self.path)),
        }
    }
}
