//! Opening a log: lock, check every unclustered commit, tell a torn tail from damage, repair the one and refuse the other, make durable
//! what may be in the page cache only, then bring the views up to date. Nothing is changed before everything was checked.
//! `recovery/scan` reads, `recovery/repair` changes bytes, `recovery/rows` fills memory and the view store.

mod repair;
mod rows;
mod scan;

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crate::blob::Blobs;
use crate::codec::{self, COMMIT_FRAME};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::levels::{Levels, PresentLevels};
use crate::limits::Limits;
use crate::log::{Durability, Options, Parts, Shared};
use crate::record::{Kind, Name};
use crate::run::BlockCache;
use crate::segment::files::Files;
use crate::segment::manifest::{self, Manifest};
use crate::segment::supply::Supply;
use crate::segment::{Slot, Slots};
use crate::watermark::{self, Mark, Watermark};
use crate::writer::Writer;
use crate::writer::front::Front;
use crate::writer::pipeline::{Pipeline, Position};
use crate::writer::queue::Queue;
use crate::writer::sync::Syncer;
pub(crate) use repair::TORN;
use scan::Scan;

/// Name of the node's own stream, which no caller can choose: names that start with NUL belong to the log.
pub(crate) const SYSTEM_STREAM: &str = "\u{0}node";

fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    move |source| OpenError::Io { what, source }
}

/// Takes the folder for this process.
pub(crate) fn lock(disk: &dyn Disk) -> Result<Box<dyn std::any::Any + Send + Sync>, OpenError> {
    disk.lock().map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked(disk.describe()),
        _ => OpenError::Io {
            what: format!("locking {}", disk.describe()),
            source,
        },
    })
}

/// A log that was recovered, before its threads run.
pub(crate) struct Recovered {
    pub(crate) shared: Arc<Shared>,
    pub(crate) position: Position,
    watermark: Watermark,
    mark: Mark,
}

/// Opens a log and starts its threads.
pub(crate) fn open(options: Options) -> Result<(Front, JoinHandle<()>), OpenError> {
    start(recover(options)?)
}

/// Checks a log, repairs its end and fills memory.
pub(crate) fn recover(options: Options) -> Result<Recovered, OpenError> {
    let Options {
        disk,
        view_store,
        env,
        limits,
        views,
        durability,
        chain,
    } = options;
    check_limits(&limits)?;
    let lock = lock(&*disk)?;
    let manifest = match Manifest::read(&*disk)? {
        Some(manifest) => manifest,
        None => make_store(&*disk, env.mint())?,
    };
    let (mut watermark, mark) = open_watermark(&*disk, &manifest)?;
    let cache = Arc::new(BlockCache::new(limits.cache_bytes_max));
    let levels = scan::open_runs(&*disk, &manifest, &cache)?;
    let mut scan = scan::scan(&*disk, &manifest)?;
    let leftovers = repair::leftovers(&*disk, &manifest)?;
    let mut free = scan::free_slots(&*disk, &manifest)?;
    let blobs = Blobs::new(disk.clone(), manifest.salt);
    let unreferred = scan::blobs(&*disk, &scan, &levels, &blobs)?;
    let last = scan.last();
    let missing = |evidence: &str| {
        OpenError::Damaged(format!(
            "commit {} was acknowledged ({evidence}) and is missing or does not check; nothing was changed. Restore the segments in {} from a backup",
            last + 1,
            disk.describe(),
        ))
    };
    if last < mark.commit {
        return Err(missing("the watermark says so"));
    }
    let proof = scan.torn.as_ref().and_then(|torn| torn.proof);
    if proof.is_some_and(|proof| last < proof) {
        return Err(missing("a later commit says so"));
    }
    let (views, folded) = rows::open_views(&*view_store, views, &manifest, &scan)?;
    if last < folded {
        return Err(missing("the view store has seen it"));
    }

    // From here on bytes change.
    repair::remove(&*disk, leftovers.iter().chain(&unreferred))?;
    if manifest.upgraded {
        // Before anything of the newer format is written: older software may not take this log for its own.
        manifest
            .write(&*disk)
            .map_err(io("writing the manifest in the present format"))?;
    }
    repair::rewrite_above(&scan, mark.commit)?;
    let epoch = mark.epoch.max(scan.epoch) + 1;
    if let Some(torn) = scan.torn.take() {
        repair::cut(&*disk, torn, last + 1, epoch, limits.commit_bytes_max)?;
    }
    let mark = Mark {
        store: manifest.store,
        epoch,
        commit: last,
        clean: false,
    };
    watermark.write(&mark).map_err(io("writing the watermark"))?;

    let (ready, position) = place(&scan, epoch);
    let slots = Slots::default();
    for slot in scan.slots.iter().filter(|slot| slot.base.load(Ordering::Relaxed) > 0) {
        slots.insert(slot.clone());
    }
    for (place, _) in &scan.commits {
        slots.note(place.commit, place.generation, place.offset, place.bytes);
    }
    // One that was passed over, of another size than was wanted, is of use again.
    let active = position.slot.as_ref().map_or(0, |slot| slot.generation);
    let passed_over = |slot: &Arc<Slot>| slot.generation < active && slot.base.load(Ordering::Relaxed) == 0;
    let (unused, listed) = scan.slots.iter().cloned().partition(passed_over);
    free.extend::<Vec<Arc<Slot>>>(unused);
    let present = PresentLevels::default();
    present.set(Levels { runs: levels });
    let shared = Arc::new(Shared::new(Parts {
        store: manifest.store,
        env,
        slots,
        levels: present,
        cache,
        blobs,
        files: Files::new(disk, manifest, listed, free),
        views,
        supply: Supply::with(ready),
        limits,
        durability,
        chain,
        lock,
        last,
    }));
    if let Some(slot) = &position.slot {
        shared.written(slot, last);
    }
    rows::fill(&shared, scan, folded)?;
    shared.go_on_erasing(last)?;
    Ok(Recovered {
        shared,
        position,
        watermark,
        mark,
    })
}

