//! Where each record of the segments lies, in the order of runs: one line a record, made when it is first asked for.

use std::collections::HashMap;

use bytes::Bytes;

use super::held::Held;
use super::report::Damage;
use crate::codec;
use crate::record::{Name, Record, StreamId};

/// Where a record of a segment lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordAt {
    pub(super) stream: StreamId,
    pub(super) position: u64,
    pub(super) commit: u64,
    pub(super) slot: u32,
    pub(super) offset: u32,
    pub(super) bytes: u32,
}

/// The records of the segments.
#[derive(Default)]
pub(super) struct Places {
    /// By stream and position.
    pub(super) records: Vec<RecordAt>,
    /// Of streams whose names stand in segments.
    pub(super) names: HashMap<StreamId, Name>,
    pub(super) damage: Vec<Damage>,
    /// A segment was used again while it was read: what is missing here is in runs by now.
    pub(super) replaced: bool,
}

impl Places {
    pub(super) fn of(held: &Held) -> Self {
        let mut places = Self::default();
        for at in &held.commits {
            let slot = &held.slots[at.slot as usize];
            let mut bytes = vec![0; at.bytes as usize];
            let read = slot.file.read_at(at.offset.into(), &mut bytes);
            let frame = codec::decode_commit(&bytes).filter(|frame| frame.hash == at.hash);
            let (Ok(()), Some(frame)) = (read, frame) else {
                places.replaced = true;
                continue;
            };
            let bytes = Bytes::from(bytes);
            let end = frame.body + frame.header.body_bytes as usize;
            let mut offset = frame.body;
            while offset < end {
                let (header, length) = match codec::decode_header(&bytes[offset..end]) {
                    Ok(found) => found,
                    Err(what) => {
                        let damage = Damage::in_file(slot.name(), what);
                        let left = (end - offset) as u64;
                        places.damage.push(
                            damage
                                .at(u64::from(at.offset) + offset as u64, left)
                                .of_commit(at.commit),
                        );
                        break;
                    }
                };
                let stream = StreamId(header.stream);
                if header.extras_bytes > 0
                    && let Ok((record, _)) = codec::decode_record(&bytes.slice(offset..end))
                    && let Some(name) = &record.extras.stream
                {
                    places.names.insert(stream, name.clone());
                }
                places.records.push(RecordAt {
                    stream,
                    position: header.position,
                    commit: at.commit,
                    slot: at.slot,
                    offset: at.offset + offset as u32,
                    bytes: length as u32,
                });
                offset += length;
            }
        }
        places.records.sort_unstable_by_key(|at| (at.stream, at.position));
        places
    }
}

/// The record at a place, if it is still there.
pub(super) fn frame_at(held: &Held, at: &RecordAt) -> Option<Bytes> {
    let mut bytes = vec![0; at.bytes as usize];
    held.slots[at.slot as usize]
        .file
        .read_at(at.offset.into(), &mut bytes)
        .ok()?;
    Some(Bytes::from(bytes))
}

/// The same, decoded. `Err` if the bytes are not that record.
pub(super) fn record_at(held: &Held, at: &RecordAt) -> Result<Record, &'static str> {
    let frame = frame_at(held, at).ok_or("it can't be read")?;
    let (record, _) = codec::decode_record(&frame)?;
    let same = (record.stream, record.position, record.commit) == (at.stream, at.position, at.commit);
    same.then_some(record).ok_or("another record stands in its place")
}
