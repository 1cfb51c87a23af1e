//! Runs that are made for a backup: of the commits of a run that it does not have yet, and of those that are in segments.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::listing::RunFile;
use super::{Making, Stopped, note_erased};
use crate::codec;
use crate::folder::error::FolderError;
use crate::folder::held::Held;
use crate::folder::places::{Places, frame_at};
use crate::record::{Digest, Kind};
use crate::run::{BLOCK_BYTES, Form, Meta, Run, RunBuilder, RunError};
use crate::segment::manifest::RunEntry;

/// The commits of a run behind `since`.
pub(super) fn from_run(
    making: &mut Making<'_>,
    held: &Held,
    run: &Arc<Run>,
    number: u32,
    since: u64,
    entry: &RunEntry,
) -> Result<RunFile, Stopped> {
    let (to, mut erased) = (making.to, BTreeSet::new());
    let mut ignored = |_| {};
    let mut builder = RunBuilder::create(to, number, BLOCK_BYTES, &mut ignored)?;
    for found in run.scan() {
        let found = found?;
        if found.header.commit <= since {
            continue;
        }
        note_erased(&found.header, &mut erased);
        let snapshot = found.header.kind == Kind::STREAM_TRIMMED.0;
        builder.push(found.form, &found.frame, snapshot)?;
        if found.form == Form::Whole {
            let (record, _) = codec::decode_record(&found.frame).map_err(|what| damaged(run, what))?;
            if let Some(blob) = record.extras.blob {
                builder.blob(blob.address.0, record.stream, record.position);
                making.blob(held, &blob.address)?;
            }
        }
    }
    let meta = Meta {
        store: making.listing.head.store,
        first_commit: since + 1,
        last_commit: entry.last,
        created_us: run.footer().created_us,
    };
    // What fails on the way ends the section early; then it is told.
    let mut failed: [Option<RunError>; 2] = [None, None];
    let [heads_failed, stubs_failed] = &mut failed;
    let heads = run
        .commits()
        .map_while(|head| head.map_err(|error| *heads_failed = Some(error)).ok());
    let newer = |head: &Bytes| codec::decode_commit_head(head).is_none_or(|head| head.header.commit > since);
    let stubs = run
        .stubs()
        .map_while(|stub| stub.map_err(|error| *stubs_failed = Some(error)).ok());
    builder.finish(meta, heads.filter(newer), stubs.filter(|stub| stub.commit > since))?;
    if let Some(error) = failed.into_iter().flatten().next() {
        return Err(error.into());
    }
    making.note_erasures(erased);
    Ok(making.made(number, (since + 1, entry.last), entry.hash.0, entry.cleaned)?)
}

fn damaged(run: &Run, what: &str) -> FolderError {
    FolderError::Damaged(format!("{}: {what}", crate::run::name(run.number())))
}

/// The commits of the segments behind what the backup has.
pub(super) fn from_slots(making: &mut Making<'_>, held: &Held, number: u32) -> Result<RunFile, Stopped> {
    let since = making.listing.head.commit;
    let places = Places::of(held);
    if places.replaced {
        return Err(lost(held));
    }
    if let Some(damage) = places.damage.first() {
        return Err(FolderError::Damaged(damage.to_string()).into());
    }
    let (to, mut erased, mut time_us) = (making.to, BTreeSet::new(), 0);
    let mut ignored = |_| {};
    let mut builder = RunBuilder::create(to, number, BLOCK_BYTES, &mut ignored)?;
    for at in places.records.iter().filter(|at| at.commit > since) {
        let frame = frame_at(held, at).ok_or_else(|| lost(held))?;
        let (record, length) = codec::decode_record(&frame).map_err(|_| lost(held))?;
        let same = (record.stream, record.position, record.commit) == (at.stream, at.position, at.commit);
        if !same || length != frame.len() {
            return Err(lost(held));
        }
        let (header, _) = codec::decode_header(&frame).map_err(|_| lost(held))?;
        note_erased(&header, &mut erased);
        time_us = time_us.max(record.time_us);
        builder.push(Form::Whole, &frame, record.kind == Kind::STREAM_TRIMMED)?;
        if let Some(blob) = record.extras.blob {
            builder.blob(blob.address.0, record.stream, record.position);
            making.blob(held, &blob.address)?;
        }
    }
    let meta = Meta {
        store: making.listing.head.store,
        first_commit: since + 1,
        last_commit: held.tip.0,
        created_us: time_us,
    };
    let mut heads_lost = false;
    let heads = held.commits.iter().filter(|at| at.commit > since).map_while(|at| {
        let mut bytes = vec![0; codec::COMMIT_FRAME.min(at.bytes as usize)];
        let read = held.slots[at.slot as usize].file.read_at(at.offset.into(), &mut bytes);
        let head = codec::decode_commit_head(&bytes).filter(|head| read.is_ok() && head.hash == at.hash);
        heads_lost |= head.is_none();
        head.map(|head| bytes[..head.bytes].to_vec())
    });
    builder.finish(meta, heads, [])?;
    if heads_lost {
        return Err(lost(held));
    }
    making.note_erasures(erased);
    let hash: Digest = held.tip.1;
    Ok(making.made(number, (since + 1, held.tip.0), hash, 0)?)
}

/// A segment does not hold what it did: because a server used it again, or because it is damaged.
fn lost(held: &Held) -> Stopped {
    match held.is_current() {
        Ok(false) => Stopped::Replaced,
        Ok(true) => FolderError::Damaged("a segment does not hold any more what it did".to_owned()).into(),
        Err(error) => error.into(),
    }
}
