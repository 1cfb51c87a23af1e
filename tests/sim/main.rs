//! The log under faults that only a simulated disk can bring about: held, lost and reordered writes, torn tails, failing calls.

mod behind_the_ack;
mod clustering;
mod crash_states;
mod golden;
mod group_commit;
mod model;
mod rebuild;
mod recovery;
mod trace;
mod views;
