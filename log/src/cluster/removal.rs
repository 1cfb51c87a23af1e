//! What is left out of runs: records that were trimmed, streams that were deleted and that no fork continues, payloads that were erased.
//! Decided on facts that are in runs themselves, or are going to be with the run that is made: what is left can be understood alone.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::error::ClusterError;
use crate::log::Shared;
use crate::record::{Kind, StreamId};
use crate::run::{Access, Run};
use crate::view_store::{StoreError, keys};

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    /// Header and digest stay.
    Erased,
    /// The digest stays, as long as another record of its commit does.
    Dropped,
}

/// What is known of one stream.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    /// Positions up to this one go.
    trimmed: u64,
    deleted: bool,
    erased: bool,
    forked: bool,
}

/// What is to be left out, as of a commit.
pub(super) struct Removals<'a> {
    shared: &'a Arc<Shared>,
    through: u64,
    known: RefCell<HashMap<StreamId, Facts>>,
}

impl<'a> Removals<'a> {
    /// As far as it is said by commits up to this one.
    pub(super) fn through(shared: &'a Arc<Shared>, commit: u64) -> Self {
        Self {
            shared,
            through: commit,
            known: RefCell::default(),
        }
    }

    pub(super) fn of(&self, stream: StreamId, position: u64, kind: Kind) -> Result<Fate, ClusterError> {
        let known = self.known.borrow().get(&stream).copied();
        let facts = match known {
            Some(facts) => facts,
            None => {
                let facts = facts(self.shared, stream, self.through)?;
                self.known.borrow_mut().insert(stream, facts);
                facts
            }
        };
        Ok(match facts {
            _ if kind == Kind::STREAM_DELETED => Fate::Kept,
            Facts {
                deleted: true,
                forked: false,
                ..
            } => Fate::Dropped,
            Facts { erased: true, .. } => Fate::Erased,
            Facts { trimmed, .. } if position <= trimmed => Fate::Dropped,
            _ => Fate::Kept,
        })
    }
}

fn stored(error: StoreError) -> ClusterError {
    ClusterError::Rows(error.0)
}

/// What records in commits up to `through` say of a stream.
fn facts(shared: &Arc<Shared>, stream: StreamId, through: u64) -> Result<Facts, ClusterError> {
    let Some(cell) = shared.load_stream(stream).map_err(stored)? else {
        return Ok(Facts::default());
    };
    let head = cell.index.read().head.clone();
    let said = |commit: u64| commit > 0 && commit <= through;
    let deleted = head.deleted && said(head.deleted_commit);
    let trimmed = said(head.trimmed_commit);
    Ok(Facts {
        trimmed: if trimmed { head.trimmed } else { 0 },
        deleted,
        erased: deleted && head.erased,
        forked: !head.forks.is_empty(),
    })
}

/// What a run still has of streams that lost something after it was written.
pub(super) struct Gone {
    pub(super) records: u64,
    pub(super) erased: bool,
}

pub(super) fn gone_from(shared: &Arc<Shared>, run: &Run, after: u64, through: u64) -> Result<Gone, ClusterError> {
    let mut gone = Gone {
        records: 0,
        erased: false,
    };
    let (from, to) = (
        keys::removal(after + 1, StreamId([0; 16])),
        keys::removal(through + 1, StreamId([0; 16])),
    );
    let range = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
    let rows = shared.views.store.scan(range.0, range.1, usize::MAX).map_err(stored)?;
    let mut streams: Vec<StreamId> = rows
        .iter()
        .filter_map(|(key, _)| Some(keys::removal_of(key)?.1))
        .collect();
    streams.sort_unstable();
    streams.dedup();
    for stream in streams {
        let Some(span) = run.span(stream, Access::Wait)? else {
            continue;
        };
        let facts = facts(shared, stream, through)?;
        if facts.deleted && (!facts.forked || facts.erased) {
            // The record that deletes it stays.
            let stays = u64::from(span.records == 1 && !facts.erased);
            gone.records += span.records - stays;
            gone.erased |= facts.erased;
        } else if facts.trimmed >= span.first {
            gone.records += (facts.trimmed.min(span.last) + 1 - span.first).min(span.records);
        }
    }
    Ok(gone)
}

/// Whether payloads that were erased may still lie in free segments or in copies of torn tails.
pub(super) fn erasing(shared: &Arc<Shared>) -> bool {
    shared.files.manifest().erasing > 0
}

/// After a pass: if everything that was erased has left the runs, the rest goes too.
pub(super) fn finish_erasing(shared: &Arc<Shared>) -> Result<(), ClusterError> {
    let manifest = shared.files.manifest();
    if manifest.erasing == 0 || manifest.clustered().0 < manifest.erasing {
        return Ok(());
    }
    let disk = &shared.files.disk;
    for name in disk.list().map_err(ClusterError::io("listing the folder"))? {
        if name.starts_with(crate::recovery::TORN) {
            disk.remove(&name)
                .map_err(ClusterError::io("removing a copy of a torn tail"))?;
        }
    }
    disk.sync_dir().map_err(shared.doubtful("syncing the folder"))?;
    shared.views.store.compact().map_err(stored)?;
    // Another one may have begun meanwhile.
    let finished = |listed: &mut crate::segment::manifest::Manifest| {
        if listed.erasing == manifest.erasing {
            listed.erasing = 0;
        }
    };
    shared
        .files
        .recluster(&[], finished)
        .map_err(shared.doubtful("noting that an erasure is complete"))
}
