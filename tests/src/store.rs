//! The checker of storage: seeded work in a process that is killed (`driver`), a ledger of what it was told (`ledger`), and a judge
//! of what is there after its death (`judge`). Only `adapter` and `faults` know how the log is called.

pub mod adapter;
pub mod contents;
pub mod control;
pub mod driver;
pub mod faults;
pub mod judge;
pub mod ledger;
pub mod plan;
pub mod tally;
pub mod verdict;
pub mod verify;
