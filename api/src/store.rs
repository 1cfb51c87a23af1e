//! Where a server keeps everything: a folder, or memory that ends with the process. What is kept is the engine's and the log's.

use std::path::{Path, PathBuf};

use flowstate_log::Options;
use flowstate_log::error::OpenError;

/// A place to keep everything in.
#[derive(Clone)]
pub struct Store(Place);

#[derive(Clone)]
enum Place {
    Folder(PathBuf),
    Memory,
    Options(Box<Options>),
}

/// The log in a folder, durable: what was answered is there after a crash. The folder is made if there is none,
/// and belongs to one process at a time.
pub fn lsm(folder: impl AsRef<Path>) -> Store {
    Store(Place::Folder(folder.as_ref().to_owned()))
}

/// The same log in memory, for tests and demos: gone when the process ends.
pub fn memory() -> Store {
    Store(Place::Memory)
}

impl Store {
    /// The log with options of the caller's own: another disk, other bounds.
    pub fn with(options: Options) -> Self {
        Self(Place::Options(Box::new(options)))
    }

    /// What the log is opened with. Makes the folder; blocks.
    pub(crate) fn options(&self) -> Result<Options, OpenError> {
        match &self.0 {
            Place::Folder(folder) => Options::in_folder(folder),
            Place::Memory => Ok(Options::in_memory()),
            Place::Options(options) => Ok(options.as_ref().clone()),
        }
    }
}
