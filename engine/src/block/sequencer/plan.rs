//! The plan of a sequencer: its steps as data, and the one interpreter that runs them.

use std::sync::Arc;

use crate::block::BlockDef;
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::value::Val;

/// Steps in order.
#[derive(Clone, Default)]
pub(crate) struct Plan(Vec<Step>);

/// One step.
#[derive(Clone)]
pub(crate) enum Step {
    /// Runs a block; its output is the value from there on.
    Then(Arc<BlockDef>),
}

impl Plan {
    pub(super) fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// Every block that a step may run.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &BlockDef> {
        self.0.iter().map(|step| match step {
            Step::Then(block) => &**block,
        })
    }

    /// Runs all steps, beginning with `value`. `ctx` stands at the sequencer.
    pub(crate) async fn run(&self, mut value: Val, ctx: Ctx) -> Result<Val, BlockError> {
        for (index, step) in (0_u32..).zip(&self.0) {
            value = match step {
                Step::Then(block) => {
                    let place = ctx.step(&format!("then[{index}]"), index, block);
                    block.clone().run(value, place).await?
                }
            };
        }
        Ok(value)
    }
}
