//! The way from a run to the log: records are numbered, wait in a buffer, and go out as one append.

use std::sync::atomic::Ordering;

use flowstate_log::append::{Append, Appending, Expect, NewRecord, Part, Sub, Target};
use flowstate_log::error::AppendError;
use flowstate_log::record::Subject;
use futures_util::FutureExt;
use futures_util::task::Context;

use super::{Recorder, State};
use crate::error::RecordError;
use crate::exec::left::in_appends;
use crate::record::{ContentDelta, Fact};

/// JSON around the text of a delta, at least: `{"item":0,"part":0,"delta":""}`.
const DELTA_FRAME_BYTES: usize = 30;

/// Most that waits in the buffer.
const BUFFER_RECORDS: usize = 128;
const BUFFER_BYTES: usize = 64 << 10;

impl Recorder {
    /// Whether there is anything for [`Self::send`] to do.
    pub(in crate::exec) fn has_buffered(&self) -> bool {
        self.buffered.load(Ordering::SeqCst)
    }

    /// Who sends the buffer begins to poll.
    pub(in crate::exec) fn sender_wakes(&self, cx: &Context<'_>) {
        self.sender.wakes(cx);
    }

    /// It is about to sleep; `true` if it has to look at the buffer once more.
    pub(in crate::exec) fn sender_sleeps(&self) -> bool {
        self.sender.sleeps();
        self.has_buffered()
    }

    /// Queues what waits in the buffer.
    pub(in crate::exec) async fn send(&self) {
        self.flush(&mut *self.state.lock().await).await;
    }

    /// Waits until everything recorded so far is durable and visible, while more may be recorded.
    pub(crate) async fn settle(&self) -> Result<(), RecordError> {
        let mut settling = self.settling.lock().await;
        {
            let mut state = self.state.lock().await;
            state.decided().await;
            self.flush(&mut state).await;
            settling.append(&mut state.queued);
        }
        while let Some(appending) = settling.front_mut() {
            let outcome = appending.await.map(drop);
            settling.pop_front();
            if outcome.is_err() {
                self.state.lock().await.take_in(outcome);
            }
        }
        self.state.lock().await.check()
    }

    pub(super) fn next_record(&self, origin: u64, subject: Subject, fact: &Fact) -> Result<NewRecord, RecordError> {
        let payload = fact.encode().map_err(|error| RecordError::Encode(error.to_string()))?;
        // Refused by itself here, and not later with everything that it shares an append with.
        if payload.len() > self.payload_bytes_max {
            return Err(RecordError::TooLarge {
                bytes: payload.len(),
                max: self.payload_bytes_max,
            });
        }
        Ok(NewRecord {
            kind: fact.kind(),
            subject,
            sub: Some(Sub::Next(self.sub)),
            causation: self.sub.0,
            origin,
            payload,
        })
    }

    /// The request's next records, in its session's stream.
    pub(super) fn part(
        &self,
        state: &State,
        expect: impl IntoIterator<Item = Expect>,
        records: Vec<NewRecord>,
    ) -> Part {
        let next = Expect::SubStreamAt(self.sub, state.count);
        Part {
            stream: Target::Id(self.stream),
            expect: [next].into_iter().chain(expect).collect(),
            records,
        }
    }

    /// Puts a fact about nothing that has a version into the buffer, and gives the number that it will have. All of it or nothing
    /// if this is dropped while it waits.
    pub(super) async fn queue(&self, state: &mut State, origin: u64, fact: Fact) -> Result<u64, RecordError> {
        // The number depends on it.
        state.decided().await;
        if state.buffer.len() >= BUFFER_RECORDS || state.buffer_bytes >= BUFFER_BYTES {
            self.flush(state).await;
        }
        state.check()?;
        let record = self.next_record(origin, Subject::NONE, &fact)?;
        if let Fact::ContentDelta(ContentDelta { item, .. }) = fact {
            let bytes = state.open_bytes.entry(item).or_default();
            *bytes += record.payload.len().saturating_sub(DELTA_FRAME_BYTES);
            if *bytes > self.item_bytes_max {
                return Err(RecordError::ItemTooLarge {
                    item,
                    max: self.item_bytes_max,
                });
            }
        }
        state.buffer_bytes += record.payload.len();
        state.buffer.push(record);
        self.buffered.store(true, Ordering::SeqCst);
        self.sender.wake();
        state.apply(&fact);
        Ok(state.count + state.buffer.len() as u64)
    }

    /// Queues the buffer as one append. What fails is kept for whoever records next.
    pub(super) async fn flush(&self, state: &mut State) {
        loop {
            // If this is dropped while the log has no room, whoever is next sees it through.
            if let Some(sending) = &mut state.sending {
                let sent = sending.await;
                state.sending = None;
                match sent {
                    Ok(appending) => state.queued.push_back(appending),
                    Err(error) => state.take_in(Err(error)),
                }
            }
            if state.buffer.is_empty() {
                break;
            }
            let records = std::mem::take(&mut state.buffer);
            state.buffer_bytes = 0;
            let count = records.len() as u64;
            let append = Append::of(vec![self.part(state, None, records)]);
            state.count += count;
            let log = self.log.clone();
            state.sending = Some(async move { log.append(append).await }.boxed());
        }
        self.buffered.store(false, Ordering::SeqCst);
    }

    /// Queues facts behind everything else and waits until they are durable. The buffer is empty.
    pub(super) async fn push(&self, state: &mut State, origin: u64, facts: &[Fact]) -> Result<(), RecordError> {
        let records = facts.iter().map(|fact| self.next_record(origin, Subject::NONE, fact));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        for records in in_appends(records, |record| record.payload.len()) {
            let count = records.len() as u64;
            let part = self.part(state, None, records);
            let appending = self.append(vec![part]).await?;
            state.count += count;
            state.queued.push_back(appending);
        }
        while let Some(appending) = state.queued.pop_front() {
            appending.await?;
        }
        Ok(())
    }

    /// Puts parts into the log's queue as one append.
    pub(super) async fn append(&self, parts: Vec<Part>) -> Result<Appending, AppendError> {
        self.log.append(Append::of(parts)).await
    }
}
