//! The same names over the scheduler's locks, signals and threads.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::rand::Rng;
use shuttle::sync;
pub(crate) use shuttle::thread::{Builder, JoinHandle};

thread_local! {
    /// No task of a runtime gets its turn. One execution is one thread of the machine.
    pub(crate) static TASKS_NEVER_RUN: Cell<bool> = const { Cell::new(false) };
}

/// Half of the tasks get their turn, some time.
pub(crate) fn spawn_on(_: &tokio::runtime::Handle, work: impl FnOnce() + Send + 'static) {
    if !TASKS_NEVER_RUN.get() && shuttle::rand::thread_rng().gen_bool(0.5) {
        shuttle::thread::spawn(work);
    }
}

#[derive(Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// `None` while it waits.
    held: Option<sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard {
            mutex: self,
            held: Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

impl<T> MutexGuard<'_, T> {
    pub(crate) fn bump(guard: &mut Self) {
        guard.without(shuttle::thread::yield_now);
    }

    fn without(&mut self, meanwhile: impl FnOnce()) {
        self.held = None;
        meanwhile();
        self.held = self.mutex.lock().held;
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("it is held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("it is held")
    }
}

#[derive(Default)]
pub(crate) struct Condvar {
    signal: sync::Condvar,
    /// How often it was notified. One thread waits at each.
    notified: AtomicUsize,
}

pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notify_one(&self) {
        self.notified.fetch_add(1, Ordering::Relaxed);
        self.signal.notify_one();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(held) = guard.held.take() {
            guard.held = Some(self.signal.wait(held).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The time is up after a few turns of others.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) -> WaitTimeoutResult {
        let before = self.notified.load(Ordering::Relaxed);
        let waits = || self.notified.load(Ordering::Relaxed) == before;
        guard.without(|| {
            for _ in 0..shuttle::rand::thread_rng().gen_range(1..8) {
                if waits() {
                    shuttle::thread::yield_now();
                }
            }
        });
        WaitTimeoutResult(waits())
    }
}
