//! `cluster`: sorts what is in segments into runs now, and leaves out what was given up.

use std::path::Path;

use flowstate_log::{Clustered, Log};
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::{Output, bytes};
use super::place;

pub(super) async fn run(folder: &Path, out: &Output) -> Result<(), Failure> {
    let log = place::open(folder).await?;
    let bar = out.spinner("clustering");
    let done = clustered(&log).await;
    drop(bar);
    log.close().await;
    let done = done?;
    out.say(&told(&done), || text(&done))
}

/// Clusters an open log.
pub(super) async fn clustered(log: &Log) -> Result<Clustered, Failure> {
    match log.segments() {
        Some(segments) => Ok(segments.cluster().await?),
        None => Err(Failure::Failed("this log has no segments to cluster".to_owned())),
    }
}

/// For JSON.
pub(super) fn told(done: &Clustered) -> Value {
    json!({
        "runs": done.runs,
        "records": done.records,
        "records_dropped": done.records_dropped,
        "bytes_written": done.bytes_written,
        "bytes_freed": done.bytes_freed,
    })
}

/// For people.
pub(super) fn text(done: &Clustered) -> String {
    format!(
        "{} runs written with {} records, {} left out; {} written, {} came free",
        done.runs,
        done.records,
        done.records_dropped,
        bytes(done.bytes_written),
        bytes(done.bytes_freed)
    )
}
