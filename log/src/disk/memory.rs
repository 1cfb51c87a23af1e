//! A folder in memory that knows what a power cut may do: of what was not synced, any 512-byte piece may be kept or lost,
//! and of the folder's changes any suffix may be lost. [`MemoryDisk::crash`] gives one such outcome by seed.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::{Disk, DiskFile};

const PIECE: usize = 512;

/// A folder in memory. Clones are the same folder.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    folder: Arc<Mutex<Folder>>,
    locked: Arc<AtomicBool>,
}

#[derive(Default)]
struct Folder {
    names: BTreeMap<String, Arc<File>>,
    durable_names: BTreeMap<String, Arc<File>>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Set(String, Arc<File>),
    Remove(String),
    Rename(String, String),
}

fn apply(names: &mut BTreeMap<String, Arc<File>>, change: &Change) {
    match change {
        Change::Set(name, file) => {
            names.insert(name.clone(), file.clone());
        }
        Change::Remove(name) => {
            names.remove(name);
        }
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
    }
}

#[derive(Default)]
struct File(Mutex<Content>);

#[derive(Default, Clone)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

/// SplitMix64: enough randomness to choose among crash states, and the same on every machine.
pub struct Choice(u64);

impl Choice {
    /// A sequence of choices by seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is above 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }
}

impl MemoryDisk {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a kernel does after a failed sync: what was not synced can be read, and no later sync makes it durable
    /// unless it is written again.
    pub fn forget_unsynced(&self) {
        for file in self.folder.lock().names.values() {
            file.0.lock().dirty.clear();
        }
    }

    /// What a power cut at this instant could leave behind, chosen by `seed`: a folder of its own, everything in it durable.
    pub fn crash(&self, seed: u64) -> Self {
        let mut choice = Choice::new(seed);
        let folder = self.folder.lock();
        let mut names = folder.durable_names.clone();
        let kept = choice.below(folder.unsynced.len() + 1);
        for change in &folder.unsynced[..kept] {
            apply(&mut names, change);
        }
        // One rule a crash: all pieces lost, all kept, or each by the toss of a coin.
        let rule = choice.below(4);
        // All of it at one moment: nobody writes to one file while another one is copied.
        let moment: Vec<_> = names.iter().map(|(name, file)| (name, file.0.lock())).collect();
        let names: BTreeMap<_, _> = moment
            .iter()
            .map(|(name, bytes)| {
                let mut bytes = (**bytes).clone();
                let dirty = std::mem::take(&mut bytes.dirty);
                let kept = dirty.into_iter().filter(|_| match rule {
                    0 => false,
                    1 => true,
                    _ => choice.bits() & 1 == 1,
                });
                for piece in kept {
                    let range = piece * PIECE..((piece + 1) * PIECE).min(bytes.now.len());
                    if bytes.durable.len() < range.end {
                        bytes.durable.resize(range.end, 0);
                    }
                    bytes.durable[range.clone()].copy_from_slice(&bytes.now[range]);
                }
                bytes.now = bytes.durable.clone();
                ((*name).clone(), Arc::new(File(Mutex::new(bytes))))
            })
            .collect();
        drop(moment);
        let folder = Folder {
            durable_names: names.clone(),
            names,
            unsynced: Vec::new(),
        };
        Self {
            folder: Arc::new(Mutex::new(folder)),
            locked: Arc::default(),
        }
    }
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no file {name}"))
}

impl Folder {
    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.unsynced.push(change);
    }

    fn find(&self, name: &str) -> io::Result<Arc<File>> {
        self.names.get(name).cloned().ok_or_else(|| not_found(name))
    }
}

impl Disk for MemoryDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = Arc::new(File::default());
        self.folder.lock().change(Change::Set(name.to_owned(), file.clone()));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.folder.lock().find(name)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut folder = self.folder.lock();
        folder.find(from)?;
        folder.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut folder = self.folder.lock();
        folder.find(name)?;
        folder.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.folder.lock().names.keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut folder = self.folder.lock();
        folder.durable_names = folder.names.clone();
        folder.unsynced.clear();
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        struct Held(Arc<AtomicBool>);
        impl Drop for Held {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        if self.locked.swap(true, Ordering::Acquire) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held(self.locked.clone())))
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

impl DiskFile for File {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.0.lock();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + bytes.len();
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[start..end].copy_from_slice(bytes);
        content.dirty.extend(start / PIECE..end.div_ceil(PIECE));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let content = &mut *self.0.lock();
        content.durable.resize(content.now.len(), 0);
        for piece in std::mem::take(&mut content.dirty) {
            let range = piece * PIECE..((piece + 1) * PIECE).min(content.now.len());
            content.durable[range.clone()].copy_from_slice(&content.now[range]);
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let content = self.0.lock();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let from = content
            .now
            .get(start..start + into.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(from);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().now.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_the_contract() {
        super::super::conformance::run(&MemoryDisk::new());
    }

    #[test]
    fn a_crash_takes_back_only_what_was_not_synced() {
        let disk = MemoryDisk::new();
        let file = disk.create("f").expect("create");
        file.write_at(0, &[1; 2 * PIECE]).expect("write");
        file.sync().expect("sync");
        disk.sync_dir().expect("sync");
        file.write_at(0, &[2; 2 * PIECE]).expect("write");
        disk.create("g").expect("create");
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let after = disk.crash(seed);
            let mut bytes = [0; 2 * PIECE];
            after
                .open("f")
                .expect("a synced file stays")
                .read_at(0, &mut bytes)
                .expect("read");
            assert!(
                bytes.chunks(PIECE).all(|piece| piece.iter().all(|b| *b == piece[0])),
                "pieces are whole"
            );
            seen.insert((bytes[0], bytes[PIECE], after.open("g").is_ok()));
        }
        assert_eq!(seen.len(), 8, "every combination of kept and lost occurs: {seen:?}");
    }
}
