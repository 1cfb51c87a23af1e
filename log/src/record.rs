//! What the log keeps: records, and the names and numbers that they carry. Bytes on disk are in `codec`.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::limits::{NAME_BYTES_MAX, PRINCIPAL_BYTES_MAX};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

id! {
    /// One incarnation of a stream. Minted by the log when the stream is opened; a stream deleted and opened again has another.
    StreamId
}
id! {
    /// One numbered run of records inside a stream (the engine's request). Minted by the caller from [`crate::env::Env`].
    SubStreamId
}

/// Name of a stream or of a sub-stream: whose it is (empty without authentication) and what it is called.
/// Streams and sub-streams are two separate spaces of names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    principal: Arc<str>,
    name: Arc<str>,
}

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("a name may not be empty")]
    Empty,
    /// The name or its principal is too long.
    #[error("{what} is {bytes} bytes long; at most {max} are allowed")]
    TooLong {
        /// `"the name"` or `"the principal"`.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
}

impl Name {
    /// A name; lengths are checked (principal up to 256 bytes, name 1 to 512), contents are not.
    pub fn new(principal: &str, name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        for (what, text, max) in [
            ("the principal", principal, PRINCIPAL_BYTES_MAX),
            ("the name", name, NAME_BYTES_MAX),
        ] {
            if text.len() > max {
                return Err(NameError::TooLong {
                    what,
                    bytes: text.len(),
                    max,
                });
            }
        }
        Ok(Self {
            principal: principal.into(),
            name: name.into(),
        })
    }

    /// Whose it is; empty without authentication.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.principal, self.name)
    }
}

/// What a record states; the number is pinned for ever. Below [`Kind::FIRST_OPEN`] the log's own, from there on the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

impl Kind {
    /// In the system stream: recovery cut a torn tail. Payload: JSON.
    pub const LOG_RECOVERED: Kind = Kind(1);
    /// The first number that the log leaves to its callers.
    pub const FIRST_OPEN: u16 = 16;
}

/// What within its stream a record is about (a scope, a resource family). A subject's version is the position of the last record about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Subject(pub u16);

impl Subject {
    /// About nothing that has a version.
    pub const NONE: Subject = Subject(0);
}

/// One entry of the log, as it was read back and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The stream that it stands in.
    pub stream: StreamId,
    /// Its number in the stream: dense, from 1.
    pub position: u64,
    /// The sub-stream and the record's number there (dense, from 1), if it belongs to one.
    pub sub: Option<(SubStreamId, u64)>,
    /// What it is about.
    pub subject: Subject,
    /// What it states.
    pub kind: Kind,
    /// The commit that made it durable.
    pub commit: u64,
    /// Its place in that commit, from 0.
    pub index: u32,
    /// When it was sequenced: microseconds since the Unix epoch, never decreasing within a stream.
    pub time_us: i64,
    /// The sub-stream on whose behalf it was appended; all zero if none.
    pub causation: [u8; 16],
    /// The caller's number for what produced it (a block instance); 0 if nothing did.
    pub origin: u64,
    /// Names that this record introduces: of the stream if it is its first, of the sub-stream likewise.
    pub opens: Opens,
    /// What it says, in the caller's encoding.
    pub payload: Bytes,
}

/// The names that a record introduces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opens {
    /// Set on the first record of a stream.
    pub stream: Option<Name>,
    /// Set on the first record of a sub-stream.
    pub sub_stream: Option<Name>,
}
