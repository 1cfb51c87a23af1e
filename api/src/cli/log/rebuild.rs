//! `rebuild`: the view store made anew from the records.

use std::path::Path;

use flowstate_log::env::{Env, SystemEnv};
use flowstate_log::error::OpenError;
use flowstate_log::verbs::{ListedStream, StreamOrder, StreamQuery};
use flowstate_log::{Log, Options};
use serde::Serialize;

use super::failure::Failure;
use super::output::Output;
use super::place;

/// Streams of one page of a list.
const PAGE: usize = 1_000;

#[derive(Serialize)]
struct Told {
    streams: u64,
    records: u64,
    commit: u64,
    seconds: f64,
}

pub(super) async fn run(folder: &Path, out: &Output) -> Result<(), Failure> {
    let env = SystemEnv::new();
    let began = env.monotonic();
    let bar = out.spinner("rebuilding the views");
    let log = anew(place::options(folder)?).await?;
    drop(bar);
    let took = env.monotonic().saturating_sub(began);
    let streams = all_streams(&log).await?;
    let told = Told {
        streams: streams.len() as u64,
        records: streams.iter().map(|stream| stream.tail).sum(),
        commit: log.last_commit(),
        seconds: took.as_secs_f64(),
    };
    log.close().await;
    out.say(&told, || {
        format!(
            "made the views of {} streams from {} records, up to commit {}, in {:.1} s",
            told.streams, told.records, told.commit, told.seconds
        )
    })
}

/// Drops the view store and opens the log, which makes another.
pub(super) async fn anew(options: Options) -> Result<Log, Failure> {
    let disk = options.disk.clone();
    {
        // Nobody may have the store open that is dropped.
        let _held = disk.lock().map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => Failure::from(OpenError::Locked(disk.describe())),
            _ => Failure::Failed(format!("locking {} failed: {source}", disk.describe())),
        })?;
        let dropped = options.view_store.discard();
        dropped
            .map_err(|error| Failure::Failed(format!("{error}; remove {} by hand", options.view_store.describe())))?;
    }
    place::open_with(options).await
}

/// Every live stream.
pub(super) async fn all_streams(log: &Log) -> Result<Vec<ListedStream>, Failure> {
    let mut streams: Vec<ListedStream> = Vec::new();
    loop {
        let query = StreamQuery {
            order: StreamOrder::LastActivity,
            after: streams.last().cloned(),
            limit: PAGE,
            ..StreamQuery::default()
        };
        let page = log.list(query).await?;
        if page.is_empty() {
            return Ok(streams);
        }
        streams.extend(page);
    }
}
