//! What a folder held at one moment: manifest, watermark, runs and segments, opened. Runs never change and live while they are held open.
//! Segments may be used again by a server; then the manifest says so, and their commits are in runs.

use std::io;
use std::sync::Arc;

use super::error::FolderError;
use super::report::Damage;
use super::slots::{CommitAt, HeldSlot, SlotScan};
use crate::codec;
use crate::disk::{Disk, DiskFile};
use crate::record::Digest;
use crate::run::{self, BlockCache, Run};
use crate::segment::Slot;
use crate::segment::manifest::{self, Entry, Hex, Manifest, RunEntry};
use crate::watermark::{Mark, Watermark};

/// Blocks of runs that are kept for lookups of single records.
const CACHE_BYTES: u64 = 8 << 20;
/// Reads of a folder that a server changes meanwhile, before giving up.
const TRIES: usize = 20;
/// The same failure so often is no coincidence.
const SAME_TRIES: usize = 3;

/// A run that the manifest lists, or that was found.
#[derive(Clone)]
pub(super) struct HeldRun {
    pub(super) entry: RunEntry,
    /// `None` if it can't be opened.
    pub(super) run: Option<Arc<Run>>,
    /// `None` if it is missing.
    pub(super) file: Option<Arc<dyn DiskFile>>,
}

impl HeldRun {
    pub(super) fn name(&self) -> String {
        run::name(self.entry.run)
    }
}

/// The files.
pub(super) struct Held {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) manifest: Manifest,
    /// The manifest could be read; without it blobs can't be told from others of their length.
    pub(super) listed: bool,
    pub(super) mark: Option<Mark>,
    pub(super) runs: Vec<HeldRun>,
    pub(super) slots: Vec<HeldSlot>,
    /// Of the segments, in order.
    pub(super) commits: Vec<CommitAt>,
    /// The last commit and its hash.
    pub(super) tip: (u64, Digest),
    pub(super) epoch: u64,
    pub(super) damage: Vec<Damage>,
}

impl Held {
    /// Everything as it should be, or an error. Goes on trying while a server replaces what is read.
    pub(super) fn open(disk: &Arc<dyn Disk>) -> Result<Self, FolderError> {
        let mut last: Option<(String, Option<Manifest>)> = None;
        let mut same = 0;
        for _ in 0..TRIES {
            let manifest = Manifest::read(&**disk)?;
            let error = match Self::read(disk, manifest.clone(), false) {
                Ok(held) if held.is_current()? => return Ok(held),
                Ok(_) => continue,
                Err(error) => error,
            };
            let failure = (error.to_string(), manifest);
            same = if last.as_ref() == Some(&failure) { same + 1 } else { 1 };
            last = Some(failure);
            if same >= SAME_TRIES {
                return Err(error);
            }
        }
        Err(FolderError::Busy(disk.describe()))
    }

    /// Whatever there is. Only a folder that can't be listed is an error.
    pub(super) fn open_damaged(disk: &Arc<dyn Disk>) -> Result<Self, FolderError> {
        match Self::open(disk) {
            Ok(held) => return Ok(held),
            Err(error @ (FolderError::Empty(_) | FolderError::Busy(_))) => return Err(error),
            Err(_) => {}
        }
        match Manifest::read(&**disk) {
            Ok(Some(manifest)) => Self::read(disk, Some(manifest), true),
            Ok(None) => Self::unlisted(disk, "the file is missing".to_owned()),
            Err(error) => Self::unlisted(disk, error.to_string()),
        }
    }

    fn read(disk: &Arc<dyn Disk>, manifest: Option<Manifest>, lenient: bool) -> Result<Self, FolderError> {
        let Some(manifest) = manifest else {
            let names = list(&**disk)?;
            return Err(match names.iter().find(|name| counts(name)) {
                Some(name) => FolderError::Damaged(format!("{} has a file {name} and no manifest", disk.describe())),
                None => FolderError::Empty(disk.describe()),
            });
        };
        let mut held = Self {
            disk: disk.clone(),
            tip: manifest.clustered(),
            manifest,
            listed: true,
            mark: None,
            runs: Vec::new(),
            slots: Vec::new(),
            commits: Vec::new(),
            epoch: 0,
            damage: Vec::new(),
        };
        // Before the segments: what it promises is in them by then.
        held.read_mark();
        held.open_runs();
        let entries = held.manifest.slots.clone();
        held.scan_slots(&entries, lenient, false);
        if !lenient && let Some(damage) = held.damage.first() {
            return Err(FolderError::Damaged(damage.to_string()));
        }
        Ok(held)
    }

