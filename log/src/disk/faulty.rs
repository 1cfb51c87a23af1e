//! Wraps another disk: counts its syncs, holds them back, or fails chosen calls. For tests and simulation.

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Disk, DiskFile};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A call that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `Disk::create`.
    Create,
    /// `DiskFile::write_at`.
    Write,
    /// `DiskFile::sync`.
    Sync,
    /// `DiskFile::read_at` and `DiskFile::try_read_at`.
    Read,
    /// `Disk::rename`.
    Rename,
    /// `Disk::sync_dir`.
    SyncDir,
}

#[derive(Default)]
struct State {
    /// Syncs of files whose names start with this do not return.
    held: Option<String>,
    waiting: usize,
    syncs: HashMap<String, u64>,
    renames: u64,
    unsynced_renames: u64,
    plan: Option<Plan>,
}

struct Plan {
    call: Call,
    name: String,
    after: u64,
    kind: io::ErrorKind,
    sticky: bool,
}

/// Another disk with faults. Clones share them.
#[derive(Clone)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    state: Mutex<State>,
    changed: Condvar,
}

impl Faults {
    fn check(&self, call: Call, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let Some(plan) = &mut state.plan else { return Ok(()) };
        if plan.call != call || !name.starts_with(&plan.name) {
            return Ok(());
        }
        if plan.after > 0 {
            plan.after -= 1;
            return Ok(());
        }
        let kind = plan.kind;
        if !plan.sticky {
            state.plan = None;
        }
        Err(io::Error::new(kind, format!("injected failure of {call:?} on {name}")))
    }
}

impl FaultyDisk {
    /// `inner`, without faults yet.
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self {
            inner,
            faults: Arc::default(),
        }
    }

    /// From now on a sync of a file whose name starts with `name` does not return before [`FaultyDisk::release`].
    pub fn hold_syncs(&self, name: &str) {
        self.faults.state.lock().held = Some(name.to_owned());
    }

    /// Lets held syncs, and all later ones, go on.
    pub fn release(&self) {
        self.faults.state.lock().held = None;
        self.faults.changed.notify_all();
    }

    /// Blocks until `count` syncs are held at once. Panics if that takes half a minute: then nobody syncs.
    pub fn wait_for_held(&self, count: usize) {
        self.wait("held syncs", |state| state.waiting >= count);
    }

    /// Blocks until so many renames were done and their folder synced. Panics after half a minute.
    pub fn wait_for_renames(&self, count: u64) {
        self.wait("synced renames", |state| state.renames >= count);
    }

    fn wait(&self, what: &str, done: impl Fn(&State) -> bool) {
        let mut state = self.faults.state.lock();
        let waited = self
            .faults
            .changed
            .wait_while_for(&mut state, |state| !done(state), PATIENCE);
        assert!(!waited.timed_out(), "waiting for {what} took too long");
    }

    /// Syncs that have begun so far, of files whose names start with `name`.
    pub fn syncs(&self, name: &str) -> u64 {
        let state = self.faults.state.lock();
        state
            .syncs
            .iter()
            .filter(|(file, _)| file.starts_with(name))
            .map(|(_, count)| count)
            .sum()
    }

    /// Fails `call` on files whose names start with `name`, after letting `after` of them pass; once, or from then on if `sticky`.
    pub fn fail(&self, call: Call, name: &str, after: u64, kind: io::ErrorKind, sticky: bool) {
        self.faults.state.lock().plan = Some(Plan {
            call,
            name: name.to_owned(),
            after,
            kind,
            sticky,
        });
    }

    /// Ends a sticky failure.
    pub fn heal(&self) {
        self.faults.state.lock().plan = None;
    }

    fn file(&self, name: &str, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile {
            name: name.to_owned(),
            inner,
            faults: self.faults.clone(),
        })
    }
}

impl Disk for FaultyDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.faults.check(Call::Create, name)?;
        Ok(self.file(name, self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.faults.check(Call::Rename, from)?;
        self.inner.rename(from, to)?;
        self.faults.state.lock().unsynced_renames += 1;
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.faults.check(Call::SyncDir, "")?;
        self.inner.sync_dir()?;
        let mut state = self.faults.state.lock();
        state.renames += std::mem::take(&mut state.unsynced_renames);
        self.faults.changed.notify_all();
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.inner.lock()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct FaultyFile {
    name: String,
    inner: Arc<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl DiskFile for FaultyFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.faults.check(Call::Write, &self.name)?;
        self.inner.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        {
            let mut state = self.faults.state.lock();
            *state.syncs.entry(self.name.clone()).or_default() += 1;
            let held = |state: &State| state.held.as_ref().is_some_and(|held| self.name.starts_with(held));
            if held(&state) {
                state.waiting += 1;
                self.faults.changed.notify_all();
                self.faults.changed.wait_while(&mut state, |state| held(state));
                state.waiting -= 1;
            }
        }
        self.faults.check(Call::Sync, &self.name)?;
        self.inner.sync()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.faults.check(Call::Read, &self.name)?;
        self.inner.read_at(offset, into)
    }

    fn try_read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<bool> {
        self.faults.check(Call::Read, &self.name)?;
        self.inner.try_read_at(offset, into)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryDisk;
    use super::*;

    #[test]
    fn a_disk_without_faults_keeps_the_contract() {
        super::super::conformance::run(&FaultyDisk::new(Arc::new(MemoryDisk::new())));
    }

    #[test]
    fn the_planned_call_fails_and_no_other() {
        let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
        let file = disk.create("slot-1").expect("create");
        disk.fail(Call::Write, "slot", 1, io::ErrorKind::StorageFull, false);
        file.write_at(0, b"a").expect("the first passes");
        assert_eq!(
            file.write_at(0, b"b").map_err(|e| e.kind()),
            Err(io::ErrorKind::StorageFull)
        );
        file.write_at(0, b"c").expect("once only");
        disk.fail(Call::Read, "slot", 0, io::ErrorKind::PermissionDenied, false);
        assert_eq!(
            file.try_read_at(0, &mut [0]).map_err(|e| e.kind()),
            Err(io::ErrorKind::PermissionDenied)
        );
        assert!(file.try_read_at(0, &mut [0]).expect("once only"));
    }
}
