//! Turns what a run does into records, in order, without gaps. One per run; the only way from a block to the log.
//!
//! Most calls are pipelined: they put the record into a buffer, which goes to the log as one append when the run has nothing else to do,
//! when it is full, and before anything that is waited for. State operations and the last record are durable on return. Each append expects the request's last number, so if one is lost everything queued behind it is refused too: the records of a request have no hole, whatever fails.

mod blocks;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flowstate_log::Log;
use flowstate_log::append::{Append, Appending, Expect, NewRecord, Part, Sub, Target};
use flowstate_log::env::Env;
use flowstate_log::error::AppendError;
use flowstate_log::record::{StreamId, SubStreamId, Subject};
use futures_util::FutureExt;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ctx::Place;
use crate::error::{BlockError, RecordError, RecoverError};
use crate::item::open::{OpenItems, closed};
use crate::item::{ContentPart, ItemBody, ItemStatus, Provenance, Visibility};
use crate::record::{
    ContentAdded, ContentDelta, ContentDone, Fact, ItemAdded, ItemCompleted, ItemRecord, RequestCompleted,
    RequestFailed, RequestInterrupted, RequestStarted, SESSION_STATE, StateChanged,
};

/// Number that records carry for the runtime itself.
const RUNTIME: u64 = 0;
/// JSON around the text of a delta, at least: `{"item":0,"part":0,"delta":""}`.
const DELTA_FRAME_BYTES: usize = 30;

/// Most that waits in the buffer.
const BUFFER_RECORDS: usize = 128;
const BUFFER_BYTES: usize = 64 << 10;

/// Pauses between two attempts to write a last record for which the disk has no room.
const ROOM_PAUSE_MIN: Duration = Duration::from_millis(100);
const ROOM_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often a last record is tried again from what is durable.
const RESYNCS_MAX: u32 = 3;

/// How a run ended.
#[derive(Clone)]
pub(super) enum Outcome {
    /// With this output.
    Completed(serde_json::Value),
    /// With this error.
    Failed(BlockError),
    /// It was stopped, for this reason.
    Interrupted(&'static str),
}

/// The request that a recorder is for.
pub(super) struct RunRef {
    pub(super) stream: StreamId,
    pub(super) sub: SubStreamId,
    /// Its id.
    pub(super) request: Arc<str>,
    /// `<flow kind>/<action>`.
    pub(super) action: Arc<str>,
}

/// Records one run.
pub(crate) struct Recorder {
    log: Log,
    env: Arc<dyn Env>,
    stream: StreamId,
    sub: SubStreamId,
    item_bytes_max: usize,
    payload_bytes_max: usize,
    /// The request's id, and `<flow kind>/<action>`: what provenance is made of.
    request: Arc<str>,
    action: Arc<str>,
    /// Held while a record is numbered and queued, which keeps a run's records in order.
    state: Mutex<State>,
    /// Whether records wait in the buffer.
    buffered: AtomicBool,
}

struct State {
    /// Records of the request that were queued.
    count: u64,
    /// Records that are yet to be queued, in order.
    buffer: Vec<NewRecord>,
    buffer_bytes: usize,
    /// A queued append was not seen through: what is durable is not known.
    in_doubt: bool,
    /// Blocks that run, by the number of the record that says so.
    blocks: BTreeMap<u64, Arc<Place>>,
    /// The block that each open item is of, if it is one's.
    owners: BTreeMap<u32, Arc<Place>>,
    items: u32,
    last_ts_ms: i64,
    open: OpenItems,
    /// Text of each open item as it is encoded, in bytes.
    open_bytes: BTreeMap<u32, usize>,
    /// Queued and not known to be durable, in order.
    queued: VecDeque<Appending>,
    /// Why nothing more is recorded but the last record.
    failed: Option<RecordError>,
    ended: bool,
}

impl Recorder {
    /// For a request of which only the first record exists.
    pub(super) fn new(log: Log, run: RunRef, payload_bytes_max: usize) -> Self {
        let state = State {
            count: 1,
            buffer: Vec::new(),
            buffer_bytes: 0,
            in_doubt: false,
            blocks: BTreeMap::new(),
            owners: BTreeMap::new(),
            items: 0,
            last_ts_ms: 0,
            open: OpenItems::default(),
            open_bytes: BTreeMap::new(),
            queued: VecDeque::new(),
            failed: None,
            ended: false,
        };
        Self {
            env: log.env().clone(),
            log,
            stream: run.stream,
            sub: run.sub,
            // The rest of the record that completes an item has its share too.
            item_bytes_max: payload_bytes_max / 4 * 3,
            payload_bytes_max,
            request: run.request,
            action: run.action,
            state: Mutex::new(state),
            buffered: AtomicBool::new(false),
        }
    }