fn check_limits(limits: &Limits) -> Result<(), OpenError> {
    let commit = limits.commit_bytes_max as u64;
    let invalid = if limits.commit_appends_max == 0 || limits.append_records_max == 0 {
        "commit_appends_max and append_records_max must be above 0"
    } else if limits.segment_bytes > u64::from(u32::MAX) {
        "segment_bytes must be below 4 GiB"
    } else if commit > limits.segment_bytes {
        "commit_bytes_max must not exceed segment_bytes: a commit never spans two segments"
    } else if limits.inline_bytes_max + 2 * (COMMIT_FRAME + codec::v1::FRAME) > limits.commit_bytes_max {
        "inline_bytes_max must leave room for a commit's header within commit_bytes_max"
    } else if limits.queue_bytes_max > u32::MAX as usize || limits.queue_bytes_max == 0 || limits.queue_appends_max == 0
    {
        "queue_bytes_max and queue_appends_max must be above 0, and the former below 4 GiB"
    } else if limits.read_records_max == 0 {
        "read_records_max must be above 0"
    } else if limits.cluster_segments_min == 0 || limits.cluster_segments_min > limits.cluster_segments_max {
        "cluster_segments_min must be above 0 and at most cluster_segments_max"
    } else if limits.run_fan_out < 2 {
        "run_fan_out must be at least 2"
    } else {
        return Ok(());
    };
    Err(OpenError::Invalid(invalid.to_owned()))
}

/// A new store: the manifest is what makes it one.
fn make_store(disk: &dyn Disk, store: [u8; 16]) -> Result<Manifest, OpenError> {
    let present = disk.list().map_err(io(format!("listing {}", disk.describe())))?;
    let counts = |name: &&String| {
        Slot::is_name(name) || crate::run::is_name(name) || crate::blob::is_name(name) || **name == watermark::FILE
    };
    if let Some(name) = present.iter().find(counts) {
        return Err(OpenError::Damaged(format!(
            "{} has a file {name} and no {}; restore it from a backup",
            disk.describe(),
            manifest::FILE
        )));
    }
    let manifest = Manifest::empty(store);
    manifest
        .write(disk)
        .map_err(io(format!("making a log in {}", disk.describe())))?;
    Ok(manifest)
}

