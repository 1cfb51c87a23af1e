//! Opening a log: lock, check every commit, tell a torn tail from damage, repair the one and refuse the other, make durable what
//! may be in the page cache only, then bring the views up to date. Nothing is changed before everything was checked.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::codec::v1::COMMIT_FRAME;
use crate::codec::{self, COMMIT_ALIGN, CommitFrame};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::index::{Cell, Loc, Streams};
use crate::keeper::Keeper;
use crate::limits::Limits;
use crate::log::{Options, Shared};
use crate::poison::Poison;
use crate::record::{Kind, Name, StreamId, SubStreamId};
use crate::segment::manifest::{self, Manifest};
use crate::segment::supply::Supply;
use crate::segment::{Slot, Slots};
use crate::tail::Tail;
use crate::view::checkpoint::Meta;
use crate::view::inline::{Folds, Views};
use crate::view_store::{OpenViewStore, StoreError};
use crate::watermark::{self, Mark, Watermark};
use crate::writer::{Command, Position, Writer};

/// Name of the node's own stream, which no caller can choose: names of callers' streams have no control characters of this kind.
const SYSTEM_STREAM: &str = "\u{0}node";

/// Where one commit lies.
#[derive(Clone, Copy)]
struct Found {
    generation: u32,
    offset: u64,
    bytes: usize,
}

/// What the segments hold.
#[derive(Default)]
struct Scan {
    streams: Streams,
    slots: Vec<Arc<Slot>>,
    /// Every commit, in order: number 1 first.
    commits: Vec<(Found, u64)>,
    /// The last commit of each stream.
    touched: HashMap<StreamId, u64>,
    /// Highest epoch seen.
    epoch: u64,
    /// Where the next commit belongs: generation and offset. `None` in an empty store.
    end: Option<(u32, u64)>,
    /// Bytes after the end that are not zero.
    torn: Option<Torn>,
}

struct Torn {
    slot: Arc<Slot>,
    offset: u64,
    bytes: Vec<u8>,
    /// The highest commit that an intact commit behind the damage says was durable.
    proof: Option<u64>,
}

fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    move |source| OpenError::Io { what, source }
}

/// Opens a log and starts its threads.
pub(crate) fn open(
    options: Options,
    commands: mpsc::Receiver<Command>,
) -> Result<(Arc<Shared>, JoinHandle<()>), OpenError> {
    let Options {
        disk,
        view_store,
        env,
        limits,
        views,
    } = options;
    check_limits(&limits)?;
    let lock = disk.lock().map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked(disk.describe()),
        _ => OpenError::Io {
            what: format!("locking {}", disk.describe()),
            source,
        },
    })?;
    let manifest = match Manifest::read(&*disk)? {
        Some(manifest) => manifest,
        None => make_store(&*disk, env.mint())?,
    };
    let (mut watermark, mark) = open_watermark(&*disk, &manifest)?;
    let mut scan = scan(&*disk, &manifest)?;
    let leftovers = leftovers(&*disk, &manifest)?;
    let last = scan.commits.len() as u64;
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
    if scan
        .torn
        .as_ref()
        .and_then(|torn| torn.proof)
        .is_some_and(|proof| last < proof)
    {
        return Err(missing("a later commit says so"));
    }
    let (views, folded) = open_views(&*view_store, views, &manifest, &scan)?;
    if last < folded {
        return Err(missing("the view store has seen it"));
    }

    // From here on bytes change.
    remove(&*disk, &leftovers)?;
    rewrite_above(&scan, mark.commit)?;
    let epoch = mark.epoch.max(scan.epoch) + 1;
    if let Some(torn) = scan.torn.take() {
        cut(&*disk, torn, last + 1, epoch)?;
    }
    let mark = Mark {
        store: manifest.store,
        epoch,
        commit: last,
        clean: false,
    };
    watermark.write(&mark).map_err(io("writing the watermark"))?;

    let hash = scan.commits.last().map_or(0, |(_, hash)| *hash);
    let (ready, position) = place(&scan, last, hash, epoch);
    let segment_bytes = limits.segment_bytes;
    let slots = Slots::default();
    for slot in scan.slots.iter().filter(|slot| slot.base.load(Ordering::Relaxed) > 0) {
        slots.insert(slot.clone());
    }
    let shared = Arc::new(Shared {
        store: manifest.store,
        env,
        poison: Poison::default(),
        streams: std::mem::take(&mut scan.streams),
        tail: Tail::new(limits.tail_bytes_max),
        slots,
        views,
        supply: Supply::with(ready),
        keeper: Keeper::default(),
        durable: AtomicU64::new(last),
        helpers: parking_lot::Mutex::default(),
        lock: parking_lot::Mutex::new(Some(lock)),
        limits,
    });
    if let Err(error) = catch_up(&shared, &scan, folded) {
        tracing::warn!(%error, "rows of the view store can't be gone on from: it is rebuilt");
        let rebuilt = shared.views.clear().and_then(|()| catch_up(&shared, &scan, 0));
        rebuilt.map_err(|error| OpenError::ViewStore(error.0))?;
    }
    shared.streams.publish_all();
    start(
        shared,
        commands,
        position,
        disk,
        manifest,
        scan.slots,
        segment_bytes,
        watermark,
        mark,
    )
}

