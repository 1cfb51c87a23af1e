//! Where a step of a run stands: its part of the path, and the places of what it runs.

use std::fmt::Write;

use super::Pass;
use crate::block::BlockDef;
use crate::block::sequencer::plan::Entry;
use crate::exec::Ctx;

/// Where a step stands.
pub(super) struct StepPlace {
    pub(super) index: u32,
    /// Below the sequencer: `then[0]`, `loop[1]/then[0]`.
    pub(super) segment: String,
    /// From the root.
    pub(super) path: String,
}

impl StepPlace {
    /// The place of a block that is all that the step runs.
    pub(super) fn block(&self, ctx: &Ctx, block: &BlockDef) -> Ctx {
        ctx.step(&self.segment, self.index, block)
    }

    /// The place of one of its arms.
    pub(super) fn arm(&self, ctx: &Ctx, name: impl std::fmt::Display, block: &BlockDef) -> Ctx {
        ctx.step(&format!("{}.{name}", self.segment), self.index, block)
    }

    /// The place of one of its iterations.
    pub(super) fn iteration(&self, ctx: &Ctx, number: impl std::fmt::Display, block: &BlockDef) -> Ctx {
        ctx.step(&format!("{}/iter[{number}]", self.segment), self.index, block)
    }
}

impl Pass<'_> {
    pub(super) fn place(&self, at: usize, entry: &Entry) -> StepPlace {
        let mut segment = String::new();
        if self.number > 0 {
            // Writing to a String can't fail.
            let _ = write!(segment, "loop[{}]/", self.number);
        }
        let _ = write!(segment, "{}[{at}]", entry.step.op());
        StepPlace {
            index: u32::try_from(at).unwrap_or(u32::MAX),
            path: format!("{}/{segment}", self.ctx.path()),
            segment,
        }
    }
}
