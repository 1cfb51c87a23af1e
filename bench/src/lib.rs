//! Workloads that the benches share, and the limits that they are compared with. Every bench of the log prints a table whose rows were
//! measured in turn; read ratios within a table, not numbers across tables. The workloads:
//!
//! - W1 (`drive`): writers on streams of their own, each waiting for its acknowledgement. 8x64 is 8 writers with 64 records each time.
//! - W2 (`load`): many streams, bursts of 1 to 4 records at random, 512 records a commit; then resumes and replays.

pub mod committer;
pub mod counting_view;
pub mod drive;
pub mod layout;
pub mod limit;
pub mod load;
pub mod machine;
pub mod table;
pub mod words;

use std::time::Duration;

use flowstate_log::env::{Env, SystemEnv};

/// How long something takes, by the clock that the project allows itself.
pub fn timed<R>(run: impl FnOnce() -> R) -> (Duration, R) {
    let clock = SystemEnv::new();
    let result = run();
    (clock.monotonic(), result)
}
