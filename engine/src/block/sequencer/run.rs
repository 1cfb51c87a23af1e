//! The one interpreter of plans.

mod background;
mod fan_out;
mod place;
mod single;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::plan::{Plan, Step};
use super::works::Works;
use crate::block::answer::Condition;
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::value::Val;
use fan_out::{any, for_each, parallel, race};
use place::StepPlace;
use single::{Repeated, branch};

/// Where a step leads.
enum Next {
    On(Val),
    Back(usize, Val),
    Exit(Val),
}

impl Plan {
    /// Runs all steps, beginning with `value`. `ctx` stands at the sequencer.
    pub(in crate::block) fn run<'a>(&'a self, value: Val, ctx: &'a Ctx) -> BoxFuture<'a, Result<Val, BlockError>> {
        // By itself on the heap: what is nested in it is polled on the stack of what it is nested in.
        Box::pin(self.run_steps(value, ctx))
    }

    async fn run_steps(&self, mut value: Val, ctx: &Ctx) -> Result<Val, BlockError> {
        let mut pass = Pass {
            ctx,
            works: Arc::new(Works::default()),
            jumps: Vec::new(),
            number: 0,
        };
        let mut at = 0;
        while let Some(entry) = self.steps.get(at) {
            let place = pass.place(at, entry);
            let stepped = AssertUnwindSafe(pass.step(&place, &entry.step, value))
                .catch_unwind()
                .await;
            let stepped = stepped.unwrap_or_else(|panic| Err(BlockError::panicked(&format!("step {at}"), &*panic)));
            match stepped {
                Ok(Next::On(next)) => (at, value) = (at + 1, next),
                Ok(Next::Back(to, next)) => (at, value) = (to, next),
                Ok(Next::Exit(last)) => return Ok(last),
                Err(error) => {
                    (at, value) = self.rescued(&pass, at, &place, error.at(ctx.path())).await?;
                }
            }
        }
        Ok(value)
    }

    /// Closes what a failed step left open, and rescues it if a step after it can. On the heap, as is all that seldom runs.
    fn rescued<'a>(
        &'a self,
        pass: &'a Pass<'_>,
        failed: usize,
        place: &'a StepPlace,
        error: BlockError,
    ) -> BoxFuture<'a, Result<(usize, Val), BlockError>> {
        Box::pin(async move {
            let ctx = pass.ctx;
            ctx.recorder().close_below(ctx.place(), &place.path).await?;
            self.rescue(pass, failed, error).await
        })
    }

    /// What the first handler after step `failed` that is for the error and succeeds gives, and where to go on.
    async fn rescue(&self, pass: &Pass<'_>, failed: usize, error: BlockError) -> Result<(usize, Val), BlockError> {
        let mut error = error;
        for (at, entry) in self.steps.iter().enumerate().skip(failed + 1) {
            let Step::Rescue(handlers) = &entry.step else { continue };
            let place = pass.place(at, entry);
            let rescued = error.clone();
            for (number, handler) in handlers.iter().enumerate() {
                let Some(input) = handler.input(&rescued) else { continue };
                let ctx = place.arm(pass.ctx, number, &handler.block);
                match handler.block.clone().run(input, ctx).await {
                    Ok(value) => {
                        pass.ctx.tell_step_error(&rescued).await;
                        return Ok((at + 1, value));
                    }
                    Err(failure) => error = failure.caused_by(rescued.clone()),
                }
            }
        }
        Err(error)
    }
}

/// The state of one run of a plan.
struct Pass<'a> {
    ctx: &'a Ctx,
    works: Arc<Works>,
    /// How often each `loop_back` went back, by its step.
    jumps: Vec<(usize, u32)>,
    /// How often any of them did: passes have places of their own.
    number: u32,
}

impl Pass<'_> {
    async fn holds(&self, when: &Option<Condition>, value: &Val) -> Result<bool, BlockError> {
        match when {
            None => Ok(true),
            Some(when) => when(value, self.ctx).get().await,
        }
    }

    async fn step(&mut self, place: &StepPlace, step: &Step, value: Val) -> Result<Next, BlockError> {
        let Step::Run { block, when, keep, .. } = step else {
            return self.other(place, step, value).await;
        };
        if !self.holds(when, &value).await? {
            return Ok(Next::On(value));
        }
        let kept = keep.then(|| value.clone());
        let output = block.clone().run(value, place.block(self.ctx, block)).await?;
        Ok(Next::On(kept.unwrap_or(output)))
    }

    fn other<'b>(
        &'b mut self,
        place: &'b StepPlace,
        step: &'b Step,
        value: Val,
    ) -> BoxFuture<'b, Result<Next, BlockError>> {
        Box::pin(self.run_other(place, step, value))
    }

    /// A step that is not just a block.
    async fn run_other(&mut self, place: &StepPlace, step: &Step, value: Val) -> Result<Next, BlockError> {
        let ctx = self.ctx;
        Ok(Next::On(match step {
            Step::Run { .. } | Step::Rescue(_) => value,
            Step::Map(map) => map(value, ctx.clone()).await?,
            Step::Parallel { arms, max, gather, .. } => gather(parallel(ctx, place, arms, *max, value).await?)?,
            Step::ForEach { each, max, gather } => gather(for_each(ctx, place, each, *max, value).await?)?,
            Step::ForEachBackground { each, max } => self.for_each_background(place, each, *max, value)?,
            Step::Repeat {
                op,
                block,
                again,
                ask,
                max,
            } => {
                let repeated = Repeated {
                    op,
                    block,
                    again: *again,
                    ask,
                    max: *max,
                };
                repeated.run(ctx, place, value).await?
            }
            Step::LoopBack { to, max, when, .. } => {
                if self.jumped(place.index) >= *max || !self.holds(when, &value).await? {
                    return Ok(Next::On(value));
                }
                self.jump(place.index);
                return Ok(Next::Back(*to, value));
            }
            Step::Work { block, when, .. } => {
                if self.holds(when, &value).await? {
                    self.begin_work(place, block, value.clone()).await?;
                }
                value
            }
            Step::WaitForWork { fail, timeout } => {
                self.works.wait(*fail, *timeout, ctx).await?;
                value
            }
            Step::Branch(cases) => return branch(ctx, place, cases, value).await,
            Step::Any(blocks) => any(ctx, place, blocks, value).await?,
            Step::Race { blocks, max } => {
                let first = race(ctx, place, blocks, *max, value).await?;
                ctx.recorder().close_below(ctx.place(), &place.path).await?;
                first
            }
            Step::ExitIf { when, convert } => {
                if !when(&value, ctx).get().await? {
                    return Ok(Next::On(value));
                }
                return Ok(Next::Exit(match convert {
                    None => value,
                    Some(convert) => convert(value, ctx.clone()).await?,
                }));
            }
        }))
    }

    fn jumped(&self, at: u32) -> u32 {
        let found = self.jumps.iter().find(|(step, _)| *step == at as usize);
        found.map_or(0, |(_, jumps)| *jumps)
    }

    fn jump(&mut self, at: u32) {
        self.number += 1;
        match self.jumps.iter_mut().find(|(step, _)| *step == at as usize) {
            Some((_, jumps)) => *jumps += 1,
            None => self.jumps.push((at as usize, 1)),
        }
    }
}
