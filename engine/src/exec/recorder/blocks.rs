//! The execution records: when a block began, how it ended, and what is closed with a block that failed or was stopped.
//! An output is stored once; a block that only hands it on says in which record, or item, it is.

use std::sync::Arc;
use std::time::Duration;

use super::{Place, Recorder, State};
use crate::error::{BlockError, RecordError};
use crate::item::open::closed;
use crate::item::{Failure, ItemBody, ItemStatus};
use crate::record::{BlockEnded, BlockKind, BlockStarted, BlockStatus, Fact, ItemCompleted};
use crate::value::{Recorded, Val};

/// A block that began: the number of the record that says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(u64);

impl Recorder {
    /// Records that a block begins. On return that is durable, if its place says that it must be.
    pub(crate) async fn begin(&self, place: &Arc<Place>, kind: BlockKind) -> Result<Begun, RecordError> {
        let fact = BlockStarted {
            path: place.path().to_string(),
            block: place.block().to_string(),
            kind,
            attempt: place.attempt(),
            phase: place.phase(),
        };
        let mut state = self.state.lock().await;
        let number = self.queue(&mut state, place.origin(), fact.into()).await?;
        state.blocks.insert(number, place.clone());
        drop(state);
        if place.is_synced() {
            self.settle().await?;
        }
        Ok(Begun(number))
    }

    /// Records that it gave its output.
    pub(crate) async fn end(&self, begun: Begun, output: &Val) -> Result<(), BlockError> {
        let mut ended = BlockEnded {
            started: begun.0,
            ..BlockEnded::default()
        };
        match output.recorded() {
            Some(Recorded::Record(number)) => ended.same_as = Some(number),
            Some(Recorded::Item(item)) => ended.item = Some(item),
            None => ended.output = Some(output.json()?),
        }
        let stored = ended.output.is_some();
        let mut state = self.state.lock().await;
        let place = state.blocks.get(&begun.0);
        let origin = place.map_or(super::RUNTIME, |place| place.origin());
        let number = self.queue(&mut state, origin, ended.into()).await?;
        state.blocks.remove(&begun.0);
        if stored {
            output.set_recorded(Recorded::Record(number));
        }
        Ok(())
    }

    /// Records that it failed, after closing what it leaves open: items as failed, its own containers with the error, blocks as
    /// cancelled.
    pub(crate) async fn end_failed(
        &self,
        begun: Begun,
        error: &BlockError,
        retry: Option<Duration>,
    ) -> Result<(), RecordError> {
        let mut ended = BlockEnded {
            started: begun.0,
            status: BlockStatus::Failed,
            error: Some(error.into()),
            retry_in_ms: retry.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
            ..BlockEnded::default()
        };
        let mut state = self.state.lock().await;
        let Some(place) = state.blocks.remove(&begun.0) else {
            return Ok(());
        };
        let left = |open: &Place| open.is_in_block(&place);
        self.close(&mut state, ItemStatus::Failed, left, Some((&place, error)))
            .await?;
        let queued = self.queue(&mut state, place.origin(), ended.clone().into()).await;
        if let Err(RecordError::TooLarge { .. }) = queued {
            ended.error = Some((&error.without_text()).into());
            self.queue(&mut state, place.origin(), ended.into()).await?;
        }
        Ok(())
    }

    /// Closes what the steps at `path` and below it left open, because what ran them was dropped: items as incomplete, blocks as
    /// cancelled. Background work that was started there goes on.
    pub(crate) async fn close_below(&self, of: &Arc<Place>, path: &str) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        self.close(
            &mut state,
            ItemStatus::Incomplete,
            |open| open.is_in_step(of, path),
            None,
        )
        .await
    }

    /// Closes everything that is left open, because the run was stopped.
    pub(in crate::exec) async fn close_all(&self) {
        let mut state = self.state.lock().await;
        self.hush_in(&mut state).await;
        // What can't be recorded now can't be later: the last record then takes care of it.
        let _ = self.close(&mut state, ItemStatus::Incomplete, |_| true, None).await;
    }

    async fn close(
        &self,
        state: &mut State,
        status: ItemStatus,
        is_left: impl Fn(&Place) -> bool,
        failed: Option<(&Arc<Place>, &BlockError)>,
    ) -> Result<(), RecordError> {
        for index in state.open.closing_order() {
            // It is whole, whatever became of its block.
            if state.speech.as_ref().is_some_and(|speech| speech.is_held(index)) {
                continue;
            }
            let Some(owner) = state.owners.get(&index).filter(|owner| is_left(owner)).cloned() else {
                continue;
            };
            let Some(mut item) = state.open.get(index).cloned() else {
                continue;
            };
            let mut plain = None;
            if let (ItemBody::Container(container), Some((place, error))) = (&mut item.body, failed)
                && Arc::ptr_eq(place, &owner)
            {
                container.error = Some(Failure::of(&error.without_text()));
                plain = Some(closed(item.clone(), status));
                if let ItemBody::Container(container) = &mut item.body {
                    container.error = Some(Failure::of(error));
                }
            }
            let item = closed(item, status);
            let queued = self.queue(state, owner.origin(), ItemCompleted { item }.into()).await;
            match (queued, plain) {
                (Err(RecordError::TooLarge { .. }), Some(item)) => {
                    self.queue(state, owner.origin(), ItemCompleted { item }.into()).await?
                }
                (queued, _) => queued?,
            };
        }
        let left: Vec<u64> = state
            .blocks
            .iter()
            .rev()
            .filter(|(_, place)| is_left(place))
            .map(|(number, _)| *number)
            .collect();
        self.end_as_cancelled(state, left).await
    }

    /// The innermost first.
    async fn end_as_cancelled(&self, state: &mut State, numbers: Vec<u64>) -> Result<(), RecordError> {
        for number in numbers {
            let Some(place) = state.blocks.remove(&number) else {
                continue;
            };
            let ended = BlockEnded {
                started: number,
                status: BlockStatus::Cancelled,
                ..BlockEnded::default()
            };
            self.queue(state, place.origin(), Fact::from(ended)).await?;
        }
        Ok(())
    }
}

impl Place {
    /// Whether this is the place of `block` or below it, and is stopped with it.
    fn is_in_block(&self, block: &Place) -> bool {
        self.is_below(block, block.path(), &['/'])
    }

    /// Whether this is at the step `path` of a block or below it, in an arm of it too, and is stopped with what `of` is stopped with.
    fn is_in_step(&self, of: &Place, path: &str) -> bool {
        self.is_below(of, path, &['/', '.'])
    }

    fn is_below(&self, of: &Place, path: &str, separators: &[char]) -> bool {
        let rest = self.path().strip_prefix(path);
        self.task() == of.task() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(separators))
    }
}
