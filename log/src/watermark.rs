//! A lower bound of what is durable, kept beside the log: two slots of one file, written in turn, each with its checksum.
//! It tells recovery that a commit which does not check was acknowledged, and is not just the torn end of the last write.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};

/// The file's name.
pub(crate) const FILE: &str = "watermark";
const SLOT: usize = 4096;
const MAGIC: [u8; 4] = *b"FSw\x01";
const BYTES: usize = 4 + 8 + 16 + 8 + 8 + 1;

/// What one slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) store: [u8; 16],
    /// Of the process that wrote it; raised at each open.
    pub(crate) epoch: u64,
    /// Every commit up to this one is durable.
    pub(crate) commit: u64,
    /// Written by an orderly close: no commit follows.
    pub(crate) clean: bool,
}

/// The open file.
pub(crate) struct Watermark {
    file: Arc<dyn DiskFile>,
    written: u64,
}

fn encode(written: u64, mark: &Mark) -> Vec<u8> {
    let mut slot = Vec::with_capacity(SLOT);
    slot.extend_from_slice(&MAGIC);
    slot.extend_from_slice(&written.to_le_bytes());
    slot.extend_from_slice(&mark.store);
    slot.extend_from_slice(&mark.epoch.to_le_bytes());
    slot.extend_from_slice(&mark.commit.to_le_bytes());
    slot.push(u8::from(mark.clean));
    let crc = crc32fast::hash(&slot);
    slot.extend_from_slice(&crc.to_le_bytes());
    slot.resize(SLOT, 0);
    slot
}

fn decode(slot: &[u8]) -> Option<(u64, Mark)> {
    let (body, rest) = slot.split_at_checked(BYTES)?;
    if body[..4] != MAGIC || crc32fast::hash(body).to_le_bytes() != rest[..4] {
        return None;
    }
    let number = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().unwrap_or_default());
    let mark = Mark {
        store: body[12..28].try_into().ok()?,
        epoch: number(28),
        commit: number(36),
        clean: body[44] == 1,
    };
    Some((number(4), mark))
}

impl Watermark {
    /// Makes the file with a first mark, durable on return except for the folder's entry.
    pub(crate) fn create(disk: &dyn Disk, mark: &Mark) -> io::Result<Self> {
        let file = disk.create(FILE)?;
        file.write_at(0, &vec![0; 2 * SLOT])?;
        let mut made = Self { file, written: 0 };
        made.write(mark)?;
        Ok(made)
    }

    /// Opens the file; `None` in place of the mark if neither slot checks.
    pub(crate) fn open(disk: &dyn Disk) -> io::Result<(Self, Option<Mark>)> {
        let file = disk.open(FILE)?;
        let mut bytes = vec![0; 2 * SLOT];
        let present = (file.len()? as usize).min(bytes.len());
        file.read_at(0, &mut bytes[..present])?;
        let newest = bytes
            .chunks(SLOT)
            .filter_map(decode)
            .max_by_key(|(written, _)| *written);
        let written = newest.map_or(0, |(written, _)| written);
        Ok((Self { file, written }, newest.map(|(_, mark)| mark)))
    }

    /// Writes the older slot and syncs: the newer one stays whole whatever happens.
    pub(crate) fn write(&mut self, mark: &Mark) -> io::Result<()> {
        self.written += 1;
        let slot = (self.written % 2) * SLOT as u64;
        self.file.write_at(slot, &encode(self.written, mark))?;
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    #[test]
    fn a_torn_write_leaves_the_mark_before() {
        let disk = MemoryDisk::new();
        let mark = |commit| Mark {
            store: [1; 16],
            epoch: 2,
            commit,
            clean: false,
        };
        let mut watermark = Watermark::create(&disk, &mark(0)).expect("create");
        for commit in 1..6 {
            watermark.write(&mark(commit)).expect("write");
        }
        let (reopened, found) = Watermark::open(&disk).expect("open");
        assert_eq!((reopened.written, found), (6, Some(mark(5))));
        let slot = (reopened.written % 2) * SLOT as u64;
        reopened.file.write_at(slot + 10, b"torn").expect("damage");
        assert_eq!(Watermark::open(&disk).expect("open").1, Some(mark(4)));
    }
}
