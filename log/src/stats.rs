//! How long appends and syncs take, as counts. Written to without a lock, read at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::env::Env;

/// Upper bounds of the buckets, in microseconds; what is above the last has a bucket of its own.
pub const BOUNDS_US: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
];

/// Counts of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each bound, and one above. Not cumulative.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// What a histogram had at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HistogramCounts {
    /// One for each of [`BOUNDS_US`], and one for what was longer. Not cumulative.
    pub buckets: [u64; BOUNDS_US.len() + 1],
    /// The sum of all durations, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Counts so many of one duration.
    pub fn record(&self, took: Duration, times: u64) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(times, Ordering::Relaxed);
        self.sum_us.fetch_add(us.saturating_mul(times), Ordering::Relaxed);
    }

    /// What it has now. Counts that come meanwhile may be in it in part.
    pub fn counts(&self) -> HistogramCounts {
        HistogramCounts {
            buckets: std::array::from_fn(|index| self.buckets[index].load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

/// What a log has counted since it was opened.
pub struct Stats {
    env: Arc<dyn Env>,
    /// From an append being handed over to its being durable and visible.
    pub appends: Histogram,
    /// Commits being written, and synced if each is.
    pub syncs: Histogram,
    /// Appends that are handed over and not answered.
    pub waiting: AtomicU64,
}

impl Stats {
    pub(crate) fn new(env: Arc<dyn Env>) -> Arc<Self> {
        Arc::new(Self {
            env,
            appends: Histogram::default(),
            syncs: Histogram::default(),
            waiting: AtomicU64::new(0),
        })
    }

    pub(crate) fn now(&self) -> Duration {
        self.env.monotonic()
    }

    /// Something that began then has been synced.
    pub(crate) fn synced(&self, began: Duration) {
        self.syncs.record(self.now().saturating_sub(began), 1);
    }

    /// An append that is handed over now.
    pub(crate) fn append(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting {
            began: self.now(),
            stats: self.clone(),
        }
    }
}

/// An append that is not answered yet. Counted when this is dropped.
pub(crate) struct Waiting {
    began: Duration,
    stats: Arc<Stats>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.stats.waiting.fetch_sub(1, Ordering::Relaxed);
        let took = self.stats.now().saturating_sub(self.began);
        self.stats.appends.record(took, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_at_the_first_bound_that_it_does_not_exceed() {
        let histogram = Histogram::default();
        for (us, times) in [(0, 1), (50, 1), (51, 2), (5_000_000, 1), (5_000_001, 1)] {
            histogram.record(Duration::from_micros(us), times);
        }
        let counts = histogram.counts();
        assert_eq!((counts.buckets[0], counts.buckets[1]), (2, 2));
        assert_eq!((counts.buckets[13], counts.buckets[14]), (1, 1));
        assert_eq!(counts.buckets.iter().sum::<u64>(), 6);
        assert_eq!(counts.sum_us, 50 + 102 + 10_000_001);
    }
}
