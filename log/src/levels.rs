//! The runs that there are, oldest first: where clustered records are found. Replaced as a whole; who reads holds the runs that it began with.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::codec;
use crate::error::ReadError;
use crate::index::Cell;
use crate::read::Bounds;
use crate::record::Record;
use crate::run::{Access, Entry, Form, Run, RunError};

/// The runs of a log, in the order of their commits, which they have without a gap.
#[derive(Default)]
pub(crate) struct Levels {
    pub(crate) runs: Vec<Arc<Run>>,
}

/// The present ones.
#[derive(Default)]
pub(crate) struct PresentLevels(RwLock<Arc<Levels>>);

impl PresentLevels {
    pub(crate) fn get(&self) -> Arc<Levels> {
        self.0.read().clone()
    }

    pub(crate) fn set(&self, levels: Levels) {
        *self.0.write() = Arc::new(levels);
    }
}

impl Levels {
    /// Records of one stream from `from` to at most `to`, as long as they lie in one run; `None` if that would block and `access` is `Now`.
    pub(crate) fn read(
        &self,
        cell: &Cell,
        from: u64,
        to: u64,
        bounds: Bounds,
        access: Access,
    ) -> Result<Option<Vec<Record>>, ReadError> {
        let corrupt = |position: u64, what: String| ReadError::Corrupt {
            stream: cell.id,
            position,
            what,
        };
        let failed = |error: RunError| match error {
            RunError::WouldBlock { .. } => Ok(None),
            RunError::Io { what, source } => Err(ReadError::Io {
                name: what,
                message: source.to_string(),
            }),
            other => Err(corrupt(from, other.to_string())),
        };
        // Newer ones first: what is read is mostly new.
        for run in self.runs.iter().rev() {
            let span = match run.span(cell.id, access) {
                Ok(span) => span,
                Err(error) => return failed(error),
            };
            let Some(span) = span.filter(|span| span.first <= from && from <= span.last) else {
                continue;
            };
            let to = to.min(span.last).min(from.saturating_add(bounds.records as u64 - 1));
            let entries = match run.read(cell.id, from, to, bounds.bytes, access) {
                Ok(entries) => entries,
                Err(error) => return failed(error),
            };
            let decoded = entries
                .iter()
                .map(|entry| decode(entry).map_err(|what| corrupt(entry.position(), what.to_owned())));
            return up_to_damage(decoded).map(Some);
        }
        Err(corrupt(from, "no run has it".to_owned()))
    }
}

/// All of them, or those before the first that is damaged; its error if that is the first of all.
pub(crate) fn up_to_damage(records: impl Iterator<Item = Result<Record, ReadError>>) -> Result<Vec<Record>, ReadError> {
    let mut whole = Vec::with_capacity(records.size_hint().0);
    for record in records {
        match record {
            Ok(record) => whole.push(record),
            Err(error) if whole.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(whole)
}

/// The record of an entry, every checksum checked.
pub(crate) fn decode(entry: &Entry) -> Result<Record, &'static str> {
    match entry.form {
        Form::Whole => codec::decode_record(&entry.frame).map(|(record, _)| record),
        Form::Erased => {
            let mut record = entry.header.into_record(Default::default(), bytes::Bytes::new());
            record.erased = true;
            Ok(record)
        }
    }
}
