//! What the tree contains beside the views' rows, whose keys and those of names, activity, sub-streams and answers are the catalog's
//! (`view_store/keys`): the records, the order of everything, and a row for each stream. Every record is a key of its own.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::tree::At;
use crate::append::AppendedPart;
use crate::index::Answered;
use crate::limits::SUB_STREAM_STRIDE;
use crate::record::{IdempotencyKey, Name, Repeatable, StreamId, SubStreamId};
use crate::verbs::SubStreamInfo;
use crate::view_store::{StoreError, keys};

/// `l` stream position: a record's frame, or its header alone if it was erased.
pub(super) fn record(stream: StreamId, position: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(25);
    key.push(b'l');
    key.extend_from_slice(&stream.0);
    key.extend_from_slice(&position.to_be_bytes());
    key
}

/// `c` commit: its records in order, as runs of one stream's. 28 bytes for each: stream, first position, count (big-endian).
pub(super) fn commit(commit: u64) -> Vec<u8> {
    [&b"c"[..], &commit.to_be_bytes()].concat()
}

/// `t`: number of the last commit, big-endian.
pub(super) const LAST_COMMIT: &[u8] = b"t";

/// A run of one stream's records in a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) stream: StreamId,
    pub(super) first: u64,
    pub(super) count: u32,
}

const RUN: usize = 16 + 8 + 4;

pub(super) fn put_runs(runs: &[Run]) -> Vec<u8> {
    let bytes = |run: &Run| [&run.stream.0[..], &run.first.to_be_bytes(), &run.count.to_be_bytes()].concat();
    runs.iter().flat_map(bytes).collect()
}

pub(super) fn get_runs(bytes: &[u8]) -> Result<Vec<Run>, StoreError> {
    let run = |bytes: &[u8]| {
        Some(Run {
            stream: StreamId(bytes.get(..16)?.try_into().ok()?),
            first: u64::from_be_bytes(bytes.get(16..24)?.try_into().ok()?),
            count: u32::from_be_bytes(bytes.get(24..28)?.try_into().ok()?),
        })
    };
    let runs = bytes.chunks(RUN).map(run).collect::<Option<_>>();
    runs.ok_or_else(|| malformed("a commit"))
}

/// The row about the store itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) format: u32,
    pub(super) store: [u8; 16],
    /// The views' numbers and versions, as of which their rows are.
    pub(super) views: Vec<(u8, u32)>,
}

/// The one format there is.
pub(super) const FORMAT: u32 = 1;

/// What is known of a stream as a whole. Kept when it is deleted, so that its id is known for what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamRow {
    principal: String,
    name: String,
    pub(super) last: u64,
    pub(super) time_us: i64,
    /// Positions up to this one were given up.
    pub(super) trimmed: u64,
    /// Position of the record that said so and has what they had made.
    pub(super) snapshot: u64,
    pub(super) deleted: bool,
    pub(super) erased: bool,
    parent: Option<([u8; 16], u64)>,
    pub(super) versions: BTreeMap<u16, u64>,
}

impl StreamRow {
    pub(super) fn new(name: &Name) -> Self {
        Self {
            principal: name.principal().to_owned(),
            name: name.name().to_owned(),
            last: 0,
            time_us: 0,
            trimmed: 0,
            snapshot: 0,
            deleted: false,
            erased: false,
            parent: None,
            versions: BTreeMap::new(),
        }
    }

    pub(super) fn name(&self) -> Result<Name, StoreError> {
        Name::new(&self.principal, &self.name).map_err(|error| malformed(&error.to_string()))
    }

    pub(super) fn principal(&self) -> &str {
        &self.principal
    }

    /// Forgets its name.
    pub(super) fn erase_name(&mut self) {
        self.principal.clear();
        crate::catalog::ERASED_NAME.clone_into(&mut self.name);
    }

    /// The stream that it continues, and the last position that they share.
    pub(super) fn parent(&self) -> Option<(StreamId, u64)> {
        self.parent.map(|(stream, position)| (StreamId(stream), position))
    }

    /// Goes on from a position of another stream.
    pub(super) fn continues(&mut self, parent: StreamId, position: u64) {
        self.parent = Some((parent.0, position));
        self.last = position;
    }

    /// Last position that it shares with its parent; 0 if it has none.
    pub(super) fn base(&self) -> u64 {
        self.parent.map_or(0, |(_, position)| position)
    }
}

/// A sub-stream's row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SubRow {
    principal: String,
    name: String,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) count: u64,
}

impl SubRow {
    pub(super) fn open(name: &Name, position: u64) -> Self {
        Self {
            principal: name.principal().to_owned(),
            name: name.name().to_owned(),
            first: position,
            last: position,
            count: 1,
        }
    }

    pub(super) fn name(&self) -> Result<Name, StoreError> {
        Name::new(&self.principal, &self.name).map_err(|error| malformed(&error.to_string()))
    }

