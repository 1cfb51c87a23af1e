//! The newest commits, in memory: a reader near the tail does not touch the disk.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::index::Loc;

/// A bounded run of whole commits, oldest first.
pub(crate) struct Tail {
    bytes_max: usize,
    kept: RwLock<Kept>,
}

#[derive(Default)]
struct Kept {
    commits: VecDeque<(u32, u32, Bytes)>,
    bytes: usize,
}

impl Tail {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            kept: RwLock::default(),
        }
    }

    /// Adds the commit written at this place. Commits come in order.
    pub(crate) fn push(&self, generation: u32, offset: u32, commit: Bytes) {
        let mut kept = self.kept.write();
        kept.bytes += commit.len();
        kept.commits.push_back((generation, offset, commit));
        while kept.bytes > self.bytes_max
            && let Some((_, _, oldest)) = kept.commits.pop_front()
        {
            kept.bytes -= oldest.len();
        }
    }

    /// Fills in the frames that it has, in one visit.
    pub(crate) fn lookup(&self, locs: &[Loc], frames: &mut [Option<Bytes>]) {
        let kept = self.kept.read();
        for (loc, frame) in locs.iter().zip(frames) {
            let after = kept
                .commits
                .partition_point(|(generation, offset, _)| (*generation, *offset) <= (loc.generation, loc.offset));
            *frame = after.checked_sub(1).and_then(|at| {
                let (generation, offset, commit) = &kept.commits[at];
                let start = (loc.offset - offset) as usize;
                let end = start + loc.bytes as usize;
                (*generation == loc.generation && end <= commit.len()).then(|| commit.slice(start..end))
            });
        }
    }
}
