//! Walks through several runs in one order: to make one of them, or to fold all of their records.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::entry::Entry;
use super::file::Run;
use super::scan::Scan;
use super::{Key, RunError};

/// The records of several runs, sorted by stream and position. Ends after an error.
pub(crate) struct Merge {
    scans: Vec<(u32, Scan)>,
    /// The next of each scan that has one.
    heads: BinaryHeap<Reverse<Head>>,
    last: Option<Key>,
    started: bool,
}

/// Ordered by key, then by age of the run.
struct Head {
    key: Key,
    scan: usize,
    entry: Entry,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.key, self.scan).cmp(&(other.key, other.scan))
    }
}

impl Merge {
    /// Over runs from the oldest to the newest. No record may be in two of them.
    pub(crate) fn new<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Self {
        Self {
            scans: runs.into_iter().map(|run| (run.number, run.scan())).collect(),
            heads: BinaryHeap::new(),
            last: None,
            started: false,
        }
    }

    fn advance(&mut self, scan: usize) -> Result<(), RunError> {
        if let Some(entry) = self.scans[scan].1.next().transpose()? {
            let key = entry.key();
            self.heads.push(Reverse(Head { key, scan, entry }));
        }
        Ok(())
    }

    fn take_next(&mut self) -> Result<Option<Entry>, RunError> {
        if !self.started {
            self.started = true;
            (0..self.scans.len()).try_for_each(|scan| self.advance(scan))?;
        }
        let Some(Reverse(Head { key, scan, entry })) = self.heads.pop() else {
            return Ok(None);
        };
        if self.last.replace(key).is_some_and(|last| last >= key) {
            let (run, scan) = &self.scans[scan];
            let what = format!("record {} of stream {} is there twice, or out of order", key.1, key.0);
            return Err(RunError::damaged(*run, scan.block().0, what));
        }
        self.advance(scan)?;
        Ok(Some(entry))
    }
}

impl Iterator for Merge {
    type Item = Result<Entry, RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.take_next();
        if next.is_err() {
            self.scans.clear();
            self.heads.clear();
        }
        next.transpose()
    }
}