    /// What is there when nothing says what should be.
    fn unlisted(disk: &Arc<dyn Disk>, what: String) -> Result<Self, FolderError> {
        let names = list(&**disk)?;
        let what = format!("{what}; the files that are there are taken for the log");
        let mut held = Self {
            disk: disk.clone(),
            manifest: Manifest::empty([0; 16]),
            listed: false,
            mark: None,
            runs: Vec::new(),
            slots: Vec::new(),
            commits: Vec::new(),
            tip: (0, Digest::default()),
            epoch: 0,
            damage: vec![Damage::in_file(manifest::FILE, what)],
        };
        held.read_mark();
        let number = |name: &String, prefix: &str| name.strip_prefix(prefix)?.parse::<u32>().ok();
        let entry = |run: u32| RunEntry {
            run,
            first: 0,
            last: 0,
            hash: Hex::default(),
            bytes: 0,
            cleaned: 0,
        };
        held.manifest.runs = names
            .iter()
            .filter_map(|name| number(name, "run-"))
            .map(entry)
            .collect();
        held.open_runs();
        held.leave_out_replaced();
        let mut slots: Vec<(u64, Entry)> = Vec::new();
        for slot in names.iter().filter_map(|name| number(name, "slot-")) {
            if let Some((header, bytes)) = first_commit(&**disk, slot) {
                held.manifest.store = header.store;
                let generation = header.generation as u32;
                slots.push((
                    header.commit,
                    Entry {
                        slot,
                        generation,
                        base: header.commit,
                        bytes,
                        recycled: true,
                    },
                ));
            }
        }
        slots.sort_by_key(|(commit, _)| *commit);
        let entries: Vec<Entry> = slots.into_iter().map(|(_, entry)| entry).collect();
        held.scan_slots(&entries, true, true);
        Ok(held)
    }

    fn read_mark(&mut self) {
        let damaged = |what: &str| {
            let what = format!("{what}: what was acknowledged last is not known");
            Damage::in_file(crate::watermark::FILE, what)
        };
        match Watermark::open(&*self.disk) {
            Ok((_, Some(mark))) if mark.store == self.manifest.store || !self.listed => {
                self.manifest.store = mark.store;
                self.epoch = mark.epoch;
                self.mark = Some(mark);
            }
            Ok((_, Some(_))) => self.damage.push(damaged("it belongs to another store")),
            // A store that was just made may not have one yet.
            _ if self.listed && self.manifest.slots.is_empty() && self.manifest.runs.is_empty() => {}
            Ok((_, None)) => self.damage.push(damaged("neither half of it checks")),
            Err(error) => self.damage.push(damaged(&error.to_string())),
        }
    }

    fn open_runs(&mut self) {
        let cache = Arc::new(BlockCache::new(CACHE_BYTES));
        let mut next = self.manifest.origin.0 + 1;
        for entry in self.manifest.runs.clone() {
            let mut held = HeldRun {
                run: None,
                file: self.disk.open(&run::name(entry.run)).ok(),
                entry,
            };
            let damaged = |held: &HeldRun, what: String| {
                let damage = Damage::in_file(held.name(), what);
                damage.at(0, held.entry.bytes).of_commit(held.entry.first)
            };
            if self.listed && (held.entry.first != next || held.entry.last < held.entry.first) {
                let what = format!(
                    "it is listed with commits {} to {}, where {next} comes next",
                    held.entry.first, held.entry.last
                );
                self.damage.push(damaged(&held, what));
            }
            next = held.entry.last + 1;
            match Run::open(&*self.disk, held.entry.run, cache.clone()) {
                Ok(run) => {
                    let footer = run.footer();
                    let range = (footer.first_commit, footer.last_commit);
                    if !self.listed {
                        (held.entry.first, held.entry.last) = range;
                        held.entry.bytes = run.file_bytes();
                        if self.manifest.store == [0; 16] {
                            self.manifest.store = footer.store;
                        }
                    } else if range != (held.entry.first, held.entry.last) || run.file_bytes() != held.entry.bytes {
                        let what = "it is not the run that the manifest lists".to_owned();
                        self.damage.push(damaged(&held, what));
                    }
                    held.run = Some(Arc::new(run));
                }
                Err(error) => self.damage.push(damaged(&held, error.to_string())),
            }
            self.runs.push(held);
        }
    }

