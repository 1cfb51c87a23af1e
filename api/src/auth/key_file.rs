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

/// The keys and the stamp of the file; `None` if it has still the stamp `seen`.
pub(super) fn read(path: &Path, seen: Option<Stamp>) -> Result<Option<(Vec<ApiKey>, Option<Stamp>)>, ApiKeyError> {
    let wrong = |reason: String| ApiKeyError::File {
        path: path.to_owned(),
        reason,
    };
    let failed = |error: std::io::Error| wrong(error.to_string());
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let stamp = Stamp::of(&metadata);
    if seen == Some(stamp) {
        return Ok(None);
    }
    if !metadata.is_file() {
        return Err(wrong("it is not a file".to_owned()));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(wrong(format!(
            "others than its owner may use it (mode {mode:03o}): chmod 600 it"
        )));
    }
    let mut text = String::new();
    let mut bounded = (&mut file).take(FILE_BYTES_MAX + 1);
    bounded.read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    // The message of serde_json has a place, and names, but no value: a key that was pasted by mistake is not repeated.
    let contents: Contents = serde_json::from_str(&text).map_err(|error| {
        wrong(format!(
            "it is not {{\"keys\": [{{\"name\", \"hash\", \"tenant\", \"user\", \"projects\"}}]}}: line {} column {}",
            error.line(),
            error.column()
        ))
    })?;
    Ok(Some((contents.keys, Some(stamp))))
}
