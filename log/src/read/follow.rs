//! Cursors: over a stream and over one sub-stream. A cursor holds a position and nothing else.

use std::sync::Arc;

use crate::error::ReadError;
use crate::record::{Record, StreamId, SubStreamId};
use crate::verbs::Verbs;

/// A cursor over a stream. Holds a position and nothing else.
pub struct Follow {
    pub(crate) verbs: Arc<dyn Verbs>,
    pub(crate) stream: StreamId,
    pub(crate) next: u64,
}

impl Follow {
    /// The next records, at least one: scans to the tail, then waits there. Cancel-safe. Fails when the stream is deleted, or trimmed
    /// beyond the cursor.
    pub async fn page(&mut self) -> Result<Vec<Record>, ReadError> {
        loop {
            if let Some(records) = self.present().await? {
                return Ok(records);
            }
            self.verbs.wait(self.stream, self.next).await?;
        }
    }

    /// The next records that are there now; `None` at the tail. Cancel-safe.
    pub async fn present(&mut self) -> Result<Option<Vec<Record>>, ReadError> {
        let records = self.verbs.read(self.stream, self.next, usize::MAX).await?;
        self.next += records.len() as u64;
        Ok((!records.is_empty()).then_some(records))
    }
}

/// A cursor over one sub-stream.
pub struct FollowSub {
    pub(crate) verbs: Arc<dyn Verbs>,
    pub(crate) stream: StreamId,
    pub(crate) sub: SubStreamId,
    pub(crate) after: u64,
    pub(crate) next: u64,
    pub(crate) visited: u64,
}

impl FollowSub {
    /// The next records of the sub-stream, at least one; waits at the tail. Records of others are skipped. Cancel-safe.
    pub async fn page(&mut self) -> Result<Vec<Record>, ReadError> {
        loop {
            match self.read().await? {
                Ok(records) => return Ok(records),
                Err(tail) => self.verbs.wait(self.stream, tail + 1).await?,
            }
        }
    }

    /// The next records that are there now; `None` at the tail. Cancel-safe.
    pub async fn present(&mut self) -> Result<Option<Vec<Record>>, ReadError> {
        Ok(self.read().await?.ok())
    }

    /// The next records, or where the tail is at which there are none.
    async fn read(&mut self) -> Result<Result<Vec<Record>, u64>, ReadError> {
        loop {
            let page = self
                .verbs
                .read_sub(self.stream, self.sub, self.after, self.next)
                .await?;
            self.next = page.next;
            self.visited += page.visited;
            if let Some((_, number)) = page.records.last().and_then(|record| record.sub) {
                self.after = number;
                return Ok(Ok(page.records));
            }
            if page.visited == 0 {
                return Ok(Err(page.tail));
            }
        }
    }

    /// Records read so far, those of others included: what a resume costs.
    pub fn visited(&self) -> u64 {
        self.visited
    }
}
