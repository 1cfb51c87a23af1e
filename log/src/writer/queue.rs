//! What waits for the writer. Bounded by those who push: each holds its room in it (`queued::Held`) until it is answered.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::queued::Command;

/// Commands in the order in which they are taken.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    commands: Vec<Command>,
    closed: bool,
    /// The writer sleeps until something arrives.
    asleep: bool,
}

impl Queue {
    /// Puts a command last, unless the queue is closed: then it comes back.
    pub(crate) fn push(&self, command: Command) -> Result<(), Command> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(command);
        }
        waiting.commands.push(command);
        if std::mem::take(&mut waiting.asleep) {
            drop(waiting);
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Nothing is taken in any more; what waits can still be taken out.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Puts everything that waits behind `commands`, without waiting for more. `false` if nothing ever comes again.
    pub(crate) fn take(&self, commands: &mut Vec<Command>) -> bool {
        let mut waiting = self.waiting.lock();
        commands.append(&mut waiting.commands);
        !commands.is_empty() || !waiting.closed
    }

    /// Returns when something waits, the queue is closed, or this time is over.
    pub(crate) fn wait(&self, most: Option<Duration>) {
        let mut waiting = self.waiting.lock();
        while waiting.commands.is_empty() && !waiting.closed {
            waiting.asleep = true;
            match most {
                None => self.arrived.wait(&mut waiting),
                Some(most) => {
                    if self.arrived.wait_for(&mut waiting, most).timed_out() {
                        break;
                    }
                }
            }
        }
        waiting.asleep = false;
    }
}
