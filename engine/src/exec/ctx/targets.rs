//! The states of executions around a block.

use std::sync::Arc;

use super::Ctx;
use crate::error::AmbiguousBlockName;
use crate::scope::{InstanceRef, InstanceState};
use crate::value::Data;

impl Ctx {
    /// The state of the nearest enclosing sequencer that has one.
    pub fn sequencer<S: Data>(&self) -> Option<InstanceRef<S>> {
        let state = self.place.ancestors().find_map(|place| place.state.clone());
        state.map(|state| InstanceRef::new(self.clone(), state))
    }

    /// The state of the block of this name: of the one that was last started beside this one, else of the one that this one is in.
    /// `Err` if it is in several of that name.
    pub fn target<S: Data>(&self, name: &str) -> Result<Option<InstanceRef<S>>, AmbiguousBlockName> {
        let named = |state: &Arc<InstanceState>| {
            let instance = || InstanceRef::new(self.clone(), state.clone());
            (*state.block == *name).then(instance)
        };
        if let Some(parent) = &self.place.parent
            && let Some(sibling) = parent.dispatched.lock().iter().find_map(named)
        {
            return Ok(Some(sibling));
        }
        let around = self.place.ancestors().filter_map(|place| place.state.as_ref());
        let mut found: Vec<InstanceRef<S>> = around.filter_map(named).collect();
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => Err(AmbiguousBlockName {
                name: name.to_owned(),
                instances: found.iter().map(|instance| instance.path().to_owned()).collect(),
            }),
        }
    }
}
