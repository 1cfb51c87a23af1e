//! Runs: immutable files that hold every record of a contiguous range of commits, sorted by stream and position.
//! `run/build` writes one, `run/file` finds and reads records in it, `run/scan` walks it, `run/merge` walks several in one order,
//! `run/verify` checks all of it. The manifest says which runs there are; a file that it does not name holds nothing.
//! The bytes are drawn in `docs/FORMAT.md`.

mod apart;
mod block;
mod build;
mod cache;
mod entry;
mod file;
mod footer;
mod merge;
mod out;
mod pages;
mod salvage;
mod scan;
#[cfg(test)]
mod tests;
mod verify;

use std::io;

pub(crate) use build::{BuildError, Meta, RunBuilder};
pub(crate) use cache::BlockCache;
pub(crate) use entry::{Entry, Form, Stub};
pub(crate) use file::{Access, Run};
pub(crate) use merge::Merge;
pub(crate) use salvage::Salvage;

use crate::record::StreamId;

/// Bytes of entries in a block, unless a builder is told otherwise.
pub(crate) const BLOCK_BYTES: usize = 16 << 10;
/// Most bytes that a block may say it holds: what a reader allocates on the word of a file.
pub(crate) const RAW_BYTES_MAX: usize = 64 << 20;
/// Bytes of one long read.
const READ_BYTES: usize = 1 << 20;

const MAGIC: [u8; 4] = *b"FSr\x01";
const FORMAT: u16 = 3;
const HEAD: [u8; 8] = [MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], FORMAT as u8, 0, 0, 0];

/// What a run is sorted by.
type Key = (StreamId, u64);

/// A run's file name.
pub(crate) fn name(number: u32) -> String {
    format!("run-{number:06}")
}

/// Whether a file's name is that of a run.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with("run-")
}

/// Why a run could not be read. Bytes that do not check are never returned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The disk failed.
    #[error("{what} failed: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// What is in the file is not what was written.
    #[error("{} is damaged at offset {offset}: {what}; restore it from a backup, or export what can be read", name(*run))]
    Damaged {
        /// The run.
        run: u32,
        /// Where in its file.
        offset: u64,
        /// What did not hold.
        what: String,
    },
    /// A newer version of the software wrote the file.
    #[error("{} has format {format}; this version of the software reads format {FORMAT}", name(*run))]
    Format {
        /// The run.
        run: u32,
        /// Its format.
        format: u16,
    },
    /// It would take a wait for the disk, and the caller asked for [`Access::Now`]: call again with [`Access::Wait`] where waiting is allowed.
    #[error("{} is not in memory", name(*run))]
    WouldBlock {
        /// The run.
        run: u32,
    },
}

impl RunError {
    fn damaged(run: u32, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged {
            run,
            offset,
            what: what.into(),
        }
    }

    fn reading(run: u32, offset: u64) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            what: format!("reading {} at offset {offset}", name(run)),
            source,
        }
    }
}
