//! A disk and a view store that count their calls, and at one of them end the process or fail.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use flowstate_log::disk::{Disk, DiskFile};
use flowstate_log::view_store::{Change, Entry, OpenViewStore, StoreError, ViewStore};
use parking_lot::Mutex;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// `Disk::create`.
    Create,
    /// `Disk::open`.
    Open,
    /// `Disk::rename`.
    Rename,
    /// `Disk::remove`.
    Remove,
    /// `Disk::list`.
    List,
    /// `Disk::sync_dir`.
    SyncDir,
    /// `Disk::lock`.
    Lock,
    /// `DiskFile::write_at`.
    Write,
    /// `DiskFile::sync`.
    Sync,
    /// `DiskFile::read_at`.
    Read,
    /// `DiskFile::len`.
    Len,
    /// `OpenViewStore::open`.
    ViewOpen,
    /// `ViewStore::write`.
    ViewWrite,
    /// `ViewStore::flush`.
    ViewFlush,
}

impl Step {
    /// All kinds, and how they are called on a command line.
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::Create, "create"),
        (Self::Open, "open"),
        (Self::Rename, "rename"),
        (Self::Remove, "remove"),
        (Self::List, "list"),
        (Self::SyncDir, "sync_dir"),
        (Self::Lock, "lock"),
        (Self::Write, "write"),
        (Self::Sync, "sync"),
        (Self::Read, "read"),
        (Self::Len, "len"),
        (Self::ViewOpen, "view_open"),
        (Self::ViewWrite, "view_write"),
        (Self::ViewFlush, "view_flush"),
    ];

    /// How it is called.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(step, _)| *step == self);
        found.map_or("", |(_, name)| name)
    }
}

/// A segment that is used again begins with so many zeroes; a new one has more.
const REUSED_BYTES: usize = 4 << 10;

/// What kind of file a name is of: `slot`, `reused` for the first write to one that is used again, `run`, `blob`, `manifest`, `watermark`, `torn`; `views` for the view store, `folder` for none.
pub fn file_kind(name: &str) -> &str {
    match name.split(['-', '.']).next().unwrap_or(name) {
        "" => "folder",
        "blobnew" => "blob",
        kind => kind,
    }
}

/// What happens at the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// The process ends before it.
    Before,
    /// The process ends after it.
    After,
    /// The process ends with half of a write done.
    Torn,
    /// It fails with this error of the system, and so do all later ones of its kind if `sticky`.
    Fails {
        /// `errno`.
        errno: i32,
        /// Whether later ones fail too.
        sticky: bool,
    },
}

/// One call of a process, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Its kind.
    pub step: Step,
    /// Which of the kind.
    pub number: u64,
    /// What happens there.
    pub harm: Harm,
}

impl FromStr for Point {
    type Err = String;

    /// `write:12:torn`, with `before`, `after` or `torn`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let [step, number, harm] = parts[..] else {
            return Err(format!("{text} is not call:number:before|after|torn"));
        };
        let found = Step::ALL.iter().find(|(_, name)| *name == step);
        Ok(Self {
            step: found.ok_or_else(|| format!("there is no call {step}"))?.0,
            number: number.parse().map_err(|_| format!("{number} is not a number"))?,
            harm: match harm {
                "before" => Harm::Before,
                "after" => Harm::After,
                "torn" => Harm::Torn,
                _ => return Err(format!("{harm} is not before, after or torn")),
            },
        })
    }
}

#[derive(Default)]
struct State {
    counts: BTreeMap<Step, u64>,
    point: Option<Point>,
    lies: bool,
    fired: Vec<(Step, String)>,
}

/// What a disk and a view store share.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

/// Begins the line that says at which call a process ended, and for which kind of file.
pub const DIED: &str = "died at ";