fn check_limits(limits: &Limits) -> Result<(), OpenError> {
    let commit = limits.commit_bytes_max as u64;
    let invalid = if limits.commit_appends_max == 0 || limits.append_records_max == 0 {
        "commit_appends_max and append_records_max must be above 0"
    } else if limits.segment_bytes > u64::from(u32::MAX) {
        "segment_bytes must be below 4 GiB"
    } else if commit > limits.segment_bytes {
        "commit_bytes_max must not exceed segment_bytes: a commit never spans two segments"
    } else if limits.payload_bytes_max + 2 * (COMMIT_FRAME + codec::v1::FRAME) > limits.commit_bytes_max {
        "payload_bytes_max must leave room for a commit's header within commit_bytes_max"
    } else if limits.queue_bytes_max > u32::MAX as usize || limits.queue_bytes_max == 0 || limits.queue_appends_max == 0
    {
        "queue_bytes_max and queue_appends_max must be above 0, and the former below 4 GiB"
    } else if limits.read_records_max == 0 {
        "read_records_max must be above 0"
    } else {
        return Ok(());
    };
    Err(OpenError::Invalid(invalid.to_owned()))
}

/// A new store: the manifest is what makes it one.
fn make_store(disk: &dyn Disk, store: [u8; 16]) -> Result<Manifest, OpenError> {
    let present = disk.list().map_err(io(format!("listing {}", disk.describe())))?;
    if let Some(name) = present
        .iter()
        .find(|name| name.starts_with("slot-") || *name == watermark::FILE)
    {
        return Err(OpenError::Damaged(format!(
            "{} has a file {name} and no {}; restore it from a backup",
            disk.describe(),
            manifest::FILE
        )));
    }
    let manifest = Manifest {
        format: codec::v1::FORMAT,
        store,
        slots: Vec::new(),
    };
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
    // A crash while the store is made can leave it without one, or with one never written; segments come after it.
    match Watermark::open(disk) {
        Ok((watermark, Some(mark))) if mark.store == manifest.store => Ok((watermark, mark)),
        Ok((_, Some(_))) => Err(OpenError::Damaged("the watermark belongs to another store".to_owned())),
        Ok((_, None)) if manifest.slots.is_empty() => made(disk),
        Ok((_, None)) => Err(OpenError::Damaged(
            "neither slot of the watermark checks; restore it from a backup".to_owned(),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound && manifest.slots.is_empty() => made(disk),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::Damaged(
            "the watermark is missing; restore it from a backup".to_owned(),
        )),
        Err(error) => Err(io("reading the watermark")(error)),
    }
}

/// Reads every listed slot and takes in every commit that follows the one before it.
fn scan(disk: &dyn Disk, manifest: &Manifest) -> Result<Scan, OpenError> {
    let mut scan = Scan::default();
    for entry in &manifest.slots {
        let name = Slot::name(entry.slot);
        let file = disk.open(&name).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                OpenError::Damaged(format!("the segment {name} is missing; restore it from a backup"))
            }
            _ => io(format!("opening {name}"))(error),
        })?;
        let length = file.len().map_err(io(format!("reading {name}")))?;
        if length != entry.bytes {
            return Err(OpenError::Damaged(format!(
                "the segment {name} has {length} bytes, not {}",
                entry.bytes
            )));
        }
        let slot = Arc::new(Slot {
            number: entry.slot,
            generation: entry.generation,
            bytes: entry.bytes,
            base: AtomicU64::new(0),
            file,
        });
        if scan
            .slots
            .last()
            .is_some_and(|before| before.generation >= slot.generation)
        {
            return Err(OpenError::Damaged(
                "the manifest's segments are out of order".to_owned(),
            ));
        }
        scan.slots.push(slot.clone());
        scan_slot(&mut scan, &slot, manifest.store)?;
    }
    Ok(scan)
}

