//! A durable log of many streams: one writer, one sync per group of appends, views folded from it.
//!
//! This crate knows bytes, streams, positions and time. It does not know what a payload means, and nothing of HTTP.
//! The path of an append: [`Log::append`] -> `writer` (sequence, one write, one sync, fold, publish, acknowledge) -> `read`.

pub mod append;
mod codec;
pub mod disk;
pub mod env;
pub mod error;
mod index;
mod keeper;
pub mod limits;
mod log;
mod poison;
mod read;
pub mod record;
mod recovery;
mod segment;
mod tail;
pub mod view;
pub mod view_store;
mod watermark;
mod writer;

pub use log::{Log, Options, SubStreamInfo};
pub use poison::PoisonReason;
pub use read::{Follow, FollowSub};
