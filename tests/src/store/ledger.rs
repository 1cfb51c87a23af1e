//! What a driver was told, line by line, on a disk that the fault does not touch: one JSON object per line, by one write(2) each.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::plan::{Key, Op, OpId};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A life of the process began with these choices.
    Life {
        /// Its number.
        cycle: u32,
        /// What its choices follow from.
        seed: u64,
    },
    /// The log was opened.
    Opened {
        /// The life.
        cycle: u32,
    },
    /// An operation is about to be queued.
    Start {
        /// Which.
        id: OpId,
        /// What it asks for.
        op: Op,
    },
    /// It was acknowledged.
    Done {
        /// Which.
        id: OpId,
        /// The commit.
        commit: u64,
        /// Stream, first and last position of each part.
        parts: Vec<([u8; 16], u64, u64)>,
    },
    /// It was refused, and nothing of it may ever be found.
    Refused {
        /// Which.
        id: OpId,
        /// Why.
        why: Refusal,
    },
    /// It failed; whether it is there is open.
    Failed {
        /// Which.
        id: OpId,
        /// What was said.
        why: String,
    },
    /// A read showed these records, from this position on.
    Saw {
        /// The stream.
        stream: String,
        /// Position of the first.
        from: u64,
        /// What they were.
        keys: Vec<Key>,
    },
    /// A view showed this: the last folded position and the hash up to it.
    SawFold {
        /// The stream.
        stream: String,
        /// The last folded position.
        last: u64,
        /// The hash.
        hash: u64,
    },
    /// A read failed. Allowed only where reads were made to fail.
    ReadFailed {
        /// What was said.
        why: String,
    },
}

/// Why an append was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The stream exists.
    StreamExists,
    /// The stream does not exist.
    StreamAbsent,
    /// The stream is at this position.
    Position(u64),
    /// The subject is at this version.
    Version(u16, u64),
    /// The sub-stream is at this number.
    SubAt(u64),
    /// The sub-stream's name is taken.
    SubTaken,
    /// The stream has no such sub-stream.
    UnknownSub,
    /// The disk is full.
    Full,
    /// The append is malformed.
    Invalid(String),
}

/// Where events go.
pub enum Ledger {
    /// A file, appended to.
    File(File),
    /// Memory, for drivers that live in the verifier's process.
    Memory(Mutex<Vec<Event>>),
}

impl Ledger {
    /// Appends to the file at `path`, which is made if it is missing.
    pub fn in_file(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        // Ends a line that the last life did not end.
        file.write_all(b"\n")?;
        Ok(Self::File(file))
    }

    /// Keeps events in memory.
    pub fn in_memory() -> Self {
        Self::Memory(Mutex::default())
    }

    /// Notes an event. A ledger that can't be written makes the run worthless, so the process ends.
    pub fn note(&self, event: Event) {
        match self {
            Self::Memory(events) => events.lock().push(event),
            Self::File(file) => {
                let mut line = serde_json::to_vec(&event).expect("events are plain values");
                line.push(b'\n');
                let mut file = file;
                file.write_all(&line).expect("the ledger can be written");
            }
        }
    }

    /// What was noted in memory.
    pub fn events(&self) -> Vec<Event> {
        match self {
            Self::Memory(events) => events.lock().clone(),
            Self::File(_) => Vec::new(),
        }
    }
}

/// Reads a ledger. The process may have died within a line, so a line that ends without a newline or before a blank line is no event.
pub fn read(path: &Path) -> Result<Vec<Event>, String> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let lines: Vec<&str> = text.split('\n').collect();
    let mut events = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        match serde_json::from_str(line) {
            Ok(event) => events.push(event),
            Err(_) if lines.get(at + 1).is_none_or(|next| next.starts_with("{\"Life")) => {}
            Err(error) => return Err(format!("{}, line {}: {error}", path.display(), at + 1)),
        }
    }
    Ok(events)
}
