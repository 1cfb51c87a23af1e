//! Prepares the next slot while the present one fills: a thread of its own, because zero-filling takes long and is the only
//! step at which a disk can turn out to be full.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Slot;
use super::files::Files;

/// How long to wait before a full disk is tried again.
const RETRY_FULL: Duration = Duration::from_millis(500);

#[derive(Default)]
struct State {
    ready: VecDeque<Arc<Slot>>,
    trouble: Option<Trouble>,
    stop: bool,
}

/// Why there is no slot.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// No room, or no file descriptor; tried again from time to time.
    Full(String),
    /// The disk failed; final.
    Failed(String),
}

/// The hand-over between the preparing thread and the writer.
#[derive(Default)]
pub(crate) struct Supply {
    state: Mutex<State>,
    changed: Condvar,
}

impl Supply {
    pub(crate) fn with(ready: VecDeque<Arc<Slot>>) -> Self {
        Self {
            state: Mutex::new(State {
                ready,
                ..State::default()
            }),
            changed: Condvar::new(),
        }
    }

    /// Takes the next slot, waiting while it is being prepared.
    pub(crate) fn take(&self) -> Result<Arc<Slot>, Trouble> {
        let mut state = self.state.lock();
        loop {
            if let Some(slot) = state.ready.pop_front() {
                self.changed.notify_all();
                return Ok(slot);
            }
            if let Some(trouble) = &state.trouble {
                return Err(trouble.clone());
            }
            self.changed.wait(&mut state);
        }
    }

    /// Waits until a slot is ready, or there is none to be had for now.
    pub(crate) fn wait(&self) {
        let mut state = self.state.lock();
        while state.ready.is_empty() && state.trouble.is_none() {
            self.changed.wait(&mut state);
        }
    }

    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_all();
    }

    /// The preparing thread: keeps one slot ready until stopped or until the disk fails.
    pub(crate) fn run(&self, files: &Files, bytes: u64) {
        let mut state = self.state.lock();
        loop {
            if state.stop {
                return;
            }
            if !state.ready.is_empty() {
                self.changed.wait(&mut state);
                continue;
            }
            drop(state);
            let prepared = files.prepare(bytes);
            state = self.state.lock();
            match prepared {
                Ok(slot) => {
                    state.trouble = None;
                    state.ready.push_back(slot);
                    self.changed.notify_all();
                }
                Err(error) if passes(&error) => {
                    state.trouble = Some(Trouble::Full(error.to_string()));
                    self.changed.notify_all();
                    if !state.stop {
                        self.changed.wait_for(&mut state, RETRY_FULL);
                    }
                }
                Err(error) => {
                    state.trouble = Some(Trouble::Failed(error.to_string()));
                    self.changed.notify_all();
                    return;
                }
            }
        }
    }
}

/// Whether what a disk lacks may come back: room, or file descriptors of the process or the system (EMFILE, ENFILE on every Unix).
pub(crate) fn passes(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || matches!(error.raw_os_error(), Some(23 | 24))
}
