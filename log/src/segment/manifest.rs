//! The manifest: which store this is, which slots and which runs it has. Replaced as a whole, by a new file and a rename.
//! A slot is listed before its first commit. Its base commit is not known then (it is the next one when the slot comes into
//! use), so it is written with the following replacement; until then the links between commits stand in for it.
//! A run is listed in the same replacement that takes the slots, or the runs, that it stands for off the list.

use std::io;

use serde::{Deserialize, Serialize};

use crate::codec::FORMAT;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::record::Digest;

/// The file's name.
pub(crate) const FILE: &str = "manifest";
const NEW_FILE: &str = "manifest.new";
/// As `erasing`: by which commit is not known yet.
pub(crate) const ERASING: u64 = u64::MAX;
const MAGIC: [u8; 4] = *b"FSm\x01";
const HEAD: usize = 12;

/// The manifest's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Newest format that anything in this store uses. A reader that knows less refuses.
    pub(crate) format: u16,
    /// Identity of this store.
    pub(crate) store: [u8; 16],
    /// Goes into the addresses of blobs. The identity with which the store was first made: a restored one keeps it.
    #[serde(default)]
    pub(crate) salt: [u8; 16],
    /// Slots by generation.
    pub(crate) slots: Vec<Entry>,
    /// Slots that hold nothing any more, to be used again.
    #[serde(default)]
    pub(crate) free: Vec<Free>,
    /// Runs, oldest first: they have the commits up to the last one's `last`, without a gap.
    #[serde(default)]
    pub(crate) runs: Vec<RunEntry>,
    /// Where the chain begins: the last commit whose records and header were all given up, and its hash.
    #[serde(default)]
    pub(crate) origin: (u64, Hex),
    /// The highest generation that any slot ever had.
    #[serde(default)]
    pub(crate) generation: u32,
    /// The highest number that any run ever had.
    #[serde(default)]
    pub(crate) run: u32,
    /// It was read from one of an older format.
    #[serde(skip)]
    pub(crate) upgraded: bool,
    /// Something was erased by this commit that files may still hold; 0 if not, [`ERASING`] while it goes on.
    #[serde(default)]
    pub(crate) erasing: u64,
}

/// A digest, in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Hex(pub(crate) Digest);

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("a digest has 64 hexadecimal digits"))
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunEntry {
    pub(crate) run: u32,
    /// Its commits.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Hash of its last commit: what the next one links to.
    pub(crate) hash: Hex,
    /// Length of its file.
    pub(crate) bytes: u64,
    /// What was trimmed or erased by a commit up to this one is not in it.
    pub(crate) cleaned: u64,
}

/// A slot that holds nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Free {
    pub(crate) slot: u32,
    pub(crate) bytes: u64,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// First commit in it; 0 if it had none when this was written.
    pub(crate) base: u64,
    pub(crate) bytes: u64,
    /// It was used before; behind its own commits are those of its former use.
    #[serde(default)]
    pub(crate) recycled: bool,
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
        let mut manifest: Self =
            serde_json::from_slice(json).map_err(|error| damaged(&format!("can't be read ({error})")))?;
        // What is made of an older manifest is one of the present format; whoever opens the log for writing puts it in its place.
        manifest.upgraded = manifest.format != FORMAT;
        match std::mem::replace(&mut manifest.format, FORMAT) {
            FORMAT => {}
            // The one step from format 1: nothing that it has changes its meaning.
            1 => {
                manifest.salt = manifest.store;
                manifest.generation = manifest.slots.iter().map(|entry| entry.generation).max().unwrap_or(0);
            }
            format => {
                return Err(OpenError::Format(format!(
                    "this log has format {format}; this version of the software reads formats 1 to {FORMAT}"
                )));
            }
        }
        Ok(Some(manifest))
    }

    /// A store that has nothing yet.
    pub(crate) fn empty(store: [u8; 16]) -> Self {
        Self {
            format: FORMAT,
            store,
            salt: store,
            slots: Vec::new(),
            free: Vec::new(),
            runs: Vec::new(),
            origin: (0, Hex::default()),
            generation: 0,
            run: 0,
            upgraded: false,
            erasing: 0,
        }
    }

    /// The last commit that is in a run, and its hash.
    pub(crate) fn clustered(&self) -> (u64, Digest) {
        match self.runs.last() {
            Some(run) => (run.last, run.hash.0),
            None => (self.origin.0, self.origin.1.0),
        }
    }

    /// Files that a crash may leave behind beside those that count.
    pub(crate) fn is_leftover(&self, name: &str) -> bool {
        let slot = |slot: u32| super::Slot::name(slot) == name;
        name == NEW_FILE
            || name.starts_with(crate::blob::UNFINISHED)
            || (crate::run::is_name(name) && !self.runs.iter().any(|entry| crate::run::name(entry.run) == name))
            || (super::Slot::is_name(name)
                && !self.slots.iter().any(|entry| slot(entry.slot))
                && !self.free.iter().any(|free| slot(free.slot)))
    }
}
