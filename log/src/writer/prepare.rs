//! The caller's side of an append: everything that the writer will decide on is brought into memory and pinned, large payloads are
//! stored, payloads are hashed. So the writer never reads a disk.

use std::sync::Arc;

use super::queued::{ForkSeed, Held, Prepared};
use crate::append::{Append, Expect, Sub, Target};
use crate::catalog::FORK_DEPTH_MAX;
use crate::codec;
use crate::error::AppendError;
use crate::fork::PastError;
use crate::index::Cell;
use crate::log::Shared;
use crate::record::{Name, StreamId};
use crate::segment::supply;
use crate::view_store::StoreError;

pub(crate) async fn prepare(
    shared: &Arc<Shared>,
    append: &Append,
) -> Result<(Vec<Prepared>, Vec<ForkSeed>, Held), AppendError> {
    let mut held = Held {
        flight: Some(shared.flights.enter()),
        ..Held::default()
    };
    let mut forks = Vec::new();
    for (number, part) in append.parts.iter().enumerate() {
        let cell = match &part.stream {
            Target::Name(name) => shared.cell_named(name).await.map_err(failed)?,
            Target::Id(id) => known(shared, *id).await?,
            Target::Fork { name, parent, position } => {
                let found = shared.cell_named(name).await.map_err(failed)?;
                if found.is_none() {
                    forks.push(seed(shared, name, *parent, *position, number).await?);
                }
                found
            }
        };
        if let (0, Some(key), Some(cell)) = (number, &append.key, &cell) {
            recall(shared, &held, cell, key.clone()).await?;
        }
        let named = subs(shared, &held, cell.as_ref(), part).await?;
        held.owners.extend(named);
        if let Some(cell) = &cell {
            // Folds that can't be loaded have made the store one that the next open rebuilds.
            let loaded = shared.loaded(cell).await;
            loaded.map_err(|_| AppendError::ViewsFailed)?;
        }
        held.parts.push(cell);
    }
    let (prepared, blobs) = payloads(shared, append).await?;
    held.blobs = blobs;
    Ok((prepared, forks, held))
}

fn failed(error: StoreError) -> AppendError {
    AppendError::Lookup(error.0)
}

async fn known(shared: &Arc<Shared>, id: StreamId) -> Result<Option<Arc<Cell>>, AppendError> {
    match shared.streams.get(id) {
        Some(cell) => Ok(Some(cell)),
        None => shared
            .blocking(move |shared| shared.load_stream(id))
            .await
            .map_err(failed),
    }
}

async fn recall(
    shared: &Arc<Shared>,
    held: &Held,
    cell: &Arc<Cell>,
    key: crate::record::IdempotencyKey,
) -> Result<(), AppendError> {
    let epoch = held.flight.as_ref().map_or(0, |flight| flight.epoch);
    if cell.index.read().touch_answered(&key, epoch) {
        return Ok(());
    }
    let cell = cell.clone();
    let recalled = shared.blocking(move |shared| shared.load_answered(&cell, &key, epoch));
    recalled.await.map_err(failed)
}

/// Sub-streams that the part opens, whose names or ids may be taken, goes on with, or has conditions on. Returns the streams that have
/// the names: as long as they are held, their names stay in memory.
async fn subs(
    shared: &Arc<Shared>,
    held: &Held,
    cell: Option<&Arc<Cell>>,
    part: &crate::append::Part,
) -> Result<Vec<Arc<Cell>>, AppendError> {
    let epoch = held.flight.as_ref().map_or(0, |flight| flight.epoch);
    let mut names: Vec<Name> = Vec::new();
    let mut ids = Vec::new();
    for expect in &part.expect {
        if let Expect::SubStreamAt(id, _) = expect {
            ids.push(*id);
        }
    }
    for record in &part.records {
        if let Some(Sub::Open(_, name)) = &record.sub {
            names.push(name.clone());
        }
        if let Some(Sub::Open(id, _) | Sub::Next(id)) = &record.sub
            && ids.last() != Some(id)
        {
            ids.push(*id);
        }
    }
    let mut owners = Vec::new();
    names.retain(|name| match in_memory(shared, name, epoch) {
        Some(owner) => {
            owners.push(owner);
            false
        }
        None => true,
    });
    if let Some(cell) = cell {
        let index = cell.index.read();
        ids.retain(|id| !index.touch_sub(*id, epoch));
    }
    if names.is_empty() && (ids.is_empty() || cell.is_none()) {
        return Ok(owners);
    }
    let cell = cell.cloned();
    let loaded = shared.blocking(move |shared| {
        for name in names {
            owners.extend(shared.find_sub(&name, epoch)?.map(|(owner, _)| owner));
        }
        if let Some(cell) = cell {
            for id in ids {
                shared.load_sub(&cell, id, epoch)?;
            }
        }
        Ok(owners)
    });
    loaded.await.map_err(failed)
}

