//! What the log keeps: records, and the names and numbers that they carry. Bytes on disk are in `codec`.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytes::Bytes;

use crate::append::AppendedPart;
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

/// A SHA-256: of a record, of a commit, or the address of a blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// In a log of format 1 commits are linked by 64 bits; they are kept in the first 8 bytes.
    pub(crate) fn of_hash(hash: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&hash.to_le_bytes());
        Self(bytes)
    }

    /// From 64 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
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
    /// In the stream: positions below some one were given up. Payload: JSON, with the folds' rows at a later position.
    pub const STREAM_TRIMMED: Kind = Kind(2);
    /// The last record of a stream's incarnation: it is hidden, and goes when nothing needs it any more.
    pub const STREAM_DELETED: Kind = Kind(3);
    /// In the system stream: everything of one principal was erased. Payload: JSON.
    pub const PRINCIPAL_ERASED: Kind = Kind(4);
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
    /// What it introduces or carries beside its payload.
    pub extras: Extras,
    /// What it says, in the caller's encoding. Empty if it was erased.
    pub payload: Bytes,
    /// Its payload was erased for good; header and digest are left.
    pub erased: bool,
}

/// What few records have, read and written as the [`Carried`] that it is. Kept apart from the record, which is small without it.
#[derive(Clone, Default)]
pub struct Extras(Option<Box<Carried>>);

static NOTHING: Carried = Carried {
    stream: None,
    sub_stream: None,
    parent: None,
    repeatable: None,
    blob: None,
};

impl Deref for Extras {
    type Target = Carried;

    fn deref(&self) -> &Carried {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl DerefMut for Extras {
    fn deref_mut(&mut self) -> &mut Carried {
        self.0.get_or_insert_default()
    }
}

impl From<Carried> for Extras {
    fn from(carried: Carried) -> Self {
        Self((carried != NOTHING).then(|| Box::new(carried)))
    }
}

impl PartialEq for Extras {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Extras {}

impl fmt::Debug for Extras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Names that a record introduces, where a fork begins, the key of a repeatable append, a payload kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Carried {
    /// Set on the first record of a stream.
    pub stream: Option<Name>,
    /// Set on the first record of a sub-stream.
    pub sub_stream: Option<Name>,
    /// Set on the first record of a fork: where it reads on below its own first position.
    pub parent: Option<Parent>,
    /// Set on the first record of an append with an idempotency key.
    pub repeatable: Option<Repeatable>,
    /// Set if the payload lies in a blob.
    pub blob: Option<BlobRef>,
}

/// The stream that a fork continues, and the last position that they share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The stream.
    pub stream: StreamId,
    /// The last shared position.
    pub position: u64,
}

/// An append that may be sent again: the same key gives the original answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeatable {
    /// The caller's key, unique within the stream of the append's first part.
    pub key: IdempotencyKey,
    /// Of what was appended; another append under the same key is refused.
    pub fingerprint: u64,
    /// Where its parts stand.
    pub parts: Vec<AppendedPart>,
}

/// A payload that is kept as a file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobRef {
    /// Hash of store, principal and content: where the blob is found and what its content must give.
    pub address: Digest,
    /// Its length.
    pub bytes: u64,
}

/// Names an append so that it can be sent again: 1 to 128 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Arc<[u8]>);

impl IdempotencyKey {
    /// Longest key.
    pub const BYTES_MAX: usize = 128;

    /// A key; `None` if it is empty or longer than [`Self::BYTES_MAX`].
    pub fn new(key: &[u8]) -> Option<Self> {
        (1..=Self::BYTES_MAX).contains(&key.len()).then(|| Self(key.into()))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}
