//! Resources and collections as blocks use them, by what a user would say.

mod collections;
mod contents;
mod declared;
mod keys;
mod llm;
mod repeat;
mod room;
#[allow(dead_code)] // the tests of states use more of it
#[path = "../state/support.rs"]
mod support;
mod work;
