//! The file of API keys: who may read it, what it looks like, whether it changed; and changing it as a whole.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::api_key::ApiKey;
use super::api_keys::{ApiKeyError, known};

/// Largest file.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    keys: Vec<ApiKey>,
}

/// What the file has, and how it looked then.
pub(super) struct Found {
    pub(super) keys: Vec<ApiKey>,
    pub(super) stamp: Stamp,
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Found, ApiKeyError> {
    let (file, metadata) = open(path)?;
    contents(path, file, &metadata)
}

/// Reads the file, unless it looks as it did before.
pub(super) fn read_if_changed(path: &Path, seen: Stamp) -> Result<Option<Found>, ApiKeyError> {
    let (file, metadata) = open(path)?;
    match Stamp::of(&metadata) == seen {
        true => Ok(None),
        false => contents(path, file, &metadata).map(Some),
    }
}

fn open(path: &Path) -> Result<(File, Metadata), ApiKeyError> {
    let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    opened.map_err(|error| wrong(path, error.to_string()))
}

fn contents(path: &Path, file: File, metadata: &Metadata) -> Result<Found, ApiKeyError> {
    if !metadata.is_file() {
        return Err(wrong(path, "it is not a file".to_owned()));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        let reason = format!("others than its owner may use it (mode {mode:03o}): chmod 600 it");
        return Err(wrong(path, reason));
    }
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(path, error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(path, format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    // The message of serde_json may have a value: a key that was pasted by mistake is not repeated.
    let contents: Contents = serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let form = "{\"keys\": [{\"name\", \"hash\", \"tenant\", \"user\", \"projects\", \"operator\"}]}";
        wrong(path, format!("it is not {form}: line {line} column {column}"))
    })?;
    Ok(Found {
        keys: contents.keys,
        stamp: Stamp::of(metadata),
    })
}

/// Changes the keys of a file, and gives what `change` does. The file is made if there is none, and replaced as a whole, so that who reads it
/// has the keys of before or those of after. Whoever changes it at the same time waits. Nothing is written if `change` refuses, or changes nothing.
pub(crate) fn edit<T>(
    path: &Path,
    change: impl FnOnce(&mut Vec<ApiKey>) -> Result<T, ApiKeyError>,
) -> Result<T, ApiKeyError> {
    // What a link leads to is what is replaced.
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let failed = |error: io::Error| wrong(path, error.to_string());
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    flock(&folder, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    let is_there = match fs::metadata(&place) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let before = if is_there.is_some() {
        read(&place)?.keys
    } else {
        Vec::new()
    };
    let mut keys = before.clone();
    let done = change(&mut keys)?;
    if keys != before {
        known(keys.clone())?;
        let owner = is_there.as_ref().map(|before| (before.uid(), before.gid()));
        replace(&place, &folder, &Contents { keys }, owner).map_err(failed)?;
    }
    Ok(done)
}

/// Durable on return. Who may read the file before may read it then: a server reads it again while it runs.
fn replace(place: &Path, folder: &File, contents: &Contents, owner: Option<(u32, u32)>) -> io::Result<()> {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(format!(".partial-{}", std::process::id()));
    let beside: PathBuf = place.with_file_name(name);
    let mut text = serde_json::to_vec_pretty(contents)?;
    text.push(b'\n');
    let written = write_new(&beside, &text, owner);
    let renamed = written.and_then(|()| fs::rename(&beside, place));
    if renamed.is_err() {
        // Nothing of it is of use, and the error is told.
        let _ = fs::remove_file(&beside);
    }
    renamed.and_then(|()| folder.sync_all())
}

/// Writes a file that is not there yet; what an earlier process of this number left goes first. Of `owner`, if it is given.
fn write_new(path: &Path, text: &[u8], owner: Option<(u32, u32)>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Some((user, group)) = owner {
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (user, group) {
            std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
        }
    }
    file.write_all(text)?;
    file.sync_all()
}

fn wrong(path: &Path, reason: String) -> ApiKeyError {
    ApiKeyError::File {
        path: path.to_owned(),
        reason,
    }
}