    pub(super) fn info(&self, stream: StreamId, id: SubStreamId) -> SubStreamInfo {
        SubStreamInfo {
            stream,
            id,
            first: self.first,
            last: self.last,
            count: self.count,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct AnsweredRow {
    commit: u64,
    fingerprint: u64,
    parts: Vec<([u8; 16], u64, u64)>,
}

impl AnsweredRow {
    pub(super) fn of(answered: &Answered) -> Self {
        let part = |part: &AppendedPart| (part.stream.0, part.first, part.last);
        Self {
            commit: answered.commit,
            fingerprint: answered.repeatable.fingerprint,
            parts: answered.repeatable.parts.iter().map(part).collect(),
        }
    }

    fn answered(self, key: &IdempotencyKey) -> Answered {
        let part = |(stream, first, last)| AppendedPart {
            stream: StreamId(stream),
            first,
            last,
        };
        Answered {
            commit: self.commit,
            repeatable: Repeatable {
                key: key.clone(),
                fingerprint: self.fingerprint,
                parts: self.parts.into_iter().map(part).collect(),
            },
        }
    }
}

pub(super) fn malformed(what: &str) -> StoreError {
    StoreError(format!("a row of the tree is malformed: {what}"))
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError(error.to_string()))
}

pub(super) fn number(bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes = bytes.try_into().map_err(|_| malformed("a number"))?;
    Ok(u64::from_be_bytes(bytes))
}

pub(super) fn stream_id(bytes: &[u8]) -> Result<StreamId, StoreError> {
    bytes.try_into().map(StreamId).map_err(|_| malformed("a stream's id"))
}

fn sub_id(bytes: &[u8]) -> Result<SubStreamId, StoreError> {
    let bytes = bytes.try_into().map_err(|_| malformed("a sub-stream's id"))?;
    Ok(SubStreamId(bytes))
}

impl At {
    fn json<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let row = self.get(key)?;
        let parsed = row.map(|row| serde_json::from_slice(&row)).transpose();
        parsed.map_err(|error| malformed(&error.to_string()))
    }

    pub(super) fn meta(&self) -> Result<Option<Meta>, StoreError> {
        self.json(keys::META)
    }

    pub(super) fn last_commit(&self) -> Result<u64, StoreError> {
        self.get(LAST_COMMIT)?.map_or(Ok(0), |row| number(&row))
    }

    pub(super) fn stream(&self, id: StreamId) -> Result<Option<StreamRow>, StoreError> {
        self.json(&keys::stream(id))
    }

    /// The live stream of this name.
    pub(super) fn named(&self, name: &Name) -> Result<Option<StreamId>, StoreError> {
        let row = self.get(&keys::stream_name(name))?;
        row.map(|id| stream_id(&id)).transpose()
    }

    pub(super) fn sub(&self, stream: StreamId, id: SubStreamId) -> Result<Option<SubRow>, StoreError> {
        self.json(&keys::sub(stream, id))
    }

    /// The sub-stream of this name.
    pub(super) fn sub_named(&self, name: &Name) -> Result<Option<(StreamId, SubStreamId)>, StoreError> {
        let Some(row) = self.get(&keys::sub_name(name))? else {
            return Ok(None);
        };
        let (stream, id) = row
            .split_at_checked(16)
            .ok_or_else(|| malformed("a sub-stream's name"))?;
        Ok(Some((stream_id(stream)?, sub_id(id)?)))
    }

    /// Every sub-stream of a stream.
    pub(super) fn subs(&self, stream: StreamId) -> Result<Vec<(SubStreamId, SubRow)>, StoreError> {
        let sub = |entry: Result<(Vec<u8>, bytes::Bytes), StoreError>| {
            let (key, row) = entry?;
            let id = sub_id(key.get(17..).unwrap_or_default())?;
            let row = serde_json::from_slice(&row).map_err(|error| malformed(&error.to_string()))?;
            Ok((id, row))
        };
        self.with_prefix(&keys::subs(stream), None).map(sub).collect()
    }

    /// Positions of a sub-stream's records numbered 1, 257, 513, ...
    pub(super) fn strides(&self, stream: StreamId, id: SubStreamId) -> Result<Vec<u64>, StoreError> {
        let position = |entry: Result<(Vec<u8>, bytes::Bytes), StoreError>| number(&entry?.1);
        self.with_prefix(&keys::strides(stream, id), None)
            .map(position)
            .collect()
    }

    /// A position at or before that of a sub-stream's record `number`, which is at most one more than there are.
    pub(super) fn floor(
        &self,
        stream: StreamId,
        id: SubStreamId,
        sub: &SubRow,
        number: u64,
    ) -> Result<u64, StoreError> {
        let before = number.saturating_sub(1);
        let step = (before / SUB_STREAM_STRIDE).min(sub.count.saturating_sub(1) / SUB_STREAM_STRIDE);
        let row = self.get(&keys::stride(stream, id, step as u32))?;
        let position = self::number(&row.ok_or_else(|| malformed("a sub-stream's position is missing"))?)?;
        Ok(position + (before - step * SUB_STREAM_STRIDE))
    }

    pub(super) fn answered(&self, stream: StreamId, key: &IdempotencyKey) -> Result<Option<Answered>, StoreError> {
        let row: Option<AnsweredRow> = self.json(&keys::answered(stream, key))?;
        Ok(row.map(|row| row.answered(key)))
    }

    /// Whether live streams continue this one.
    pub(super) fn has_forks(&self, stream: StreamId) -> Result<bool, StoreError> {
        let first = self.with_prefix(&keys::forks(stream), None).next();
        Ok(first.transpose()?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_a_commit_read_back_and_cut_ones_are_refused() {
        let run = |id, first, count| Run {
            stream: StreamId([id; 16]),
            first,
            count,
        };
        let runs = [run(1, 1, 3), run(2, 9, 1), run(1, 4, u32::MAX)];
        let bytes = put_runs(&runs);
        assert_eq!(get_runs(&bytes).expect("runs"), runs);
        assert!(get_runs(&bytes[..bytes.len() - 1]).is_err());
    }
}
