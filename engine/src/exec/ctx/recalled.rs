//! What a block is told of what has happened before: in an earlier process that ran the same request, or in the recording that is replayed.

use super::Ctx;
use crate::exec::run::{Past, Repeats};
use crate::exec::{RecalledEnd, RecalledItem, RecordedLoop};
use crate::scope::StateOp;

impl Ctx {
    /// How this block ended, if it ran before the request was resumed.
    pub(crate) fn recalled_end(&self) -> Option<&RecalledEnd> {
        self.past(Repeats::Resumed)?
            .recall
            .end(&self.place.path, self.place.attempt)
    }

    /// How far this generator's loop was when the request was resumed; `None` if its model had not been asked.
    pub(crate) fn resumed_loop(&self) -> Option<&RecordedLoop> {
        let past = self.past(Repeats::Resumed)?;
        let of_loop = past.recall.of_loop(&self.place.path, self.place.attempt);
        of_loop.filter(|recorded| recorded.was_asked())
    }

    /// This generator begins: what it heard in the recording that is replayed when it began there as often. `Some(None)` if it did not.
    pub(crate) fn begin_replayed_loop(&self) -> Option<Option<&RecordedLoop>> {
        let past = self.past(Repeats::Replayed)?;
        let (path, attempt) = (&self.place.path, self.place.attempt);
        let mut begun = past.begun.lock();
        let times = begun.entry((path.clone(), attempt)).or_default();
        *times += 1;
        Some(past.recall.nth_loop(path, attempt, *times - 1))
    }

    /// Whether the recording says what tools gave, too.
    pub(crate) fn replays_tools(&self) -> bool {
        self.past(Repeats::Replayed).is_some_and(|past| !past.runs_tools)
    }

    /// The route that this router chose before the request was resumed.
    pub(crate) fn recalled_route(&self) -> Option<&str> {
        let past = self.past(Repeats::Resumed)?;
        past.recall.route(&self.place.path, self.place.attempt)
    }

    /// Whether this block did not run when the request was resumed, and so begins anew with everything in it.
    pub(crate) fn begins_anew(&self) -> bool {
        let past = self.past(Repeats::Resumed);
        past.is_some_and(|past| !past.recall.was_open(&self.place.path, self.place.attempt))
    }

    /// What was done to the state of the execution at this place, before the request was resumed.
    pub(super) fn recalled_ops(&self, attempt: u32) -> &[StateOp] {
        let past = self.past(Repeats::Resumed);
        past.map_or(&[], |past| past.recall.state_ops(&self.place.path, attempt))
    }

    /// The item of a tool's call whose result was not recorded before the request was resumed.
    pub(crate) fn recalled_tool_item(&self, step: u32, call: &str) -> Option<RecalledItem> {
        let past = self.past(Repeats::Resumed)?;
        past.recall.tool_item(&self.place.path, self.place.attempt, step, call)
    }

    fn past(&self, repeats: Repeats) -> Option<&Past> {
        let past = self.run.past.as_deref().filter(|past| past.repeats == repeats);
        past.filter(|_| repeats == Repeats::Replayed || !self.place.fresh)
    }
}
