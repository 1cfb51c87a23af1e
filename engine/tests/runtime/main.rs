//! The runtime over the real log, in memory: what a submitted request leaves behind, and what the projections say about it.

mod actions;
mod admission;
mod ends;
mod failures;
mod full_disk;
mod models;
mod support;
