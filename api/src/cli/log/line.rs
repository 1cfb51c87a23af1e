//! A record as a line of JSON: what `tail` prints and exports hold. Whatever is needed to append an equal record is in it.

use std::borrow::Cow;
use std::fmt::Write;

use bytes::Bytes;
use flowstate_engine::record::KINDS;
use flowstate_log::record::{Kind, Name, Record, StreamId};
use serde::{Deserialize, Serialize};

/// A name and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NameLine {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) principal: String,
    pub(super) name: String,
}

impl From<&Name> for NameLine {
    fn from(name: &Name) -> Self {
        Self {
            principal: name.principal().to_owned(),
            name: name.name().to_owned(),
        }
    }
}

impl NameLine {
    pub(super) fn name(&self) -> Result<Name, String> {
        Name::new(&self.principal, &self.name).map_err(|error| error.to_string())
    }
}

/// Where a record stands in its sub-stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SubLine {
    pub(super) id: String,
    pub(super) number: u64,
}

/// Where a fork begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ParentLine {
    pub(super) stream: String,
    pub(super) position: u64,
}

/// The key of an append that may be sent again, and the last position of it in this stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyLine {
    pub(super) key: String,
    pub(super) through: u64,
}

/// A record. Ids and bytes are hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordLine {
    pub(super) stream: String,
    pub(super) position: u64,
    /// The stream's name, on its first record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stream_name: Option<NameLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<ParentLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sub_stream: Option<SubLine>,
    /// The sub-stream's name, on its first record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sub_stream_name: Option<NameLine>,
    pub(super) kind: u16,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) subject: u16,
    pub(super) commit: u64,
    pub(super) index: u32,
    /// Microseconds since 1970.
    pub(super) time_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) causation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) repeatable: Option<KeyLine>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) erased: bool,
    /// What it says, if that is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    /// What it says, if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<String>,
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

impl From<&Record> for RecordLine {
    fn from(record: &Record) -> Self {
        let extras = &record.extras;
        let through = |repeatable: &flowstate_log::record::Repeatable| {
            let parts = repeatable.parts.iter();
            let mut own = parts.filter(|part| part.stream == record.stream && part.first == record.position);
            own.next().map_or(record.position, |part| part.last)
        };
        let (text, bytes) = match std::str::from_utf8(&record.payload) {
            Ok("") => (None, None),
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(hex(&record.payload))),
        };
        Self {
            stream: record.stream.to_string(),
            position: record.position,
            stream_name: extras.stream.as_ref().map(NameLine::from),
            parent: extras.parent.map(|parent| ParentLine {
                stream: parent.stream.to_string(),
                position: parent.position,
            }),
            sub_stream: record.sub.map(|(id, number)| SubLine {
                id: id.to_string(),
                number,
            }),
            sub_stream_name: extras.sub_stream.as_ref().map(NameLine::from),
            kind: record.kind.0,
            subject: record.subject.0,
            commit: record.commit,
            index: record.index,
            time_us: record.time_us,
            causation: (record.causation != [0; 16]).then(|| hex(&record.causation)),
            origin: (record.origin != 0).then(|| hex(&record.origin.to_be_bytes())),
            repeatable: extras.repeatable.as_ref().map(|repeatable| KeyLine {
                key: hex(repeatable.key.bytes()),
                through: through(repeatable),
            }),
            erased: record.erased,
            text,
            bytes,
        }
    }
}

impl RecordLine {
    /// What it says.
    pub(super) fn payload(&self) -> Result<Bytes, String> {
        match (&self.text, &self.bytes) {
            (Some(text), None) => Ok(Bytes::copy_from_slice(text.as_bytes())),
            (None, Some(hex)) => unhex(hex)
                .map(Bytes::from)
                .ok_or_else(|| "`bytes` is not hexadecimal".to_owned()),
            (None, None) => Ok(Bytes::new()),
            (Some(_), Some(_)) => Err("it has both `text` and `bytes`".to_owned()),
        }
    }
}

/// The name of a kind, or its number if this version does not know it.
pub(super) fn kind_name(kind: Kind) -> Cow<'static, str> {
    match kind {
        Kind::LOG_RECOVERED => "LogRecovered".into(),
        Kind::STREAM_TRIMMED => "StreamTrimmed".into(),
        Kind::STREAM_DELETED => "StreamDeleted".into(),
        Kind::PRINCIPAL_ERASED => "PrincipalErased".into(),
        _ => match KINDS.iter().find(|known| known.kind == kind) {
            Some(known) => known.name.into(),
            None => format!("kind {}", kind.0).into(),
        },
    }
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The same backwards.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// An id from hexadecimal.
pub(super) fn id(text: &str) -> Result<[u8; 16], String> {
    unhex(text)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{text:?} is no id: it has 32 hexadecimal digits"))
}

/// A stream's id from hexadecimal.
pub(super) fn stream_id(text: &str) -> Result<StreamId, String> {
    id(text).map(StreamId)
}
