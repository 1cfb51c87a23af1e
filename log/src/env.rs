//! The one seam for time and ids. Everything that differs between two runs of the same history comes from here;
//! clippy's `disallowed-methods` keeps other code from asking the operating system.
//! Timers (`tokio::time`) are not here: they decide when something happens, never what is recorded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Source of wall time, monotonic time and ids.
pub trait Env: Send + Sync + 'static {
    /// Wall clock, microseconds since the Unix epoch. May step backwards; nothing is ordered by it.
    fn now_us(&self) -> i64;

    /// Time since an arbitrary start, never going back. For time-outs and rates only.
    fn monotonic(&self) -> Duration;

    /// A new id of 16 bytes, different from every other that this seam ever gave.
    fn mint(&self) -> [u8; 16];
}

/// The machine's clock and UUIDs of version 7 (RFC 9562: time-ordered, 74 random bits).
pub struct SystemEnv {
    started: std::time::Instant,
}

impl SystemEnv {
    /// The seam for a real process.
    #[allow(clippy::disallowed_methods)] // this is the seam
    pub fn new() -> Self {
        Self {
            started: std::time::Instant::now(),
        }
    }
}

impl Default for SystemEnv {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(clippy::disallowed_methods)] // this is the seam
impl Env for SystemEnv {
    fn now_us(&self) -> i64 {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(_) => 0,
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn mint(&self) -> [u8; 16] {
        uuid::Uuid::now_v7().into_bytes()
    }
}

/// A clock that moves one millisecond per question and ids that count up from a seed: the same calls give the same answers.
pub struct SeededEnv {
    seed: u64,
    clock_us: AtomicU64,
    /// Apart from the wall clock: background threads ask for it, and may not move what is recorded.
    monotonic_us: AtomicU64,
    minted: Mutex<u64>,
}

impl SeededEnv {
    /// A seam whose answers depend on `seed` and on the order of the calls only.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            clock_us: AtomicU64::new(1_700_000_000_000_000),
            monotonic_us: AtomicU64::new(0),
            minted: Mutex::new(0),
        }
    }
}

impl Env for SeededEnv {
    fn now_us(&self) -> i64 {
        i64::try_from(self.clock_us.fetch_add(1_000, Ordering::Relaxed)).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic_us.fetch_add(1_000, Ordering::Relaxed))
    }

    fn mint(&self) -> [u8; 16] {
        let mut next = self.minted.lock();
        *next += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.seed.to_be_bytes());
        id[8..].copy_from_slice(&next.to_be_bytes());
        id
    }
}
