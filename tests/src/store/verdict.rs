//! What the judge found: kinds of breaches and their counts, as one line.

use std::fmt;

/// A promise that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breach {
    /// An acknowledged record is not at its place.
    Lost,
    /// A record is there more than once.
    Duplicated,
    /// Positions, numbers or commits are not dense.
    Gap,
    /// A record is not what was asked for.
    Altered,
    /// A record that nobody asked for.
    NeverIssued,
    /// An append is there in part.
    Torn,
    /// A refused append is there.
    Resurrected,
    /// Records do not stand in the order in which they were queued or acknowledged.
    Unordered,
    /// A reader saw what is not there.
    SeenAndGone,
    /// A condition was decided wrongly.
    Condition,
    /// A fold, an index row or a sub-stream is not what the records come to.
    View,
    /// The log says another thing about itself than its records: a name, an id, a tail.
    Told,
}

/// The judgement of one store.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// What is wrong.
    pub breaches: Vec<(Breach, String)>,
    /// Operations issued.
    pub issued: u64,
    /// Operations acknowledged.
    pub acked: u64,
    /// Operations refused.
    pub refused: u64,
    /// Operations without an outcome that are there nevertheless.
    pub unanswered_there: u64,
    /// Operations without an outcome that are not there.
    pub unanswered_gone: u64,
    /// Records of drivers in the store.
    pub records: u64,
    /// Records that readers had seen, and folds.
    pub seen: u64,
    /// How long the store took to open.
    pub reopen_ms: u64,
}

impl Verdict {
    /// Notes a breach.
    pub fn breach(&mut self, kind: Breach, what: impl Into<String>) {
        self.breaches.push((kind, what.into()));
    }

    /// How many of this kind.
    pub fn count(&self, kind: Breach) -> u64 {
        self.breaches.iter().filter(|(found, _)| *found == kind).count() as u64
    }

    /// Whether every promise holds.
    pub fn holds(&self) -> bool {
        self.breaches.is_empty()
    }

    /// Fails with the first breaches if there are any.
    pub fn must_hold(&self, what: &str) {
        let first: Vec<String> = self
            .breaches
            .iter()
            .take(5)
            .map(|(kind, what)| format!("{kind:?}: {what}"))
            .collect();
        assert!(self.holds(), "{what}: {self}\n  {}", first.join("\n  "));
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let other = self.breaches.len() as u64
            - [Breach::Lost, Breach::Duplicated, Breach::Gap]
                .map(|kind| self.count(kind))
                .iter()
                .sum::<u64>();
        write!(
            f,
            "issued={} acked={} refused={} unanswered={}+{} records={} seen={} lost={} duplicated={} gaps={} other={} verdict={}",
            self.issued,
            self.acked,
            self.refused,
            self.unanswered_there,
            self.unanswered_gone,
            self.records,
            self.seen,
            self.count(Breach::Lost),
            self.count(Breach::Duplicated),
            self.count(Breach::Gap),
            other,
            if self.holds() { "holds" } else { "BROKEN" },
        )
    }
}
