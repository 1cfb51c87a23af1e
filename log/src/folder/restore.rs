//! Making a log of a backup: copy and check every file, write watermark and manifest under a name of its own, verify the whole of it, erase what
//! was erased, and only then call the manifest by its name.

mod erase;
mod staged;

use std::sync::Arc;

use super::backup::copy::copy;
use super::backup::listing::{self, Listing};
use super::error::FolderError;
use super::report::{Damage, Progress, RestoreReport};
use super::{Folder, RestoreOptions};
use crate::blob;
use crate::disk::Disk;
use crate::record::Digest;
use crate::run;
use crate::segment::Slot;
use crate::segment::manifest::{self, Manifest, RunEntry};
use crate::watermark::{self, Mark, Watermark};
use erase::Erasures;
use staged::{STAGED, Staged};

pub(super) fn restore(
    from: &dyn Disk,
    to: Arc<dyn Disk>,
    store: [u8; 16],
    options: RestoreOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<RestoreReport, FolderError> {
    let Some(listing) = Listing::read(from, listing::FILE)? else {
        return Err(FolderError::Target(format!(
            "{} holds no backup, or one that was never finished",
            from.describe()
        )));
    };
    if listing.head.store == store {
        let what = "a restored log must have another identity than the one that was backed up";
        return Err(FolderError::Target(what.to_owned()));
    }
    let failed = || FolderError::io(format!("restoring to {}", to.describe()));
    prepare(&to)?;
    let mut bytes_written = 0;
    let total = 2 * listing.bytes();
    for file in files(&listing) {
        bytes_written += file.bring(from, &*to)?;
        progress(Progress {
            step: "restore",
            done: bytes_written.min(total),
            total,
        });
    }
    let mark = Mark {
        store,
        epoch: listing.epoch,
        commit: listing.head.commit,
        clean: true,
    };
    Watermark::create(&*to, &mark).map_err(failed())?;
    let staged: Arc<dyn Disk> = Arc::new(Staged(to.clone()));
    manifest_of(&listing, store).write(&*staged).map_err(failed())?;

    let folder = Folder::open(staged.clone())?;
    let verified = folder.verify(Some(&listing.head), &mut |step| {
        progress(Progress {
            step: "verify",
            done: (bytes_written + step.done).min(total),
            total,
        });
    });
    if let Some(finding) = verified.findings.first() {
        return Err(FolderError::Damaged(format!("the backup does not check: {finding}")));
    }
    let erasures = match &options.erasures_from {
        Some(live) => erasures(live, &listing)?,
        None => Erasures::default(),
    };
    let streams_erased = erase::erase(&staged, &erasures)?;
    let head = Folder::open(staged.clone())?.head();
    to.rename(STAGED, manifest::FILE)
        .and_then(|()| to.sync_dir())
        .map_err(failed())?;
    Ok(RestoreReport {
        backup: listing.head,
        head,
        runs: listing.runs.len() as u64,
        blobs: listing.blobs.len() as u64,
        streams_erased,
        bytes_written,
    })
}

/// What was erased in the folder that was backed up, since then.
fn erasures(live: &Arc<dyn Disk>, listing: &Listing) -> Result<Erasures, FolderError> {
    let found = Folder::open_damaged(live.clone())?;
    if found.head().store != listing.head.store {
        return Err(FolderError::Target(format!(
            "{} is not the log that was backed up: what was erased in it says nothing here",
            live.describe()
        )));
    }
    Erasures::since(live, listing.head.commit)
}

/// An empty folder, or what an interrupted restore left, which is removed.
fn prepare(to: &Arc<dyn Disk>) -> Result<(), FolderError> {
    let failed = || FolderError::io(format!("restoring to {}", to.describe()));
    let names = to.list().map_err(failed())?;
    let interrupted = names.iter().any(|name| name == STAGED);
    let ours = |name: &str| {
        Slot::is_name(name)
            || run::is_name(name)
            || blob::is_name(name)
            || [STAGED, watermark::FILE, "manifest.new"].contains(&name)
    };
    let other = names.iter().find(|name| !interrupted || !ours(name));
    if let Some(name) = other {
        return Err(FolderError::Target(format!(
            "{} has a file {name}: restore to an empty folder",
            to.describe()
        )));
    }
    // First of all the mark that the rest may be removed.
    to.create(STAGED).and_then(|file| file.sync()).map_err(failed())?;
    for name in names.iter().filter(|name| *name != STAGED) {
        to.remove(name).map_err(failed())?;
    }
    to.sync_dir().map_err(failed())
}

/// A file of the backup.
struct BackupFile {
    name: String,
    bytes: u64,
    sha256: Digest,
}

fn files(listing: &Listing) -> impl Iterator<Item = BackupFile> + '_ {
    let runs = listing.runs.iter().map(|file| BackupFile {
        name: run::name(file.run),
        bytes: file.bytes,
        sha256: file.sha256,
    });
    let blobs = listing.blobs.iter().map(|file| BackupFile {
        name: blob::file_name(&file.address),
        bytes: file.bytes,
        sha256: file.sha256,
    });
    runs.chain(blobs)
}

impl BackupFile {
    fn bring(&self, from: &dyn Disk, to: &dyn Disk) -> Result<u64, FolderError> {
        let name = &self.name;
        let file = from
            .open(name)
            .map_err(FolderError::io(format!("opening {name} in {}", from.describe())))?;
        let copied = copy(&file, to, name, &mut |_| {});
        let copied = copied.map_err(FolderError::io(format!("copying {name} to {}", to.describe())))?;
        if copied != (self.bytes, self.sha256) {
            let damage = Damage::in_file(name, "the file is not what was backed up").at(0, self.bytes);
            return Err(FolderError::Damaged(damage.to_string()));
        }
        Ok(self.bytes)
    }
}

fn manifest_of(listing: &Listing, store: [u8; 16]) -> Manifest {
    let entry = |file: &listing::RunFile| RunEntry {
        run: file.run,
        first: file.first,
        last: file.last,
        hash: file.hash,
        bytes: file.bytes,
        cleaned: file.cleaned,
    };
    Manifest {
        salt: listing.salt,
        runs: listing.runs.iter().map(entry).collect(),
        origin: listing.origin,
        generation: listing.generation,
        run: listing.runs.iter().map(|file| file.run).max().unwrap_or(0),
        ..Manifest::empty(store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Head;

    #[test]
    fn a_head_is_one_line_of_json() {
        let head = Head {
            store: [7; 16],
            commit: 3,
            hash: Digest([9; 32]),
        };
        let json = serde_json::to_string(&head).expect("JSON");
        assert!(json.starts_with("{\"store\":\"0707"), "{json}");
        assert_eq!(serde_json::from_str::<Head>(&json).expect("the same"), head);
    }
}
