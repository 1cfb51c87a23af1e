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

    /// The commits that the last ones of `locs` lie in, and where, as many as it has, in one visit. Places are given in their order.
    pub(crate) fn keep(&self, locs: &[Loc]) -> Vec<(Bytes, usize)> {
        let kept = self.kept.read();
        let Some((generation, offset, _)) = kept.commits.front() else {
            return Vec::new();
        };
        let first = locs.partition_point(|loc| (loc.generation, loc.offset) < (*generation, *offset));
        let mut found = Vec::with_capacity(locs.len() - first);
        for loc in &locs[first..] {
            let after = kept
                .commits
                .partition_point(|(generation, offset, _)| (*generation, *offset) <= (loc.generation, loc.offset));
            let (generation, offset, commit) = &kept.commits[after - 1];
            let at = (loc.offset - offset) as usize;
            if *generation != loc.generation || at + loc.bytes as usize > commit.len() {
                // Not what the index says: let it be read from the disk, with all before it.
                found.clear();
                continue;
            }
            found.push((commit.clone(), at));
        }
        found
    }
}
