//! The files that make up the log, as the manifest lists them. Two threads change that list, the supply and the clustering; each change
//! is one replacement of the manifest, durable when it returns.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use super::Slot;
use super::manifest::{Entry, Free, Manifest};
use crate::codec::TERMINATOR;
use crate::disk::{Disk, DiskFile};

/// Zero-filled at a time.
const ZERO_STEP: usize = 1 << 20;
/// A slot that is used again begins with so many zeroes.
const HEAD_BYTES: usize = 4096;
const _: () = assert!(HEAD_BYTES >= TERMINATOR);

/// The files of a log.
pub(crate) struct Files {
    pub(crate) disk: Arc<dyn Disk>,
    listed: Mutex<Listed>,
}

struct Listed {
    manifest: Manifest,
    /// Slots in the manifest, by generation.
    slots: Vec<Arc<Slot>>,
    /// Slots that hold nothing any more. Used again when no reader holds them.
    free: Vec<Arc<Slot>>,
    /// Runs that could not be listed. The manifest on the disk may be the one that lists them all the same: their files stay as they are
    /// until another one is durable.
    doubtful: Vec<u32>,
}

impl Listed {
    fn write(&mut self, disk: &dyn Disk, mut manifest: Manifest) -> io::Result<()> {
        manifest.slots = self.slots.iter().map(|slot| slot.entry()).collect();
        manifest.free = self
            .free
            .iter()
            .map(|slot| Free {
                slot: slot.number,
                bytes: slot.bytes,
            })
            .collect();
        manifest.write(disk)?;
        self.manifest = manifest;
        Ok(())
    }
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>, manifest: Manifest, slots: Vec<Arc<Slot>>, free: Vec<Arc<Slot>>) -> Self {
        Self {
            disk,
            listed: Mutex::new(Listed {
                manifest,
                slots,
                free,
                doubtful: Vec::new(),
            }),
        }
    }

    /// The manifest as it was last written.
    pub(crate) fn manifest(&self) -> Manifest {
        self.listed.lock().manifest.clone()
    }

    /// Makes the next slot: one that is free, or a new one, zero-filled; synced and listed. What fails on the way leaves nothing that counts.
    pub(crate) fn prepare(&self, bytes: u64) -> io::Result<Arc<Slot>> {
        let reused = {
            let mut listed = self.listed.lock();
            let fits = |slot: &Arc<Slot>| slot.bytes == bytes && Arc::strong_count(slot) == 1;
            listed.free.iter().position(fits).map(|at| listed.free.remove(at))
        };
        if let Some(slot) = reused {
            let head = HEAD_BYTES.min(usize::try_from(slot.bytes).unwrap_or(HEAD_BYTES));
            let cleared = slot
                .file
                .write_at(0, &[0; HEAD_BYTES][..head])
                .and_then(|()| slot.file.sync());
            let mut listed = self.listed.lock();
            if let Err(error) = cleared {
                listed.free.push(slot);
                return Err(error);
            }
            return listed.list(&*self.disk, slot.number, bytes, true, slot.file.clone());
        }
        let number = {
            let listed = self.listed.lock();
            let numbers = listed.slots.iter().chain(&listed.free).map(|slot| slot.number);
            numbers.max().unwrap_or(0) + 1
        };
        let name = Slot::name(number);
        let file = fill(&*self.disk, &name, bytes).inspect_err(|_| {
            // Gives the room back; if that fails too, the next open removes the file.
            let _ = self.disk.remove(&name);
        })?;
        self.listed.lock().list(&*self.disk, number, bytes, false, file)
    }

    /// Replaces the manifest by one that lists the run `made` as well. The slots of `emptied` are free from then on.
    pub(crate) fn list_run(&self, made: u32, emptied: &[u32], change: impl FnOnce(&mut Manifest)) -> io::Result<()> {
        let listed = self.recluster(emptied, |manifest| {
            manifest.run = made;
            change(manifest);
        });
        listed.inspect_err(|_| {
            let mut listed = self.listed.lock();
            // No later run may have the same number.
            listed.manifest.run = listed.manifest.run.max(made);
            listed.doubtful.push(made);
        })
    }

    /// Makes certain that no manifest lists the runs that could not be listed, and removes their files.
    pub(crate) fn remove_doubtful(&self) -> io::Result<()> {
        let doubtful = {
            let mut listed = self.listed.lock();
            if listed.doubtful.is_empty() {
                return Ok(());
            }
            let manifest = listed.manifest.clone();
            listed.write(&*self.disk, manifest)?;
            std::mem::take(&mut listed.doubtful)
        };
        for number in doubtful {
            self.disk.remove(&crate::run::name(number))?;
        }
        self.disk.sync_dir()
    }

    /// Replaces the manifest by a changed one. The slots of `emptied` are free from then on.
    pub(crate) fn recluster(&self, emptied: &[u32], change: impl FnOnce(&mut Manifest)) -> io::Result<()> {
        let mut listed = self.listed.lock();
        let mut manifest = listed.manifest.clone();
        change(&mut manifest);
        let before = (listed.slots.clone(), listed.free.len());
        let mut freed = Vec::new();
        listed.slots.retain(|slot| {
            let empty = emptied.contains(&slot.generation);
            if empty {
                freed.push(slot.clone());
            }
            !empty
        });
        listed.free.extend(freed);
        listed.write(&*self.disk, manifest).inspect_err(|_| {
            listed.slots = before.0;
            listed.free.truncate(before.1);
        })
    }

    /// Removes free slots beyond `keep`, or all of them whose content may not stay. Returns how many bytes came back.
    pub(crate) fn discard_free(&self, keep: usize) -> io::Result<u64> {
        let mut listed = self.listed.lock();
        let mut gone = Vec::new();
        while listed.free.len() > keep {
            gone.extend(listed.free.pop());
        }
        if gone.is_empty() {
            return Ok(0);
        }
        let manifest = listed.manifest.clone();
        if let Err(error) = listed.write(&*self.disk, manifest) {
            listed.free.append(&mut gone);
            return Err(error);
        }
        drop(listed);
        let mut bytes = 0;
        for slot in &gone {
            self.disk.remove(&Slot::name(slot.number))?;
            bytes += slot.bytes;
        }
        self.disk.sync_dir()?;
        Ok(bytes)
    }
}

