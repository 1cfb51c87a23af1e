//! What waits for the writer, and what has been written for it: the one place at which it sleeps. Bounded by those who push: each holds
//! its room (`queued::Held`) until it is answered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::queued::Command;
use crate::threads::{Condvar, Mutex};

/// Commands in the order in which they are taken.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Appends that came here and are not sequenced yet, those that the writer has taken out included.
    unsequenced: AtomicUsize,
}

#[derive(Default)]
struct Waiting {
    commands: Vec<Command>,
    /// Records in them.
    records: usize,
    /// A commit has landed.
    landed: bool,
    closed: bool,
    /// The writer sleeps until there are so many records, or another command.
    asleep: Option<usize>,
}

/// What the writer is woken for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Anything.
    Anything,
    /// A commit that has landed, or so many records that it is worth beginning with them meanwhile.
    Records(usize),
    /// A commit that has landed, and nothing else.
    Landed,
}

impl Queue {
    /// Puts a command last. `false` if the queue is closed.
    pub(crate) fn push(&self, command: Command) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return false;
        }
        let urgent = match &command {
            Command::Append(queued) => {
                waiting.records += queued.prepared.len();
                self.note_waiting();
                false
            }
            Command::Seal(_) | Command::Close(_) => true,
        };
        waiting.commands.push(command);
        if waiting
            .asleep
            .is_some_and(|records| urgent || waiting.records >= records)
        {
            waiting.asleep = None;
            drop(waiting);
            self.arrived.notify_one();
        }
        true
    }

    /// Whether an append waits for the writer.
    pub(super) fn has_waiting(&self) -> bool {
        self.unsequenced.load(Ordering::Acquire) > 0
    }

    pub(super) fn note_waiting(&self) {
        self.unsequenced.fetch_add(1, Ordering::AcqRel);
    }

    /// So many have their place, or were refused.
    pub(super) fn note_taken(&self, appends: usize) {
        self.unsequenced.fetch_sub(appends, Ordering::AcqRel);
    }

    /// A commit was written, or failed to be.
    pub(super) fn land(&self) {
        self.waiting.lock().landed = true;
        self.arrived.notify_one();
    }

    /// Nothing is taken in any more; what waits can still be taken out.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Puts everything that waits behind `commands`, without waiting for more. `false` if nothing more ever comes.
    pub(super) fn take(&self, commands: &mut Vec<Command>) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.records = 0;
        commands.append(&mut waiting.commands);
        !waiting.closed
    }

    /// Sleeps, for at most this long.
    pub(super) fn sleep(&self, until: Until, most: Option<Duration>) {
        let mut waiting = self.waiting.lock();
        loop {
            let records = match until {
                Until::Anything if waiting.closed => break,
                Until::Anything => 1,
                Until::Records(records) => records,
                Until::Landed => usize::MAX,
            };
            let worth = until != Until::Landed && waiting.records >= records;
            if std::mem::take(&mut waiting.landed)
                || worth
                || (until == Until::Anything && !waiting.commands.is_empty())
            {
                break;
            }
            waiting.asleep = Some(records);
            match most {
                None => self.arrived.wait(&mut waiting),
                Some(most) => {
                    if self.arrived.wait_for(&mut waiting, most).timed_out() {
                        break;
                    }
                }
            }
        }
        waiting.asleep = None;
    }
}
