//! The steps of an open that change bytes: leftovers removed, what only the page cache may hold written again, a torn tail cut.

use std::sync::Arc;

use bytes::Bytes;

use super::io;
use super::scan::{Scan, Torn};
use crate::codec;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::index::Cell;
use crate::log::Shared;
use crate::segment::Slot;
use crate::segment::manifest::Manifest;

/// Files that a crash may leave behind. One that holds a commit of this store is none: then the manifest is older than the log.
pub(super) fn leftovers(disk: &dyn Disk, manifest: &Manifest) -> Result<Vec<String>, OpenError> {
    let names = disk.list().map_err(io(format!("listing {}", disk.describe())))?;
    let leftovers: Vec<String> = names.into_iter().filter(|name| manifest.is_leftover(name)).collect();
    let (clustered, _) = manifest.clustered();
    for name in leftovers.iter().filter(|name| Slot::is_name(name)) {
        let read = || {
            let file = disk.open(name)?;
            let mut bytes = vec![0; usize::try_from(file.len()?).map_err(std::io::Error::other)?];
            file.read_at(0, &mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(io(format!("reading {name}")))?;
        // A free slot that was taken off the list may still be there, with commits that are in runs.
        let newer = |head: codec::CommitHead| head.header.store == manifest.store && head.header.commit > clustered;
        if codec::decode_commit_head(&bytes).is_some_and(newer) {
            return Err(OpenError::Damaged(format!(
                "the segment {name} holds commits and the manifest does not list it: the manifest is older than the log; \
                 nothing was changed. Restore {} from a backup",
                disk.describe()
            )));
        }
    }
    Ok(leftovers)
}

pub(super) fn remove<'a>(disk: &dyn Disk, names: impl Iterator<Item = &'a String>) -> Result<(), OpenError> {
    let mut removed = false;
    for name in names {
        disk.remove(name).map_err(io(format!("removing {name}")))?;
        removed = true;
    }
    if !removed {
        return Ok(());
    }
    disk.sync_dir().map_err(io(format!("syncing {}", disk.describe())))
}

/// Writes every commit above the watermark once more, byte for byte, and syncs: they may have been read from the page cache only,
/// and after a failed sync the kernel takes such pages for written.
pub(super) fn rewrite_above(scan: &Scan, mark: u64) -> Result<(), OpenError> {
    let mut touched: Option<Arc<Slot>> = None;
    let sync = |slot: &Slot| {
        slot.file
            .sync()
            .map_err(io(format!("syncing {}", Slot::name(slot.number))))
    };
    for (found, _) in scan.commits.iter().filter(|(found, _)| found.commit > mark) {
        let slot = scan.slots.iter().find(|slot| slot.generation == found.generation);
        let slot = slot.ok_or_else(|| OpenError::Damaged("a commit lies in no listed segment".to_owned()))?;
        if let Some(before) = touched.take_if(|before| before.generation != slot.generation) {
            sync(&before)?;
        }
        let end = (u64::from(found.offset) + u64::from(found.bytes) + codec::TERMINATOR as u64).min(slot.bytes);
        let mut bytes = vec![0; (end - u64::from(found.offset)) as usize];
        slot.file
            .read_at(found.offset.into(), &mut bytes)
            .and_then(|()| slot.file.write_at(found.offset.into(), &bytes))
            .map_err(io(format!("rewriting {}", Slot::name(slot.number))))?;
        touched = Some(slot.clone());
    }
    touched.map_or(Ok(()), |slot| sync(&slot))
}

/// Copies of torn tails are called `torn-<commit>-<segment>-<offset>-<epoch>`: what there is to say about a cut is in its name and length.
pub(crate) const TORN: &str = "torn-";

/// Keeps a copy of a torn tail, then zeroes it in place. [`untold_cuts`] finds the copy and has it recorded, in this open or a later one.
/// What a used slot held before goes with it, but only as much is kept as one commit can have been.
pub(super) fn cut(
    disk: &dyn Disk,
    torn: Torn,
    commit: u64,
    epoch: u64,
    commit_bytes_max: usize,
) -> Result<(), OpenError> {
    let slot = Slot::name(torn.slot.number);
    let saved_as = format!("{TORN}{commit}-{slot}-{}-{epoch}", torn.offset);
    let kept = match torn.slot.recycled {
        true => torn.bytes.len().min(commit_bytes_max),
        false => torn.bytes.len(),
    };
    let save = || {
        let copy = disk.create(&saved_as)?;
        copy.write_at(0, &torn.bytes[..kept])?;
        copy.sync()?;
        disk.sync_dir()?;
        torn.slot.file.write_at(torn.offset, &vec![0; torn.bytes.len()])?;
        torn.slot.file.sync()
    };
    save().map_err(io(format!("cutting the torn tail of {slot}")))?;
    tracing::warn!(commit, bytes = kept, %saved_as, "a torn tail was cut: it was never acknowledged");
    Ok(())
}

/// What is to be recorded about cuts whose copies are there and of which no record speaks.
pub(super) fn untold_cuts(
    shared: &Arc<Shared>,
    disk: &dyn Disk,
    system: Option<&Arc<Cell>>,
) -> Result<Vec<Bytes>, OpenError> {
    let names = disk.list().map_err(io(format!("listing {}", disk.describe())))?;
    let copies: Vec<String> = names.into_iter().filter(|name| name.starts_with(TORN)).collect();
    let mut told = String::new();
    if let (Some(cell), false) = (system, copies.is_empty()) {
        let mut next = cell.index.read().head.trimmed + 1;
        loop {
            let records = shared
                .read_blocking(cell, next, u64::MAX)
                .map_err(|error| OpenError::Damaged(error.to_string()))?;
            let Some(last) = records.last() else { break };
            next = last.position + 1;
            records
                .iter()
                .for_each(|record| told.push_str(&String::from_utf8_lossy(&record.payload)));
        }
    }
    let mut untold = Vec::new();
    for name in copies {
        let quoted = serde_json::Value::from(&*name).to_string();
        if told.contains(&quoted) {
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
