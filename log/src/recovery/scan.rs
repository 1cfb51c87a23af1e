//! Reading what the disk holds, changing nothing: the runs' ends, every commit of every slot, which blobs are referred to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::io;
use crate::blob::{self, Blobs};
use crate::codec::v1::RecordHeader;
use crate::codec::{self, COMMIT_ALIGN, CommitFrame, TERMINATOR};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::index::Loc;
use crate::record::{Digest, Extras, StreamId};
use crate::run::{BlockCache, Run};
use crate::segment::files::listed_slot;
use crate::segment::manifest::{Free, Manifest};
use crate::segment::{CommitPlace, Slot};

/// A record of a slot: what it says beside its payload, and where it lies.
pub(super) struct Scanned {
    pub(super) header: RecordHeader,
    pub(super) extras: Option<Box<Extras>>,
    pub(super) loc: Loc,
}

/// What the slots hold.
pub(super) struct Scan {
    pub(super) slots: Vec<Arc<Slot>>,
    /// The last commit that is in runs, and its hash.
    clustered: (u64, Digest),
    /// Every commit after it, in order.
    pub(super) commits: Vec<(CommitPlace, Digest)>,
    /// Their records, by stream.
    pub(super) streams: HashMap<StreamId, Vec<Scanned>>,
    /// Highest epoch seen.
    pub(super) epoch: u64,
    /// Where the next commit belongs: generation and offset. `None` if no slot has a commit.
    pub(super) end: Option<(u32, u64)>,
    /// What was begun behind the last commit.
    pub(super) torn: Option<Torn>,
}

/// Bytes behind the last intact commit that were not there when it was written.
pub(super) struct Torn {
    pub(super) slot: Arc<Slot>,
    pub(super) offset: u64,
    /// Up to the last byte that is not zero.
    pub(super) bytes: Vec<u8>,
    /// The highest commit that an intact commit behind the damage says was durable.
    pub(super) proof: Option<u64>,
}

impl Scan {
    /// Number and hash of the last commit.
    pub(super) fn tip(&self) -> (u64, Digest) {
        self.commits
            .last()
            .map_or(self.clustered, |(place, hash)| (place.commit, *hash))
    }

    pub(super) fn last(&self) -> u64 {
        self.tip().0
    }

    /// The hash of a commit, if it is known without reading a run.
    pub(super) fn hash_of(&self, commit: u64) -> Option<Digest> {
        if commit == self.clustered.0 {
            return Some(self.clustered.1);
        }
        let at = commit.checked_sub(self.clustered.0 + 1)?;
        self.commits.get(at as usize).map(|(_, hash)| *hash)
    }

    /// The last commit that is in runs.
    pub(super) fn clustered(&self) -> u64 {
        self.clustered.0
    }
}

/// Opens every listed run: its ends and index are checked, its records when they are read.
pub(super) fn open_runs(
    disk: &dyn Disk,
    manifest: &Manifest,
    cache: &Arc<BlockCache>,
) -> Result<Vec<Arc<Run>>, OpenError> {
    let mut runs = Vec::with_capacity(manifest.runs.len());
    let mut next = manifest.origin.0 + 1;
    for entry in &manifest.runs {
        let name = crate::run::name(entry.run);
        let damaged =
            |what: String| OpenError::Damaged(format!("{what}; nothing was changed. Restore {name} from a backup"));
        if entry.first != next || entry.last < entry.first {
            return Err(damaged(format!(
                "{name} begins with commit {}, not {next}",
                entry.first
            )));
        }
        next = entry.last + 1;
        let run = Run::open(disk, entry.run, cache.clone()).map_err(|error| match error {
            crate::run::RunError::Io { source, .. } if source.kind() != std::io::ErrorKind::NotFound => {
                io(format!("reading {name}"))(source)
            }
            error => damaged(error.to_string()),
        })?;
        let footer = run.footer();
        if (footer.first_commit, footer.last_commit) != (entry.first, entry.last) || run.file_bytes() != entry.bytes {
            return Err(damaged(format!("{name} is not the run that the manifest lists")));
        }
        runs.push(Arc::new(run));
    }
    Ok(runs)
}

/// The slots that hold nothing, opened.
pub(super) fn free_slots(disk: &dyn Disk, manifest: &Manifest) -> Result<Vec<Arc<Slot>>, OpenError> {
    let open = |free: &Free| {
        let name = Slot::name(free.slot);
        let file = disk.open(&name).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                OpenError::Damaged(format!("the free segment {name} is missing; restore it from a backup"))
            }
            _ => io(format!("opening {name}"))(error),
        })?;
        let length = file.len().map_err(io(format!("reading {name}")))?;
        if length != free.bytes {
            return Err(OpenError::Damaged(format!(
                "the free segment {name} has {length} bytes, not {}; nothing was changed. Restore it from a backup",
                free.bytes
            )));
        }
        Ok(listed_slot(
            &crate::segment::manifest::Entry {
                slot: free.slot,
                generation: 0,
                base: 0,
                bytes: free.bytes,
                recycled: true,
            },
            file,
        ))
    };
    manifest.free.iter().map(open).collect()
}

