//! The file of API keys: who may read it, what it looks like, whether it changed.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;

use super::api_key::ApiKey;
use super::api_keys::ApiKeyError;

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

#[derive(Deserialize)]
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

fn wrong(path: &Path, reason: String) -> ApiKeyError {
    ApiKeyError::File {
        path: path.to_owned(),
        reason,
    }
}
