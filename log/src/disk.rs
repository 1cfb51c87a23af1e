//! The seam below the truth path: the file operations that the log needs, and nothing else.
//! Implementations: `disk/fs` (a folder), `disk/memory` (with crashes), `disk/faulty` (wraps one and fails or holds calls).

pub(crate) mod ahead;
pub mod conformance;
pub mod faulty;
pub mod fs;
pub mod memory;

use std::any::Any;
use std::io;
use std::sync::Arc;

/// A flat folder of files. Names are relative, without separators.
pub trait Disk: Send + Sync + 'static {
    /// Makes an empty file, or empties the one that is there. Durable after its `sync` and `sync_dir`.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing; `NotFound` if there is none.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, replacing what had it, atomically. Durable after `sync_dir`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable after `sync_dir`.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the folder for this process; `WouldBlock` if another holds it. Held until the guard is dropped.
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>>;

    /// Where it is, for messages.
    fn describe(&self) -> String;
}

/// An open file, read and written by offset, from any thread.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`, growing the file if it must.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes all earlier writes of this file durable, its length included.
    fn sync(&self) -> io::Result<()>;

    /// Fills `into` from `offset`; `UnexpectedEof` if the file ends before.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Fills `into` from `offset` if that takes no wait for a device. `false`: it would, or nobody can tell, and what `into` then
    /// holds says nothing. Never `true` past the end of the file.
    fn try_read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<bool> {
        self.read_at(offset, into).map(|()| true)
    }

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether it is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
