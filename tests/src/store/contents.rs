//! What a store holds, in plain values that a test can also spoil.

use std::collections::BTreeMap;

use super::tally::Tally;

/// Key and value of an index or stored row.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Everything that can be read from an open log, and what a rebuild of its views gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Number of the last commit.
    pub last_commit: u64,
    /// Streams by name.
    pub streams: BTreeMap<String, Stream>,
    /// Sub-streams by name.
    pub subs: BTreeMap<String, Sub>,
    /// Index rows of the view, all streams'.
    pub index: Rows,
    /// The rows of the view store beside those of one that was rebuilt from nothing: `(kept, rebuilt)`. `None` if that was not looked at.
    pub stored: Option<(Rows, Rows)>,
    /// The same contents, read with views that were rebuilt from nothing.
    pub rebuilt: Option<Box<Contents>>,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stream {
    /// Its id.
    pub id: [u8; 16],
    /// The last position, as told.
    pub tail: u64,
    /// What it shares with the stream that it continues, as read; empty unless it is a fork.
    pub shared: Vec<Entry>,
    /// Its own records, as read.
    pub records: Vec<Entry>,
    /// Its fold.
    pub tally: Tally,
}

impl Stream {
    /// The last position that is not its own.
    pub fn base(&self) -> u64 {
        self.shared.len() as u64
    }

    /// Every record from position 1 on.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.shared.iter().chain(&self.records)
    }

    /// The record that stands at this position.
    pub fn at(&self, position: u64) -> Option<&Entry> {
        self.all().nth(usize::try_from(position.checked_sub(1)?).ok()?)
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the stream.
    pub position: u64,
    /// Its commit.
    pub commit: u64,
    /// Its place in the commit.
    pub index: u32,
    /// Sub-stream and number there.
    pub sub: Option<([u8; 16], u64)>,
    /// What it is about.
    pub subject: u16,
    /// What it states.
    pub kind: u16,
    /// When.
    pub time_us: i64,
    /// On whose behalf.
    pub causation: [u8; 16],
    /// What produced it.
    pub origin: u64,
    /// The stream that its stream continues, and the last position that both share.
    pub forks: Option<([u8; 16], u64)>,
    /// The name that it gives its stream.
    pub opens: Option<String>,
    /// The name that it gives its sub-stream.
    pub opens_sub: Option<String>,
    /// What it says.
    pub payload: Vec<u8>,
}

/// Where a sub-stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sub {
    /// Its stream.
    pub stream: [u8; 16],
    /// Its id.
    pub id: [u8; 16],
    /// First position.
    pub first: u64,
    /// Last position.
    pub last: u64,
    /// Last number.
    pub count: u64,
}
