//! What a run costs the machine: memory, bytes on disk, and bytes written, counted where the log hands them to the disk.

use std::any::Any;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flowstate_log::disk::{Disk, DiskFile};

/// A line of `/proc/self/status`, in KiB; 0 where there is none.
pub fn memory_kib(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Processor time that the threads of this name have used so far.
pub fn thread_time(name: &str) -> Duration {
    let mut used = 0;
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let text = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if text("comm").trim() == name {
            used += text("schedstat")
                .split(' ')
                .next()
                .and_then(|spent| spent.parse().ok())
                .unwrap_or(0);
        }
    }
    Duration::from_nanos(used)
}

/// Bytes that a folder takes on disk.
pub fn allocated_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => allocated_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

/// Bytes written, by kind of file.
#[derive(Debug, Default)]
pub struct Written {
    /// Commits.
    pub commits: AtomicU64,
    /// Zeroes that prepare segments.
    pub zeroes: AtomicU64,
    /// Runs.
    pub runs: AtomicU64,
    /// Everything else of the log: manifest, watermark.
    pub rest: AtomicU64,
}

/// A disk whose writes are counted.
pub struct CountingDisk {
    inner: Arc<dyn Disk>,
    written: Arc<Written>,
}

impl CountingDisk {
    /// Counts what is written to `inner`.
    pub fn new(inner: Arc<dyn Disk>) -> (Arc<Self>, Arc<Written>) {
        let written = Arc::new(Written::default());
        let disk = Self {
            inner,
            written: written.clone(),
        };
        (Arc::new(disk), written)
    }

    fn counted(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(CountingFile {
            inner: file,
            slot: name.starts_with("slot-"),
            run: name.starts_with("run-"),
            written: self.written.clone(),
        })
    }
}

impl Disk for CountingDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.counted(name, self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.counted(name, self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.inner.lock()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct CountingFile {
    inner: Arc<dyn DiskFile>,
    slot: bool,
    run: bool,
    written: Arc<Written>,
}

impl DiskFile for CountingFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // A commit begins with its magic.
        let counter = match (self.slot, self.run) {
            (true, _) if bytes.first() == Some(&0) => &self.written.zeroes,
            (true, _) => &self.written.commits,
            (_, true) => &self.written.runs,
            _ => &self.written.rest,
        };
        counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, into)
    }

    fn try_read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<bool> {
        self.inner.try_read_at(offset, into)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}
