//! The file of a run while it is written: from front to back, in long writes, synced at the end.

use std::io;
use std::sync::Arc;

use super::build::BuildError;
use super::footer::Section;
use super::pages::Pages;
use super::{HEAD, name};
use crate::disk::{Disk, DiskFile};

/// Bytes that are gathered before they are written.
pub(super) const WRITE_BYTES: usize = 512 << 10;

/// The file, written from front to back.
pub(super) struct Out<'a> {
    name: String,
    file: Arc<dyn DiskFile>,
    pub(super) buffer: Vec<u8>,
    written: u64,
    on_written: &'a mut dyn FnMut(u64),
}

impl<'a> Out<'a> {
    /// Begins the file.
    pub(super) fn create(disk: &dyn Disk, number: u32, on_written: &'a mut dyn FnMut(u64)) -> Result<Self, BuildError> {
        let name = name(number);
        let file = disk.create(&name).map_err(|source| BuildError::Io {
            name: name.clone(),
            source,
        })?;
        Ok(Self {
            name,
            file,
            buffer: HEAD.to_vec(),
            written: 0,
            on_written,
        })
    }

    pub(super) fn at(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(super) fn refuse(&self, what: impl Into<String>) -> BuildError {
        BuildError::Refused {
            name: self.name.clone(),
            what: what.into(),
        }
    }

    fn failed(&self, source: io::Error) -> BuildError {
        BuildError::Io {
            name: self.name.clone(),
            source,
        }
    }

    pub(super) fn write_if(&mut self, bytes_min: usize) -> Result<(), BuildError> {
        if self.buffer.len() < bytes_min || self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.write_at(self.written, &self.buffer);
        written.map_err(|source| self.failed(source))?;
        let bytes = self.buffer.len() as u64;
        self.written += bytes;
        self.buffer.clear();
        (self.on_written)(bytes);
        Ok(())
    }

    /// A section that began at `offset` and ends here.
    pub(super) fn section(&self, offset: u64, blocks: usize) -> Result<Section, BuildError> {
        Ok(Section {
            offset,
            bytes: self.at() - offset,
            blocks: u32::try_from(blocks).map_err(|_| self.refuse("there are too many blocks"))?,
        })
    }

    /// Takes over what is packed, once it is worth a write.
    pub(super) fn write_from(&mut self, pages: &mut Pages) -> Result<(), BuildError> {
        if pages.packed.len() < WRITE_BYTES {
            return Ok(());
        }
        self.buffer.append(&mut pages.packed);
        self.write_if(WRITE_BYTES)
    }

    /// The rest of a section that began at `offset`.
    pub(super) fn pages(&mut self, offset: u64, mut pages: Pages) -> Result<Section, BuildError> {
        pages.end(false);
        for piece in pages.packed.chunks(WRITE_BYTES) {
            self.buffer.extend_from_slice(piece);
            self.write_if(WRITE_BYTES)?;
        }
        self.section(offset, pages.blocks)
    }

    /// Gives the file's length.
    pub(super) fn sync(&mut self) -> Result<u64, BuildError> {
        self.write_if(1)?;
        self.file.sync().map_err(|source| self.failed(source))?;
        Ok(self.written)
    }
}
