//! Sequencers: blocks one after the other, each with the output of the one before. The chain is data; see `sequencer/plan`.

pub(super) mod plan;

use std::marker::PhantomData;

use super::{Block, BlockDef, Body, IntoBlock, ViaSequencer};
use crate::value::Data;
use plan::{Plan, Step};

/// Begins a sequencer. Without steps it gives its input.
pub fn sequencer<I: Data>(name: impl Into<String>) -> Sequencer<I, I> {
    Sequencer {
        name: name.into(),
        plan: Plan::default(),
        _types: PhantomData,
    }
}

/// A chain from an `I` to what its last step gives.
pub struct Sequencer<I, Cur> {
    name: String,
    plan: Plan,
    _types: PhantomData<fn(I) -> Cur>,
}

impl<I: Data, Cur: Data> Sequencer<I, Cur> {
    /// Then runs a block: a [`Block`], a builder, or an async function.
    pub fn then<O: Data, M>(mut self, block: impl IntoBlock<Cur, O, M>) -> Sequencer<I, O> {
        self.plan.push(Step::Then(block.into_block().into_def()));
        Sequencer {
            name: self.name,
            plan: self.plan,
            _types: PhantomData,
        }
    }
}

impl<I: Data, Cur: Data> IntoBlock<I, Cur, ViaSequencer> for Sequencer<I, Cur> {
    fn into_block(self) -> Block<I, Cur> {
        Block::from_def(BlockDef::new(self.name, Body::Steps(self.plan), Vec::new()))
    }
}
