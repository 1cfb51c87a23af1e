//! `restore`: a new data folder from a backup. It is opened once, which makes its views and proves that it can be.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowstate_log::disk::Disk;
use flowstate_log::disk::fs::FsDisk;
use flowstate_log::env::{Env, SystemEnv};
use flowstate_log::folder::{self, RestoreOptions, RestoreReport};
use serde::Serialize;

use super::failure::Failure;
use super::output::{Output, bytes};
use super::place;

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// Folder of the backup.
    #[arg(value_name = "DIR")]
    from: PathBuf,

    /// Data folder to make; there must be none.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,

    /// The data folder that was backed up, if it is still there: what was erased in it since is erased in the new one too.
    #[arg(long, value_name = "FOLDER")]
    erasures_from: Option<PathBuf>,
}

#[derive(Serialize)]
struct Told<'a> {
    folder: &'a Path,
    #[serde(flatten)]
    report: &'a RestoreReport,
    /// The last commit of the log after it was opened.
    opened_at: u64,
}

pub(super) async fn run(args: &RestoreArgs, out: &Output) -> Result<(), Failure> {
    if !args.from.is_dir() {
        return Err(Failure::Usage(format!("there is no backup in {}", args.from.display())));
    }
    is_free(&args.to)?;
    let erasures_from = args.erasures_from.as_deref().map(place::disk).transpose()?;
    let from = FsDisk::open(&args.from).map_err(Failure::io(format!("opening {}", args.from.display())))?;
    let log = args.to.join("log");
    let to: Arc<dyn Disk> = Arc::new(FsDisk::open(&log).map_err(Failure::io(format!("making {}", log.display())))?);
    let bar = out.bar();
    let store = SystemEnv::new().mint();
    let options = RestoreOptions { erasures_from };
    let report = folder::restore(&from, to, store, options, &mut |progress| bar.show(progress))?;
    drop(bar);
    let opened = place::open(&args.to).await?;
    let told = Told {
        folder: &args.to,
        report: &report,
        opened_at: opened.last_commit(),
    };
    opened.close().await;
    out.say(&told, || {
        format!(
            "restored {} up to commit {} ({}) as a new store: {} written, {} streams erased again\nserve it with --data-dir {}",
            args.from.display(),
            report.backup.commit,
            report.backup.hash,
            bytes(report.bytes_written),
            report.streams_erased,
            args.to.display()
        )
    })
}

fn is_free(folder: &Path) -> Result<(), Failure> {
    let mut entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Failure::io(format!("reading {}", folder.display())))?,
    };
    match entries.next() {
        None => Ok(()),
        // What an interrupted restore left is gone on with or refused by the log itself.
        Some(Ok(entry)) if entry.file_name() == "log" && entries.next().is_none() => Ok(()),
        Some(_) => Err(Failure::Usage(format!(
            "{} is not empty: name a folder that does not exist with --to",
            folder.display()
        ))),
    }
}
