//! What can be done with a data folder without opening it as a log: look at it, read it, verify it, back it up, restore it.
//! Nothing here takes the folder's lock or changes a byte of it, and a server may be writing to it meanwhile.

mod backup;
mod commits;
mod error;
mod held;
mod lookup;
mod places;
mod records;
mod report;
mod restore;
mod slots;
mod summary;
mod verify;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

pub use error::FolderError;
pub use report::{
    BackupReport, BytesByKind, CommitRecords, Damage, Head, Progress, RestoreReport, RunSummary, SlotSummary,
    StreamSummary, Summary, VerifyReport,
};

use crate::disk::Disk;
use crate::record::{Record, StreamId};
use commits::Commits;
use held::Held;
use places::Places;
use records::Records;

/// A data folder's log files, as they were when it was opened.
pub struct Folder {
    held: Arc<Held>,
    /// Opened in spite of damage.
    damaged: bool,
    /// As last read again, because a server had used a segment again.
    newest: Mutex<Arc<Held>>,
    stable: OnceLock<(Arc<Held>, Places)>,
    erased: OnceLock<HashSet<StreamId>>,
}

/// How to restore.
#[derive(Clone, Default)]
pub struct RestoreOptions {
    /// The folder that was backed up, if it is still there: what was erased in it since is erased in the restored one too.
    pub erasures_from: Option<Arc<dyn Disk>>,
}

impl Folder {
    /// Reads what there is. What a server replaces meanwhile is read again.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, FolderError> {
        Held::open(&disk).map(|held| Self::of(held, false))
    }

    /// Takes whatever can be read. What is missing or damaged is in [`Summary::damage`].
    pub fn open_damaged(disk: Arc<dyn Disk>) -> Result<Self, FolderError> {
        Held::open_damaged(&disk).map(|held| Self::of(held, true))
    }

    fn of(held: Held, damaged: bool) -> Self {
        let held = Arc::new(held);
        Self {
            newest: Mutex::new(held.clone()),
            held,
            damaged,
            stable: OnceLock::new(),
            erased: OnceLock::new(),
        }
    }

    /// What it holds.
    pub fn summary(&self) -> Summary {
        summary::summary(&self.held)
    }

    /// Its streams, by id. Reads all of it, and keeps in memory what it says of each stream.
    pub fn streams(&self) -> Result<Vec<StreamSummary>, FolderError> {
        summary::streams(self)
    }

    /// Records in the order of streams and positions, of all streams or of one: what is left of them, payloads read from where they
    /// lie. Damage is told in its place, and what lies behind it follows as far as that can be found.
    pub fn records(&self, stream: Option<StreamId>) -> impl Iterator<Item = Result<Record, Damage>> + '_ {
        Records::new(self, stream)
    }

    /// Commits behind `after`, in their order. Far back each 64 MiB of commits cost a look through a run.
    pub fn commits(&self, after: u64) -> impl Iterator<Item = Result<CommitRecords, Damage>> + '_ {
        Commits::new(self, after)
    }

    /// Reads everything and checks everything. `against`: a head that was kept, which the history must lead through.
    pub fn verify(&self, against: Option<&Head>, progress: &mut dyn FnMut(Progress)) -> VerifyReport {
        verify::verify(self, against, progress)
    }

    /// The end of the chain.
    pub fn head(&self) -> Head {
        summary::head(&self.held)
    }

    /// Makes a backup in `to`, or adds to the one that is there what it does not have yet. One that was interrupted is gone on with.
    pub fn backup(&self, to: &dyn Disk, progress: &mut dyn FnMut(Progress)) -> Result<BackupReport, FolderError> {
        backup::backup(self, to, progress)
    }
}

/// Makes the log of a backup in the empty folder `to`, under the new identity `store`. The folder is no log before everything is in place.
pub fn restore(
    from: &dyn Disk,
    to: Arc<dyn Disk>,
    store: [u8; 16],
    options: RestoreOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<RestoreReport, FolderError> {
    restore::restore(from, to, store, options, progress)
}
