//! What few records carry beside their payload, in front of it: a byte of flags, then for each flag set, lowest first, its content.

use crate::append::AppendedPart;
use crate::record::{BlobRef, Carried, Digest, Extras, IdempotencyKey, Name, Parent, Repeatable, StreamId};

const STREAM: u8 = 1;
const SUB_STREAM: u8 = 2;
const PARENT: u8 = 4;
const REPEATABLE: u8 = 8;
const BLOB: u8 = 16;
const KNOWN: u8 = STREAM | SUB_STREAM | PARENT | REPEATABLE | BLOB;

const PART: usize = 16 + 8 + 8;

/// Length of the encoded extras; 0 if there are none.
pub(crate) fn extras_bytes(extras: &Carried) -> usize {
    let name = |name: &Name| 4 + name.principal().len() + name.name().len();
    let bytes = extras.stream.as_ref().map_or(0, name)
        + extras.sub_stream.as_ref().map_or(0, name)
        + extras.parent.map_or(0, |_| 16 + 8)
        + extras.repeatable.as_ref().map_or(0, |repeatable| {
            repeatable_bytes(&repeatable.key, repeatable.parts.len())
        })
        + extras.blob.map_or(0, |_| 32 + 8);
    if bytes == 0 { 0 } else { 1 + bytes }
}

fn repeatable_bytes(key: &IdempotencyKey, parts: usize) -> usize {
    1 + key.bytes().len() + 8 + 2 + parts * PART
}

pub(super) fn encode(into: &mut Vec<u8>, extras: &Carried) {
    let Carried {
        stream,
        sub_stream,
        parent,
        repeatable,
        blob,
    } = extras;
    let flag = |present: bool, flag: u8| if present { flag } else { 0 };
    let flags = flag(stream.is_some(), STREAM)
        | flag(sub_stream.is_some(), SUB_STREAM)
        | flag(parent.is_some(), PARENT)
        | flag(repeatable.is_some(), REPEATABLE)
        | flag(blob.is_some(), BLOB);
    if flags == 0 {
        return;
    }
    into.push(flags);
    for name in [stream, sub_stream].into_iter().flatten() {
        for text in [name.principal(), name.name()] {
            // Lengths are bounded by `Name::new`, far below u16::MAX.
            into.extend_from_slice(&(text.len() as u16).to_le_bytes());
            into.extend_from_slice(text.as_bytes());
        }
    }
    if let Some(parent) = parent {
        into.extend_from_slice(&parent.stream.0);
        into.extend_from_slice(&parent.position.to_le_bytes());
    }
    if let Some(Repeatable {
        key,
        fingerprint,
        parts,
    }) = repeatable
    {
        into.push(key.bytes().len() as u8);
        into.extend_from_slice(key.bytes());
        into.extend_from_slice(&fingerprint.to_le_bytes());
        into.extend_from_slice(&(parts.len() as u16).to_le_bytes());
        for part in parts {
            into.extend_from_slice(&part.stream.0);
            into.extend_from_slice(&part.first.to_le_bytes());
            into.extend_from_slice(&part.last.to_le_bytes());
        }
    }
    if let Some(blob) = blob {
        into.extend_from_slice(&blob.address.0);
        into.extend_from_slice(&blob.bytes.to_le_bytes());
    }
}

/// `None` if the bytes are not extras, or are followed by others.
pub(super) fn decode(bytes: &[u8]) -> Option<Extras> {
    let Some((flags, rest)) = bytes.split_first() else {
        return Some(Extras::default());
    };
    let mut extras = Carried::default();
    if flags & !KNOWN != 0 {
        return None;
    }
    let mut rest = Rest(rest);
    let has = |flag: u8| flags & flag != 0;
    if has(STREAM) {
        extras.stream = Some(rest.name()?);
    }
    if has(SUB_STREAM) {
        extras.sub_stream = Some(rest.name()?);
    }
    if has(PARENT) {
        extras.parent = Some(Parent {
            stream: rest.stream()?,
            position: rest.number()?,
        });
    }
    if has(REPEATABLE) {
        let length = rest.take::<1>()?[0] as usize;
        let key = IdempotencyKey::new(rest.slice(length)?)?;
        let fingerprint = rest.number()?;
        let parts = u16::from_le_bytes(rest.take()?);
        let mut part = || {
            Some(AppendedPart {
                stream: rest.stream()?,
                first: rest.number()?,
                last: rest.number()?,
            })
        };
        let parts = (0..parts).map(|_| part()).collect::<Option<_>>()?;
        extras.repeatable = Some(Repeatable {
            key,
            fingerprint,
            parts,
        });
    }
    if has(BLOB) {
        extras.blob = Some(BlobRef {
            address: Digest(rest.take()?),
            bytes: rest.number()?,
        });
    }
    rest.0.is_empty().then(|| extras.into())
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take()?))
    }

    fn stream(&mut self) -> Option<StreamId> {
        Some(StreamId(self.take()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_le_bytes(self.take()?);
        std::str::from_utf8(self.slice(length as usize)?).ok()
    }

    fn name(&mut self) -> Option<Name> {
        let principal = self.text()?;
        Name::new(principal, self.text()?).ok()
    }
}