/// Ends this process as a kill from outside does: no destructor runs and nothing is flushed.
fn die(step: Step, name: &str) -> ! {
    eprintln!("{DIED}{} {}", step.name(), file_kind(name));
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

impl Faults {
    /// Harm at this point; none if there is none.
    pub fn at(point: Option<Point>) -> Self {
        let faults = Self::default();
        faults.0.lock().point = point;
        faults
    }

    /// From now on no sync of a file or of the folder does anything, and all say that they did: a bug that a power cut must show.
    pub fn lie(&self) {
        self.0.lock().lies = true;
    }

    fn lies(&self) -> bool {
        self.0.lock().lies
    }

    /// Harm from now on, with counts as they are.
    pub fn set(&self, point: Option<Point>) {
        self.0.lock().point = point;
    }

    /// Calls of a kind so far.
    pub fn count(&self, step: Step) -> u64 {
        self.0.lock().counts.get(&step).copied().unwrap_or(0)
    }

    /// The calls that were made to fail, and the files that they were for.
    pub fn fired(&self) -> Vec<(Step, String)> {
        self.0.lock().fired.clone()
    }

    /// Counts a call, and does what its point says. `torn` does half of the work.
    fn call<T>(
        &self,
        step: Step,
        name: &str,
        torn: impl FnOnce(),
        work: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let harm = {
            let mut state = self.0.lock();
            let count = state.counts.entry(step).or_default();
            *count += 1;
            let number = *count;
            let hit = |point: &Point| {
                let sticky = matches!(point.harm, Harm::Fails { sticky: true, .. });
                point.step == step && (point.number == number || sticky && number > point.number)
            };
            let harm = state.point.filter(hit).map(|point| point.harm);
            if let Some(Harm::Fails { .. }) = harm {
                state.fired.push((step, name.to_owned()));
            }
            harm
        };
        match harm {
            None => work(),
            Some(Harm::Before) => die(step, name),
            Some(Harm::After) => {
                let _ = work();
                die(step, name)
            }
            Some(Harm::Torn) => {
                torn();
                die(step, name)
            }
            Some(Harm::Fails { errno, .. }) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// This disk with faults.
    pub fn disk(&self, inner: Arc<dyn Disk>) -> Arc<dyn Disk> {
        Arc::new(FaultDisk {
            inner,
            faults: self.clone(),
        })
    }

    /// This view store with faults.
    pub fn views(&self, inner: Arc<dyn OpenViewStore>) -> Arc<dyn OpenViewStore> {
        Arc::new(FaultViews {
            inner,
            faults: self.clone(),
        })
    }
}

struct FaultDisk {
    inner: Arc<dyn Disk>,
    faults: Faults,
}

impl FaultDisk {
    fn file(&self, name: &str, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(FaultFile {
            name: name.to_owned(),
            inner,
            faults: self.faults.clone(),
        })
    }
}

impl Disk for FaultDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let made = self
            .faults
            .call(Step::Create, name, || {}, || self.inner.create(name))?;
        Ok(self.file(name, made))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let opened = self.faults.call(Step::Open, name, || {}, || self.inner.open(name))?;
        Ok(self.file(name, opened))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.faults
            .call(Step::Rename, from, || {}, || self.inner.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.call(Step::Remove, name, || {}, || self.inner.remove(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.faults.call(Step::List, "", || {}, || self.inner.list())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let sync = || {
            if self.faults.lies() {
                Ok(())
            } else {
                self.inner.sync_dir()
            }
        };
        self.faults.call(Step::SyncDir, "", || {}, sync)
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.faults.call(Step::Lock, "", || {}, || self.inner.lock())
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct FaultFile {
    name: String,
    inner: Arc<dyn DiskFile>,
    faults: Faults,
}

impl DiskFile for FaultFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // Some prefix: which one follows from where it goes, so that runs differ and repeat.
        let torn = || {
            let cut = (offset as usize / 8).wrapping_mul(977) % bytes.len().max(1);
            let _ = self.inner.write_at(offset, &bytes[..cut.max(bytes.len() / 3)]);
        };
        let work = || self.inner.write_at(offset, bytes);
        let head = offset == 0 && bytes.len() == REUSED_BYTES && bytes.iter().all(|byte| *byte == 0);
        let name = match head {
            true => format!("reused-{}", self.name),
            false => self.name.clone(),
        };
        self.faults.call(Step::Write, &name, torn, work)
    }

    fn sync(&self) -> io::Result<()> {
        let sync = || if self.faults.lies() { Ok(()) } else { self.inner.sync() };
        self.faults.call(Step::Sync, &self.name, || {}, sync)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.faults
            .call(Step::Read, &self.name, || {}, || self.inner.read_at(offset, into))
    }

    fn len(&self) -> io::Result<u64> {
        self.faults.call(Step::Len, &self.name, || {}, || self.inner.len())
    }
}

thread_local! {
    static OPENING: Cell<bool> = const { Cell::new(false) };
}

/// Panics on this thread are told in one line while it opens a view store: there the engine may panic over what another process left of
/// its folder, which is caught, and the views are built anew. All others are told as usual.
pub fn tell_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| match (OPENING.get(), info.location()) {
        (true, Some(location)) => eprintln!("the view store gave up its folder at {location}"),
        _ => usual(info),
    }));
}

struct FaultViews {
    inner: Arc<dyn OpenViewStore>,
    faults: Faults,
}

fn told<T>(result: io::Result<T>) -> Result<T, StoreError> {
    result.map_err(|error| StoreError(error.to_string()))
}

fn asked<T>(result: Result<T, StoreError>) -> io::Result<T> {
    result.map_err(io::Error::other)
}

impl OpenViewStore for FaultViews {
    fn open(&self) -> Result<Box<dyn ViewStore>, StoreError> {
        OPENING.set(true);
        let opened = self
            .faults
            .call(Step::ViewOpen, "views", || {}, || asked(self.inner.open()));
        OPENING.set(false);
        Ok(Box::new(FaultView {
            inner: told(opened)?,
            faults: self.faults.clone(),
        }))
    }

    fn discard(&self) -> Result<(), StoreError> {
        self.inner.discard()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct FaultView {
    inner: Box<dyn ViewStore>,
    faults: Faults,
}

impl ViewStore for FaultView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn write(&self, batch: Vec<Change>) -> Result<(), StoreError> {
        told(
            self.faults
                .call(Step::ViewWrite, "views", || {}, || asked(self.inner.write(batch))),
        )
    }

    fn scan(
        &self,
        from: std::ops::Bound<&[u8]>,
        to: std::ops::Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(from, to, limit)
    }

    fn compact(&self) -> Result<(), StoreError> {
        self.inner.compact()
    }

    fn flush(&self) -> Result<(), StoreError> {
        told(
            self.faults
                .call(Step::ViewFlush, "views", || {}, || asked(self.inner.flush())),
        )
    }
}
