//! Backups: runs that have all commits without a gap, and payload files. Each run of the folder whose commits the backup has none of is copied; of
//! the other commits a run is made. What is listed in `backup.json` never changes, so that a backup is whole whatever interrupts the next.

pub(super) mod copy;
pub(super) mod listing;
mod make;

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::Arc;

use super::Folder;
use super::error::FolderError;
use super::held::Held;
use super::report::{BackupReport, Progress};
use crate::blob;
use crate::disk::Disk;
use crate::index::ERASED;
use crate::record::{Digest, Kind, StreamId};
use crate::run;
use crate::segment::manifest::Hex;
use listing::{BlobFile, FILE, Listing, PART, RunFile};

/// How often to begin again because a server was faster.
const TRIES: usize = 20;
/// Runs that are made for a backup are numbered from here, so that those of a log can keep their numbers.
const MADE_FROM: u32 = 1 << 30;

/// Why to go on with newer files.
enum Stopped {
    /// A segment was used again, or a payload file given up, while it was copied.
    Replaced,
    Failed(FolderError),
}

impl<E: Into<FolderError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A backup that is being made.
struct Making<'a> {
    to: &'a dyn Disk,
    listing: Listing,
    have: HashSet<Digest>,
    report: BackupReport,
    progress: &'a mut dyn FnMut(Progress),
    done: u64,
    total: u64,
}

pub(super) fn backup(
    folder: &Folder,
    to: &dyn Disk,
    progress: &mut dyn FnMut(Progress),
) -> Result<BackupReport, FolderError> {
    let mut held = folder.held.clone();
    let whole = Listing::read(to, FILE)?;
    let before = whole.as_ref().map(|listing| listing.head);
    // A part that can't be read is no loss.
    let part = Listing::read(to, PART).ok().flatten();
    let part = part.filter(|part| part.before == before && part.head.store == held.manifest.store);
    let begun = part.is_some();
    let mut listing = match (part, whole) {
        (Some(part), _) | (None, Some(part)) => part,
        (None, None) => Listing::empty(&held.manifest, held.epoch),
    };
    check_target(folder, to, &listing, before.is_some() || begun)?;
    listing.before = before;
    let mut making = Making {
        have: listing.blobs.iter().map(|blob| blob.address).collect(),
        report: BackupReport {
            head: listing.head,
            before,
            runs_copied: 0,
            runs_made: 0,
            blobs_copied: 0,
            bytes_written: 0,
            bytes: 0,
        },
        to,
        listing,
        progress,
        done: 0,
        total: 0,
    };
    making.listing.write(to, PART)?;
    let mut tries = 0;
    loop {
        match making.add(&held) {
            Ok(()) => break,
            Err(Stopped::Failed(error)) => return Err(error),
            Err(Stopped::Replaced) => {}
        }
        tries += 1;
        if tries == TRIES {
            return Err(FolderError::Busy(held.disk.describe()));
        }
        held = Arc::new(Held::open(&held.disk)?);
    }
    making.finish(&held)
}

/// A target holds a backup of this very history, or nothing.
fn check_target(folder: &Folder, to: &dyn Disk, listing: &Listing, begun: bool) -> Result<(), FolderError> {
    let target = |what: String| Err(FolderError::Target(format!("{}: {what}", to.describe())));
    if !begun {
        let names = to
            .list()
            .map_err(FolderError::io(format!("listing {}", to.describe())))?;
        // Nothing but an unfinished listing is written before there is one.
        return match names.iter().find(|name| !name.starts_with("backup.")) {
            Some(name) => target(format!("there is a file {name} and no backup; choose an empty folder")),
            None => Ok(()),
        };
    }
    if listing.head.store != folder.held.manifest.store {
        return target("the backup that is there is of another store; choose an empty folder".to_owned());
    }
    if listing.head.commit > folder.held.tip.0 {
        return target(format!(
            "the backup that is there reaches to commit {}, and the log ends with {}: the log lost commits",
            listing.head.commit, folder.held.tip.0
        ));
    }
    if folder.hash_at(listing.head.commit) != Some(listing.head.hash) {
        return target("the backup that is there is of another history of this log; choose an empty folder".to_owned());
    }
    Ok(())
}

