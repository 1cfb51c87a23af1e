//! Single things in a folder: a record, a stream's name, a large payload, a commit's hash; and how to go on when a server has
//! used a segment again.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::Folder;
use super::held::Held;
use super::places::Places;
use super::records::{Found, Merged};
use crate::blob::Blobs;
use crate::codec;
use crate::index::ERASED;
use crate::record::{BlobRef, Digest, Kind, Name, Record, StreamId};
use crate::run::Access;

/// How often to begin again because a server was faster.
const TRIES: usize = 5;

impl Folder {
    /// The files with the places of the segments' records, read at one moment.
    pub(super) fn stable(&self) -> &(Arc<Held>, Places) {
        self.stable.get_or_init(|| {
            let mut held = self.held.clone();
            let mut places = Places::of(&held);
            for _ in 0..TRIES {
                if !places.replaced {
                    break;
                }
                let Some(newer) = self.newer() else { break };
                places = Places::of(&newer);
                held = newer;
            }
            (held, places)
        })
    }

    /// The files as they are now; `None` if they can't be read.
    pub(super) fn newer(&self) -> Option<Arc<Held>> {
        let held = match self.damaged {
            false => Held::open(&self.held.disk),
            true => Held::open_damaged(&self.held.disk),
        };
        let held = Arc::new(held.ok()?);
        *self.newest.lock() = held.clone();
        Some(held)
    }

    /// A record that is in a run by now, though it was in a segment: `None` if it is not, `Some(None)` if it was given up.
    pub(super) fn clustered_since(&self, stream: StreamId, position: u64, commit: u64) -> Option<Option<Record>> {
        let mut held = self.newest.lock().clone();
        for _ in 0..TRIES {
            if held.manifest.clustered().0 >= commit {
                return record_in_runs(&held, stream, position);
            }
            held = self.newer()?;
            if held.manifest.clustered().0 == self.held.manifest.clustered().0 {
                return None;
            }
        }
        None
    }

    /// The name of a stream, from its first record or the one that trims it.
    pub(super) fn name_of(&self, stream: StreamId) -> Option<Name> {
        let (held, places) = self.stable();
        if let Some(name) = places.names.get(&stream) {
            return Some(name.clone());
        }
        for run in held.runs.iter().filter_map(|held| held.run.as_ref()) {
            let Ok(Some(span)) = run.span(stream, Access::Wait) else {
                continue;
            };
            for position in [span.first, span.snapshot] {
                let record = run.record(stream, position).ok()?;
                if let Some(name) = record.and_then(|record| record.extras.stream.clone()) {
                    return Some(name);
                }
            }
        }
        None
    }

    /// The content of a large payload, checked if it is known whose it is.
    pub(super) fn blob(&self, name: Option<&Name>, blob: &BlobRef) -> Result<Bytes, String> {
        let held = &self.held;
        if let (Some(name), true) = (name, held.listed) {
            return Blobs::new(held.disk.clone(), held.manifest.salt).read(name.principal(), blob);
        }
        let read = || {
            let file = held.disk.open(&crate::blob::file_name(&blob.address))?;
            let mut content = vec![0; usize::try_from(file.len()?).map_err(std::io::Error::other)?];
            file.read_at(0, &mut content)?;
            Ok::<_, std::io::Error>(content)
        };
        let content = read().map_err(|error| error.to_string())?;
        match content.len() as u64 == blob.bytes {
            true => Ok(content.into()),
            false => Err(format!("it has {} bytes, not {}", content.len(), blob.bytes)),
        }
    }

    /// Streams whose payloads are to be shown to nobody, though files may still hold them.
    pub(super) fn erased(&self) -> &HashSet<StreamId> {
        self.erased.get_or_init(|| {
            // Once an erasure is complete, what it erased has left the runs.
            let unfinished = self.held.manifest.erasing > 0 || !self.held.listed;
            let merged = Merged::new(self, None).filter_map(Result::ok);
            let erases = |kind: u16, origin: u64| kind == Kind::STREAM_DELETED.0 && origin == ERASED;
            if !unfinished {
                return HashSet::new();
            }
            let mut erased = HashSet::new();
            for found in merged {
                let header = match &found {
                    Found::Run(entry) => Some(entry.header),
                    Found::Slot(at) => super::places::frame_at(&self.stable().0, at)
                        .and_then(|frame| codec::decode_header(&frame).ok())
                        .map(|(header, _)| header),
                };
                if let Some(header) = header.filter(|header| erases(header.kind, header.origin)) {
                    erased.insert(StreamId(header.stream));
                }
            }
            erased
        })
    }

    /// The hash of a commit; `None` if it is not there or can't be read.
    pub(super) fn hash_at(&self, commit: u64) -> Option<Digest> {
        let held = &self.held;
        if commit == held.manifest.origin.0 {
            return Some(held.manifest.origin.1.0);
        }
        if let Ok(at) = held.commits.binary_search_by_key(&commit, |at| at.commit) {
            return Some(held.commits[at].hash);
        }
        let within = |entry: &crate::segment::manifest::RunEntry| (entry.first..=entry.last).contains(&commit);
        let run = held.runs.iter().find(|held| within(&held.entry))?;
        if run.entry.last == commit {
            return Some(run.entry.hash.0);
        }
        let heads = run.run.as_ref()?.commits().map_while(Result::ok);
        let mut heads = heads.filter_map(|head| codec::decode_commit_head(&head));
        heads.find(|head| head.header.commit == commit).map(|head| head.hash)
    }
}

pub(super) fn record_in_runs(held: &Held, stream: StreamId, position: u64) -> Option<Option<Record>> {
    for run in held.runs.iter().rev().filter_map(|held| held.run.as_ref()) {
        let span = run.span(stream, Access::Wait).ok()?;
        if span.is_some_and(|span| (span.first..=span.last).contains(&position))
            && let Some(record) = run.record(stream, position).ok()?
        {
            return Some(Some(record));
        }
    }
    Some(None)
}