fn scan_slot(scan: &mut Scan, slot: &Arc<Slot>, store: [u8; 16]) -> Result<(), OpenError> {
    let name = Slot::name(slot.number);
    let mut bytes = vec![0; slot.bytes as usize];
    slot.file
        .read_at(0, &mut bytes)
        .map_err(io(format!("reading {name}")))?;
    let bytes = Bytes::from(bytes);
    let mut at = 0;
    // Behind damage nothing is taken in: what stands there is evidence only.
    if scan.torn.is_none() {
        while let Some(frame) = next_commit(scan, slot, store, &bytes[at..]) {
            take_in(scan, slot, &bytes.slice(at..at + frame.bytes), at, &frame).map_err(|what| {
                OpenError::Damaged(format!(
                    "commit {} in {name} contradicts what comes before it: {what}",
                    frame.header.commit
                ))
            })?;
            at += frame.bytes;
        }
        if at > 0 {
            scan.end = Some((slot.generation, at as u64));
        }
    }
    let commit = scan.commits.len() as u64 + 1;
    let rest = &bytes[at..];
    let mine =
        |frame: &CommitFrame| frame.header.store == store && frame.header.generation == u64::from(slot.generation);
    if rest.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let mut proof = None;
    for offset in (0..rest.len()).step_by(COMMIT_ALIGN) {
        if let Some(frame) = codec::decode_commit(&rest[offset..]).filter(mine)
            && frame.header.commit >= commit
        {
            proof = proof.max(Some(frame.header.durable_through));
        }
    }
    match &mut scan.torn {
        Some(torn) => torn.proof = torn.proof.max(proof),
        None => {
            if let Some(length) = rest.iter().rposition(|byte| *byte != 0) {
                scan.torn = Some(Torn {
                    slot: slot.clone(),
                    offset: at as u64,
                    bytes: rest[..=length].to_vec(),
                    proof,
                });
            }
        }
    }
    Ok(())
}

/// The commit at the start of `bytes`, if it is the one that comes next.
fn next_commit(scan: &Scan, slot: &Slot, store: [u8; 16], bytes: &[u8]) -> Option<CommitFrame> {
    let frame = codec::decode_commit(bytes)?;
    let (number, hash) = (
        scan.commits.len() as u64,
        scan.commits.last().map_or(0, |(_, hash)| *hash),
    );
    let next = frame.header.store == store
        && frame.header.generation == u64::from(slot.generation)
        && frame.header.commit == number + 1
        && frame.header.previous_hash == hash;
    next.then_some(frame)
}

