//! What there is: files by what they are, and streams with their ends.

use super::error::FolderError;
use super::held::Held;
use super::records::{Found, Merged};
use super::report::{BytesByKind, RunSummary, SlotSummary, StreamSummary, Summary};
use super::{Folder, Head};
use crate::blob;
use crate::codec;
use crate::index::ERASED;
use crate::record::{Kind, StreamId};
use crate::recovery::TORN;
use crate::run::Form;
use crate::segment::Slot;

pub(super) fn head(held: &Held) -> Head {
    Head {
        store: held.manifest.store,
        commit: held.tip.0,
        hash: held.tip.1,
    }
}

pub(super) fn summary(held: &Held) -> Summary {
    let names = held.disk.list().unwrap_or_default();
    let mut bytes = BytesByKind::default();
    let mut blobs = 0;
    let mut torn_copies = Vec::new();
    let free_slots: Vec<u32> = held.manifest.free.iter().map(|free| free.slot).collect();
    for name in names {
        let length = held.disk.open(&name).and_then(|file| file.len()).unwrap_or(0);
        let kind = if blob::address_of(&name).is_some() {
            blobs += 1;
            &mut bytes.blobs
        } else if name.starts_with(TORN) {
            torn_copies.push(name);
            &mut bytes.torn_copies
        } else if crate::run::is_name(&name) {
            &mut bytes.runs
        } else if Slot::is_name(&name) {
            match free_slots.iter().any(|slot| Slot::name(*slot) == name) {
                true => &mut bytes.free_slots,
                false => &mut bytes.slots,
            }
        } else {
            &mut bytes.other
        };
        *kind += length;
    }
    Summary {
        store: held.manifest.store,
        format: held.manifest.format,
        epoch: held.epoch.max(held.mark.as_ref().map_or(0, |mark| mark.epoch)),
        watermark: held.mark.as_ref().map_or(0, |mark| mark.commit),
        clean: held.mark.as_ref().is_some_and(|mark| mark.clean),
        clustered_through: held.runs.last().map_or(held.manifest.origin.0, |run| run.entry.last),
        tip: head(held),
        slots: held
            .slots
            .iter()
            .map(|slot| SlotSummary {
                number: slot.entry.slot,
                generation: slot.entry.generation,
                base: slot.entry.base,
                commits: slot.commits,
                bytes: slot.entry.bytes,
                bytes_used: slot.bytes_used,
            })
            .collect(),
        runs: held
            .runs
            .iter()
            .map(|held| RunSummary {
                number: held.entry.run,
                first_commit: held.entry.first,
                last_commit: held.entry.last,
                records: held.run.as_ref().map_or(0, |run| run.footer().records),
                streams: held.run.as_ref().map_or(0, |run| run.footer().streams),
                bytes: held.entry.bytes,
            })
            .collect(),
        blobs,
        free_slots,
        torn_copies,
        bytes,
        damage: held.damage.clone(),
    }
}

pub(super) fn streams(folder: &Folder) -> Result<Vec<StreamSummary>, FolderError> {
    let merged = Merged::new(folder, None);
    let held = merged.held();
    let mut streams: Vec<StreamSummary> = Vec::new();
    for found in merged {
        let found = match found {
            Ok(found) => found,
            Err(_) if folder.damaged => continue,
            Err(damage) => return Err(FolderError::Damaged(damage.to_string())),
        };
        let (id, position) = found.key();
        if streams.last().is_none_or(|last| last.id != id) {
            streams.push(begun(id, position));
        }
        let Some(stream) = streams.last_mut() else { continue };
        // Only what introduces something is decoded whole.
        let bare = |header: &codec::v1::RecordHeader| header.into_record(Default::default(), Default::default());
        let record = match &found {
            Found::Run(entry) if entry.header.extras_bytes == 0 || entry.form == Form::Erased => {
                Ok(bare(&entry.header))
            }
            found => match folder.decode(found, held) {
                Some(record) => record,
                None => continue,
            },
        };
        let record = match record {
            Ok(record) => record,
            Err(_) if folder.damaged => continue,
            Err(damage) => return Err(FolderError::Damaged(damage.to_string())),
        };
        stream.records += 1;
        stream.last = record.position;
        stream.last_time_us = stream.last_time_us.max(record.time_us);
        if let Some(name) = &record.extras.stream {
            stream.name = Some(name.clone());
        }
        stream.parent = stream.parent.or(record.extras.parent);
        match record.kind {
            Kind::STREAM_TRIMMED => stream.trimmed = stream.trimmed.max(record.origin.saturating_sub(1)),
            Kind::STREAM_DELETED => {
                stream.deleted = true;
                stream.erased |= record.origin == ERASED;
            }
            _ => {}
        }
        if stream.erased {
            stream.name = None;
        }
    }
    for stream in &mut streams {
        stream.first = stream.first.max(stream.trimmed + 1);
    }
    Ok(streams)
}

fn begun(id: StreamId, first: u64) -> StreamSummary {
    StreamSummary {
        id,
        name: None,
        parent: None,
        first,
        last: first,
        records: 0,
        deleted: false,
        erased: false,
        trimmed: 0,
        last_time_us: i64::MIN,
    }
}
