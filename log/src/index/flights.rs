//! Appends on their way from looking something up to being sequenced. What one of them may have looked for, found or not, may not
//! be forgotten before it is sequenced: the writer takes what is in memory for all there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts appends on their way by the epoch in which they set out.
pub(crate) struct Flights {
    epoch: AtomicU64,
    /// Of the present epoch and the one before.
    counts: [AtomicUsize; 2],
}

impl Default for Flights {
    fn default() -> Self {
        Self {
            epoch: AtomicU64::new(1),
            counts: Default::default(),
        }
    }
}

/// One append on its way; ends when dropped.
pub(crate) struct Flight {
    flights: Arc<Flights>,
    pub(crate) epoch: u64,
}

impl Flights {
    /// An append sets out. Called before it looks anything up.
    pub(crate) fn enter(self: &Arc<Self>) -> Flight {
        loop {
            let epoch = self.epoch.load(Ordering::SeqCst);
            self.counts[epoch as usize % 2].fetch_add(1, Ordering::SeqCst);
            if self.epoch.load(Ordering::SeqCst) == epoch {
                return Flight {
                    flights: self.clone(),
                    epoch,
                };
            }
            self.counts[epoch as usize % 2].fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Begins a new epoch, if every append of the one before the present has arrived. Returns the new one.
    pub(crate) fn turn(&self) -> Option<u64> {
        let epoch = self.epoch.load(Ordering::SeqCst);
        let before = &self.counts[(epoch + 1) as usize % 2];
        (before.load(Ordering::SeqCst) == 0).then(|| {
            self.epoch.store(epoch + 1, Ordering::SeqCst);
            epoch + 1
        })
    }

    /// Whether every append that set out before this epoch, the present one, has arrived.
    pub(crate) fn arrived_before(&self, epoch: u64) -> bool {
        self.counts[(epoch + 1) as usize % 2].load(Ordering::SeqCst) == 0
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.counts[self.epoch as usize % 2].fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_over_when_its_appends_have_arrived() {
        let flights = Arc::new(Flights::default());
        let first = flights.enter();
        let second = flights
            .turn()
            .expect("nothing is on its way from before the first epoch");
        assert_eq!(second, first.epoch + 1);
        let late = flights.enter();
        assert_eq!(late.epoch, second);
        assert!(!flights.arrived_before(second), "the first is on its way");
        assert_eq!(flights.turn(), None, "its counter is not free");
        drop(first);
        assert!(flights.arrived_before(second));
        drop(late);
        assert!(flights.turn().is_some());
    }
}
