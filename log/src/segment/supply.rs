//! Prepares the next slot while the present one fills: a thread of its own, because zero-filling takes long and is the only
//! step at which a disk can turn out to be full.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Slot;
use super::manifest::{Entry, Manifest};
use crate::disk::Disk;

const ZERO_STEP: usize = 1 << 20;
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

    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_all();
    }

    /// The preparing thread: keeps one slot ready until stopped or until the disk fails.
    pub(crate) fn run(&self, disk: &dyn Disk, mut manifest: Manifest, mut slots: Vec<Arc<Slot>>, bytes: u64) {
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
            let prepared = prepare(disk, &mut manifest, &mut slots, bytes);
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
fn passes(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || matches!(error.raw_os_error(), Some(23 | 24))
}

/// Makes one slot: zero-filled, synced, listed. What fails on the way leaves nothing that counts.
fn prepare(disk: &dyn Disk, manifest: &mut Manifest, slots: &mut Vec<Arc<Slot>>, bytes: u64) -> io::Result<Arc<Slot>> {
    let number = slots.iter().map(|slot| slot.number + 1).max().unwrap_or(1);
    let generation = slots.iter().map(|slot| slot.generation + 1).max().unwrap_or(1);
    let name = Slot::name(number);
    let file = match fill(disk, &name, bytes) {
        Ok(file) => file,
        Err(error) => {
            // Gives the room back; if that fails too, the next open removes the file.
            let _ = disk.remove(&name);
            return Err(error);
        }
    };
    let made = Entry {
        slot: number,
        generation,
        base: 0,
        bytes,
    };
    let listed = Manifest {
        slots: slots.iter().map(|slot| slot.entry()).chain([made]).collect(),
        ..manifest.clone()
    };
    // If this fails the file stays: the manifest on disk may be the new one already.
    listed.write(disk)?;
    *manifest = listed;
    let slot = Arc::new(Slot {
        number,
        generation,
        bytes,
        base: AtomicU64::new(0),
        file,
    });
    slots.push(slot.clone());
    Ok(slot)
}

fn fill(disk: &dyn Disk, name: &str, bytes: u64) -> io::Result<Arc<dyn crate::disk::DiskFile>> {
    let file = disk.create(name)?;
    let zeroes = vec![0; ZERO_STEP];
    let mut done = 0;
    while done < bytes {
        let step = (bytes - done).min(ZERO_STEP as u64);
        file.write_at(done, &zeroes[..step as usize])?;
        done += step;
    }
    file.sync()?;
    disk.sync_dir()?;
    Ok(file)
}