/// Reads every listed slot and takes in every commit that follows the one before it.
pub(super) fn scan(disk: &dyn Disk, manifest: &Manifest) -> Result<Scan, OpenError> {
    let mut scan = Scan {
        slots: Vec::new(),
        clustered: manifest.clustered(),
        commits: Vec::new(),
        streams: HashMap::new(),
        epoch: 0,
        end: None,
        torn: None,
    };
    for entry in &manifest.slots {
        let name = Slot::name(entry.slot);
        let file = disk.open(&name).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                OpenError::Damaged(format!("the segment {name} is missing; restore it from a backup"))
            }
            _ => io(format!("opening {name}"))(error),
        })?;
        let length = file.len().map_err(io(format!("reading {name}")))?;
        if length != entry.bytes {
            return Err(OpenError::Damaged(format!(
                "the segment {name} has {length} bytes, not {}; nothing was changed. Restore it from a backup",
                entry.bytes
            )));
        }
        let slot = listed_slot(entry, file);
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
    let commit = scan.last() + 1;
    let rest = &bytes[at..];
    let mine =
        |frame: &CommitFrame| frame.header.store == store && frame.header.generation == u64::from(slot.generation);
    let Some(length) = rest.iter().rposition(|byte| *byte != 0) else {
        return Ok(());
    };
    let mut proof = None;
    let mut found = false;
    for offset in (0..rest.len()).step_by(COMMIT_ALIGN) {
        if let Some(frame) = codec::decode_commit(&rest[offset..]).filter(mine)
            && frame.header.commit >= commit
        {
            found = true;
            proof = proof.max(Some(frame.header.durable_through));
        }
    }
    // Behind the last commit of a slot that was used before stand zeroes, and then what it held before.
    let begun = !slot.recycled || found || rest[..TERMINATOR.min(rest.len())].iter().any(|byte| *byte != 0);
    match &mut scan.torn {
        Some(torn) => torn.proof = torn.proof.max(proof),
        None if begun => {
            scan.torn = Some(Torn {
                slot: slot.clone(),
                offset: at as u64,
                bytes: rest[..=length].to_vec(),
                proof,
            });
        }
        None => {}
    }
    Ok(())
}

/// The commit at the start of `bytes`, if it is the one that comes next.
fn next_commit(scan: &Scan, slot: &Slot, store: [u8; 16], bytes: &[u8]) -> Option<CommitFrame> {
    let frame = codec::decode_commit(bytes)?;
    let (number, hash) = scan.tip();
    let next = frame.header.store == store
        && frame.header.generation == u64::from(slot.generation)
        && frame.header.commit == number + 1
        && frame.header.previous == hash;
    next.then_some(frame)
}

fn take_in(scan: &mut Scan, slot: &Slot, commit: &Bytes, offset: usize, frame: &CommitFrame) -> Result<(), String> {
    let end = frame.body + frame.header.body_bytes as usize;
    let (mut at, mut count) = (frame.body, 0);
    while at < end {
        let (record, bytes) = codec::decode_record(&commit.slice(at..end))?;
        let (header, _) = codec::decode_header(&commit[at..end])?;
        if record.commit != frame.header.commit || record.index != count {
            return Err(format!(
                "its record {count} says it is record {} of commit {}",
                record.index, record.commit
            ));
        }
        let loc = Loc {
            generation: slot.generation,
            offset: (offset + at) as u32,
            bytes: bytes as u32,
        };
        let stream = scan.streams.entry(record.stream).or_default();
        if let Some(before) = stream.last()
            && before.header.position + 1 != record.position
        {
            return Err(format!(
                "position {} follows {}",
                record.position, before.header.position
            ));
        }
        let extras = (record.extras != Extras::default()).then(|| Box::new(record.extras));
        stream.push(Scanned { header, extras, loc });
        at += bytes;
        count += 1;
    }
    if count != frame.header.records {
        return Err(format!("it has {count} records, not {}", frame.header.records));
    }
    if slot.base.load(Ordering::Relaxed) == 0 {
        slot.base.store(frame.header.commit, Ordering::Relaxed);
    }
    let place = CommitPlace {
        commit: frame.header.commit,
        generation: slot.generation,
        offset: offset as u32,
        bytes: frame.bytes as u32,
    };
    scan.commits.push((place, frame.hash));
    scan.epoch = scan.epoch.max(frame.header.epoch);
    Ok(())
}

/// Counts who refers to which blob. Returns the files of blobs that nobody refers to; refuses if one is missing.
pub(super) fn blobs(disk: &dyn Disk, scan: &Scan, runs: &[Arc<Run>], blobs: &Blobs) -> Result<Vec<String>, OpenError> {
    for record in scan.streams.values().flatten() {
        if let Some(blob) = record.extras.as_ref().and_then(|extras| extras.blob) {
            blobs.refer(&blob.address);
        }
    }
    for run in runs {
        for reference in run.blobs() {
            let reference = reference.map_err(|error| OpenError::Damaged(error.to_string()))?;
            blobs.refer(&Digest(reference.address));
        }
    }
    let mut referred = blobs.referred();
    let mut unreferred = Vec::new();
    for name in disk.list().map_err(io(format!("listing {}", disk.describe())))? {
        if let Some(address) = blob::address_of(&name)
            && !referred.remove(&address)
        {
            unreferred.push(name);
        }
    }
    match referred.iter().next() {
        None => Ok(unreferred),
        Some(address) => Err(OpenError::Damaged(format!(
            "the payload {} is missing; nothing was changed. Restore it in {} from a backup",
            blob::file_name(address),
            disk.describe()
        ))),
    }
}
