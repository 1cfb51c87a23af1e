//! What a request leaves open when its run ends or its process dies: items and blocks. The recorder and recovery both close it here.

use std::collections::{BTreeSet, HashSet};

use flowstate_log::{Log, SubStreamInfo};

use crate::error::RecoverError;
use crate::item::ItemStatus;
use crate::item::open::OpenItems;
use crate::record::{BlockEnded, BlockStatus, Fact, ItemCompleted, decode};

/// Records that are read at once.
const READ_RECORDS: usize = 1_000;
/// Most facts of one append that closes, and the bytes at which it ends.
const APPEND_FACTS: usize = 128;
const APPEND_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Default)]
pub(super) struct Left {
    pub(super) items: OpenItems,
    /// Numbers of the records that say that the blocks began.
    pub(super) blocks: BTreeSet<u64>,
}

impl Left {
    /// What the durable records of a request leave open.
    pub(super) async fn read(log: &Log, request: &SubStreamInfo) -> Result<Self, RecoverError> {
        let mut left = Self::default();
        let mut from = request.first;
        while from <= request.last {
            let records = log.read(request.stream, from, READ_RECORDS).await?;
            let Some(last) = records.last() else { break };
            from = last.position + 1;
            for record in &records {
                if let Some((_, number)) = record.sub.filter(|(sub, _)| *sub == request.id) {
                    left.apply(number, &decode(record)?);
                }
            }
        }
        Ok(left)
    }

    pub(super) fn apply(&mut self, number: u64, fact: &Fact) {
        match fact {
            Fact::BlockStarted(_) => drop(self.blocks.insert(number)),
            Fact::BlockEnded(ended) => drop(self.blocks.remove(&ended.started)),
            fact => drop(self.items.apply(fact)),
        }
    }

    /// What closes it: the items with this status, then the blocks as cancelled, the innermost first.
    pub(super) fn closing(&self, status: ItemStatus) -> Vec<Fact> {
        self.closing_but(status, &HashSet::new())
    }

    /// The same, but for these items.
    pub(super) fn closing_but(&self, status: ItemStatus, kept: &HashSet<u32>) -> Vec<Fact> {
        let items = self.items.closed_as(status).filter(|item| !kept.contains(&item.index));
        let blocks = self.blocks.iter().rev().map(|started| BlockEnded {
            started: *started,
            status: BlockStatus::Cancelled,
            ..BlockEnded::default()
        });
        items
            .map(|item| ItemCompleted { item }.into())
            .chain(blocks.map(Fact::from))
            .collect()
    }
}

/// Records in parts that an append may have each, whatever they are: a request can leave more open than one may have.
pub(super) fn in_appends<T>(records: Vec<T>, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut appends, mut size) = (vec![Vec::new()], 0);
    for record in records {
        let full = appends.last().is_none_or(|last| last.len() >= APPEND_FACTS);
        if full || size >= APPEND_BYTES {
            appends.push(Vec::new());
            size = 0;
        }
        size += bytes(&record);
        if let Some(last) = appends.last_mut() {
            last.push(record);
        }
    }
    appends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_append_has_more_than_it_may() {
        let sizes = |records: Vec<usize>| -> Vec<Vec<usize>> { in_appends(records, |bytes| *bytes) };
        let many = sizes(vec![0; 300]);
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [128, 128, 44]);
        let large = sizes(vec![10, 40 << 10, 40 << 10, 1, 80 << 10, 2]);
        assert_eq!(large, [vec![10, 40 << 10, 40 << 10], vec![1, 80 << 10], vec![2]]);
    }
}