fn take_in(scan: &mut Scan, slot: &Slot, commit: &Bytes, offset: usize, frame: &CommitFrame) -> Result<(), String> {
    let end = COMMIT_FRAME + frame.header.body_bytes as usize;
    let (mut at, mut count) = (COMMIT_FRAME, 0);
    while at < end {
        let (record, bytes) = codec::decode_record(&commit.slice(at..end))?;
        let (header, _) = codec::decode_header(&commit[at..end])?;
        if record.commit != frame.header.commit || record.index != count {
            return Err(format!(
                "its record {count} says it is record {} of commit {}",
                record.index, record.commit
            ));
        }
        let cell = match (&record.opens.stream, scan.streams.get(record.stream)) {
            (None, Some(cell)) => cell,
            (Some(name), None) => {
                let cell = Cell::new(record.stream, name.clone(), Folds::Stored);
                scan.streams.insert(&cell);
                cell
            }
            (Some(name), Some(_)) => return Err(format!("the stream {name:?} is opened twice")),
            (None, None) => return Err(format!("the stream {} was never opened", record.stream)),
        };
        let loc = Loc {
            generation: slot.generation,
            offset: (offset + at) as u32,
            bytes: bytes as u32,
        };
        cell.index.write().push(&header, loc)?;
        if let Some(name) = record.opens.sub_stream {
            scan.streams.insert_sub(name, &cell, SubStreamId(header.sub_stream));
        }
        scan.touched.insert(record.stream, record.commit);
        at += bytes;
        count += 1;
    }
    if count != frame.header.records {
        return Err(format!("it has {count} records, not {}", frame.header.records));
    }
    if slot.base.load(Ordering::Relaxed) == 0 {
        slot.base.store(frame.header.commit, Ordering::Relaxed);
    }
    let found = Found {
        generation: slot.generation,
        offset: offset as u64,
        bytes: frame.bytes,
    };
    scan.commits.push((found, frame.hash));
    scan.epoch = scan.epoch.max(frame.header.epoch);
    Ok(())
}

/// Opens the view store, emptied if its rows can't be gone on from. Returns the last commit that it reflects, 0 for an empty one.
/// What an emptied store once had seen still counts as evidence if it was of this log.
fn open_views(
    opener: &dyn OpenViewStore,
    views: Vec<Arc<dyn crate::view::View>>,
    manifest: &Manifest,
    scan: &Scan,
) -> Result<(Views, u64), OpenError> {
    let failed = |error: StoreError| OpenError::ViewStore(format!("{} in {}", error.0, opener.describe()));
    let opened = opener.open().and_then(|store| {
        let views = Views::new(views.clone(), store);
        let meta = views.meta()?;
        let empty = views.is_empty()?;
        Ok((views, meta, empty))
    });
    let why = match opened {
        Ok((views, None, true)) => return Ok((views, 0)),
        Ok((views, Some(meta), _)) if meta.store == manifest.store => {
            if meta.folded > scan.commits.len() as u64 || goes_on(&views, &meta, scan) {
                return Ok((views, meta.folded));
            }
            "it reflects another history or other views".to_owned()
        }
        Ok((_views, ..)) => "it is not of this log".to_owned(),
        Err(error) => error.0,
    };
    // By now the store is closed: each arm above took it.
    tracing::warn!(store = %opener.describe(), %why, "the view store is rebuilt");
    opener.discard().map_err(failed)?;
    Ok((Views::new(views, opener.open().map_err(failed)?), 0))
}

fn goes_on(views: &Views, meta: &Meta, scan: &Scan) -> bool {
    let hash = match meta.folded {
        0 => 0,
        folded => scan.commits[folded as usize - 1].1,
    };
    meta.views == views.versions() && meta.hash == hash
}

