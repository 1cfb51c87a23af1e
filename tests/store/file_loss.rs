//! Each file of a data folder, spoilt in each way. The log refuses to open and changes no byte, or the answers are the same:
//! [`may_open`] says which combinations need not be refused, and why. What an open does not read, the records in runs and large
//! payloads, it may find later: then exactly the records that were touched are told as damaged, and all others are the same.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use flowstate_log::error::ReadError;
use flowstate_log::record::Record;
use flowstate_log::view_store::OpenViewStore;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_tests::store::adapter;
use flowstate_tests::store::driver::{Work, work};
use flowstate_tests::store::faults::file_kind;
use flowstate_tests::store::judge::names;
use flowstate_tests::store::ledger::{Event, Ledger};
use flowstate_tests::store::verify::{self, Depth};

use super::support::{DRIVER, folder};

/// How a process ends that panicked in its main thread.
const PANICKED: i32 = 101;

/// Files of large payloads that are spoilt.
const BLOBS: usize = 2;
/// Processes at once.
const AT_ONCE: usize = 6;

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    Missing,
    Empty,
    Half,
    Zeroed,
    /// As it was some appends earlier.
    Older,
    /// Another file of the folder has its name.
    Sibling,
    Directory,
    /// A link to a file elsewhere, with the same bytes.
    Link,
    /// One bit is another, at this share of the file.
    Flipped(u8),
}

const LOSSES: [Loss; 13] = [
    Loss::Missing,
    Loss::Empty,
    Loss::Half,
    Loss::Zeroed,
    Loss::Older,
    Loss::Sibling,
    Loss::Directory,
    Loss::Link,
    Loss::Flipped(0),
    Loss::Flipped(25),
    Loss::Flipped(50),
    Loss::Flipped(75),
    Loss::Flipped(99),
];

/// Every file below a folder with its bytes; links with where they point.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(folder).expect("read the folder") {
            let path = entry.expect("an entry").path();
            let kind = fs::symlink_metadata(&path).expect("metadata").file_type();
            if kind.is_dir() {
                found.insert(path.clone(), b"a folder".to_vec());
                walk(&path, found);
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).expect("a link");
                found.insert(path.clone(), fs::read(&target).expect("what it points to"));
            } else {
                let bytes = fs::read(&path).expect("read");
                found.insert(path, bytes);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, &mut found);
    let strip = |path: PathBuf| path.strip_prefix(folder).expect("below the folder").to_owned();
    found.into_iter().map(|(path, bytes)| (strip(path), bytes)).collect()
}

/// A data folder, closed in order, with a copy of its log from before the last appends.
struct Store {
    folder: tempfile::TempDir,
    /// The views, if they do not lie in the folder.
    views: Option<MemoryViews>,
    events: Vec<Event>,
}

