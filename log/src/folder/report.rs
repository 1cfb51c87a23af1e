//! What is told about a folder: plain values, most of them with a JSON form.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::record::{Digest, Name, Parent, Record, StreamId};

/// The end of the chain: whoever kept one can tell later whether everything up to it is still what it was. JSON:
/// `{"store":hex,"commit":n,"hash":hex}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The store.
    #[serde(with = "id_hex")]
    pub store: [u8; 16],
    /// Its last commit.
    pub commit: u64,
    /// That commit's hash, which stands for everything before it.
    #[serde(with = "digest_hex")]
    pub hash: Digest,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "commit {} of store {}: {}",
            self.commit,
            StreamId(self.store),
            self.hash
        )
    }
}

/// What a folder holds, told without reading the records of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Identity of the store.
    #[serde(with = "id_hex")]
    pub store: [u8; 16],
    /// Newest format in use.
    pub format: u16,
    /// The highest epoch seen: how often the store was opened.
    pub epoch: u64,
    /// Everything up to this commit is known durable.
    pub watermark: u64,
    /// Whether the watermark was written by an orderly close.
    pub clean: bool,
    /// The last commit that is in runs.
    pub clustered_through: u64,
    /// The end of the chain.
    pub tip: Head,
    /// Segments in use, oldest first.
    pub slots: Vec<SlotSummary>,
    /// Runs, oldest first.
    pub runs: Vec<RunSummary>,
    /// Files of large payloads.
    pub blobs: u64,
    /// Numbers of the segments that hold nothing any more.
    pub free_slots: Vec<u32>,
    /// Names of the copies of torn tails.
    pub torn_copies: Vec<String>,
    /// Bytes of files.
    pub bytes: BytesByKind,
    /// What could not be read when the folder was opened.
    pub damage: Vec<Damage>,
}

/// A segment in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotSummary {
    /// Its number.
    pub number: u32,
    /// Of its present use.
    pub generation: u32,
    /// Its first commit; 0 while it has none.
    pub base: u64,
    /// Its commits.
    pub commits: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Up to the end of its last commit.
    pub bytes_used: u64,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// Its number.
    pub number: u32,
    /// Its first commit.
    pub first_commit: u64,
    /// Its last commit.
    pub last_commit: u64,
    /// Records that it still holds.
    pub records: u64,
    /// Streams that it has records of.
    pub streams: u64,
    /// Length of the file.
    pub bytes: u64,
}

/// Bytes of files, by what they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BytesByKind {
    /// Segments in use, whole files.
    pub slots: u64,
    /// Segments that hold nothing.
    pub free_slots: u64,
    /// Runs.
    pub runs: u64,
    /// Large payloads.
    pub blobs: u64,
    /// Copies of torn tails.
    pub torn_copies: u64,
    /// Manifest, watermark and what a crash left behind.
    pub other: u64,
}

/// One stream, as its records tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamSummary {
    /// Its id.
    #[serde(serialize_with = "display")]
    pub id: StreamId,
    /// Its name; `None` if it was erased, or the record that says it is gone or can't be read.
    #[serde(serialize_with = "name")]
    pub name: Option<Name>,
    /// Where it continues another one.
    #[serde(serialize_with = "parent")]
    pub parent: Option<Parent>,
    /// The first position that can be read.
    pub first: u64,
    /// The last position.
    pub last: u64,
    /// Records that are there.
    pub records: u64,
    /// It was deleted.
    pub deleted: bool,
    /// It was erased.
    pub erased: bool,
    /// Positions up to this one were given up; 0 if none were.
    pub trimmed: u64,
    /// When its last record was sequenced: microseconds since 1970.
    pub last_time_us: i64,
}

