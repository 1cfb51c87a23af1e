//! Large payloads, each a file of its own, named by a hash of store, principal and content: the same content of one principal is kept
//! once, that of two principals apart, and no address tells what another principal has. Written and synced before the commit that refers to it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::disk::Disk;
use crate::record::{BlobRef, Digest};

/// Names of blobs start with this; the address follows in hexadecimal.
const PREFIX: &str = "blob-";
/// A blob that is being written.
pub(crate) const UNFINISHED: &str = "blobnew-";

/// Whether a file is a blob, finished or not.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(PREFIX) || name.starts_with(UNFINISHED)
}

/// The name of a blob's file.
pub(crate) fn file_name(address: &Digest) -> String {
    format!("{PREFIX}{address}")
}

/// The address in a file's name.
pub(crate) fn address_of(name: &str) -> Option<Digest> {
    Digest::parse(name.strip_prefix(PREFIX)?)
}

/// Where content of a principal lies in a store with this salt.
pub(crate) fn address(salt: &[u8; 16], principal: &str, content: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(address_prefix(salt, principal));
    hash.update(content);
    Digest(hash.finalize().into())
}

/// What is hashed before the content.
pub(crate) fn address_prefix(salt: &[u8; 16], principal: &str) -> Vec<u8> {
    [&salt[..], &(principal.len() as u64).to_le_bytes(), principal.as_bytes()].concat()
}

/// The blobs of a log, and who refers to them.
pub(crate) struct Blobs {
    disk: Arc<dyn Disk>,
    salt: [u8; 16],
    /// By address: records that refer to it, and appends on their way.
    uses: Arc<Mutex<Table>>,
    /// Makes each unfinished file's name its own.
    unfinished: std::sync::atomic::AtomicU64,
}

#[derive(Default)]
struct Table {
    by_address: HashMap<Digest, Uses>,
    /// Blobs that nobody referred to when their last pin went: those of appends that were refused.
    loose: HashSet<Digest>,
}

#[derive(Default)]
struct Uses {
    records: u64,
    pins: u64,
    /// It is on the disk, synced.
    stored: bool,
}

/// Keeps a blob while an append that refers to it is on its way.
pub(crate) struct Pinned {
    uses: Arc<Mutex<Table>>,
    address: Digest,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let table = &mut *self.uses.lock();
        if let Some(uses) = table.by_address.get_mut(&self.address) {
            uses.pins -= 1;
            if uses.pins == 0 && uses.records == 0 {
                table.loose.insert(self.address);
            }
        }
    }
}

