//! Telling those who wait, in order. Waking a task from a thread outside its runtime costs the writer a system call, so a crowd is
//! told from inside: one task of their runtime tells them all, while the writer makes the next commit. It is never relied upon: what
//! it has not begun to tell when the writer would rest, the writer tells.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

use super::queued::Held;
use crate::append::Appended;
use crate::error::AppendError;
use crate::threads::{FEW, Mutex, spawn_on};

/// More than so many are a crowd; fewer are told by the writer itself.
pub(super) const CROWD: usize = if FEW { 1 } else { 4 };

/// Who waits for an append, what was decided, and what it held.
pub(super) struct Answer {
    pub(super) to: oneshot::Sender<Result<Appended, AppendError>>,
    pub(super) outcome: Result<Appended, AppendError>,
    pub(super) held: Held,
}

/// Answers on their way.
#[derive(Clone, Default)]
pub(super) struct Answers {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    answers: VecDeque<Vec<Answer>>,
    /// Somebody is telling, and will tell what waits behind.
    telling: bool,
}

impl Answers {
    /// Tells them, or has them told from their runtime.
    pub(super) fn give(&self, answers: Vec<Answer>, runtime: Option<Handle>) {
        let crowd = answers.len() > CROWD;
        self.waiting.lock().answers.push_back(answers);
        match runtime {
            Some(runtime) if crowd && runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
                let theirs = self.clone();
                spawn_on(&runtime, move || theirs.tell());
            }
            _ => self.tell(),
        }
    }

    /// Whether there is something that nobody has begun to tell.
    pub(super) fn are_waiting(&self) -> bool {
        !self.waiting.lock().answers.is_empty()
    }

    /// Tells what waits, unless somebody is about it, who then tells this too.
    pub(super) fn tell(&self) {
        let mut told = Told {
            waiting: &self.waiting,
            any: false,
        };
        while let Some(answers) = told.next() {
            let mut room = None;
            for Answer { to, outcome, mut held } in answers {
                room = merged(room, held.room.take());
                // Counted before its caller goes on.
                held.waiting.take();
                let _ = to.send(outcome);
            }
        }
    }
}

/// One who tells.
struct Told<'a> {
    waiting: &'a Mutex<Waiting>,
    any: bool,
}

impl Told<'_> {
    fn next(&mut self) -> Option<Vec<Answer>> {
        let mut waiting = self.waiting.lock();
        if !self.any && waiting.telling {
            return None;
        }
        let next = waiting.answers.pop_front();
        waiting.telling = next.is_some();
        self.any |= next.is_some();
        next
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && self.any {
            self.waiting.lock().telling = false;
        }
    }
}

type Room = tokio::sync::OwnedSemaphorePermit;

/// Two pieces of room in the queue as one, which is given back at once.
fn merged(all: Option<Room>, more: Option<Room>) -> Option<Room> {
    match (all, more) {
        (Some(mut all), Some(more)) => {
            all.merge(more);
            Some(all)
        }
        (all, more) => all.or(more),
    }
}