fn open_watermark(disk: &dyn Disk, manifest: &Manifest) -> Result<(Watermark, Mark), OpenError> {
    let nothing = Mark {
        store: manifest.store,
        epoch: 0,
        commit: 0,
        clean: true,
    };
    let made = |disk: &dyn Disk| {
        let made = Watermark::create(disk, &nothing).and_then(|made| disk.sync_dir().map(|()| made));
        made.map_err(io("making the watermark")).map(|made| (made, nothing))
    };
    let unused = manifest.slots.is_empty() && manifest.runs.is_empty();
    // A crash while the store is made can leave it without one, or with one never written; segments come after it.
    match Watermark::open(disk) {
        Ok((watermark, Some(mark))) if mark.store == manifest.store => Ok((watermark, mark)),
        Ok((_, Some(_))) => Err(OpenError::Damaged("the watermark belongs to another store".to_owned())),
        Ok((_, None)) if unused => made(disk),
        Ok((_, None)) => Err(OpenError::Damaged(
            "neither slot of the watermark checks; restore it from a backup".to_owned(),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound && unused => made(disk),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::Damaged(
            "the watermark is missing; restore it from a backup".to_owned(),
        )),
        Err(error) => Err(io("reading the watermark")(error)),
    }
}

/// Which slots are still unused, and where the writer goes on.
fn place(scan: &Scan, epoch: u64) -> (VecDeque<Arc<Slot>>, Position) {
    let (active, offset) = scan.end.unwrap_or((0, 0));
    let unused = |slot: &&Arc<Slot>| slot.generation > active;
    let ready = scan.slots.iter().filter(unused).cloned().collect();
    let slot = scan.slots.iter().find(|slot| slot.generation == active).cloned();
    let (commit, hash) = scan.tip();
    let position = Position {
        slot,
        offset,
        commit,
        hash,
        epoch,
    };
    (ready, position)
}

fn start(recovered: Recovered) -> Result<(Front, JoinHandle<()>), OpenError> {
    let queue = Arc::new(Queue::default());
    let Recovered {
        shared,
        position,
        watermark,
        mark,
    } = recovered;
    let segment_bytes = shared.limits.segment_bytes;
    let new = position.slot.is_none();
    let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let preparing = {
        let shared = shared.clone();
        thread("log-supply").spawn(move || shared.supply.run(&shared.files, segment_bytes))
    };
    let clustering = {
        let shared = shared.clone();
        thread("log-cluster").spawn(move || {
            if catch_unwind(AssertUnwindSafe(|| shared.cluster.run(&shared))).is_err() {
                shared.poison.set("the clustering thread panicked".to_owned());
            }
        })
    };
    let keeping = {
        let shared = shared.clone();
        thread("log-keeper").spawn(move || {
            let kept = catch_unwind(AssertUnwindSafe(|| shared.keeper.run(&shared, watermark, mark)));
            if kept.is_err() {
                shared.poison.set("the keeper thread panicked".to_owned());
            }
        })
    };
    let mut helpers = Vec::new();
    let mut trouble = None;
    for spawned in [preparing, clustering, keeping] {
        match spawned {
            Ok(handle) => helpers.push(handle),
            Err(error) => trouble = Some(error),
        }
    }
    *shared.helpers.lock() = helpers;
    let pipeline = Pipeline::new(
        shared.store,
        shared.durability == Durability::Sync,
        position,
        shared.stats.clone(),
    );
    let syncer = match (trouble, Syncer::start(pipeline, queue.clone())) {
        (None, Ok(syncer)) => syncer,
        (Some(error), _) | (None, Err(error)) => {
            shared.stop_helpers();
            return Err(io("starting a thread")(error));
        }
    };
    if new {
        // What an open may take, no acknowledgement should.
        shared.supply.wait();
    }
    let front = Front {
        shared: shared.clone(),
        queue: queue.clone(),
        syncing: syncer.shared(),
    };
    let mut writer = Writer::new(shared.clone(), queue, syncer);
    if let Err(error) = record_cuts(&shared, &mut writer) {
        shared.stop_helpers();
        return Err(error);
    }
    let writing = thread("log-writer").spawn({
        let shared = shared.clone();
        move || {
            // A writer that is gone must not look like one that is slow: whoever watches the log is told.
            if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                shared.poison.set("the writer thread panicked".to_owned());
                shared.stop_helpers();
            }
        }
    });
    match writing {
        Ok(handle) => Ok((front, handle)),
        Err(error) => {
            shared.stop_helpers();
            Err(io("starting a thread")(error))
        }
    }
}

/// Makes records of cuts that no record speaks of yet.
fn record_cuts(shared: &Arc<Shared>, writer: &mut Writer) -> Result<(), OpenError> {
    let system = Name::new("", SYSTEM_STREAM).map_err(|error| OpenError::Invalid(error.to_string()))?;
    let stored = |error: crate::view_store::StoreError| OpenError::ViewStore(error.0);
    let cell = shared.find_stream(&system).map_err(stored)?;
    let untold = repair::untold_cuts(shared, &*shared.files.disk, cell.as_ref())?;
    if untold.is_empty() {
        return Ok(());
    }
    if let Some(cell) = &cell {
        shared.load_folds(cell).map_err(stored)?;
    }
    for cut in untold {
        let noted = writer.append_own(system.clone(), Kind::LOG_RECOVERED, cut);
        noted.map_err(|error| OpenError::Io {
            what: "recording a cut".to_owned(),
            source: io::Error::other(error.to_string()),
        })?;
    }
    Ok(())
}
