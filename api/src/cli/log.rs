//! `flowstate log <command>`: tools on a data folder. Each command is a file; what they share is in `place`, `time`, `line`, and in the
//! command's own `failure`, `output` and `file`.
//!
//! Exit codes: 0 done and nothing is wrong; 1 damage was found, or it failed; 2 the call is wrong; 3 another process has the folder.

mod backup;
mod cluster;
mod erase;
mod export;
mod import;
mod inspect;
mod line;
mod lines;
mod place;
mod plan;
mod proof;
mod rebuild;
mod restore;
mod select;
mod stats;
mod tail;
mod trim;
mod verify;

use std::path::Path;

use super::failure::{self, Failure};
use super::file;
use super::output::{self, Output};
use super::time;

/// The arguments of `flowstate log`.
#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "Exit codes: 0 done, 1 damage found or failed, 2 wrong call, 3 the folder is in use by another process."
)]
enum Command {
    /// Shows what the folder holds: segments, runs, streams, the chain. Also beside a server.
    Inspect,
    /// Prints records as they became durable, one per line. Also beside a server.
    Tail(tail::TailArgs),
    /// Reads and checks everything. Also beside a server.
    Verify(verify::VerifyArgs),
    /// Counts records and bytes by kind and by stream. Also beside a server.
    Stats(stats::StatsArgs),
    /// Writes records to a file, as JSON Lines with checksums. Also beside a server.
    Export(export::ExportArgs),
    /// Appends what an export holds, after all of it was checked.
    Import(import::ImportArgs),
    /// Makes a backup, or adds to the one that is there. Also beside a server.
    Backup(backup::BackupArgs),
    /// Makes a new data folder from a backup.
    Restore(restore::RestoreArgs),
    /// Drops the view store and makes it anew from the records.
    Rebuild,
    /// Sorts full segments into runs now, and gives back the space of what was trimmed, deleted or erased.
    Cluster,
    /// Gives up the first records of streams.
    Trim(trim::TrimArgs),
    /// Erases everything of a user for good, and looks into every file whether it is gone.
    Erase(erase::EraseArgs),
}

/// Does what was asked.
pub(super) async fn run(folder: &Path, args: LogArgs, out: &Output) -> Result<(), Failure> {
    match args.command {
        Command::Inspect => inspect::run(folder, out),
        Command::Tail(args) => tail::run(folder, &args, out).await,
        Command::Verify(args) => verify::run(folder, &args, out),
        Command::Stats(args) => stats::run(folder, &args, out),
        Command::Export(args) => export::run(folder, &args, out),
        Command::Import(args) => import::run(folder, &args, out).await,
        Command::Backup(args) => backup::run(folder, &args, out),
        Command::Restore(args) => restore::run(&args, out).await,
        Command::Rebuild => rebuild::run(folder, out).await,
        Command::Cluster => cluster::run(folder, out).await,
        Command::Trim(args) => trim::run(folder, &args, out).await,
        Command::Erase(args) => erase::run(folder, &args, out).await,
    }
}
