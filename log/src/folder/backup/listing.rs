//! What a backup says about itself: the file `backup.json`, replaced last of all, and `backup.part.json` while one is being made.

use std::io;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::disk::Disk;
use crate::folder::error::FolderError;
use crate::folder::report::{Head, digest_hex, id_hex};
use crate::record::Digest;
use crate::segment::manifest::Hex;

/// The listing of a whole backup.
pub(in crate::folder) const FILE: &str = "backup.json";
/// The listing of one that is being made.
pub(super) const PART: &str = "backup.part.json";
const FORMAT: u16 = 1;

/// What a backup has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::folder) struct Listing {
    /// Of this file.
    pub(in crate::folder) format: u16,
    /// Newest format that anything in the log used.
    pub(in crate::folder) log_format: u16,
    /// Goes into the addresses of payload files.
    #[serde(with = "id_hex")]
    pub(in crate::folder) salt: [u8; 16],
    pub(in crate::folder) epoch: u64,
    pub(in crate::folder) generation: u32,
    pub(in crate::folder) origin: (u64, Hex),
    /// The last commit that it has.
    pub(in crate::folder) head: Head,
    /// What the whole backup had that this one began with; in a part only.
    #[serde(default)]
    pub(in crate::folder) before: Option<Head>,
    /// Oldest first, without gaps.
    pub(in crate::folder) runs: Vec<RunFile>,
    pub(in crate::folder) blobs: Vec<BlobFile>,
    /// Streams that were erased: older runs may still hold what they said.
    pub(in crate::folder) erasures: Vec<String>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::folder) struct RunFile {
    pub(in crate::folder) run: u32,
    pub(in crate::folder) first: u64,
    pub(in crate::folder) last: u64,
    pub(in crate::folder) hash: Hex,
    pub(in crate::folder) cleaned: u64,
    pub(in crate::folder) bytes: u64,
    #[serde(with = "digest_hex")]
    pub(in crate::folder) sha256: Digest,
}

/// A payload file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::folder) struct BlobFile {
    #[serde(with = "digest_hex")]
    pub(in crate::folder) address: Digest,
    pub(in crate::folder) bytes: u64,
    #[serde(with = "digest_hex")]
    pub(in crate::folder) sha256: Digest,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    /// Of the listing, as compact JSON.
    #[serde(with = "digest_hex")]
    sha256: Digest,
    backup: Listing,
}

impl Listing {
    /// Of a log that nothing was backed up of yet.
    pub(super) fn empty(manifest: &crate::segment::manifest::Manifest, epoch: u64) -> Self {
        Self {
            format: FORMAT,
            log_format: manifest.format,
            salt: manifest.salt,
            epoch,
            generation: manifest.generation,
            origin: manifest.origin,
            head: Head {
                store: manifest.store,
                commit: manifest.origin.0,
                hash: manifest.origin.1.0,
            },
            before: None,
            runs: Vec::new(),
            blobs: Vec::new(),
            erasures: Vec::new(),
        }
    }

    /// Bytes of all files.
    pub(in crate::folder) fn bytes(&self) -> u64 {
        let runs: u64 = self.runs.iter().map(|run| run.bytes).sum();
        runs + self.blobs.iter().map(|blob| blob.bytes).sum::<u64>()
    }

    /// Replaces the file; durable on return.
    pub(super) fn write(&self, disk: &dyn Disk, name: &str) -> Result<(), FolderError> {
        let write = || {
            let sealed = Sealed {
                sha256: digest(&serde_json::to_vec(self)?),
                backup: self.clone(),
            };
            let new = format!("{name}.new");
            let file = disk.create(&new)?;
            file.write_at(0, &serde_json::to_vec_pretty(&sealed)?)?;
            file.sync()?;
            disk.rename(&new, name)?;
            disk.sync_dir()
        };
        write().map_err(FolderError::io(format!("writing {name} in {}", disk.describe())))
    }

    /// `None` if there is none.
    pub(in crate::folder) fn read(disk: &dyn Disk, name: &str) -> Result<Option<Self>, FolderError> {
        let read = || {
            let file = disk.open(name)?;
            let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
            file.read_at(0, &mut bytes)?;
            Ok::<_, io::Error>(bytes)
        };
        let bytes = match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(FolderError::io(format!("reading {name} in {}", disk.describe())))?,
        };
        let damaged =
            |what: String| FolderError::Target(format!("{name} in {}: {what}; make a new backup", disk.describe()));
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let format = value.pointer("/backup/format").and_then(serde_json::Value::as_u64);
        if format.is_some_and(|format| format > u64::from(FORMAT)) {
            return Err(FolderError::Format(format!(
                "{name} has format {}; this version of the software reads format {FORMAT}",
                format.unwrap_or_default()
            )));
        }
        let sealed: Sealed = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        let json = serde_json::to_vec(&sealed.backup).map_err(|error| damaged(error.to_string()))?;
        match digest(&json) == sealed.sha256 {
            true => Ok(Some(sealed.backup)),
            false => Err(damaged("its checksum does not hold".to_owned())),
        }
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}
