//! What clients are given of states and resources, and what they may do to them: over the real log in memory.

mod changes;
mod data;
mod live;
mod reading;
mod support;