    pub(super) fn stream(&self) -> StreamId {
        self.stream
    }

    pub(super) fn sub(&self) -> SubStreamId {
        self.sub
    }

    pub(super) async fn start(&self) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        self.queue(&mut state, RUNTIME, RequestStarted {}.into()).await?;
        Ok(())
    }

    /// Records a fact about no item.
    pub(super) async fn add(&self, place: &Place, fact: Fact) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        self.queue(&mut state, place.origin(), fact).await?;
        Ok(())
    }

    /// Adds an item and gives its number.
    pub(crate) async fn add_item(
        &self,
        place: &Arc<Place>,
        status: ItemStatus,
        visibility: Visibility,
        body: ItemBody,
    ) -> Result<u32, RecordError> {
        let mut state = self.state.lock().await;
        let provenance = place.provenance(&self.request, &self.action);
        let item = self.new_item(&mut state, provenance, status, visibility, body);
        let index = item.index;
        state.owners.insert(index, place.clone());
        self.queue(&mut state, place.origin(), ItemAdded { item }.into())
            .await?;
        Ok(index)
    }

    /// Adds an item of the runtime that is whole at once.
    pub(super) async fn add_whole_item(&self, visibility: Visibility, body: ItemBody) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        let item = self.new_item(
            &mut state,
            Provenance::runtime(),
            ItemStatus::Completed,
            visibility,
            body,
        );
        self.queue(&mut state, RUNTIME, ItemAdded { item: item.clone() }.into())
            .await?;
        self.queue(&mut state, RUNTIME, ItemCompleted { item }.into()).await?;
        Ok(())
    }

    /// Adds a part to an open item.
    pub(crate) async fn add_content(&self, place: &Place, item: u32, content: ContentPart) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        let part = state.open.parts(item).ok_or(RecordError::NotOpen { item, part: 0 })?;
        let part = u32::try_from(part).map_err(|_| RecordError::NotOpen { item, part: u32::MAX })?;
        self.queue(&mut state, place.origin(), ContentAdded { item, part, content }.into())
            .await?;
        Ok(())
    }

    /// Adds text to a part of an open item. The hot path: one small JSON encode, one push.
    pub(crate) async fn add_delta(
        &self,
        place: &Place,
        item: u32,
        part: u32,
        delta: String,
    ) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        if state.open.part(item, part).is_none() {
            return Err(RecordError::NotOpen { item, part });
        }
        self.queue(&mut state, place.origin(), ContentDelta { item, part, delta }.into())
            .await?;
        Ok(())
    }

    /// States that a part has all its text.
    pub(crate) async fn finish_content(&self, place: &Place, item: u32, part: u32) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        let content = state
            .open
            .part(item, part)
            .cloned()
            .ok_or(RecordError::NotOpen { item, part })?;
        self.queue(&mut state, place.origin(), ContentDone { item, part, content }.into())
            .await?;
        Ok(())
    }

    /// Closes an open item with what it has.
    pub(crate) async fn complete_item(&self, place: &Place, item: u32, status: ItemStatus) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        let item = state
            .open
            .get(item)
            .cloned()
            .ok_or(RecordError::NotOpen { item, part: 0 })?;
        self.queue(
            &mut state,
            place.origin(),
            ItemCompleted {
                item: closed(item, status),
            }
            .into(),
        )
        .await?;
        Ok(())
    }

    /// Records a state operation; durable and visible on return.
    pub(super) async fn change_state(&self, place: &Place, change: StateChanged) -> Result<(), RecordError> {
        let appending = {
            let mut state = self.state.lock().await;
            state.check()?;
            self.flush(&mut state).await?;
            self.push(&mut state, place.origin(), SESSION_STATE, &[change.into()])
                .await?
        };
        if let Err(error) = appending.await {
            let error = RecordError::from(error);
            self.state.lock().await.failed.get_or_insert_with(|| error.clone());
            return Err(error);
        }
        Ok(())
    }

    /// Waits until everything recorded so far is durable and visible.
    pub(super) async fn settle(&self) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        self.flush(&mut state).await?;
        state.settle().await;
        state.check()
    }

    /// Whether there is anything for [`Self::send`] to do.
    pub(super) fn has_buffered(&self) -> bool {
        self.buffered.load(Ordering::Relaxed)
    }

    /// Queues what waits in the buffer.
    pub(super) async fn send(&self) {
        let mut state = self.state.lock().await;
        // What failed is kept for whoever records next.
        let _ = self.flush(&mut state).await;
    }

    /// Closes what is open, tells the error if there is one, and writes the request's last record: all in one append, durable on return.
    /// While the disk is full it waits for room, until `closing`. Without the record, the next start of the engine closes the request.
    pub(super) async fn finish(&self, mut outcome: Outcome, closing: &CancellationToken) -> Result<(), RecoverError> {
        let mut state = self.state.lock().await;
        if !state.in_doubt && state.failed.is_none() {
            self.end_blocks(&mut state).await;
        }
        state.settle().await;
        if state.failed.is_some() || state.in_doubt {
            self.resync(&mut state).await?;
        }
        let (items, mut refused, mut missed, mut pause) = (state.items, false, 0, ROOM_PAUSE_MIN);
        loop {
            match self.finish_with(&mut state, outcome.clone()).await {
                Err(RecordError::Append(AppendError::Invalid(why))) if !refused => {
                    refused = true;
                    let what = format!("the request's last record was refused: {why}");
                    outcome = Outcome::Failed(BlockError::new("record_refused", what));
                }
                Err(RecordError::Append(AppendError::Full(_))) if !closing.is_cancelled() => {
                    closing.run_until_cancelled(sleep(pause)).await;
                    pause = (pause * 2).min(ROOM_PAUSE_MAX);
                }
                // A state operation that was cancelled may have been appended all the same.
                Err(RecordError::Append(AppendError::SubStreamMismatch { .. })) if missed < RESYNCS_MAX => missed += 1,
                finished => return finished.map_err(RecoverError::from),
            }
            state.items = items;
            self.resync(&mut state).await?;
        }
    }

    /// Goes on from what is durable: what was queued behind a failed append was refused with it.
    async fn resync(&self, state: &mut State) -> Result<(), RecoverError> {
        let info = self.log.sub_stream_info(self.stream, self.sub).await?;
        state.count = info.count;
        state.in_doubt = false;
        self.empty_buffer(state);
        state.open = super::recover::open_items(&self.log, &info).await?;
        Ok(())
    }

    async fn finish_with(&self, state: &mut State, outcome: Outcome) -> Result<(), RecordError> {
        let status = match outcome {
            Outcome::Failed(_) => ItemStatus::Failed,
            Outcome::Completed(_) | Outcome::Interrupted(_) => ItemStatus::Incomplete,
        };
        let mut facts: Vec<Fact> = state
            .open
            .closed_as(status)
            .map(|item| ItemCompleted { item }.into())
            .collect();
        match outcome {
            Outcome::Completed(output) => facts.push(RequestCompleted { output }.into()),
            Outcome::Interrupted(reason) => facts.push(RequestInterrupted { reason: reason.into() }.into()),
            Outcome::Failed(error) => {
                let (message, code, details) = (
                    error.message().to_owned(),
                    error.code().to_owned(),
                    error.details().cloned(),
                );
                let body = ItemBody::Error {
                    message: message.clone(),
                    code: code.clone(),
                    details: details.clone(),
                };
                let item = self.new_item(
                    state,
                    Provenance::runtime(),
                    ItemStatus::Failed,
                    Visibility::CLIENT,
                    body,
                );
                facts.push(ItemAdded { item: item.clone() }.into());
                facts.push(ItemCompleted { item }.into());
                facts.push(
                    RequestFailed {
                        code,
                        message,
                        details,
                        retryable: error.is_retryable(),
                    }
                    .into(),
                );
            }
        }
        self.push(state, RUNTIME, Subject::NONE, &facts).await?.await?;
        state.ended = true;
        Ok(())
    }

    fn new_item(
        &self,
        state: &mut State,
        provenance: Provenance,
        status: ItemStatus,
        visibility: Visibility,
        body: ItemBody,
    ) -> ItemRecord {
        let index = state.items;
        state.items += 1;
        state.last_ts_ms = state.last_ts_ms.max(self.env.now_us() / 1_000);
        ItemRecord {
            index,
            ts_ms: state.last_ts_ms,
            status,
            provenance,
            visibility,
            transient: false,
            body,
        }
    }

    /// Puts a fact about nothing that has a version into the buffer, and gives the number that it will have.
    async fn queue(&self, state: &mut State, origin: u64, fact: Fact) -> Result<u64, RecordError> {
        state.check()?;
        let record = self.encode(state, origin, Subject::NONE, &fact)?;
        state.buffer_bytes += record.payload.len();
        state.buffer.push(record);
        self.buffered.store(true, Ordering::Relaxed);
        state.apply(&fact);
        let number = state.count + state.buffer.len() as u64;
        if state.buffer.len() >= BUFFER_RECORDS || state.buffer_bytes >= BUFFER_BYTES {
            self.flush(state).await?;
        }
        Ok(number)
    }

    /// Queues the buffer as one append.
    async fn flush(&self, state: &mut State) -> Result<(), RecordError> {
        if state.buffer.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut state.buffer);
        self.empty_buffer(state);
        match self.append(state, records).await {
            Ok(appending) => state.queued.push_back(appending),
            Err(error) => {
                state.failed.get_or_insert_with(|| error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    fn empty_buffer(&self, state: &mut State) {
        state.buffer.clear();
        state.buffer_bytes = 0;
        self.buffered.store(false, Ordering::Relaxed);
    }

    /// Queues facts as one append, behind the buffer's, and takes them into the open items. The buffer is empty.
    async fn push(
        &self,
        state: &mut State,
        origin: u64,
        subject: Subject,
        facts: &[Fact],
    ) -> Result<Appending, RecordError> {
        let mut records = Vec::with_capacity(facts.len());
        for fact in facts {
            records.push(self.encode(state, origin, subject, fact)?);
        }
        let appending = self.append(state, records).await?;
        facts.iter().for_each(|fact| state.apply(fact));
        Ok(appending)
    }

    async fn append(&self, state: &mut State, records: Vec<NewRecord>) -> Result<Appending, RecordError> {
        let count = records.len() as u64;
        let part = Part {
            stream: Target::Id(self.stream),
            expect: vec![Expect::SubStreamAt(self.sub, state.count)],
            records,
        };
        // Whoever is dropped while the log has no room leaves it open whether the append is queued.
        state.in_doubt = true;
        let appending = self.log.append(Append::of(vec![part])).await;
        state.in_doubt = false;
        let appending = appending?;
        state.count += count;
        Ok(appending)
    }

    fn encode(&self, state: &mut State, origin: u64, subject: Subject, fact: &Fact) -> Result<NewRecord, RecordError> {
        let payload = fact.encode().map_err(|error| RecordError::Encode(error.to_string()))?;
        // Refused by itself here, and not later with everything that it shares an append with.
        if payload.len() > self.payload_bytes_max {
            return Err(RecordError::TooLarge {
                bytes: payload.len(),
                max: self.payload_bytes_max,
            });
        }
        if let Fact::ContentDelta(ContentDelta { item, .. }) = fact {
            let bytes = state.open_bytes.entry(*item).or_default();
            *bytes += payload.len().saturating_sub(DELTA_FRAME_BYTES);
            if *bytes > self.item_bytes_max {
                return Err(RecordError::ItemTooLarge {
                    item: *item,
                    max: self.item_bytes_max,
                });
            }
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
}

impl State {
    /// Takes a fact into what is open.
    fn apply(&mut self, fact: &Fact) {
        if let Some(completed) = self.open.apply(fact) {
            self.open_bytes.remove(&completed.index);
            self.owners.remove(&completed.index);
        }
    }

    /// Looks, without waiting, at what became of queued appends; `Err` if nothing more may be recorded.
    fn check(&mut self) -> Result<(), RecordError> {
        while let Some(outcome) = self.queued.front_mut().and_then(FutureExt::now_or_never) {
            self.queued.pop_front();
            self.take_in(outcome.map(drop));
        }
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.ended => Err(RecordError::Ended),
            None => Ok(()),
        }
    }

    /// Waits for all queued appends.
    async fn settle(&mut self) {
        while let Some(appending) = self.queued.front_mut() {
            let outcome = appending.await.map(drop);
            self.queued.pop_front();
            self.take_in(outcome);
        }
    }

    fn take_in(&mut self, outcome: Result<(), AppendError>) {
        if let Err(error) = outcome {
            self.failed.get_or_insert(RecordError::Append(error));
        }
    }
}
