//! Opens a store after a death, reads everything, judges it, and closes it.

use std::path::Path;
use std::sync::Arc;

use flowstate_log::disk::Disk;
use flowstate_log::env::{Env, SystemEnv};
use flowstate_log::view_store::OpenViewStore;
use flowstate_log::view_store::memory::MemoryViews;

use super::adapter;
use super::contents::Contents;
use super::judge::{judge, names};
use super::ledger::Event;
use super::verdict::Verdict;

/// How thoroughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Records, folds and index rows, against each other and the ledger.
    Once,
    /// Also rebuilds the views from nothing, and compares answers and stored rows.
    Rebuild,
}

/// Judges the store in a data folder.
pub async fn folder(folder: &Path, events: &[Event], depth: Depth) -> Result<Verdict, String> {
    let disk = adapter::disk(folder).map_err(|error| error.to_string())?;
    store(disk, adapter::view_store(folder), events, depth).await
}

/// Judges the store on a disk. `Err` if it can't be opened or read.
pub async fn store(
    disk: Arc<dyn Disk>,
    views: Arc<dyn OpenViewStore>,
    events: &[Event],
    depth: Depth,
) -> Result<Verdict, String> {
    let (mut contents, reopen_ms) = read_timed(disk.clone(), views.clone(), events).await?;
    if depth == Depth::Rebuild {
        let anew = MemoryViews::new();
        let rebuilt = read(disk, Arc::new(anew.clone()), events).await?;
        contents.stored = Some((adapter::stored_rows(&*views)?, adapter::memory_rows(&anew)));
        contents.rebuilt = Some(Box::new(rebuilt));
    }
    let mut verdict = judge(events, &contents);
    verdict.reopen_ms = reopen_ms;
    Ok(verdict)
}

/// Opens, reads and closes.
pub async fn read(disk: Arc<dyn Disk>, views: Arc<dyn OpenViewStore>, events: &[Event]) -> Result<Contents, String> {
    read_timed(disk, views, events).await.map(|(contents, _)| contents)
}

async fn read_timed(
    disk: Arc<dyn Disk>,
    views: Arc<dyn OpenViewStore>,
    events: &[Event],
) -> Result<(Contents, u64), String> {
    let (streams, subs) = names(events);
    let since = SystemEnv::new();
    let log = adapter::open(disk, views, adapter::fixed_limits()).map_err(|error| error.to_string())?;
    let reopen_ms = since.monotonic().as_millis() as u64;
    let contents = adapter::contents(&log, &streams, &subs).await;
    log.close().await;
    Ok((contents?, reopen_ms))
}
