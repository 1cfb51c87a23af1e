//! The file format of exports: JSON Lines. First a header, then records stream by stream, with a line for each damage in its place, last a
//! trailer with counts and a SHA-256 of all lines before it. Each line begins with the first 16 digits of the SHA-256 of the rest of it:
//! `{"check":"<16 digits>",` and what follows.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flowstate_log::folder::Damage;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::failure::Failure;
use super::file::Target;
use super::line::{NameLine, RecordLine, hex};

/// What a header says that the file is.
const FORMAT: &str = "flowstate-export";
/// The only version so far.
const VERSION: u32 = 1;
const CHECK_DIGITS: usize = 16;
const OPENS: &[u8] = b"{\"check\":\"";
const CLOSES: &[u8] = b"\",";
const PREFIX: usize = OPENS.len() + CHECK_DIGITS + CLOSES.len();
/// Longest line: a payload of the largest size, every byte of it escaped.
const LINE_BYTES_MAX: u64 = 512 << 20;

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Line {
    /// The first.
    Header(Header),
    /// A record.
    Record(Box<RecordLine>),
    /// Something can't be read here.
    Damage(Value),
    /// The last.
    Trailer(Trailer),
}

/// What was exported.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Header {
    format: String,
    version: u32,
    /// The store.
    pub(super) store: String,
    /// As it was at this commit.
    pub(super) commit: u64,
    /// The one stream that was asked for; those that it continues are there too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) only: Option<NameLine>,
}

impl Header {
    pub(super) fn new(store: String, commit: u64, only: Option<NameLine>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            store,
            commit,
            only,
        }
    }
}

/// What must have been read up to the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trailer {
    pub(super) streams: u64,
    pub(super) records: u64,
    pub(super) damage: u64,
    /// Of all lines before.
    pub(super) sha256: String,
}

fn check(body: &[u8]) -> String {
    let mut digits = hex(&Sha256::digest(body));
    digits.truncate(CHECK_DIGITS);
    digits
}

/// Writes lines.
pub(super) struct Writer {
    target: Target,
    hash: Sha256,
}

impl Writer {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            hash: Sha256::new(),
        }
    }

    pub(super) fn line(&mut self, line: &Line) -> Result<(), Failure> {
        let json = serde_json::to_vec(line).map_err(|error| Failure::Failed(error.to_string()))?;
        // The object's opening brace stands before the check.
        let body = &json[1..];
        let mut bytes = Vec::with_capacity(PREFIX + body.len() + 1);
        bytes.extend_from_slice(OPENS);
        bytes.extend_from_slice(check(body).as_bytes());
        bytes.extend_from_slice(CLOSES);
        bytes.extend_from_slice(body);
        bytes.push(b'\n');
        self.hash.update(&bytes);
        self.target.write(&bytes)
    }

    pub(super) fn damage(&mut self, damage: &Damage) -> Result<(), Failure> {
        let told = serde_json::to_value(damage).map_err(|error| Failure::Failed(error.to_string()))?;
        self.line(&Line::Damage(told))
    }

    /// Ends the file with its trailer, whose hash is filled in here.
    pub(super) fn finish(mut self, trailer: Trailer) -> Result<(), Failure> {
        let sha256 = hex(&self.hash.clone().finalize());
        self.line(&Line::Trailer(Trailer { sha256, ..trailer }))?;
        self.target.finish()
    }
}

/// Reads lines, every one of them checked.
pub(super) struct Reader {
    file: BufReader<File>,
    place: String,
    number: u64,
    offset: u64,
    hash: Sha256,
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn open(place: &Path) -> Result<Self, Failure> {
        let shown = place.display().to_string();
        let file = File::open(place).map_err(|error| Failure::Usage(format!("{shown} can't be opened: {error}")))?;
        Ok(Self {
            file: BufReader::with_capacity(256 << 10, file),
            place: shown,
            number: 0,
            offset: 0,
            hash: Sha256::new(),
            buffer: Vec::new(),
        })
    }

    /// Of all lines read since it was opened, but for the last one.
    pub(super) fn hash(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// Where the next line begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on from where a line begins.
    pub(super) fn seek(&mut self, offset: u64) -> Result<(), Failure> {
        let sought = self.file.seek(SeekFrom::Start(offset));
        sought.map_err(Failure::io(format!("reading {}", self.place)))?;
        self.offset = offset;
        self.number = 0;
        Ok(())
    }

    /// What is wrong with the line that was read last.
    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> Failure {
        Failure::Failed(format!(
            "{}, line {}: {what}; nothing was imported: make the export again, or get an unchanged copy of it",
            self.place, self.number
        ))
    }

    /// The next line; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Line>, Failure> {
        self.hash.update(&self.buffer);
        self.buffer.clear();
        let mut limited = (&mut self.file).take(LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut self.buffer);
        let read = read.map_err(Failure::io(format!("reading {}", self.place)))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.offset += read as u64;
        let Some(line) = self.buffer.strip_suffix(b"\n") else {
            return Err(self.wrong("the line is cut short"));
        };
        let stated = line
            .strip_prefix(OPENS)
            .and_then(|rest| rest.split_at_checked(CHECK_DIGITS));
        let Some((stated, body)) = stated.and_then(|(stated, rest)| Some((stated, rest.strip_prefix(CLOSES)?))) else {
            return Err(self.wrong("this is no line of an export"));
        };
        if check(body).as_bytes() != stated {
            return Err(self.wrong("the line was changed: its check does not hold"));
        }
        let mut json = Vec::with_capacity(body.len() + 1);
        json.push(b'{');
        json.extend_from_slice(body);
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|error| self.wrong(error))
    }

    /// The header, which is the first line.
    pub(super) fn header(&mut self) -> Result<Header, Failure> {
        match self.next()? {
            Some(Line::Header(header)) if header.format == FORMAT && header.version == VERSION => Ok(header),
            Some(Line::Header(header)) => Err(self.wrong(format!(
                "it is of the format {:?}, version {}; this version of the software reads {FORMAT:?}, version {VERSION}",
                header.format, header.version
            ))),
            _ => Err(self.wrong("an export begins with a header")),
        }
    }
}
