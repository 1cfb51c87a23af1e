//! `inspect`: what the folder holds, without reading the records of runs.

use std::path::Path;

use flowstate_log::folder::{StreamSummary, Summary};
use serde::Serialize;

use super::failure::Failure;
use super::output::{Output, bytes};
use super::{place, select};

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    streams: Streams,
}

#[derive(Debug, Default, Serialize)]
struct Streams {
    live: u64,
    deleted: u64,
    erased: u64,
    trimmed: u64,
    forks: u64,
    records: u64,
}

impl Streams {
    fn of(streams: &[StreamSummary]) -> Self {
        let mut counts = Self::default();
        for stream in streams {
            counts.records += stream.records;
            if stream.name.as_ref().is_some_and(select::is_own) {
                continue;
            }
            match (stream.erased, stream.deleted) {
                (true, _) => counts.erased += 1,
                (false, true) => counts.deleted += 1,
                (false, false) => counts.live += 1,
            }
            counts.trimmed += u64::from(stream.trimmed > 0);
            counts.forks += u64::from(stream.parent.is_some());
        }
        counts
    }
}

pub(super) fn run(folder: &Path, out: &Output) -> Result<(), Failure> {
    let files = place::read_damaged(folder)?;
    let summary = files.summary();
    let told = Told {
        summary: &summary,
        streams: Streams::of(&files.streams()?),
    };
    out.say(&told, || text(&told))?;
    match summary.damage.len() {
        0 => Ok(()),
        count => Err(Failure::Found(format!(
            "{count} damaged places: see all of the damage with `flowstate log verify`"
        ))),
    }
}

fn text(told: &Told<'_>) -> String {
    let Told { summary, streams } = told;
    let closed = if summary.clean { ", closed in order" } else { "" };
    let mut lines = vec![
        format!(
            "store       {} (format {}, opened {} times)",
            super::line::hex(&summary.store),
            summary.format,
            summary.epoch
        ),
        format!("chain       commit {} {}", summary.tip.commit, summary.tip.hash),
        format!("durable     through commit {}{closed}", place::durable(summary)),
        format!(
            "streams     {} live, {} of them forks; {} deleted, {} erased, {} trimmed; {} records",
            streams.live, streams.forks, streams.deleted, streams.erased, streams.trimmed, streams.records
        ),
    ];
    for slot in &summary.slots {
        lines.push(format!(
            "slot {:<6} generation {}, {} commits from {}, {} of {} used",
            slot.number,
            slot.generation,
            slot.commits,
            slot.base,
            bytes(slot.bytes_used),
            bytes(slot.bytes)
        ));
    }
    for run in &summary.runs {
        lines.push(format!(
            "run {:<7} commits {} to {}, {} records of {} streams, {}",
            run.number,
            run.first_commit,
            run.last_commit,
            run.records,
            run.streams,
            bytes(run.bytes)
        ));
    }
    let kinds = &summary.bytes;
    lines.push(format!(
        "bytes       slots {}, free slots {}, runs {}, {} blobs {}, copies of torn tails {}, other {}",
        bytes(kinds.slots),
        bytes(kinds.free_slots),
        bytes(kinds.runs),
        summary.blobs,
        bytes(kinds.blobs),
        bytes(kinds.torn_copies),
        bytes(kinds.other)
    ));
    lines.extend(summary.damage.iter().map(|damage| format!("damage      {damage}")));
    lines.join("\n")
}
