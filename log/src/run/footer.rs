//! The end of a run: the footer, which says where everything is, and the trailer, which says where the footer is.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::block::BLOCK_HEAD;
use super::entry::{u32_at, u64_at};
use super::{HEAD, MAGIC};

/// Bytes of the trailer.
pub(super) const TRAILER: usize = 24;
const CHECKED: usize = 16;

/// What a run says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Footer {
    pub(crate) format: u16,
    pub(crate) run: u32,
    #[serde(with = "hex")]
    pub(crate) store: [u8; 16],
    pub(crate) first_commit: u64,
    pub(crate) last_commit: u64,
    pub(crate) records: u64,
    pub(crate) streams: u64,
    /// Of all frames.
    pub(crate) raw_bytes: u64,
    pub(crate) created_us: i64,
    pub(crate) sections: Sections,
}

/// Where the sections are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sections {
    pub(crate) records: Section,
    pub(crate) streams: Section,
    pub(crate) commits: Section,
    pub(crate) stubs: Section,
    pub(crate) blobs: Section,
    pub(crate) index: Section,
}

/// A sequence of blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Section {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) blocks: u32,
}

impl Section {
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

mod hex {
    use super::*;
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &[u8; 16], to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&Uuid::from_bytes(*id).as_simple())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(from)?;
        Ok(Uuid::try_parse(&text).map_err(D::Error::custom)?.into_bytes())
    }
}

impl Footer {
    /// From JSON in the block at `offset`, checked for being whole: the sections fill the file up to there.
    pub(super) fn parse(json: &[u8], run: u32, offset: u64) -> Result<Self, String> {
        let footer: Self =
            serde_json::from_slice(json).map_err(|error| format!("the footer can't be read ({error})"))?;
        if footer.run != run {
            return Err(format!("the file says that it is run {}", footer.run));
        }
        let Sections {
            records,
            streams,
            commits,
            stubs,
            blobs,
            index,
        } = footer.sections;
        let mut at = HEAD.len() as u64;
        for (name, section) in [
            ("records", records),
            ("streams", streams),
            ("commits", commits),
            ("stubs", stubs),
            ("blobs", blobs),
            ("index", index),
        ] {
            if section.offset != at || section.bytes < u64::from(section.blocks) * BLOCK_HEAD as u64 {
                return Err(format!("the section `{name}` is not where the one before it ends"));
            }
            at = section.end();
        }
        if at != offset {
            return Err("the sections do not fill the file".to_owned());
        }
        Ok(footer)
    }

    /// The format that the JSON claims, before anything else in it is looked at.
    pub(super) fn format(json: &[u8]) -> Result<u16, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u16,
        }
        let read: serde_json::Result<Format> = serde_json::from_slice(json);
        read.map(|read| read.format)
            .map_err(|error| format!("the footer can't be read ({error})"))
    }
}

/// The trailer for a footer block.
pub(super) fn trailer(offset: u64, bytes: u32) -> [u8; TRAILER] {
    let mut trailer = [0; TRAILER];
    trailer[..8].copy_from_slice(&offset.to_le_bytes());
    trailer[8..12].copy_from_slice(&bytes.to_le_bytes());
    let crc = crc32fast::hash(&trailer[..CHECKED]);
    trailer[CHECKED..20].copy_from_slice(&crc.to_le_bytes());
    trailer[20..].copy_from_slice(&MAGIC);
    trailer
}

/// Where the footer block is, in a file of this length.
pub(super) fn parse_trailer(trailer: &[u8], file_bytes: u64) -> Result<(u64, usize), &'static str> {
    if trailer.get(20..) != Some(&MAGIC) {
        return Err("the file does not end as a run does: it is cut short, or no run");
    }
    if crc32fast::hash(&trailer[..CHECKED]) != u32_at(trailer, CHECKED)? || u32_at(trailer, 12)? != 0 {
        return Err("the trailer's checksum does not hold");
    }
    let (offset, bytes) = (u64_at(trailer, 0)?, u32_at(trailer, 8)?);
    let end = offset.checked_add(u64::from(bytes) + TRAILER as u64);
    if end != Some(file_bytes) || (bytes as usize) < BLOCK_HEAD {
        return Err("the footer is not where the trailer says");
    }
    Ok((offset, bytes as usize))
}