impl Store {
    async fn make(views: Option<MemoryViews>) -> Self {
        let folder = folder();
        let (data, earlier) = (folder.path().join("data"), folder.path().join("earlier"));
        let ledger = Arc::new(Ledger::in_memory());
        for cycle in 0..2 {
            let disk = adapter::disk(&data).expect("the folder");
            let store: Arc<dyn OpenViewStore> = match &views {
                Some(views) => Arc::new(views.clone()),
                None => adapter::view_store(&data),
            };
            let log = adapter::open(disk, store, adapter::fixed_limits()).expect("open");
            let plan = Work {
                cycle,
                seed: 4,
                tasks: 2,
                // Mostly into segments, which become runs.
                rounds: Some(100),
                bytes: 700,
            };
            work(&log, &ledger, plan).await;
            log.close().await;
            drop(log);
            if cycle == 0 {
                copy(&data, &earlier);
            }
        }
        // What an earlier recovery cut off; it may be deleted.
        fs::write(data.join("log/torn-9-slot-000001-512-1"), b"cut").expect("write");
        let made = Self {
            folder,
            views,
            events: ledger.events(),
        };
        made.judge(&data).await.expect("an honest store");
        made
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Opens a copy with the views that belong to it, and reads each record by itself.
    async fn one_by_one(&self, data: &Path) -> Result<OneByOne, String> {
        let disk = adapter::disk(data).map_err(|error| error.to_string())?;
        let limits = flowstate_log::limits::Limits {
            // Nothing is made anew meanwhile.
            cluster_segments_min: 100,
            cluster_segments_max: 100,
            run_fan_out: 100,
            ..adapter::fixed_limits()
        };
        let log = adapter::open(disk, self.views_of(data), limits).map_err(|error| error.to_string())?;
        let mut streams = names(&self.events).0;
        streams.insert(adapter::NODE.to_owned());
        let read = adapter::one_by_one(&log, &streams).await;
        log.close().await;
        read
    }

    /// The views that belong to a copy of the folder.
    fn views_of(&self, data: &Path) -> Arc<dyn OpenViewStore> {
        match &self.views {
            Some(views) => Arc::new(views.copy()),
            None => adapter::view_store(data),
        }
    }

    async fn judge(&self, data: &Path) -> Result<(), String> {
        let disk = adapter::disk(data).map_err(|error| error.to_string())?;
        verify::store(disk, self.views_of(data), &self.events, Depth::Once)
            .await
            .map(|verdict| verdict.must_hold("an untouched store"))
    }

    /// A copy with one file spoilt; `None` if the file cannot be spoilt so.
    fn spoilt(&self, file: &Path, loss: Loss) -> Option<tempfile::TempDir> {
        let folder = folder();
        let data = folder.path().join("data");
        copy(&self.data(), &data);
        let path = data.join(file);
        let bytes = fs::read(&path).expect("read");
        let sibling = || {
            let mut others = fs::read_dir(path.parent()?)
                .ok()?
                .filter_map(|entry| Some(entry.ok()?.path()));
            // One of its own kind if there is one.
            let alike = |other: &PathBuf| file_kind(&name_of(other)) == file_kind(&name_of(&path));
            let fits = |other: &PathBuf| {
                other.is_file() && *other != path && fs::read(other).is_ok_and(|other| other != bytes)
            };
            let mut others: Vec<PathBuf> = others.by_ref().filter(fits).collect();
            others.sort_by_key(|other| !alike(other));
            fs::read(others.first()?).ok()
        };
        let new = match loss {
            Loss::Missing | Loss::Directory | Loss::Link => None,
            Loss::Empty => Some(Vec::new()),
            Loss::Half => Some(bytes[..bytes.len() / 2].to_vec()),
            Loss::Zeroed => Some(vec![0; bytes.len()]),
            Loss::Older => Some(fs::read(self.folder.path().join("earlier").join(file)).ok()?),
            Loss::Sibling => Some(sibling()?),
            Loss::Flipped(share) => {
                let mut bytes = bytes.clone();
                let at = bytes.len() * usize::from(share) / 100;
                *bytes.get_mut(at)? ^= 0x10;
                Some(bytes)
            }
        };
        if new.as_ref() == Some(&bytes) {
            return None;
        }
        fs::remove_file(&path).expect("remove");
        match (loss, new) {
            (Loss::Missing, _) => {}
            (Loss::Directory, _) => fs::create_dir(&path).expect("a folder"),
            (Loss::Link, _) => {
                let elsewhere = folder.path().join("elsewhere");
                fs::write(&elsewhere, &bytes).expect("write");
                symlink(elsewhere, &path).expect("a link");
            }
            (_, new) => fs::write(&path, new.unwrap_or_default()).expect("write"),
        }
        Some(folder)
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg("--sparse=always")
        .arg(from)
        .arg(to)
        .status();
    assert!(copied.expect("cp").success());
}

/// Whether it is damage to what an open with views of its own does not read: the records in runs, and large payloads.
fn found_when_read(file: &str, loss: Loss) -> bool {
    let kept = file.starts_with("run-") || file.starts_with("blob-");
    kept && !matches!(loss, Loss::Missing | Loss::Link)
}

/// Files of the log that are not as they were.
fn names_changed(before: &BTreeMap<PathBuf, Vec<u8>>, data: &Path) -> Vec<String> {
    let after = tree(&data.join("log"));
    let all: std::collections::BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    let changed = all.into_iter().filter(|path| before.get(*path) != after.get(*path));
    changed.map(|path| path.display().to_string()).collect()
}

type OneByOne = BTreeMap<(String, u64), Result<Record, ReadError>>;

/// Every record is the same or told as damaged; of a large payload's file exactly those that refer to it. Returns how many were damaged.
fn only_touched(whole: &OneByOne, read: &OneByOne, file: &str, what: &str) -> usize {
    assert!(whole.keys().eq(read.keys()), "{what}: other positions");
    let mut damaged = 0;
    for ((place, before), now) in whole.iter().zip(read.values()) {
        let before = before.as_ref().expect("an honest store");
        let refers = before
            .extras
            .blob
            .is_some_and(|blob| file == format!("blob-{}", blob.address));
        match now {
            Ok(now) => assert!(
                now == before && !refers,
                "{what}: {place:?} is another record, or its damage is not told"
            ),
            Err(ReadError::Corrupt { position, .. }) => {
                assert!(*position == place.1, "{what}: {place:?} told as {position}");
                assert!(refers || file.starts_with("run-"), "{what}: {place:?} was not touched");
                damaged += 1;
            }
            Err(other) => panic!("{what}: {place:?}: {other}"),
        }
    }
    damaged
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The combinations after which a log may open, because nothing that was acknowledged can be missing; the answers must be the same.
fn may_open(file: &str, loss: Loss) -> bool {
    match loss {
        // The lock is held by the system on the open file; what it contains is never read.
        Loss::Directory if file == "lock" => false,
        _ if file == "lock" => true,
        // A copy for people, which may be deleted.
        _ if file.starts_with("torn-") => true,
        // A lower bound: an older one only makes recovery rewrite more. Half of the file is one whole mark of the two.
        Loss::Older | Loss::Half if file == "watermark" => true,
        // It lists all segments that have commits, or the log is refused: the listed bases are for readers and tools.
        Loss::Older if file == "manifest" => true,
        // The truth is where the folder says that it is.
        Loss::Link => true,
        // Nothing is in it yet, or any more; that no answer changed shows it.
        Loss::Zeroed | Loss::Older | Loss::Sibling if file.starts_with("slot-") => true,
        // One mark of the two, or the room between them.
        Loss::Flipped(_) if file == "watermark" => true,
        // Found when it is read.
        Loss::Empty | Loss::Half | Loss::Zeroed | Loss::Older | Loss::Sibling | Loss::Flipped(_) => {
            // Of a segment: zeroes behind the last commit, or what an earlier use left there.
            let behind = file.starts_with("slot-") || file.starts_with("run-");
            file.starts_with("blob-") || (behind && matches!(loss, Loss::Flipped(_)))
        }
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_file_of_the_log_is_refused_and_left_alone_or_changes_no_answer() {
    let store = Store::make(Some(MemoryViews::new())).await;
    let mut refused = 0;
    let mut opened = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(store.data().join("log")).expect("the folder") {
        names.push(entry.expect("an entry").file_name().into_string().expect("a name"));
    }
    names.sort();
    assert!(names.len() > 5, "{names:?}");
    // There are many large payloads, all alike.
    let mut blobs = 0;
    names.retain(|name| {
        blobs += usize::from(file_kind(name) == "blob");
        file_kind(name) != "blob" || blobs <= BLOBS
    });
    let whole = store.one_by_one(&store.data()).await.expect("an honest store");
    let mut damaged = BTreeMap::<&str, usize>::new();
    for name in &names {
        let path = Path::new("log").join(name);
        for loss in LOSSES {
            let what = format!("{name} {loss:?}");
            let Some(spoilt) = store.spoilt(&path, loss) else {
                continue;
            };
            let data = spoilt.path().join("data");
            if found_when_read(name, loss) {
                let before = tree(&data.join("log"));
                match store.one_by_one(&data).await {
                    Err(error) => {
                        assert!(error.contains(name), "{what}: {error}");
                        assert_eq!(names_changed(&before, &data), [""; 0], "{what}: {error}");
                    }
                    Ok(read) => {
                        *damaged.entry(file_kind(name)).or_default() += only_touched(&whole, &read, name, &what)
                    }
                }
            }
            let Some(spoilt) = store.spoilt(&path, loss) else {
                continue;
            };
            let data = spoilt.path().join("data");
            let before = tree(&data.join("log"));
            // The views are made anew, so that only the log itself can tell what is missing.
            let disk = adapter::disk(&data).expect("the folder");
            let views = Arc::new(MemoryViews::new());
            match verify::store(disk, views, &store.events, Depth::Once).await {
                Err(error) => {
                    // A manifest that is too old shows by what it lists.
                    let named = error.contains(file_kind(name)) || error.contains("commit") || name == "manifest";
                    assert!(named, "{what}: {error}");
                    let mut changed = names_changed(&before, &data);
                    // What an open reads only to make views anew is found when the mark is moved already.
                    if found_when_read(name, loss) {
                        changed.retain(|name| name != "watermark");
                    }
                    assert_eq!(changed, [""; 0], "{what}: refused, and files were changed: {error}");
                    refused += 1;
                }
                Ok(verdict) => {
                    verdict.must_hold(&format!("{what} was opened"));
                    assert!(may_open(name, loss), "{what} was opened");
                    opened.push(what);
                }
            }
        }
    }
    for kind in ["run", "blob", "slot"] {
        assert!(names.iter().any(|name| file_kind(name) == kind), "no {kind}: {names:?}");
    }
    println!("records told as damaged, by kind of file: {damaged:?}");
    for kind in ["run", "blob"] {
        assert!(
            damaged.get(kind).is_some_and(|records| *records > 0),
            "{kind}: {damaged:?}"
        );
    }
    println!("{refused} refused; opened with the same answers: {opened:?}");
    assert!(refused > 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_file_of_the_view_store_changes_no_answer() {
    let store = Store::make(None).await;
    let ledger = store.folder.path().join("ledger");
    let lines: Vec<String> = store
        .events
        .iter()
        .map(|event| serde_json::to_string(event).expect("JSON"))
        .collect();
    fs::write(&ledger, lines.join("\n") + "\n").expect("write");
    let views = tree(&store.data().join("views"));
    let files = views
        .keys()
        .filter(|file| store.data().join("views").join(file).is_file());
    let cases: Vec<(&PathBuf, Loss)> = files.flat_map(|file| LOSSES.map(|loss| (file, loss))).collect();
    let (runs, ended) = (AtomicU32::new(0), AtomicU32::new(0));
    let judge_one = |file: &Path, loss: Loss| {
        let Some(spoilt) = store.spoilt(&Path::new("views").join(file), loss) else {
            return;
        };
        let data = spoilt.path().join("data");
        // The engine may panic or abort its process on damage; the next start then rebuilds. Hence a process of its own, and a second one.
        let judge = || {
            Command::new(DRIVER)
                .arg("verify")
                .arg(&data)
                .arg(&ledger)
                .output()
                .expect("the driver starts")
        };
        let mut judged = judge();
        runs.fetch_add(1, Ordering::Relaxed);
        if judged.status.code().is_none_or(|code| code == PANICKED) {
            ended.fetch_add(1, Ordering::Relaxed);
            judged = judge();
        }
        let said = String::from_utf8_lossy(&judged.stderr).into_owned();
        assert!(
            judged.status.success(),
            "{} {loss:?}: {}: {said}",
            file.display(),
            judged.status
        );
    };
    std::thread::scope(|scope| {
        for some in cases.chunks(cases.len().div_ceil(AT_ONCE)) {
            scope.spawn(|| some.iter().for_each(|(file, loss)| judge_one(file, *loss)));
        }
    });
    let (runs, ended) = (runs.into_inner(), ended.into_inner());
    println!("{runs} spoilt view stores, {ended} of them ended a process");
    assert!(runs > 20);
}
