//! A durable log of many streams: one writer, one sync per group of appends, views folded from it.
//!
//! This crate knows bytes, streams, positions and time. It does not know what a payload means, and nothing of HTTP.
//! The path of an append: [`Log::append`] -> `writer` (sequence, one write, one sync, fold, publish, acknowledge) -> `read`.

pub mod append;
mod blob;
mod catalog;
mod cluster;
mod codec;
mod commits;
pub mod cursor;
pub mod disk;
pub mod env;
pub mod error;
pub mod folder;
mod fork;
mod handle;
mod index;
mod keeper;
mod levels;
pub mod limits;
mod list;
mod log;
pub mod lsm;
mod poison;
mod read;
pub mod record;
mod recovery;
mod retention;
mod run;
mod segment;
mod snapshot;
pub mod stats;
mod storage;
mod tail;
mod threads;
pub mod verbs;
pub mod view;
pub mod view_store;
mod watermark;
mod writer;

pub use cluster::Clustered;
pub use handle::Log;
pub use log::{Durability, Options, SegmentLog};
pub use poison::PoisonReason;
pub use read::{Follow, FollowSub};
pub use storage::Storage;
pub use verbs::SubStreamInfo;
pub use view::replace::Replaced;
