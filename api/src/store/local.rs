//! The stores that come with the server: a folder on this machine, or memory that ends with the process.

use std::path::{Path, PathBuf};

use flowstate_engine::EngineOpenError;
use flowstate_log::error::OpenError;
use flowstate_log::lsm::LsmOptions;
use flowstate_log::{Options, Storage};
use futures_util::future::BoxFuture;

use super::{Slot, Store, StoreAdapter};

/// Finds what a folder holds; blocks.
type Find = fn(&Path) -> Result<Storage, OpenError>;

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
    Store::new(Place::Folder(folder.as_ref().to_owned()))
}

/// The control, in a folder of its own: the same promises with the records in a fjall tree. Slower, and without what only files of our
/// own give: clustering, a chain, backups, evidence of loss. For comparison.
pub fn fjall(folder: impl AsRef<Path>) -> Store {
    Store::new(Place::Tree(folder.as_ref().to_owned()))
}

/// The same log in memory, for tests and demos: gone when the process ends.
pub fn memory() -> Store {
    Store::new(Place::Memory)
}

pub(super) fn with(storage: Storage) -> Store {
    Store::new(Place::Storage(storage))
}

impl StoreAdapter for Place {
    fn name(&self) -> &str {
        match self {
            Self::Folder(_) => "lsm",
            Self::Tree(_) => "fjall",
            Self::Memory => "memory",
            Self::Storage(_) => "log",
        }
    }

    fn slots(&self) -> &[Slot] {
        &[Slot::Primary]
    }

    fn realise(&self) -> BoxFuture<'_, Result<Storage, EngineOpenError>> {
        Box::pin(async {
            let (folder, open): (&PathBuf, Find) = match self {
                Self::Folder(folder) => (folder, segments),
                Self::Tree(folder) => (folder, tree),
                Self::Memory => return Ok(Options::in_memory().into()),
                Self::Storage(storage) => return Ok(storage.clone()),
            };
            let folder = folder.clone();
            let opened = tokio::task::spawn_blocking(move || open(&folder)).await;
            Ok(opened.map_err(|_| EngineOpenError::Stopped)??)
        })
    }
}

/// Makes the folder; blocks.
fn segments(folder: &Path) -> Result<Storage, OpenError> {
    not_of_the_other(folder, TREE, "a tree: open it with fjall(), or --store fjall")?;
    Options::in_folder(folder).map(Storage::from)
}

fn tree(folder: &Path) -> Result<Storage, OpenError> {
    not_of_the_other(
        folder,
        SEGMENTS,
        "a log of segments: open it with lsm(), or --store lsm",
    )?;
    Ok(LsmOptions::in_folder(folder.join(TREE)).into())
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

    #[tokio::test]
    async fn a_folder_of_one_kind_is_refused_as_the_other() {
        let folder = std::env::temp_dir().join(format!("flowstate-store-{}", std::process::id()));
        for (holds, wrong, right) in [
            (SEGMENTS, fjall(&folder), lsm(&folder)),
            (TREE, lsm(&folder), fjall(&folder)),
        ] {
            std::fs::create_dir_all(folder.join(holds)).expect("a folder");
            let refused = wrong.adapter().realise().await.map(|_| ());
            let is_format = matches!(refused, Err(EngineOpenError::Log(OpenError::Format(_))));
            assert!(is_format, "{refused:?}");
            assert!(right.adapter().realise().await.is_ok());
            std::fs::remove_dir_all(&folder).expect("it is there");
        }
    }
}
