//! Erasing again what was erased: in the folder that was backed up since then, and in the backup before, where older runs may still hold it.
//! Done by the log itself, on a folder that is not one yet for anybody else.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;

use crate::codec;
use crate::disk::Disk;
use crate::env::SystemEnv;
use crate::folder::error::FolderError;
use crate::folder::{Folder, StreamSummary};
use crate::limits::Limits;
use crate::record::{Digest, Kind, StreamId};
use crate::recovery::SYSTEM_STREAM;
use crate::verbs::Erase;
use crate::view_store::memory::MemoryViews;
use crate::{Durability, Log, Options};

/// The payload of a [`Kind::PRINCIPAL_ERASED`] record.
#[derive(Deserialize)]
struct Told {
    principal_sha256: Option<String>,
    streams: Vec<String>,
}

/// What was erased.
#[derive(Default)]
pub(super) struct Erasures {
    principals: BTreeSet<Digest>,
    streams: BTreeSet<String>,
}

impl Erasures {
    /// Those that a folder records behind a commit.
    pub(super) fn since(disk: &Arc<dyn Disk>, commit: u64) -> Result<Self, FolderError> {
        let folder = Folder::open_damaged(disk.clone())?;
        let mut erasures = Self::default();
        let streams = folder.streams()?;
        let system = streams
            .iter()
            .find(|stream| stream.name.as_ref().is_some_and(|name| name.name() == SYSTEM_STREAM));
        let Some(system) = system else { return Ok(erasures) };
        for record in folder.records(Some(system.id)) {
            let Ok(record) = record else { continue };
            if record.kind != Kind::PRINCIPAL_ERASED || record.commit <= commit {
                continue;
            }
            let told: Told = serde_json::from_slice(&record.payload).map_err(|error| {
                FolderError::Damaged(format!("the record of an erasure in commit {}: {error}", record.commit))
            })?;
            erasures.streams.extend(told.streams);
            let principal = told.principal_sha256.as_deref().and_then(Digest::parse);
            erasures.principals.extend(principal);
        }
        // An erasure that was interrupted has no record of its own yet.
        let erased = streams.iter().filter(|stream| stream.erased);
        erasures.streams.extend(erased.map(|stream| stream.id.to_string()));
        Ok(erasures)
    }

    fn takes(&self, stream: &StreamSummary) -> bool {
        let of_principal = stream
            .name
            .as_ref()
            .is_some_and(|name| self.principals.contains(&codec::digest(name.principal().as_bytes())));
        !stream.erased && (of_principal || self.streams.contains(&stream.id.to_string()))
    }
}

/// Erases what was erased from the restored files, records and all. How many streams were erased anew.
pub(super) fn erase(staged: &Arc<dyn Disk>, erasures: &Erasures) -> Result<u64, FolderError> {
    let streams = Folder::open(staged.clone())?.streams()?;
    let again: Vec<StreamId> = streams
        .iter()
        .filter(|stream| erasures.takes(stream))
        .map(|stream| stream.id)
        .collect();
    let left_over = streams.iter().any(|stream| stream.erased && stream.records > 1);
    if again.is_empty() && !left_over {
        return Ok(0);
    }
    let count = again.len() as u64;
    let staged = staged.clone();
    // A thread of its own: whoever restores may be in a runtime already.
    let erasing = std::thread::spawn(move || with_log(staged, again));
    match erasing.join() {
        Ok(done) => done.map(|()| count),
        Err(_) => Err(FolderError::Damaged(
            "erasing again what was erased panicked".to_owned(),
        )),
    }
}

fn with_log(staged: Arc<dyn Disk>, streams: Vec<StreamId>) -> Result<(), FolderError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(FolderError::io("starting a runtime"))?;
    let failed = |what: String| FolderError::Damaged(format!("erasing again what was erased: {what}"));
    let options = Options {
        disk: staged,
        view_store: Arc::new(MemoryViews::new()),
        env: Arc::new(SystemEnv::new()),
        limits: Limits {
            segment_bytes: 4 << 20,
            ..Limits::default()
        },
        views: Vec::new(),
        durability: Durability::Sync,
        chain: true,
    };
    runtime.block_on(async {
        let log = Log::open(options)?;
        if !streams.is_empty() {
            let erased = log.erase(Erase::Streams(streams)).await;
            erased.map_err(|error| failed(error.to_string()))?;
        }
        if let Some(segments) = log.segments() {
            let clustered = segments.cluster().await;
            clustered.map_err(|error| failed(error.to_string()))?;
        }
        log.close().await;
        Ok(())
    })
}
