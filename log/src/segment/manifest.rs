//! The manifest: which store this is and which slots it has. Replaced as a whole, by a new file and a rename.
//! A slot is listed before its first commit. Its base commit is not known then (it is the next one when the slot comes into
//! use), so it is written with the following replacement; until then the links between commits stand in for it.

use std::io;

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::error::OpenError;

/// The file's name.
pub(crate) const FILE: &str = "manifest";
const NEW_FILE: &str = "manifest.new";
const MAGIC: [u8; 4] = *b"FSm\x01";
const HEAD: usize = 12;

/// The manifest's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Newest format that anything in this store uses. A reader that knows less refuses.
    pub(crate) format: u16,
    /// Identity of this store.
    pub(crate) store: [u8; 16],
    /// Slots by generation.
    pub(crate) slots: Vec<Entry>,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// First commit in it; 0 if it had none when this was written.
    pub(crate) base: u64,
    pub(crate) bytes: u64,
}

impl Manifest {
    /// Durable on return.
    pub(crate) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let json = serde_json::to_vec(self)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(json.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&json).to_le_bytes());
        bytes.extend_from_slice(&json);
        let file = disk.create(NEW_FILE)?;
        file.write_at(0, &bytes)?;
        file.sync()?;
        disk.rename(NEW_FILE, FILE)?;
        disk.sync_dir()
    }

    /// `None` if there is none.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Self>, OpenError> {
        let io = |source| OpenError::Io {
            what: format!("reading the manifest in {}", disk.describe()),
            source,
        };
        let file = match disk.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(io)?,
        };
        let mut bytes = vec![0; file.len().map_err(io)? as usize];
        file.read_at(0, &mut bytes).map_err(io)?;
        let damaged = |what: &str| OpenError::Damaged(format!("the manifest {what}; restore it from a backup"));
        let (head, json) = bytes.split_at_checked(HEAD).ok_or_else(|| damaged("is cut short"))?;
        if head[..4] != MAGIC {
            return Err(damaged("is not one"));
        }
        let length = u32::from_le_bytes(head[4..8].try_into().unwrap_or_default()) as usize;
        let json = json.get(..length).ok_or_else(|| damaged("is cut short"))?;
        if crc32fast::hash(json).to_le_bytes() != head[8..12] {
            return Err(damaged("does not match its checksum"));
        }
        let manifest: Self =
            serde_json::from_slice(json).map_err(|error| damaged(&format!("can't be read ({error})")))?;
        if manifest.format != crate::codec::v1::FORMAT {
            return Err(OpenError::Format(format!(
                "this log has format {}; this version of the software reads format {}",
                manifest.format,
                crate::codec::v1::FORMAT
            )));
        }
        Ok(Some(manifest))
    }

    /// Files that a crash may leave behind beside those that count.
    pub(crate) fn is_leftover(&self, name: &str) -> bool {
        name == NEW_FILE
            || (super::Slot::is_name(name) && !self.slots.iter().any(|entry| super::Slot::name(entry.slot) == name))
    }
}