/// Where a folder's bytes are not what was written, and how far that reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How many bytes of it can't be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The first commit that it touches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    /// The stream that it touches.
    #[serde(serialize_with = "display_option", skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamId>,
    /// The first position of that stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// What did not hold, and what that means.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        if let Some(bytes) = self.bytes {
            write!(f, " ({bytes} bytes)")?;
        }
        if let Some(commit) = self.commit {
            write!(f, ", commit {commit}")?;
        }
        if let Some(stream) = self.stream {
            write!(f, ", stream {stream}")?;
        }
        if let Some(position) = self.position {
            write!(f, ", position {position}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for Damage {}

impl Damage {
    pub(crate) fn in_file(file: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            what: what.into(),
            ..Self::default()
        }
    }

    pub(crate) fn at(mut self, offset: u64, bytes: u64) -> Self {
        (self.offset, self.bytes) = (Some(offset), Some(bytes));
        self
    }

    pub(crate) fn of_commit(mut self, commit: u64) -> Self {
        self.commit = Some(commit);
        self
    }

    pub(crate) fn of_record(mut self, stream: StreamId, position: u64) -> Self {
        (self.stream, self.position) = (Some(stream), Some(position));
        self
    }
}

/// One commit with what is left of its records, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRecords {
    /// Its number.
    pub commit: u64,
    /// The store that wrote it. In a restored folder older commits are of the store that was backed up.
    pub store: [u8; 16],
    /// Of the process that wrote it.
    pub epoch: u64,
    /// Its hash.
    pub hash: Digest,
    /// Records that it was written with.
    pub written: u32,
    /// Those that are left: records that were trimmed or deleted are missing, erased ones are empty.
    pub records: Vec<Record>,
}

/// How far something long has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done: a word or two.
    pub step: &'static str,
    /// Bytes done, of all steps.
    pub done: u64,
    /// Bytes to do; an estimate.
    pub total: u64,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The end of the chain, as far as it could be followed.
    pub head: Head,
    /// Commits that were checked.
    pub commits: u64,
    /// Those that carry a digest of their records; others are protected against accidents only.
    pub commits_chained: u64,
    /// Records that were checked.
    pub records: u64,
    /// Records that are there as digests only: erased, trimmed or deleted beside others that stayed.
    pub digests: u64,
    /// Streams that have records.
    pub streams: u64,
    /// Large payloads that were checked.
    pub blobs: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What does not hold.
    pub findings: Vec<Damage>,
    /// Findings beyond [`VerifyReport::FINDINGS_MAX`] that are only counted.
    pub findings_left_out: u64,
}

impl VerifyReport {
    /// Findings that are told one by one.
    pub const FINDINGS_MAX: usize = 1_000;

    /// Whether everything holds.
    pub fn ok(&self) -> bool {
        self.findings.is_empty()
    }
}

/// What a backup did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// What the backup reaches to.
    pub head: Head,
    /// What it reached to before; `None` if there was none.
    pub before: Option<Head>,
    /// Runs that were copied as they are.
    pub runs_copied: u64,
    /// Runs that were made for the backup.
    pub runs_made: u64,
    /// Large payloads that were copied.
    pub blobs_copied: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// Bytes of the whole backup.
    pub bytes: u64,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// The backup's head, which the restored commits were found to lead to.
    pub backup: Head,
    /// The restored folder's head: the same commit and hash under the new id, or behind it if erasures were made again.
    pub head: Head,
    /// Runs.
    pub runs: u64,
    /// Large payloads.
    pub blobs: u64,
    /// Streams that were erased after the backup, and again now.
    pub streams_erased: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
}

fn display<T: fmt::Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

fn display_option<T: fmt::Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}

fn name<S: Serializer>(name: &Option<Name>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Both<'a> {
        principal: &'a str,
        name: &'a str,
    }
    let both = name.as_ref().map(|name| Both {
        principal: name.principal(),
        name: name.name(),
    });
    both.serialize(to)
}

fn parent<S: Serializer>(parent: &Option<Parent>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct At {
        stream: String,
        position: u64,
    }
    let at = parent.map(|parent| At {
        stream: parent.stream.to_string(),
        position: parent.position,
    });
    at.serialize(to)
}

pub(super) mod id_hex {
    use super::*;

    pub(in crate::folder) fn serialize<S: Serializer>(id: &[u8; 16], to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&StreamId(*id))
    }

    pub(in crate::folder) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(from)?;
        let malformed = || serde::de::Error::custom("an id has 32 hexadecimal digits");
        let id = uuid::Uuid::try_parse(&text).map_err(|_| malformed())?;
        Ok(id.into_bytes())
    }
}

pub(super) mod digest_hex {
    use super::*;

    pub(in crate::folder) fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(digest)
    }

    pub(in crate::folder) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(from)?;
        Digest::parse(&text).ok_or_else(|| serde::de::Error::custom("a digest has 64 hexadecimal digits"))
    }
}