impl Blobs {
    pub(crate) fn new(disk: Arc<dyn Disk>, salt: [u8; 16]) -> Self {
        Self {
            disk,
            salt,
            uses: Arc::default(),
            unfinished: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// Stores content; durable on return. It stays at least as long as what is returned with it is held. Blocks.
    pub(crate) fn put(&self, principal: &str, content: &[u8]) -> io::Result<(BlobRef, Pinned)> {
        let address = address(&self.salt, principal, content);
        let stored = {
            let mut table = self.uses.lock();
            let uses = table.by_address.entry(address).or_default();
            uses.pins += 1;
            uses.stored
        };
        let pinned = Pinned {
            uses: self.uses.clone(),
            address,
        };
        if !stored {
            let number = self.unfinished.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let name = format!("{UNFINISHED}{number}");
            let write = || {
                let file = self.disk.create(&name)?;
                file.write_at(0, content)?;
                file.sync()?;
                self.disk.rename(&name, &file_name(&address))?;
                self.disk.sync_dir()
            };
            if let Err(error) = write() {
                // Gives the room back; if that fails too, the next open removes the file.
                let _ = self.disk.remove(&name);
                return Err(error);
            }
            self.uses.lock().by_address.entry(address).or_default().stored = true;
        }
        let bytes = content.len() as u64;
        Ok((BlobRef { address, bytes }, pinned))
    }

    /// A blob's content, checked against its address.
    pub(crate) fn read(&self, principal: &str, blob: &BlobRef) -> Result<Bytes, String> {
        let name = file_name(&blob.address);
        let read = || {
            let file = self.disk.open(&name)?;
            let length = file.len()?;
            if length != blob.bytes {
                return Err(io::Error::other(format!("it has {length} bytes, not {}", blob.bytes)));
            }
            let mut content = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_at(0, &mut content)?;
            Ok(content)
        };
        let content = read().map_err(|error| format!("its payload lies in {name}: {error}"))?;
        match address(&self.salt, principal, &content) == blob.address {
            true => Ok(content.into()),
            false => Err(format!(
                "its payload lies in {name}, whose content does not match its address"
            )),
        }
    }

    /// A record refers to this blob.
    pub(crate) fn refer(&self, address: &Digest) {
        let mut table = self.uses.lock();
        let uses = table.by_address.entry(*address).or_default();
        uses.records += 1;
        uses.stored = true;
    }

    /// Records that referred to these blobs are gone. What nobody refers to any more goes with the next sweep.
    pub(crate) fn release(&self, addresses: &[Digest]) {
        let table = &mut *self.uses.lock();
        for address in addresses {
            if let Some(uses) = table.by_address.get_mut(address) {
                uses.records = uses.records.saturating_sub(1);
                if uses.records == 0 {
                    table.loose.insert(*address);
                }
            }
        }
    }

    /// Removes what nobody refers to and no append on its way may refer to; returns how many bytes came back. Nothing if `poisoned`: a
    /// commit that failed to be written may be found after a restart, and need its payloads. Asked after they came loose.
    pub(crate) fn sweep(&self, poisoned: impl Fn() -> bool) -> io::Result<u64> {
        let loose: Vec<Digest> = self.uses.lock().loose.iter().copied().collect();
        let (mut freed, mut removed, mut failed) = (0, false, None);
        for address in loose {
            // Under the lock: an append that stores the same content waits, and finds it gone.
            let table = &mut *self.uses.lock();
            if poisoned() {
                break;
            }
            if (table.by_address.get(&address)).is_some_and(|uses| uses.records > 0 || uses.pins > 0) {
                table.loose.remove(&address);
                continue;
            }
            let name = file_name(&address);
            let bytes = self.disk.open(&name).and_then(|file| file.len()).unwrap_or(0);
            match self.disk.remove(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    failed = Some(error);
                    continue;
                }
                done => removed |= done.is_ok(),
            }
            table.loose.remove(&address);
            table.by_address.remove(&address);
            freed += bytes;
        }
        if removed {
            self.disk.sync_dir()?;
        }
        failed.map_or(Ok(freed), Err)
    }

    /// Every blob that a record refers to.
    pub(crate) fn referred(&self) -> HashSet<Digest> {
        let uses = self.uses.lock();
        uses.by_address
            .iter()
            .filter(|(_, uses)| uses.records > 0)
            .map(|(address, _)| *address)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    fn files(disk: &MemoryDisk) -> usize {
        disk.list().expect("list").len()
    }

    #[test]
    fn content_is_kept_once_for_each_principal_while_it_is_referred_to() {
        let disk = MemoryDisk::new();
        let blobs = Blobs::new(Arc::new(disk.clone()), [7; 16]);
        let content = vec![1; 100_000];
        let (one, pinned) = blobs.put("ann", &content).expect("put");
        let (again, _pinned_too) = blobs.put("ann", &content).expect("put");
        assert_eq!((one, files(&disk)), (again, 1));
        let (other, pinned_other) = blobs.put("bob", &content).expect("put");
        assert_ne!(one.address, other.address);
        drop(pinned_other);
        blobs.refer(&one.address);
        blobs.refer(&one.address);
        blobs.refer(&other.address);
        drop((pinned, _pinned_too));
        assert_eq!(blobs.read("ann", &one).expect("read"), content);
        assert!(blobs.read("bob", &one).is_err(), "an address is of one principal");
        blobs.release(&[one.address]);
        assert_eq!(blobs.sweep(|| false).expect("sweep"), 0);
        blobs.release(&[one.address]);
        assert_eq!(
            blobs.sweep(|| true).expect("sweep"),
            0,
            "it may be needed after a restart"
        );
        assert_eq!(blobs.sweep(|| false).expect("sweep"), 100_000);
        assert_eq!(
            (blobs.read("ann", &one).is_err(), blobs.read("bob", &other).is_ok()),
            (true, true)
        );
        assert_eq!(blobs.referred(), HashSet::from([other.address]));
    }

    #[test]
    fn what_a_refused_append_stored_goes_and_nothing_else() {
        let disk = MemoryDisk::new();
        let blobs = Blobs::new(Arc::new(disk.clone()), [7; 16]);
        let (kept, pinned) = blobs.put("", b"referred to").expect("put");
        blobs.refer(&kept.address);
        drop(pinned);
        let (_, on_its_way) = blobs.put("", b"on its way").expect("put");
        drop(blobs.put("", b"refused").expect("put"));
        assert_eq!(
            blobs.sweep(|| true).expect("sweep"),
            0,
            "it may be needed after a restart"
        );
        assert_eq!((blobs.sweep(|| false).expect("sweep"), files(&disk)), (7, 2));
        drop(on_its_way);
        let (again, _pinned) = blobs.put("", b"refused").expect("put");
        assert_eq!(blobs.sweep(|| false).expect("sweep"), 10);
        assert_eq!(blobs.read("", &again).expect("read"), &b"refused"[..]);
        assert_eq!(blobs.read("", &kept).expect("read"), &b"referred to"[..]);
    }

    #[test]
    fn a_changed_blob_is_not_served() {
        let disk = MemoryDisk::new();
        let blobs = Blobs::new(Arc::new(disk.clone()), [7; 16]);
        let (blob, _pinned) = blobs.put("", b"what was said").expect("put");
        let file = disk.open(&file_name(&blob.address)).expect("open");
        file.write_at(5, b"i").expect("damage");
        assert!(blobs.read("", &blob).expect_err("damage").contains("does not match"));
    }
}
