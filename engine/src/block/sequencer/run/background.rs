//! What a step starts beside the chain.

use std::future::Future;

use futures_util::stream::{self, StreamExt};

use super::Pass;
use super::place::StepPlace;
use crate::block::sequencer::plan::Each;
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::value::Val;

impl Pass<'_> {
    /// Starts work of this sequencer. Its failure is told, and fails nothing else.
    pub(super) fn start(
        &self,
        at: &Ctx,
        work: impl Future<Output = Result<(), BlockError>> + Send + 'static,
    ) -> Result<(), BlockError> {
        let (works, told) = (self.works.clone(), at.clone());
        works.begin();
        let started = at.start_work(async move {
            let ended = work.await;
            if let Err(error) = &ended {
                tracing::warn!(request = told.request_id(), place = told.path().as_ref(), %error, "background work failed");
                told.tell_step_error(error).await;
            }
            works.end(ended.err().as_ref());
        });
        if started.is_err() {
            self.works.end(None);
        }
        started
    }

    pub(super) fn for_each_background(
        &self,
        place: &StepPlace,
        each: &Each,
        max: usize,
        value: Val,
    ) -> Result<Val, BlockError> {
        let items = (each.split)(value.clone())?;
        let mut runs = Vec::with_capacity(items.len());
        let batch = self.ctx.in_background();
        for (index, item) in items.into_iter().enumerate() {
            let block = each.block(&item, index, self.ctx)?;
            let at = place.iteration(&batch, index, &block);
            runs.push(block.run(item, at));
        }
        self.start(&batch, async move {
            let mut ended = stream::iter(runs).buffer_unordered(max);
            let mut first = Ok(());
            while let Some(end) = ended.next().await {
                first = first.and(end.map(drop));
            }
            first
        })?;
        Ok(value)
    }
}
