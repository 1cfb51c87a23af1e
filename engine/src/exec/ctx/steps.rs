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
            fresh: false,
            tool_calls: Mutex::default(),
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
            fresh: self.place.fresh,
            tool_calls: Mutex::default(),
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

    /// The same place, of a block that begins anew: nothing that ran there or below before the request was resumed counts.
    pub(crate) fn fresh(&self) -> Self {
        self.at(Place {
            fresh: true,
            state: self.place.state.clone(),
            ..self.place.copy()
        })
    }

    /// The part of the path of one more call of a tool with this one: the second of the same is told apart.
    pub(crate) fn numbered_call(&self, segment: String) -> String {
        let mut calls = self.place.tool_calls.lock();
        let times = calls.entry(segment.clone()).or_default();
        *times += 1;
        match *times {
            1 => segment,
            times => format!("{segment}#{times}"),
        }
    }

    /// How many blocks it is in.
    pub(crate) fn depth(&self) -> usize {
        self.place.ancestors().count() + 1
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
