//! `verify`: reads and checks everything; compares with a head that was kept; writes the head down for the next time.

use std::path::{Path, PathBuf};

use flowstate_log::folder::{Head, VerifyReport};
use serde::Serialize;

use super::failure::Failure;
use super::file::Unfinished;
use super::output::{Output, bytes};
use super::place;

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// A head that was kept: the history must lead through it. Finds a folder that was rolled back or rewritten.
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,

    /// Write the head down, if everything holds. Keep it where nobody who can change the folder can change it.
    #[arg(long, value_name = "FILE")]
    write_head: Option<PathBuf>,
}

#[derive(Serialize)]
struct Told<'a> {
    ok: bool,
    #[serde(flatten)]
    report: &'a VerifyReport,
}

pub(super) fn run(folder: &Path, args: &VerifyArgs, out: &Output) -> Result<(), Failure> {
    let against = args.head.as_deref().map(read_head).transpose()?;
    // What can't be opened is told with all the rest.
    let files = place::read(folder).or_else(|error| match error {
        Failure::Failed(_) => place::read_damaged(folder),
        error => Err(error),
    })?;
    let bar = out.bar();
    let report = files.verify(against.as_ref(), &mut |progress| bar.show(progress));
    drop(bar);
    let told = Told {
        ok: report.ok(),
        report: &report,
    };
    out.say(&told, || text(&report))?;
    if !report.ok() {
        let count = report.findings.len() as u64 + report.findings_left_out;
        return Err(Failure::Found(format!(
            "{count} findings: restore a backup, or take out what can be read with `flowstate log export --around-damage`"
        )));
    }
    match &args.write_head {
        Some(place) => write_head(place, &report.head),
        None => Ok(()),
    }
}

fn read_head(place: &Path) -> Result<Head, Failure> {
    let wrong = |error: String| Failure::Usage(format!("the head in {} can't be read: {error}", place.display()));
    let text = std::fs::read(place).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
}

fn write_head(place: &Path, head: &Head) -> Result<(), Failure> {
    let mut text = serde_json::to_vec(head).map_err(|error| Failure::Failed(error.to_string()))?;
    text.push(b'\n');
    let mut file = Unfinished::create(place)?;
    file.write(&text)?;
    file.finish()
}

fn text(report: &VerifyReport) -> String {
    let mut lines: Vec<String> = report
        .findings
        .iter()
        .map(|finding| format!("finding  {finding}"))
        .collect();
    if report.findings_left_out > 0 {
        lines.push(format!("finding  and {} more", report.findings_left_out));
    }
    lines.push(format!(
        "checked  {} commits ({} with a digest of their records), {} records of {} streams, {} digests of what is gone, {} blobs, {}",
        report.commits,
        report.commits_chained,
        report.records,
        report.streams,
        report.digests,
        report.blobs,
        bytes(report.bytes)
    ));
    lines.push(format!("head     {}", report.head));
    lines.push(if report.ok() { "ok" } else { "not ok" }.to_owned());
    lines.join("\n")
}
