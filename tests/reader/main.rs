//! A reader in another language, written from docs/RECORDS.md and docs/FORMAT.md alone, finds the same records in a log's files as the log
//! itself, and finds whatever was changed in them. Needs `python3`; without it there is nothing to compare, and the tests say so.

mod compare;
mod data;
mod given_up;
mod same;
mod tampering;
