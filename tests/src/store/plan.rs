//! What a driver may ask for, in plain values: operations, their records, and the payloads by which a verifier knows each record again.

use flowstate_log::disk::memory::Choice;
use serde::{Deserialize, Serialize};

/// An operation: which life of the process issued it, which task, and its number there. Unique within a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpId {
    /// The life of the process.
    pub cycle: u32,
    /// The task in it.
    pub task: u32,
    /// Rising within the task, in the order in which operations were queued.
    pub number: u32,
}

impl std::fmt::Display for OpId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.cycle, self.task, self.number)
    }
}

/// One append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Its parts, in order.
    pub parts: Vec<OpPart>,
    /// The operation whose idempotency key it carries: itself, or an earlier one that it repeats.
    #[serde(default)]
    pub key: Option<OpId>,
}

impl Op {
    /// An append that can't be repeated.
    pub fn of(parts: Vec<OpPart>) -> Self {
        Self { parts, key: None }
    }

    /// Whether nothing but the end of the process could keep it out.
    pub fn is_unconditional(&self) -> bool {
        let free = |part: &OpPart| part.expect.is_empty() && part.records.iter().all(|record| record.sub.is_none());
        self.parts.iter().all(free)
    }
}

/// The records for one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpPart {
    /// The stream's name.
    pub stream: String,
    /// The stream that it continues, and the last position that both share: a fork.
    #[serde(default)]
    pub fork: Option<(String, u64)>,
    /// What must hold.
    pub expect: Vec<Condition>,
    /// The records.
    pub records: Vec<OpRecord>,
}

/// A condition, as the log has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// The stream does not exist.
    Absent,
    /// The stream exists.
    Exists,
    /// Its last position.
    Position(u64),
    /// A subject's version.
    Version(u16, u64),
    /// The last number of the sub-stream that this operation opened.
    SubAt(OpId, u64),
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpRecord {
    /// Length of its payload.
    pub bytes: usize,
    /// What it is about.
    pub subject: u16,
    /// Whether views skip its kind.
    pub quiet: bool,
    /// Its sub-stream.
    pub sub: Option<OpSub>,
}

/// How a record belongs to a sub-stream, which is named after the operation that opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpSub {
    /// The first of a new one.
    Open(OpId),
    /// The next of an open one.
    Next(OpId),
}

impl OpSub {
    /// The operation that opened it.
    pub fn opener(self) -> OpId {
        match self {
            Self::Open(op) | Self::Next(op) => op,
        }
    }
}

/// A record's place in its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The operation.
    pub op: OpId,
    /// The part.
    pub part: u16,
    /// The record in the part.
    pub record: u16,
}

/// Bytes that every payload starts with: the record's key.
const KEY_BYTES: usize = 16;

/// The name of the sub-stream that an operation opened.
pub fn sub_name(opener: OpId) -> String {
    format!("q{opener}")
}

/// Its id.
pub fn sub_id(opener: OpId) -> [u8; 16] {
    let mut id = *b"sub-............";
    for (at, number) in [opener.cycle, opener.task, opener.number].into_iter().enumerate() {
        id[4 + 4 * at..8 + 4 * at].copy_from_slice(&number.to_be_bytes());
    }
    id
}

/// What an operation's record says: its key, then bytes that follow from it.
pub fn payload(key: Key, bytes: usize) -> Vec<u8> {
    let mut payload = Vec::with_capacity(bytes.max(KEY_BYTES));
    for number in [key.op.cycle, key.op.task, key.op.number] {
        payload.extend_from_slice(&number.to_be_bytes());
    }
    payload.extend_from_slice(&key.part.to_be_bytes());
    payload.extend_from_slice(&key.record.to_be_bytes());
    let seed = payload
        .iter()
        .fold(7u64, |seed, byte| seed.wrapping_mul(31) + u64::from(*byte));
    let mut filler = Choice::new(seed);
    while payload.len() < bytes {
        payload.extend_from_slice(&filler.bits().to_le_bytes());
    }
    payload.truncate(bytes.max(KEY_BYTES));
    payload
}

/// The key that a payload starts with; `None` if it is too short to have one.
pub fn key_of(payload: &[u8]) -> Option<Key> {
    let number = |at: usize| Some(u32::from_be_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    let short = |at: usize| Some(u16::from_be_bytes(payload.get(at..at + 2)?.try_into().ok()?));
    let op = OpId {
        cycle: number(0)?,
        task: number(4)?,
        number: number(8)?,
    };
    Some(Key {
        op,
        part: short(12)?,
        record: short(14)?,
    })
}
