//! From one place to the next: what the interpreter of blocks makes contexts with.

use std::sync::Arc;

use parking_lot::Mutex;

use super::place::{MAIN, Place};
use super::{Ctx, Run};
use crate::block::BlockDef;
use crate::item::Phase;
use crate::scope::{InstanceState, ScopeDef};

impl Ctx {
    /// Where a block stands that nothing else of the flow runs: the root of an action, a hook.
    pub(in crate::exec) fn root(run: Arc<Run>, path: &str, phase: Phase, block: &BlockDef) -> Self {
        let place = Place {
            block: block.name().clone(),
            views: block.views().clone(),
            path: path.into(),
            parent: None,
            step_index: None,
            attempt: 0,
            phase,
            synced: false,
            task: MAIN,
            owned_by: None,
            state: None,
            dispatched: Mutex::default(),
        };
        Self {
            run,
            place: Arc::new(place),
        }
    }

    /// Where step `index` of this block runs `block`; `segment` is its part of the path.
    pub(crate) fn step(&self, segment: &str, index: u32, block: &BlockDef) -> Self {
        let mut path = String::with_capacity(self.place.path.len() + 1 + segment.len());
        path.push_str(&self.place.path);
        path.push('/');
        path.push_str(segment);
        self.at(Place {
            block: block.name().clone(),
            views: block.views().clone(),
            path: path.into(),
            parent: Some(self.place.clone()),
            step_index: Some(index),
            attempt: 0,
            phase: self.place.phase,
            synced: false,
            task: self.place.task,
            owned_by: self.place.owned_by.clone(),
            state: None,
            dispatched: Mutex::default(),
        })
    }

    /// The same place at this attempt, with the state that an execution of its block has.
    pub(crate) fn attempt(&self, attempt: u32, state: Option<&Arc<ScopeDef>>) -> Self {
        let place = &self.place;
        let state = state.map(|def| {
            let (block, path) = (place.block.clone(), place.path.clone());
            Arc::new(InstanceState::new(
                block,
                path,
                attempt,
                def.clone(),
                self.recalled_ops(attempt),
            ))
        });
        if let (Some(parent), Some(state)) = (&place.parent, &state) {
            let mut dispatched = parent.dispatched.lock();
            // The last of a name is the one that counts.
            dispatched.retain(|earlier| earlier.block != state.block);
            dispatched.push(state.clone());
        }
        self.at(Place {
            attempt,
            state,
            ..place.copy()
        })
    }

    /// The same place, of a block that may do what can't be taken back: it runs when all that led to it is durable.
    pub(crate) fn synced(&self) -> Self {
        self.at(Place {
            synced: true,
            ..self.place.copy()
        })
    }

    /// The same place, as the beginning of background work.
    pub(crate) fn in_background(&self) -> Self {
        self.at(Place {
            phase: Phase::Work,
            task: self.run.work.number(),
            ..self.place.copy()
        })
    }

    /// The same place, inside of the container that this block opened.
    pub(crate) fn inside_own_container(&self) -> Self {
        self.at(Place {
            owned_by: Some(self.place.clone()),
            state: self.place.state.clone(),
            ..self.place.copy()
        })
    }

    fn at(&self, place: Place) -> Self {
        Self {
            run: self.run.clone(),
            place: Arc::new(place),
        }
    }
}