/// The stream that has the sub-stream of this name, if both are in memory, which they then stay for an append of this epoch.
fn in_memory(shared: &Shared, name: &Name, epoch: u64) -> Option<Arc<Cell>> {
    let (stream, id) = shared.streams.sub_named(name)?;
    let owner = shared.streams.get(stream)?;
    owner.index.read().touch_sub(id, epoch).then(|| owner.clone())
}

/// What a fork of this stream at this position begins with: its folds, versions and clock there.
async fn seed(
    shared: &Arc<Shared>,
    name: &Name,
    parent: StreamId,
    position: u64,
    part: usize,
) -> Result<ForkSeed, AppendError> {
    let parent = known(shared, parent).await?.ok_or(AppendError::UnknownStream(parent))?;
    let mut owner = &parent;
    while let Some(fork) = &owner.parent
        && position <= fork.position
    {
        owner = &fork.cell;
    }
    let ancestors = std::iter::successors(Some(owner), |cell| cell.parent.as_ref().map(|fork| &fork.cell));
    if ancestors.count() >= FORK_DEPTH_MAX {
        return Err(AppendError::Invalid(format!(
            "a fork of a fork, {FORK_DEPTH_MAX} times over: copy the stream instead"
        )));
    }
    let tail = shared.streams.tail(&parent);
    let standing = |cell: &Cell| {
        let index = cell.index.read();
        (index.head.trimmed, index.head.deleted)
    };
    let ((of_owner, owner_gone), (of_parent, parent_gone)) = (standing(owner), standing(&parent));
    let out_of_range = {
        let parent = parent.id;
        move |oldest| AppendError::ForkOutOfRange {
            parent,
            position,
            oldest,
            tail,
        }
    };
    let oldest = of_owner.max(of_parent) + 1;
    if position < oldest || position > tail || owner_gone || parent_gone {
        return Err(out_of_range(oldest));
    }
    let (owner, name) = (owner.clone(), name.clone());
    let seeded = shared.blocking(
        move |shared| match shared.fork_seed(&parent, &owner, &name, position, part) {
            Err(PastError::Trimmed { as_of, .. }) => Ok(Err(out_of_range(as_of))),
            seeded => Ok(Ok(seeded?)),
        },
    );
    seeded.await.map_err(failed)?
}

/// Stores what is too large for a commit, and hashes what is not.
async fn payloads(
    shared: &Arc<Shared>,
    append: &Append,
) -> Result<(Vec<Prepared>, Vec<crate::blob::Pinned>), AppendError> {
    let inline_max = shared.limits.inline_bytes_max;
    let (mut prepared, mut pins) = (Vec::new(), Vec::new());
    for part in &append.parts {
        for record in &part.records {
            let mut one = Prepared::default();
            if record.payload.len() > inline_max {
                let principal = match &part.stream {
                    Target::Name(name) | Target::Fork { name, .. } => name.principal().to_owned(),
                    Target::Id(id) => {
                        let cell = known(shared, *id).await?.ok_or(AppendError::UnknownStream(*id))?;
                        cell.name.principal().to_owned()
                    }
                };
                let (storing, content) = (shared.clone(), record.payload.clone());
                let put = tokio::task::spawn_blocking(move || storing.blobs.put(&principal, &content));
                let stored = put.await.map_err(|_| AppendError::Closed)?;
                let (blob, pin) = stored.map_err(|error| {
                    let what = format!("storing a large payload: {error}");
                    match supply::passes(&error) {
                        true => AppendError::Full(what),
                        false => AppendError::Poisoned(shared.poison.set(what)),
                    }
                })?;
                one.blob = Some(blob);
                pins.push(pin);
            } else if shared.chain {
                one.digest = Some(codec::digest(&record.payload));
            }
            prepared.push(one);
        }
    }
    Ok((prepared, pins))
}