impl Listed {
    fn list(
        &mut self,
        disk: &dyn Disk,
        number: u32,
        bytes: u64,
        recycled: bool,
        file: Arc<dyn DiskFile>,
    ) -> io::Result<Arc<Slot>> {
        let mut manifest = self.manifest.clone();
        manifest.generation += 1;
        let slot = Arc::new(Slot {
            number,
            generation: manifest.generation,
            bytes,
            recycled,
            base: AtomicU64::new(0),
            file,
        });
        self.slots.push(slot.clone());
        // If this fails the file stays, free to be used again: the manifest on disk may be the new one already.
        self.write(disk, manifest).inspect_err(|_| {
            self.free.extend(self.slots.pop());
            // No later slot may have the same generation.
            self.manifest.generation += 1;
        })?;
        Ok(slot)
    }
}

/// Kept out of the manifest: a slot's first use as a file of zeroes.
fn fill(disk: &dyn Disk, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.create(name)?;
    let zeroes = vec![0; ZERO_STEP];
    let mut done = 0;
    while done < bytes {
        let step = (bytes - done).min(ZERO_STEP as u64);
        file.write_at(done, &zeroes[..step as usize])?;
        // Each step by itself: the syncs of the commits written meanwhile wait behind no more than one of them.
        file.sync()?;
        done += step;
    }
    disk.sync_dir()?;
    Ok(file)
}

/// A slot as the manifest lists it, opened.
pub(crate) fn listed_slot(entry: &Entry, file: Arc<dyn DiskFile>) -> Arc<Slot> {
    Arc::new(Slot {
        number: entry.slot,
        generation: entry.generation,
        bytes: entry.bytes,
        recycled: entry.recycled,
        base: AtomicU64::new(0),
        file,
    })
}
