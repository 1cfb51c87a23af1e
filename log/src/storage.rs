//! What a log is opened with, whichever of the two keeps its records.

use std::sync::Arc;

use crate::error::OpenError;
use crate::handle::Log;
use crate::limits::Limits;
use crate::log::Options;
use crate::lsm::{LsmLog, LsmOptions};
use crate::view::View;

/// A log that is not open yet.
#[derive(Clone)]
pub enum Storage {
    /// Records in segments and runs of our own.
    Segments(Box<Options>),
    /// Records in an LSM tree: the control.
    Tree(Box<LsmOptions>),
}

impl From<Options> for Storage {
    fn from(options: Options) -> Self {
        Self::Segments(Box::new(options))
    }
}

impl From<LsmOptions> for Storage {
    fn from(options: LsmOptions) -> Self {
        Self::Tree(Box::new(options))
    }
}

impl Storage {
    /// Its bounds.
    pub fn limits(&self) -> &Limits {
        match self {
            Self::Segments(options) => &options.limits,
            Self::Tree(options) => &options.limits,
        }
    }

    /// The views that it will be opened with.
    pub fn views(&mut self) -> &mut Vec<Arc<dyn View>> {
        match self {
            Self::Segments(options) => &mut options.views,
            Self::Tree(options) => &mut options.views,
        }
    }

    /// Opens it, making it if there is none. Blocks.
    pub fn open(self) -> Result<Log, OpenError> {
        match self {
            Self::Segments(options) => Log::open(*options),
            Self::Tree(options) => LsmLog::open(*options),
        }
    }
}
