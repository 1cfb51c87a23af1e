//! Where appends come in. While a commit is being written, and nobody waits for the writer, a caller puts its append into the next one
//! itself: it learns where it stands without waiting for the sync, or for another thread. Otherwise it goes to the writer.

use std::sync::Arc;

use super::ahead::Base;
use super::queue::Queue;
use super::queued::{Command, Queued};
use super::{sequence, sync};
use crate::log::Shared;

/// What callers have of the writer.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) shared: Arc<Shared>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) syncing: Arc<sync::Shared>,
}

impl Front {
    /// Takes an append. `false` if the log is closed.
    pub(crate) fn append(&self, queued: Box<Queued>) -> bool {
        match self.sequence(queued) {
            Some(queued) => self.queue.push(Command::Append(queued)),
            None => true,
        }
    }

    /// Sequences it, behind the commit that is being written. Gives it back if that is not to be done now: what came before comes first,
    /// and so does the taking in of what was written.
    fn sequence(&self, queued: Box<Queued>) -> Option<Box<Queued>> {
        if self.queue.has_waiting() {
            return Some(queued);
        }
        let mut pipeline = self.syncing.pipeline.lock();
        let behind_one = pipeline.flying.is_some() && pipeline.landed.is_empty() && !pipeline.taking_in;
        if !behind_one || pipeline.stop || self.queue.has_waiting() || self.shared.poison.get().is_some() {
            return Some(queued);
        }
        if pipeline.open.is_none() {
            pipeline.open = pipeline.begin_behind(&self.shared, queued.bytes, queued.bytes);
        }
        let Some(mut open) = pipeline.open.take() else {
            return Some(queued);
        };
        let left = match open.takes(&self.shared.limits, pipeline.at.offset, queued.bytes) {
            true => {
                let half_done = HalfDone(&self.shared);
                let base = Base {
                    shared: &self.shared,
                    before: pipeline.before(),
                };
                sequence(base, &mut open, *queued, pipeline.at.commit + 1);
                std::mem::forget(half_done);
                None
            }
            false => Some(queued),
        };
        pipeline.open = Some(open);
        left
    }
}

/// Stops the log if an append is left half sequenced.
struct HalfDone<'a>(&'a Shared);

impl Drop for HalfDone<'_> {
    fn drop(&mut self) {
        self.0.poison.set("sequencing an append panicked".to_owned());
    }
}
