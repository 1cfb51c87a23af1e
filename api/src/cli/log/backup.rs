//! `backup`: all of the log into another folder, or what that does not have yet.

use std::path::{Path, PathBuf};

use flowstate_log::disk::fs::FsDisk;

use super::failure::Failure;
use super::output::{Output, bytes};
use super::place;

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    /// Folder of the backup; made if there is none. What it lacks is added.
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

pub(super) fn run(folder: &Path, args: &BackupArgs, out: &Output) -> Result<(), Failure> {
    let files = place::read(folder)?;
    apart(folder, &args.to)?;
    let to = FsDisk::open(&args.to).map_err(Failure::io(format!("opening {}", args.to.display())))?;
    let bar = out.bar();
    let report = files.backup(&to, &mut |progress| bar.show(progress))?;
    drop(bar);
    out.say(&report, || {
        let before = match &report.before {
            Some(head) => format!("the backup had commits up to {}", head.commit),
            None => "the backup is new".to_owned(),
        };
        format!(
            "{before}, and now has up to {}: {}\n{} written, {} in all",
            report.head.commit,
            report.head.hash,
            bytes(report.bytes_written),
            bytes(report.bytes)
        )
    })
}

/// A backup in the folder that it is of would be taken for a part of it, and be lost with it.
fn apart(folder: &Path, to: &Path) -> Result<(), Failure> {
    let folder = folder
        .canonicalize()
        .map_err(Failure::io(format!("opening {}", folder.display())))?;
    // The part that exists decides.
    let absolute = std::path::absolute(to).map_err(Failure::io(format!("opening {}", to.display())))?;
    let existing = absolute.ancestors().find_map(|place| place.canonicalize().ok());
    match existing.is_some_and(|place| place.starts_with(&folder)) {
        true => Err(Failure::Usage(format!(
            "{} is inside the data folder: name a folder elsewhere, best on another disk",
            to.display()
        ))),
        false => Ok(()),
    }
}
