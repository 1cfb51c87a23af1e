//! Steps that run one block, again and again, beside the chain, or of several. On the heap each: what nests in them is polled on one stack.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::place::StepPlace;
use super::{Next, Pass};
use crate::block::BlockDef;
use crate::block::answer::Condition;
use crate::block::sequencer::plan::BranchCase;
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::value::Val;

/// A block that is repeated.
pub(super) struct Repeated<'a> {
    pub(super) op: &'static str,
    pub(super) block: &'a Arc<BlockDef>,
    /// Goes on while the condition on the output gives this.
    pub(super) again: bool,
    pub(super) ask: &'a Condition,
    pub(super) max: u32,
}

impl Repeated<'_> {
    pub(super) fn run<'a>(
        &'a self,
        ctx: &'a Ctx,
        place: &'a StepPlace,
        value: Val,
    ) -> BoxFuture<'a, Result<Val, BlockError>> {
        Box::pin(async move {
            let (block, max) = (self.block, self.max);
            let mut value = block.connect(value, ctx).await?;
            for number in 0..max {
                let at = place.iteration(ctx, number, block);
                value = block.clone().run_connected(value, at).await?;
                if (self.ask)(&value, ctx).get().await? != self.again {
                    return Ok(value);
                }
            }
            let what = format!(
                "{} of block {:?} did not come to its end in {max} passes",
                self.op,
                block.name()
            );
            Err(BlockError::new("loop_limit", what))
        })
    }
}

impl Pass<'_> {
    /// Starts a block beside the chain; its connectors run in the chain.
    pub(super) fn begin_work<'a>(
        &'a self,
        place: &'a StepPlace,
        block: &'a Arc<BlockDef>,
        value: Val,
    ) -> BoxFuture<'a, Result<(), BlockError>> {
        Box::pin(async move {
            let at = place.block(self.ctx, block).in_background();
            let input = block.connect(value, &at).await?;
            let (block, run) = (block.clone(), at.clone());
            self.start(&at, async move { block.run_connected(input, run).await.map(drop) })
        })
    }
}

/// Runs the first case that is for the value.
pub(super) fn branch<'a>(
    ctx: &'a Ctx,
    place: &'a StepPlace,
    cases: &'a [BranchCase],
    value: Val,
) -> BoxFuture<'a, Result<Next, BlockError>> {
    Box::pin(async move {
        for case in cases {
            let connected = (case.connect)(value.clone(), ctx.clone()).await?;
            if (case.when)(&connected, ctx).get().await? {
                let block = &case.case.block;
                let at = place.arm(ctx, &case.case.name, block);
                return block.clone().run(connected, at).await.map(Next::On);
            }
        }
        let names: Vec<&str> = cases.iter().map(|case| &*case.case.name).collect();
        let what = format!("the value matches no case of the branch: {}", names.join(", "));
        Err(BlockError::new("no_matching_branch", what))
    })
}
