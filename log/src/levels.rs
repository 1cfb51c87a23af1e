//! The runs that there are, oldest first: where clustered records are found. Replaced as a whole; who reads holds the runs that it began with.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::ReadError;
use crate::index::Cell;
use crate::read::Bounds;
use crate::record::{Record, StreamId};
use crate::run::{Access, Run, RunError};

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
    /// Records of one stream from `from` to at most `to`; `None` if that would block and `access` is `Now`. Ends early where going on would
    /// wait and may not, or where something is damaged: to go on, ask again after the last.
    pub(crate) fn read(
        &self,
        cell: &Cell,
        from: u64,
        to: u64,
        bounds: Bounds,
        access: Access,
    ) -> Result<Option<Vec<Record>>, ReadError> {
        let to = to.min(from.saturating_add(bounds.records as u64 - 1));
        let mut records = Vec::with_capacity((to - from).min(ROOM) as usize + 1);
        let mut bytes = bounds.bytes;
        while let next = from + records.len() as u64
            && next <= to
            && (bytes > 0 || records.is_empty())
        {
            let before = records.len();
            match self.extend(cell.id, next, to, &mut bytes, access, &mut records) {
                // A run that ended early, at its bound or before a damage.
                Ok(()) if records.len() > before => {}
                Ok(()) | Err(_) if before > 0 => break,
                Ok(()) => {
                    return Err(ReadError::Corrupt {
                        stream: cell.id,
                        position: next,
                        what: "no run has it".to_owned(),
                    });
                }
                Err(RunError::WouldBlock { .. }) => return Ok(None),
                Err(RunError::Io { what, source }) => {
                    return Err(ReadError::Io {
                        name: what,
                        message: source.to_string(),
                    });
                }
                Err(other) => {
                    return Err(ReadError::Corrupt {
                        stream: cell.id,
                        position: next,
                        what: other.to_string(),
                    });
                }
            }
        }
        Ok(Some(records))
    }

    /// Adds what the run with the record `from` has up to `to`; nothing if no run has it.
    fn extend(
        &self,
        stream: StreamId,
        from: u64,
        to: u64,
        bytes: &mut usize,
        access: Access,
        records: &mut Vec<Record>,
    ) -> Result<(), RunError> {
        // Newer ones first: what is read is mostly new.
        for run in self.runs.iter().rev() {
            let span = run.span(stream, access)?;
            if let Some(span) = span.filter(|span| (span.first..=span.last).contains(&from)) {
                return run.read(stream, from, to.min(span.last), bytes, access, records);
            }
        }
        Ok(())
    }
}

/// Records that a read makes room for at first.
const ROOM: u64 = 1_000;
