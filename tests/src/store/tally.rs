//! A view whose rows depend on every record that it folds: a row per record, one per subject, and index rows that move.

use std::collections::BTreeMap;

use flowstate_log::record::{Kind, Name, Record, StreamId};
use flowstate_log::view::{Fold, IndexRows, Row, View, ViewId};

/// The kind that is folded.
pub const LOUD: Kind = Kind(16);
/// A kind that views skip.
pub const QUIET: Kind = Kind(18);
/// The view's number.
pub const TALLY: ViewId = ViewId(7);

/// What a stream's records come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Position of each folded record -> a hash of it and of all before it.
    pub chain: BTreeMap<u64, u64>,
    /// Position of the last folded record of each subject.
    pub versions: BTreeMap<u16, u64>,
}

impl Tally {
    /// The last folded position and the hash up to it.
    pub fn last(&self) -> (u64, u64) {
        self.chain.last_key_value().map_or((0, 0), |(at, hash)| (*at, *hash))
    }

    /// Takes in a record.
    pub fn add(&mut self, position: u64, subject: u16, payload: &[u8]) {
        let seed = self.last().1 ^ position.rotate_left(32);
        let hash = payload.iter().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        self.chain.insert(position, hash);
        if subject != 0 {
            self.versions.insert(subject, position);
        }
    }
}

/// The index rows of a stream with this tally.
pub fn index_rows(stream: &str, tally: &Tally) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (last, hash) = tally.last();
    let mut rows = vec![(place_key(stream, last), hash.to_be_bytes().to_vec())];
    let versions = tally.versions.iter();
    rows.extend(versions.map(|(subject, at)| (version_key(stream, *subject), at.to_be_bytes().to_vec())));
    rows.retain(|_| last > 0);
    rows
}

/// Moves with every folded record of the stream.
fn place_key(stream: &str, last: u64) -> Vec<u8> {
    [b"n/", stream.as_bytes(), b"/", &last.to_be_bytes()].concat()
}

fn version_key(stream: &str, subject: u16) -> Vec<u8> {
    [b"v/", stream.as_bytes(), b"/", &subject.to_be_bytes()].concat()
}

/// The stream that an index row speaks of.
pub fn stream_of(key: &[u8]) -> Option<String> {
    let rest = key.strip_prefix(b"n/")?;
    let name = rest.get(..rest.len().checked_sub(9)?)?;
    String::from_utf8(name.to_vec()).ok()
}

/// The view.
pub struct TallyView;

/// Its fold.
pub struct TallyFold {
    name: String,
    /// What the records come to.
    pub tally: Tally,
    written: u64,
}

impl View for TallyView {
    fn id(&self) -> ViewId {
        TALLY
    }

    fn name(&self) -> &'static str {
        "tally"
    }

    fn version(&self) -> u32 {
        1
    }

    fn folds(&self, kind: Kind) -> bool {
        kind == LOUD
    }

    fn empty(&self, _: StreamId, name: &Name) -> Box<dyn Fold> {
        Box::new(TallyFold {
            name: name.name().to_owned(),
            tally: Tally::default(),
            written: 0,
        })
    }

    fn load(&self, _: StreamId, name: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        let mut tally = Tally::default();
        for row in rows {
            let value = row.value.unwrap_or_default();
            let number = u64::from_be_bytes(value.try_into().map_err(|_| "a malformed value")?);
            match row.key.split_first() {
                Some((b'l', position)) => {
                    let position = position.try_into().map_err(|_| "a malformed position")?;
                    tally.chain.insert(u64::from_be_bytes(position), number);
                }
                Some((b'v', subject)) => {
                    let subject = subject.try_into().map_err(|_| "a malformed subject")?;
                    tally.versions.insert(u16::from_be_bytes(subject), number);
                }
                _ => return Err("an unknown row".to_owned()),
            }
        }
        Ok(Box::new(TallyFold {
            name: name.name().to_owned(),
            written: tally.last().0,
            tally,
        }))
    }
}

impl Fold for TallyFold {
    fn apply(&mut self, record: &Record, index: &mut dyn IndexRows) {
        index.delete(place_key(&self.name, self.tally.last().0));
        self.tally.add(record.position, record.subject.0, &record.payload);
        for (key, value) in index_rows(&self.name, &self.tally) {
            index.put(key, value);
        }
    }

    fn changed(&mut self, rows: &mut dyn FnMut(Row)) {
        let mut row = |key: Vec<u8>, value: u64| {
            rows(Row {
                key,
                value: Some(value.to_be_bytes().to_vec()),
            });
        };
        for (position, hash) in self.tally.chain.range(self.written + 1..) {
            row([b"l", &position.to_be_bytes()[..]].concat(), *hash);
        }
        for (subject, position) in self.tally.versions.iter().filter(|(_, at)| **at > self.written) {
            row([b"v", &subject.to_be_bytes()[..]].concat(), *position);
        }
        self.written = self.tally.last().0;
    }

    fn index_rows(&self, index: &mut dyn IndexRows) {
        for (key, value) in index_rows(&self.name, &self.tally) {
            index.put(key, value);
        }
    }

    fn rows(&self, rows: &mut dyn FnMut(Row)) {
        let mut row = |key: Vec<u8>, value: u64| {
            rows(Row {
                key,
                value: Some(value.to_be_bytes().to_vec()),
            });
        };
        for (position, hash) in &self.tally.chain {
            row([b"l", &position.to_be_bytes()[..]].concat(), *hash);
        }
        for (subject, position) in &self.tally.versions {
            row([b"v", &subject.to_be_bytes()[..]].concat(), *position);
        }
    }
}
