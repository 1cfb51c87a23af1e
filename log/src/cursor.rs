//! Positions as text, for clients to keep and give back. A cursor says what it is a position in, and refuses what it is not: a cursor of a
//! deleted stream is not one of the stream that has its name now.

use std::fmt;
use std::str::FromStr;

use crate::record::StreamId;

/// A position in one incarnation of a stream: the record that was seen last, 0 for none.
/// As text: `s-<stream>-<position>-<check>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamCursor {
    /// The incarnation.
    pub stream: StreamId,
    /// The last position seen.
    pub position: u64,
}

/// A position in the order of everything in one store: the record that was seen last.
/// As text: `c-<store>-<commit>-<records>-<check>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommitCursor {
    /// The store.
    pub store: [u8; 16],
    /// The commit that was seen last, wholly or in part; 0 for none.
    pub commit: u64,
    /// How many of its records were seen.
    pub records: u32,
}

/// Why a text is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind} cursor: use one that this log gave, unchanged")]
pub struct CursorError {
    kind: &'static str,
    text: String,
}

/// Most characters of a refused text that are told.
const TOLD_MAX: usize = 80;

impl CursorError {
    fn new(kind: &'static str, text: &str) -> Self {
        Self {
            kind,
            text: text.chars().take(TOLD_MAX).collect(),
        }
    }
}

fn check(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

/// The parts of a checked text that begins with `tag`.
fn parts<'a, const N: usize>(text: &'a str, tag: &str) -> Option<[&'a str; N]> {
    let (body, given) = text.rsplit_once('-')?;
    if given != check(body) {
        return None;
    }
    let rest = body.strip_prefix(tag)?.strip_prefix('-')?;
    let parts: Vec<&str> = rest.split('-').collect();
    parts.try_into().ok()
}

fn id(hex: &str) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    if hex.len() != 32 || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(id)
}

fn number<T: FromStr + fmt::Display>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    // One text for each cursor.
    (number.to_string() == text).then_some(number)
}

impl fmt::Display for StreamCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = format!("s-{}-{}", self.stream, self.position);
        write!(f, "{body}-{}", check(&body))
    }
}

impl FromStr for StreamCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let parsed = parts::<2>(text, "s").and_then(|[stream, position]| {
            Some(Self {
                stream: StreamId(id(stream)?),
                position: number(position)?,
            })
        });
        parsed
            .filter(|cursor| cursor.to_string() == text)
            .ok_or_else(|| CursorError::new("stream", text))
    }
}

impl CommitCursor {
    /// Before everything in this store.
    pub fn start(store: [u8; 16]) -> Self {
        Self {
            store,
            commit: 0,
            records: 0,
        }
    }
}

impl fmt::Display for CommitCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = format!("c-{}-{}-{}", StreamId(self.store), self.commit, self.records);
        write!(f, "{body}-{}", check(&body))
    }
}

impl FromStr for CommitCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let parsed = parts::<3>(text, "c").and_then(|[store, commit, records]| {
            Some(Self {
                store: id(store)?,
                commit: number(commit)?,
                records: number(records)?,
            })
        });
        parsed
            .filter(|cursor| cursor.to_string() == text)
            .ok_or_else(|| CursorError::new("commit", text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursors_read_back_and_one_character_changed_is_refused(
            id: [u8; 16], position: u64, records: u32, at: prop::sample::Index, to in "[0-9a-gA-F-]",
        ) {
            let stream = StreamCursor { stream: StreamId(id), position };
            let commit = CommitCursor { store: id, commit: position, records };
            prop_assert_eq!(stream.to_string().parse(), Ok(stream));
            prop_assert_eq!(commit.to_string().parse(), Ok(commit));
            prop_assert!(commit.to_string().parse::<StreamCursor>().is_err());
            prop_assert!(stream.to_string().parse::<CommitCursor>().is_err());
            let mut changed = stream.to_string();
            let at = at.index(changed.len());
            if changed[at..=at] != to {
                changed.replace_range(at..=at, &to);
                prop_assert!(changed.parse::<StreamCursor>().is_err(), "{}", changed);
            }
        }

        #[test]
        fn no_text_makes_a_cursor_panic(text in "\\PC{0,90}") {
            prop_assert!(text.parse::<StreamCursor>().is_err());
            let tagged = format!("s-{}", text);
            prop_assert!(tagged.parse::<CommitCursor>().is_err());
        }
    }
}