impl Making<'_> {
    /// Adds everything that the files have and the backup does not.
    fn add(&mut self, held: &Held) -> Result<(), Stopped> {
        let since = self.listing.head.commit;
        let runs: u64 = held
            .runs
            .iter()
            .filter(|run| run.entry.last > since)
            .map(|run| run.entry.bytes)
            .sum();
        let slots: u64 = held.slots.iter().map(|slot| slot.bytes_used).sum();
        self.total = self.done + runs + slots;
        for held_run in held.runs.iter().filter(|run| run.entry.last > since) {
            let since = self.listing.head.commit;
            let entry = &held_run.entry;
            let open = held_run.run.as_ref().zip(held_run.file.as_ref());
            let (run, file) =
                open.ok_or_else(|| FolderError::Damaged(format!("{} can't be opened", held_run.name())))?;
            let taken = self.listing.runs.iter().any(|run| run.run == entry.run);
            let made = if entry.first == since + 1 && !taken {
                let mut erased = BTreeSet::new();
                // Damage is not carried into a backup.
                run.verify_with(&mut |entry, _| note_erased(&entry.header, &mut erased))?;
                for reference in run.blobs() {
                    self.blob(held, &Digest(reference?.address))?;
                }
                self.note_erasures(erased);
                let name = run::name(entry.run);
                let copied = copy::copy(file, self.to, &name, &mut |_| {});
                let (bytes, sha256) =
                    copied.map_err(FolderError::io(format!("copying {name} to {}", self.to.describe())))?;
                self.report.runs_copied += 1;
                RunFile {
                    run: entry.run,
                    first: entry.first,
                    last: entry.last,
                    hash: entry.hash,
                    cleaned: entry.cleaned,
                    bytes,
                    sha256,
                }
            } else {
                let number = self.number(held)?;
                make::from_run(self, held, run, number, since, entry)?
            };
            self.list(made, entry.bytes)?;
        }
        if held.tip.0 > self.listing.head.commit {
            let number = self.number(held)?;
            let made = make::from_slots(self, held, number)?;
            self.list(made, slots)?;
        }
        Ok(())
    }

    fn list(&mut self, run: RunFile, moved: u64) -> Result<(), FolderError> {
        self.report.bytes_written += run.bytes;
        self.listing.head.commit = run.last;
        self.listing.head.hash = run.hash.0;
        self.listing.runs.push(run);
        self.to
            .sync_dir()
            .map_err(FolderError::io(format!("syncing {}", self.to.describe())))?;
        self.listing.write(self.to, PART)?;
        self.moved(moved);
        Ok(())
    }

    fn moved(&mut self, bytes: u64) {
        self.done = (self.done + bytes).min(self.total);
        (self.progress)(Progress {
            step: "backup",
            done: self.done,
            total: self.total,
        });
    }

    /// A number that no run of the backup has.
    fn number(&self, held: &Held) -> Result<u32, FolderError> {
        let runs = self.listing.runs.iter().map(|run| run.run);
        let highest = runs.chain([held.manifest.run, MADE_FROM]).max().unwrap_or(MADE_FROM);
        highest
            .checked_add(1)
            .ok_or_else(|| FolderError::Target("the numbers of runs are used up; make a new backup".to_owned()))
    }

    /// Copies a payload file, unless the backup has it.
    fn blob(&mut self, held: &Held, address: &Digest) -> Result<(), Stopped> {
        if self.have.contains(address) {
            return Ok(());
        }
        let name = blob::file_name(address);
        let file = match held.disk.open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let now = crate::segment::manifest::Manifest::read(&*held.disk)?;
                let same = now.is_some_and(|now| now.runs == held.manifest.runs);
                return Err(match same {
                    false => Stopped::Replaced,
                    true => Stopped::Failed(FolderError::Damaged(format!("the payload {name} is missing"))),
                });
            }
            opened => opened.map_err(FolderError::io(format!("opening {name}")))?,
        };
        let copied = copy::copy(&file, self.to, &name, &mut |_| {});
        let (bytes, sha256) = copied.map_err(FolderError::io(format!("copying {name} to {}", self.to.describe())))?;
        self.have.insert(*address);
        self.listing.blobs.push(BlobFile {
            address: *address,
            bytes,
            sha256,
        });
        self.report.blobs_copied += 1;
        self.report.bytes_written += bytes;
        Ok(())
    }

    fn note_erasures(&mut self, streams: BTreeSet<StreamId>) {
        self.listing.erasures.extend(streams.iter().map(ToString::to_string));
        self.listing.erasures.sort_unstable();
        self.listing.erasures.dedup();
    }

    /// The backup is whole from the replacement of its listing on.
    fn finish(mut self, held: &Held) -> Result<BackupReport, FolderError> {
        self.listing.before = None;
        self.listing.log_format = held.manifest.format;
        self.listing.epoch = held.epoch.max(held.mark.as_ref().map_or(0, |mark| mark.epoch));
        self.listing.generation = held.manifest.generation;
        self.listing.write(self.to, FILE)?;
        let failed = || FolderError::io(format!("tidying up {}", self.to.describe()));
        let listed: HashSet<String> = self
            .listing
            .runs
            .iter()
            .map(|run| run::name(run.run))
            .chain(self.listing.blobs.iter().map(|blob| blob::file_name(&blob.address)))
            .collect();
        for name in self.to.list().map_err(failed())? {
            let ours = run::is_name(&name) || blob::is_name(&name);
            if name == PART || name.ends_with(".json.new") || (ours && !listed.contains(&name)) {
                self.to.remove(&name).map_err(failed())?;
            }
        }
        self.to.sync_dir().map_err(failed())?;
        self.report.head = self.listing.head;
        self.report.bytes = self.listing.bytes();
        Ok(self.report)
    }

    fn made(&mut self, number: u32, range: (u64, u64), hash: Digest, cleaned: u64) -> Result<RunFile, FolderError> {
        let name = run::name(number);
        let read = self.to.open(&name).and_then(|file| copy::digest_of(&file));
        let (bytes, sha256) = read.map_err(FolderError::io(format!("reading {name} in {}", self.to.describe())))?;
        self.report.runs_made += 1;
        Ok(RunFile {
            run: number,
            first: range.0,
            last: range.1,
            hash: Hex(hash),
            cleaned,
            bytes,
            sha256,
        })
    }
}

fn note_erased(header: &crate::codec::v1::RecordHeader, erased: &mut BTreeSet<StreamId>) {
    if header.kind == Kind::STREAM_DELETED.0 && header.origin == ERASED {
        erased.insert(StreamId(header.stream));
    }
}