    /// Of runs that no manifest lists, leaves out those whose commits are all in a larger one.
    fn leave_out_replaced(&mut self) {
        let all = std::mem::take(&mut self.runs);
        let within = |one: &HeldRun, other: &HeldRun| {
            other.run.is_some()
                && one.run.is_some()
                && other.entry.first <= one.entry.first
                && one.entry.last <= other.entry.last
                && (other.entry.last - other.entry.first, other.entry.run)
                    > (one.entry.last - one.entry.first, one.entry.run)
        };
        self.runs = all
            .iter()
            .filter(|one| !all.iter().any(|other| within(one, other)))
            .cloned()
            .collect();
        self.runs.sort_by_key(|held| held.entry.first);
        self.manifest.runs = self.runs.iter().map(|held| held.entry.clone()).collect();
        if let Some(last) = self
            .runs
            .iter()
            .filter_map(|held| held.run.as_ref())
            .max_by_key(|run| run.footer().last_commit)
        {
            self.tip.0 = last.footer().last_commit;
            let last_head = last.commits().filter_map(Result::ok).last();
            if let Some(head) = last_head.and_then(|head| codec::decode_commit_head(&head)) {
                self.tip.1 = head.hash;
            }
        }
    }

    fn scan_slots(&mut self, entries: &[Entry], lenient: bool, any_use: bool) {
        let mut scan = SlotScan {
            store: self.manifest.store,
            lenient,
            tip: self.tip,
            epoch: self.epoch,
            commits: Vec::new(),
            proof: 0,
            end: None,
            damage: Vec::new(),
        };
        for entry in entries {
            let name = Slot::name(entry.slot);
            let damaged = |what: String| {
                Damage::in_file(name.clone(), what)
                    .at(0, entry.bytes)
                    .of_commit(entry.base)
            };
            match self.disk.open(&name).and_then(|file| Ok((file.len()?, file))) {
                Ok((length, file)) => {
                    if length != entry.bytes {
                        let what = format!("the file has {length} bytes, not {}", entry.bytes);
                        scan.damage.push(damaged(what));
                    }
                    let slot = scan.take(self.slots.len() as u32, entry.clone(), file, any_use);
                    self.slots.push(slot);
                }
                Err(error) => scan.damage.push(damaged(error.to_string())),
            }
        }
        (self.tip, self.epoch, self.commits) = (scan.tip, scan.epoch, scan.commits);
        self.damage.extend(scan.damage);
        let promised = scan.proof.max(self.mark.as_ref().map_or(0, |mark| mark.commit));
        if promised > self.tip.0 {
            let end = scan
                .end
                .unwrap_or_else(|| Damage::in_file(manifest::FILE, "segments end too early"));
            let what = format!(
                "{}: commits {} to {promised} were acknowledged and are missing",
                end.what,
                self.tip.0 + 1
            );
            self.damage.push(Damage {
                what,
                commit: Some(self.tip.0 + 1),
                ..end
            });
        }
    }

    /// Whether the segments that were read are still in the same use.
    pub(super) fn is_current(&self) -> Result<bool, FolderError> {
        let manifest = Manifest::read(&*self.disk)?;
        let uses = |slots: &[Entry]| -> Vec<(u32, u32)> {
            let mut uses: Vec<_> = slots.iter().map(|slot| (slot.slot, slot.generation)).collect();
            uses.sort_unstable();
            uses
        };
        let Some(manifest) = manifest else {
            return Ok(!self.listed);
        };
        let now = uses(&manifest.slots);
        Ok(uses(&self.manifest.slots)
            .iter()
            .all(|one| now.binary_search(one).is_ok()))
    }
}

fn list(disk: &dyn Disk) -> Result<Vec<String>, FolderError> {
    disk.list()
        .map_err(FolderError::io(format!("listing {}", disk.describe())))
}

/// Whether a file can only be part of a log.
fn counts(name: &str) -> bool {
    Slot::is_name(name) || run::is_name(name) || crate::blob::is_name(name) || name == crate::watermark::FILE
}

fn first_commit(disk: &dyn Disk, slot: u32) -> Option<(codec::CommitHeader, u64)> {
    let read = || -> io::Result<_> {
        let file = disk.open(&Slot::name(slot))?;
        let bytes = file.len()?;
        Ok((file, bytes))
    };
    let (file, bytes) = read().ok()?;
    let mut ahead = crate::disk::ahead::Ahead::new(file, bytes);
    let mut at = 0;
    while at < bytes {
        let some = ahead.get(at, 64 << 10).ok()?;
        for offset in (0..some.len()).step_by(codec::COMMIT_ALIGN) {
            if some[offset..].starts_with(b"FSc")
                && let Some((frame, _)) = super::slots::commit_at(&mut ahead, at + offset as u64)
            {
                return Some((frame.header, bytes));
            }
        }
        at += 64 << 10;
    }
    None
}
