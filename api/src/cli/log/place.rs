//! Ways into a data folder: reading its files, which is possible beside a server, and opening its log, which is not.

use std::path::Path;
use std::sync::Arc;

use flowstate_engine::offline;
use flowstate_log::disk::Disk;
use flowstate_log::disk::fs::FsDisk;
use flowstate_log::folder::{Folder, Summary};
use flowstate_log::{Log, Options};

use super::failure::Failure;

/// What the part of a data folder is called that holds the log.
const LOG: &str = "log";

/// The log's files in a data folder; refused if there are none, so that nothing is made by looking at it.
pub(super) fn disk(folder: &Path) -> Result<Arc<dyn Disk>, Failure> {
    let files = folder.join(LOG);
    if !files.is_dir() {
        return Err(Failure::Usage(format!(
            "there is no log in {}: name another folder with --data-dir",
            folder.display()
        )));
    }
    let disk = FsDisk::open(&files).map_err(Failure::io(format!("opening {}", files.display())))?;
    Ok(Arc::new(disk))
}

/// The folder's log, read only.
pub(super) fn read(folder: &Path) -> Result<Folder, Failure> {
    Ok(Folder::open(disk(folder)?)?)
}

/// The folder's log with whatever can be read of it.
pub(super) fn read_damaged(folder: &Path) -> Result<Folder, Failure> {
    Ok(Folder::open_damaged(disk(folder)?)?)
}

/// The last commit that no crash takes back: what is behind it is not shown.
pub(super) fn durable(summary: &Summary) -> u64 {
    summary.watermark.max(summary.clustered_through)
}

/// What the folder's log is opened with: everything as the server has it.
pub(super) fn options(folder: &Path) -> Result<Options, Failure> {
    disk(folder)?;
    options_of_new(folder)
}

/// The same for a folder that may hold nothing yet.
pub(super) fn options_of_new(folder: &Path) -> Result<Options, Failure> {
    let mut options = Options::in_folder(folder)?;
    options.views = offline::views();
    Ok(options)
}

/// Opens the folder's log. There must be one.
pub(super) async fn open(folder: &Path) -> Result<Log, Failure> {
    open_with(options(folder)?).await
}

/// Opens a log off the async threads.
pub(super) async fn open_with(options: Options) -> Result<Log, Failure> {
    let opened = tokio::task::spawn_blocking(move || Log::open(options)).await;
    opened.map_or_else(|ended| Err(Failure::Failed(ended.to_string())), |log| Ok(log?))
}
