//! Steps with several blocks, or one for several values. Arms are polled where the step is: dropping that stops them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use futures_util::{FutureExt, TryFutureExt};

use super::place::StepPlace;
use crate::block::BlockDef;
use crate::block::sequencer::plan::{Each, Named};
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::value::Val;

// On the heap each, for what is nested in them.

pub(super) fn parallel<'a>(
    ctx: &'a Ctx,
    place: &'a StepPlace,
    arms: &'a [Named],
    max: usize,
    value: Val,
) -> BoxFuture<'a, Result<Vec<Val>, BlockError>> {
    Box::pin(run_parallel(ctx, place, arms, max, value))
}

pub(super) fn for_each<'a>(
    ctx: &'a Ctx,
    place: &'a StepPlace,
    each: &'a Each,
    max: usize,
    value: Val,
) -> BoxFuture<'a, Result<Vec<Val>, BlockError>> {
    Box::pin(run_for_each(ctx, place, each, max, value))
}

pub(super) fn any<'a>(
    ctx: &'a Ctx,
    place: &'a StepPlace,
    blocks: &'a [Arc<BlockDef>],
    value: Val,
) -> BoxFuture<'a, Result<Val, BlockError>> {
    Box::pin(run_any(ctx, place, blocks, value))
}

pub(super) fn race<'a>(
    ctx: &'a Ctx,
    place: &'a StepPlace,
    blocks: &'a [Arc<BlockDef>],
    max: usize,
    value: Val,
) -> BoxFuture<'a, Result<Val, BlockError>> {
    Box::pin(run_race(ctx, place, blocks, max, value))
}

async fn run_parallel(
    ctx: &Ctx,
    place: &StepPlace,
    arms: &[Named],
    max: usize,
    value: Val,
) -> Result<Vec<Val>, BlockError> {
    let run = |(index, arm): (usize, &Named)| {
        let at = place.arm(ctx, &arm.name, &arm.block);
        arm.block
            .clone()
            .run(value.clone(), at)
            .map_ok(move |output| (index, output))
            .boxed()
    };
    let runs: Vec<_> = arms.iter().enumerate().map(run).collect();
    // The arms have theirs.
    drop(value);
    let outputs = stream::iter(runs).buffer_unordered(max).try_collect().await?;
    Ok(in_order(outputs))
}

async fn run_for_each(
    ctx: &Ctx,
    place: &StepPlace,
    each: &Each,
    max: usize,
    value: Val,
) -> Result<Vec<Val>, BlockError> {
    let mut runs = Vec::new();
    for (index, item) in (each.split)(value)?.into_iter().enumerate() {
        let block = each.block(&item, index, ctx)?;
        let at = place.iteration(ctx, index, &block);
        runs.push(block.run(item, at).map_ok(move |output| (index, output)));
    }
    let outputs = stream::iter(runs).buffer_unordered(max).try_collect().await?;
    Ok(in_order(outputs))
}

fn in_order(mut outputs: Vec<(usize, Val)>) -> Vec<Val> {
    outputs.sort_unstable_by_key(|(index, _)| *index);
    outputs.into_iter().map(|(_, output)| output).collect()
}

async fn run_any(ctx: &Ctx, place: &StepPlace, blocks: &[Arc<BlockDef>], value: Val) -> Result<Val, BlockError> {
    let mut errors = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        match block.clone().run(value.clone(), place.arm(ctx, index, block)).await {
            Ok(output) => return Ok(output),
            Err(error) => errors.push(error),
        }
    }
    Err(BlockError::aggregate("then_any", &errors))
}

/// The losers are dropped with the stream that they run in.
async fn run_race(
    ctx: &Ctx,
    place: &StepPlace,
    blocks: &[Arc<BlockDef>],
    max: usize,
    value: Val,
) -> Result<Val, BlockError> {
    let run = |(index, block): (usize, &Arc<BlockDef>)| block.clone().run(value.clone(), place.arm(ctx, index, block));
    let runs: Vec<_> = blocks.iter().enumerate().map(run).collect();
    let mut ended = stream::iter(runs).buffer_unordered(max);
    let mut errors = Vec::new();
    while let Some(end) = ended.next().await {
        match end {
            Ok(output) => return Ok(output),
            Err(error) => errors.push(error),
        }
    }
    Err(BlockError::aggregate("race", &errors))
}
