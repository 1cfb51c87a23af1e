//! Where a server keeps everything: a folder, or memory that ends with the process. What is kept is the engine's and the log's.

use std::path::{Path, PathBuf};

use flowstate_log::error::OpenError;
use flowstate_log::lsm::LsmOptions;
use flowstate_log::{Options, Storage};

/// A place to keep everything in.
#[derive(Clone)]
pub struct Store(Place);

#[derive(Clone)]
enum Place {
    Folder(PathBuf),
    Tree(PathBuf),
    Memory,
    Storage(Storage),
}

/// Where a log of segments lies in its folder.
const SEGMENTS: &str = "log";
/// Where the tree lies in its folder.
const TREE: &str = "tree";

/// The log in a folder, durable: what was answered is there after a crash. The folder is made if there is none,
/// and belongs to one process at a time.
pub fn lsm(folder: impl AsRef<Path>) -> Store {
    Store(Place::Folder(folder.as_ref().to_owned()))
}

/// The control, in a folder of its own: the same promises with the records in a fjall tree. Slower, and without what only files of our
/// own give: clustering, a chain, backups, evidence of loss. For comparison.
pub fn fjall(folder: impl AsRef<Path>) -> Store {
    Store(Place::Tree(folder.as_ref().to_owned()))
}

/// The same log in memory, for tests and demos: gone when the process ends.
pub fn memory() -> Store {
    Store(Place::Memory)
}

impl Store {
    /// The log with options of the caller's own: another disk, other bounds.
    pub fn with(storage: impl Into<Storage>) -> Self {
        Self(Place::Storage(storage.into()))
    }

    /// What the log is opened with. Makes the folder; blocks.
    pub(crate) fn storage(&self) -> Result<Storage, OpenError> {
        match &self.0 {
            Place::Folder(folder) => {
                not_of_the_other(folder, TREE, "a tree: open it with fjall(), or --store fjall")?;
                Options::in_folder(folder).map(Storage::from)
            }
            Place::Tree(folder) => {
                not_of_the_other(
                    folder,
                    SEGMENTS,
                    "a log of segments: open it with lsm(), or --store lsm",
                )?;
                Ok(LsmOptions::in_folder(folder.join(TREE)).into())
            }
            Place::Memory => Ok(Options::in_memory().into()),
            Place::Storage(storage) => Ok(storage.clone()),
        }
    }
}

/// One folder holds one store: the other kind would look as if everything were gone.
fn not_of_the_other(folder: &Path, holds: &str, what: &str) -> Result<(), OpenError> {
    match folder.join(holds).exists() {
        true => Err(OpenError::Format(format!(
            "the folder {} holds {what}",
            folder.display()
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_one_kind_is_refused_as_the_other() {
        let folder = std::env::temp_dir().join(format!("flowstate-store-{}", std::process::id()));
        for (holds, wrong, right) in [
            (SEGMENTS, fjall(&folder), lsm(&folder)),
            (TREE, lsm(&folder), fjall(&folder)),
        ] {
            std::fs::create_dir_all(folder.join(holds)).expect("a folder");
            let refused = wrong.storage().map(|_| ());
            assert!(matches!(refused, Err(OpenError::Format(_))), "{refused:?}");
            assert!(right.storage().is_ok());
            std::fs::remove_dir_all(&folder).expect("it is there");
        }
    }
}