/// Files that a crash may leave behind. One that holds a commit of this store is none: then the manifest is older than the log.
fn leftovers(disk: &dyn Disk, manifest: &Manifest) -> Result<Vec<String>, OpenError> {
    let names = disk.list().map_err(io(format!("listing {}", disk.describe())))?;
    let leftovers: Vec<String> = names.into_iter().filter(|name| manifest.is_leftover(name)).collect();
    for name in leftovers.iter().filter(|name| Slot::is_name(name)) {
        let read = || {
            let file = disk.open(name)?;
            let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
            file.read_at(0, &mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(io(format!("reading {name}")))?;
        if codec::decode_commit(&bytes).is_some_and(|frame| frame.header.store == manifest.store) {
            return Err(OpenError::Damaged(format!(
                "the segment {name} holds commits and the manifest does not list it: the manifest is older than the log; \
                 nothing was changed. Restore {} from a backup",
                disk.describe()
            )));
        }
    }
    Ok(leftovers)
}

fn remove(disk: &dyn Disk, leftovers: &[String]) -> Result<(), OpenError> {
    for name in leftovers {
        disk.remove(name).map_err(io(format!("removing {name}")))?;
    }
    if leftovers.is_empty() {
        return Ok(());
    }
    disk.sync_dir().map_err(io(format!("syncing {}", disk.describe())))
}

/// Writes every commit above the watermark once more, byte for byte, and syncs: they may have been read from the page cache only,
/// and after a failed sync the kernel takes such pages for written.
fn rewrite_above(scan: &Scan, mark: u64) -> Result<(), OpenError> {
    let mut touched: Option<Arc<Slot>> = None;
    let sync = |slot: &Slot| {
        slot.file
            .sync()
            .map_err(io(format!("syncing {}", Slot::name(slot.number))))
    };
    for (found, _) in scan.commits.iter().skip(mark as usize) {
        let slot = scan.slots.iter().find(|slot| slot.generation == found.generation);
        let slot = slot.ok_or_else(|| OpenError::Damaged("a commit lies in no listed segment".to_owned()))?;
        if let Some(before) = touched.take_if(|before| before.generation != slot.generation) {
            sync(&before)?;
        }
        let mut bytes = vec![0; found.bytes];
        slot.file
            .read_at(found.offset, &mut bytes)
            .and_then(|()| slot.file.write_at(found.offset, &bytes))
            .map_err(io(format!("rewriting {}", Slot::name(slot.number))))?;
        touched = Some(slot.clone());
    }
    touched.map_or(Ok(()), |slot| sync(&slot))
}

/// Copies of torn tails are called `torn-<commit>-<segment>-<offset>-<epoch>`: what there is to say about a cut is in its name and length.
const TORN: &str = "torn-";

/// Keeps a copy of a torn tail, then zeroes it in place. [`untold_cuts`] finds the copy and has it recorded, in this open or a later one.
fn cut(disk: &dyn Disk, torn: Torn, commit: u64, epoch: u64) -> Result<(), OpenError> {
    let slot = Slot::name(torn.slot.number);
    let saved_as = format!("{TORN}{commit}-{slot}-{}-{epoch}", torn.offset);
    let save = || {
        let copy = disk.create(&saved_as)?;
        copy.write_at(0, &torn.bytes)?;
        copy.sync()?;
        disk.sync_dir()?;
        torn.slot.file.write_at(torn.offset, &vec![0; torn.bytes.len()])?;
        torn.slot.file.sync()
    };
    save().map_err(io(format!("cutting the torn tail of {slot}")))?;
    tracing::warn!(commit, bytes = torn.bytes.len(), %saved_as, "a torn tail was cut: it was never acknowledged");
    Ok(())
}

/// What is to be recorded about cuts whose copies are there and of which no record speaks.
fn untold_cuts(shared: &Shared, disk: &dyn Disk, system: &Name) -> Result<Vec<Bytes>, OpenError> {
    let mut told = String::new();
    if let Some(cell) = shared.streams.named(system) {
        let mut next = 1;
        loop {
            let records = shared
                .fetch_blocking(&cell, next)
                .map_err(|error| OpenError::Damaged(error.to_string()))?;
            let Some(last) = records.last() else { break };
            next = last.position + 1;
            records
                .iter()
                .for_each(|record| told.push_str(&String::from_utf8_lossy(&record.payload)));
        }
    }
    let mut untold = Vec::new();
    for name in disk.list().map_err(io(format!("listing {}", disk.describe())))? {
        let quoted = serde_json::Value::from(&*name).to_string();
        if !name.starts_with(TORN) || told.contains(&quoted) {
            continue;
        }
        let bytes = disk
            .open(&name)
            .and_then(|file| file.len())
            .map_err(io(format!("reading {name}")))?;
        let mut parts = name[TORN.len()..].split('-');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        let (commit, _slot, slot, offset) = (number(), number(), number(), number());
        let told = serde_json::json!({
            "cut_before_commit": commit,
            "segment": slot.and_then(|slot| u32::try_from(slot).ok()).map(Slot::name),
            "offset": offset,
            "bytes": bytes,
            "saved_as": name,
        });
        untold.push(Bytes::from(told.to_string()));
    }
    Ok(untold)
}

/// Which slots are still unused, and where the writer goes on.
fn place(scan: &Scan, commit: u64, hash: u64, epoch: u64) -> (VecDeque<Arc<Slot>>, Position) {
    let (active, offset) = scan.end.unwrap_or((0, 0));
    let ready = scan
        .slots
        .iter()
        .filter(|slot| slot.generation > active)
        .cloned()
        .collect();
    let slot = scan.slots.iter().find(|slot| slot.generation == active).cloned();
    (
        ready,
        Position {
            slot,
            offset,
            commit,
            hash,
            epoch,
        },
    )
}

/// Streams that are brought up to date between two write-backs, so that a rebuild's memory stays bounded.
const CATCH_UP_STREAMS: usize = 1_024;

/// Folds what the view store has not seen.
fn catch_up(shared: &Arc<Shared>, scan: &Scan, folded: u64) -> Result<(), StoreError> {
    let hash_of = |commit: u64| commit.checked_sub(1).map_or(0, |at| scan.commits[at as usize].1);
    let behind: Vec<Arc<Cell>> = scan
        .touched
        .iter()
        .filter(|(_, commit)| **commit > folded)
        .filter_map(|(stream, _)| shared.streams.get(*stream))
        .collect();
    for some in behind.chunks(CATCH_UP_STREAMS) {
        for cell in some {
            shared.load_folds(cell)?;
        }
        // Not all streams are up to date yet: the store may not claim more than before.
        shared.views.folded(some.iter(), 0, folded, hash_of(folded));
        shared.views.write_back(shared.store)?;
        for cell in some {
            *cell.folds.lock() = Folds::Stored;
            cell.loaded.store(false, Ordering::Release);
        }
    }
    let last = scan.commits.len() as u64;
    shared.views.folded([].iter(), 0, last, hash_of(last));
    shared.views.write_back(shared.store)
}

#[allow(clippy::too_many_arguments)] // the last step of one function, split for reading
fn start(
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    position: Position,
    disk: Arc<dyn Disk>,
    manifest: Manifest,
    slots: Vec<Arc<Slot>>,
    segment_bytes: u64,
    watermark: Watermark,
    mark: Mark,
) -> Result<(Arc<Shared>, JoinHandle<()>), OpenError> {
    let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let preparing = {
        let (shared, disk) = (shared.clone(), disk.clone());
        thread("log-supply").spawn(move || shared.supply.run(&*disk, manifest, slots, segment_bytes))
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
    for spawned in [preparing, keeping] {
        match spawned {
            Ok(handle) => helpers.push(handle),
            Err(error) => trouble = Some(error),
        }
    }
    *shared.helpers.lock() = helpers;
    let mut writer = Writer {
        shared: shared.clone(),
        queue: commands,
        at: position,
    };
    if let Some(error) = trouble {
        shared.stop_helpers();
        return Err(io("starting a thread")(error));
    }
    if let Err(error) = record_cuts(&shared, &*disk, &mut writer) {
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
        Ok(handle) => Ok((shared, handle)),
        Err(error) => {
            shared.stop_helpers();
            Err(io("starting a thread")(error))
        }
    }
}

/// Makes records of cuts that no record speaks of yet.
fn record_cuts(shared: &Shared, disk: &dyn Disk, writer: &mut Writer) -> Result<(), OpenError> {
    let system = Name::new("", SYSTEM_STREAM).map_err(|error| OpenError::Invalid(error.to_string()))?;
    let untold = untold_cuts(shared, disk, &system)?;
    if untold.is_empty() {
        return Ok(());
    }
    if let Some(cell) = shared.streams.named(&system) {
        shared
            .load_folds(&cell)
            .map_err(|error| OpenError::ViewStore(error.0))?;
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
