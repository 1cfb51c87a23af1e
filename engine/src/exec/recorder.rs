//! Turns what a run does into records, in order, without gaps. One per run; the only way from a block to the log.
//!
//! Most calls are pipelined: they put the record into a buffer, which goes to the log as one append when the run has nothing else to do,
//! when it is full, and before anything that is waited for. State operations return when they have their place in the order, behind what was
//! buffered; the last record when it is durable. Each append expects the request's last number, so if one is lost everything queued
//! behind it is refused too: the records of a request have no hole, whatever fails.
//!
//! A run drops what it does not need any more at any await. What the buffer held is sent all the same; of a change that was on its way
//! under a version, whoever records next learns what was decided.

mod blocks;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flowstate_log::Log;
use flowstate_log::append::{Append, Appended, Appending, Expect, NewRecord, Part, Sub, Target};
use flowstate_log::env::Env;
use flowstate_log::error::AppendError;
use flowstate_log::record::{StreamId, SubStreamId, Subject};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ctx::Place;
use crate::error::{BlockError, RecordError, RecoverError};
use crate::item::open::{OpenItems, closed};
use crate::item::{ContentPart, ItemBody, ItemStatus, Provenance, Status, Visibility};
use crate::record::{
    ChangeItem, ContentAdded, ContentDelta, ContentDone, Fact, ItemAdded, ItemCompleted, ItemRecord, RequestCompleted,
    RequestFailed, RequestInterrupted, RequestStarted, StateChanged, StateNoted,
};
use crate::scope::ScopeWrite;

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
    /// Whether the buffer holds records, or an append of it was not seen through.
    buffered: AtomicBool,
    /// What [`Recorder::settle`] waits for.
    settling: Mutex<VecDeque<Appending>>,
}

/// See [`Recorder::turn`].
pub(crate) struct Turn<'a> {
    recorder: &'a Recorder,
    state: MutexGuard<'a, State>,
}

impl Turn<'_> {
    /// Queues a change of a state.
    pub(crate) async fn change(
        &mut self,
        place: &Place,
        write: ScopeWrite,
    ) -> Result<(Appending, Arc<StateChanged>), RecordError> {
        let (recorder, state) = (self.recorder, &mut *self.state);
        let (index, ts_ms) = recorder.next_item(state);
        let item = ChangeItem {
            index,
            ts_ms,
            provenance: recorder.provenance(place),
            path: write.path,
            delta: write.delta,
        };
        let expect = write.under.map(|version| Expect::Version(write.subject, version));
        let mut change = write.change;
        let parts = match write.stream {
            None => {
                change.item = Some(item);
                let record = recorder.next_record(place.origin(), write.subject, &change.clone().into())?;
                vec![recorder.part(state, expect, vec![record])]
            }
            Some(stream) => {
                let noted = StateNoted {
                    scope: change.scope,
                    operation: change.op.name().to_owned(),
                    item,
                };
                let noted = recorder.next_record(place.origin(), Subject::NONE, &noted.into())?;
                let record = NewRecord {
                    sub: None,
                    ..recorder.next_record(place.origin(), write.subject, &change.clone().into())?
                };
                let theirs = Part {
                    stream,
                    expect: expect.into_iter().collect(),
                    records: vec![record],
                };
                vec![theirs, recorder.part(state, None, vec![noted])]
            }
        };
        let appending = recorder.log.append(Append::of(parts)).await?;
        state.count += 1;
        Ok((appending, Arc::new(change)))
    }

    /// Appends a change that is taken only if its state has the version that it says, and gives its position.
    pub(crate) async fn decide(
        mut self,
        place: &Place,
        write: ScopeWrite,
    ) -> Result<(u64, Arc<StateChanged>), RecordError> {
        let (appending, change) = self.change(place, write).await?;
        // If this is cancelled while it waits, whoever is next learns what was decided.
        self.state.deciding = Some(appending);
        let decided = self.state.decided().await;
        let appended = decided.unwrap_or(Err(AppendError::Closed))?;
        Ok((first_position(&appended), change))
    }
}

/// Position of the first record of an append.
fn first_position(appended: &Appended) -> u64 {
    appended.parts.first().map_or(0, |part| part.first)
}

struct State {
    /// Records of the request that were queued, those on their way into the log included.
    count: u64,
    /// Records that are yet to be queued, in order.
    buffer: Vec<NewRecord>,
    buffer_bytes: usize,
    /// An append of what was in the buffer that the log has not taken yet.
    sending: Option<BoxFuture<'static, Result<Appending, AppendError>>>,
    /// Blocks that run, by the number of the record that says so.
    blocks: BTreeMap<u64, Arc<Place>>,
    /// The block that each open item is of, if it is one's.
    owners: BTreeMap<u32, Arc<Place>>,
    items: u32,
    last_ts_ms: i64,
    /// Number and time of the items that have a key, by that.
    keyed: HashMap<String, (u32, i64)>,
    /// What clients were last told that the request is about.
    status: Status,
    open: OpenItems,
    /// Text of each open item as it is encoded, in bytes.
    open_bytes: BTreeMap<u32, usize>,
    /// Queued and not known to be durable.
    queued: VecDeque<Appending>,
    /// Appended under a version, and not known to be taken.
    deciding: Option<Appending>,
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
            sending: None,
            blocks: BTreeMap::new(),
            owners: BTreeMap::new(),
            items: 0,
            last_ts_ms: 0,
            keyed: HashMap::new(),
            status: Status::default(),
            open: OpenItems::default(),
            open_bytes: BTreeMap::new(),
            queued: VecDeque::new(),
            deciding: None,
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
            settling: Mutex::default(),
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
        let mut item = self.new_item(&mut state, self.provenance(place), status, visibility, body);
        item.owned_by = place.owned_by(&self.request);
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

    /// Adds an item of a block that is whole at once. One that has a key takes the place of the one that had it before.
    pub(crate) async fn add_whole(
        &self,
        place: &Place,
        visibility: Visibility,
        body: ItemBody,
    ) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        self.add_whole_to(&mut state, place, visibility, body).await
    }

    async fn add_whole_to(
        &self,
        state: &mut State,
        place: &Place,
        visibility: Visibility,
        body: ItemBody,
    ) -> Result<(), RecordError> {
        let key = body.key().map(str::to_owned);
        let mut item = self.new_item(state, self.provenance(place), ItemStatus::Completed, visibility, body);
        item.owned_by = place.owned_by(&self.request);
        if let Some(key) = key {
            // The time stays what it was, so that the item stays where it was.
            (item.index, item.ts_ms) = *state.keyed.entry(key).or_insert((item.index, item.ts_ms));
        }
        self.queue(state, place.origin(), ItemAdded { item: item.clone() }.into())
            .await?;
        self.queue(state, place.origin(), ItemCompleted { item }.into()).await?;
        Ok(())
    }

    /// Shows what the request is about, unless it shows just that.
    pub(crate) async fn set_status(
        &self,
        place: &Place,
        message: Option<String>,
        blocked: Option<bool>,
        background_tasks: Option<u32>,
    ) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        let Some(status) = state.status.changed(message, blocked, background_tasks) else {
            return Ok(());
        };
        let body = ItemBody::Status(status.clone());
        self.add_whole_to(&mut state, place, Visibility::CLIENT, body).await?;
        state.status = status;
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
        self.complete_item_with(place, item, status, |_| {}).await
    }

    /// The same, with what became of it in the end.
    pub(crate) async fn complete_item_with(
        &self,
        place: &Place,
        item: u32,
        status: ItemStatus,
        end: impl FnOnce(&mut ItemBody),
    ) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        let mut item = state
            .open
            .get(item)
            .cloned()
            .ok_or(RecordError::NotOpen { item, part: 0 })?;
        end(&mut item.body);
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

    /// The right to append next, behind everything recorded so far. While it is held, nothing else of this run is recorded.
    pub(crate) async fn turn(&self) -> Result<Turn<'_>, RecordError> {
        let mut state = self.state.lock().await;
        state.decided().await;
        self.flush(&mut state).await;
        state.check()?;
        Ok(Turn { recorder: self, state })
    }

    /// Waits until a change has its position, and gives it. What becomes of it after that, [`Recorder::settle`] knows.
    pub(crate) async fn sequenced(&self, mut change: Appending) -> Result<u64, RecordError> {
        let sequenced = change.sequenced().await;
        let mut state = self.state.lock().await;
        match sequenced {
            Some(appended) => {
                state.queued.push_back(change);
                Ok(first_position(&appended))
            }
            None => {
                let error = change.await.err().unwrap_or(AppendError::Closed);
                state.take_in(Err(error.clone()));
                Err(error.into())
            }
        }
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

    /// Whether there is anything for [`Self::send`] to do.
    pub(super) fn has_buffered(&self) -> bool {
        self.buffered.load(Ordering::Relaxed)
    }

    /// Queues what waits in the buffer.
    pub(super) async fn send(&self) {
        self.flush(&mut *self.state.lock().await).await;
    }

    /// Closes what is open, tells the error if there is one, and writes the request's last record: all in one append, durable on return.
    /// While the disk is full it waits for room, until `closing`. Without the record, the next start of the engine closes the request.
    pub(super) async fn finish(&self, mut outcome: Outcome, closing: &CancellationToken) -> Result<(), RecoverError> {
        let settled = self.settle().await;
        let mut state = self.state.lock().await;
        match settled {
            Ok(()) => self.end_blocks(&mut state).await,
            Err(_) => self.resync(&mut state).await?,
        }
        let (items, mut refused, mut missed, mut pause) = (state.items, false, 0, ROOM_PAUSE_MIN);
        loop {
            match self.finish_with(&mut state, outcome.clone()).await {
                Err(why @ (RecordError::Append(AppendError::Invalid(_)) | RecordError::TooLarge { .. }))
                    if !refused =>
                {
                    refused = true;
                    let what = format!("the request's last record was refused: {why}");
                    outcome = Outcome::Failed(BlockError::new("record_refused", what));
                }
                Err(RecordError::Append(AppendError::Full(_))) if !closing.is_cancelled() => {
                    closing.run_until_cancelled(sleep(pause)).await;
                    pause = (pause * 2).min(ROOM_PAUSE_MAX);
                }
                // What became of a state operation that was dropped while it waited is not known.
                Err(RecordError::Append(AppendError::SubStreamMismatch { .. })) if missed < RESYNCS_MAX => missed += 1,
                finished => return finished.map_err(RecoverError::from),
            }
            state.items = items;
            self.resync(&mut state).await?;
        }
    }

    /// Goes on from what is durable: what was queued behind a failed append was refused with it.
    async fn resync(&self, state: &mut State) -> Result<(), RecoverError> {
        while let Some(appending) = state.queued.pop_front() {
            state.take_in(appending.await.map(drop));
        }
        let info = self.log.sub_stream_info(self.stream, self.sub).await?;
        state.count = info.count;
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
        self.push(state, RUNTIME, &facts).await?.await?;
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
        let (index, ts_ms) = self.next_item(state);
        ItemRecord {
            index,
            ts_ms,
            status,
            provenance,
            visibility,
            transient: body.is_transient(),
            owned_by: None,
            body,
        }
    }

    /// Number and time of the next item.
    fn next_item(&self, state: &mut State) -> (u32, i64) {
        let index = state.items;
        state.items += 1;
        state.last_ts_ms = state.last_ts_ms.max(self.env.now_us() / 1_000);
        (index, state.last_ts_ms)
    }

    fn provenance(&self, place: &Place) -> Provenance {
        place.provenance(&self.request, &self.action)
    }

    fn next_record(&self, origin: u64, subject: Subject, fact: &Fact) -> Result<NewRecord, RecordError> {
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
    fn part(&self, state: &State, expect: Option<Expect>, records: Vec<NewRecord>) -> Part {
        let next = Expect::SubStreamAt(self.sub, state.count);
        Part {
            stream: Target::Id(self.stream),
            expect: [next].into_iter().chain(expect).collect(),
            records,
        }
    }

    /// Puts a fact about nothing that has a version into the buffer, and gives the number that it will have. All of it or nothing
    /// if this is dropped while it waits.
    async fn queue(&self, state: &mut State, origin: u64, fact: Fact) -> Result<u64, RecordError> {
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
        self.buffered.store(true, Ordering::Relaxed);
        state.apply(&fact);
        Ok(state.count + state.buffer.len() as u64)
    }

    /// Queues the buffer as one append. What fails is kept for whoever records next.
    async fn flush(&self, state: &mut State) {
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
        self.buffered.store(false, Ordering::Relaxed);
    }

    /// Queues facts as one append and takes them into the open items. The buffer is empty.
    async fn push(&self, state: &mut State, origin: u64, facts: &[Fact]) -> Result<Appending, RecordError> {
        let records = facts
            .iter()
            .map(|fact| self.next_record(origin, Subject::NONE, fact))
            .collect::<Result<_, _>>()?;
        let part = self.part(state, None, records);
        let appending = self.log.append(Append::of(vec![part])).await?;
        state.count += facts.len() as u64;
        facts.iter().for_each(|fact| state.apply(fact));
        Ok(appending)
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

    /// Whether the change that was appended under a version was taken, if there is one of which that is not known.
    /// If it was not, it has no number: the next record has it.
    async fn decided(&mut self) -> Option<Result<Appended, AppendError>> {
        let sequenced = self.deciding.as_mut()?.sequenced().await;
        let change = self.deciding.take()?;
        Some(match sequenced {
            Some(appended) => {
                self.queued.push_back(change);
                Ok(appended)
            }
            None => {
                self.count -= 1;
                let error = change.await.err().unwrap_or(AppendError::Closed);
                if !matches!(error, AppendError::VersionMismatch { .. }) {
                    self.take_in(Err(error.clone()));
                }
                Err(error)
            }
        })
    }

    fn take_in(&mut self, outcome: Result<(), AppendError>) {
        if let Err(error) = outcome {
            self.failed.get_or_insert(RecordError::Append(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use flowstate_log::Options;
    use flowstate_log::disk::faulty::FaultyDisk;
    use flowstate_log::record::Name;

    use super::*;
    use crate::item::Role;
    use crate::record::RequestAccepted;

    const SUB: SubStreamId = SubStreamId([7; 16]);

    /// A log in which one append may wait at a time, and a recorder of a request in it.
    async fn recorder() -> (FaultyDisk, Log, Recorder) {
        let mut options = Options::in_memory();
        let disk = FaultyDisk::new(options.disk.clone());
        options.disk = Arc::new(disk.clone());
        options.limits.queue_appends_max = 1;
        let log = Log::open(options).expect("a log");
        let name = |name| Name::new("", name).expect("a name");
        let accepted = Fact::from(RequestAccepted::default());
        let first = NewRecord {
            kind: accepted.kind(),
            subject: Subject::NONE,
            sub: Some(Sub::Open(SUB, name("request"))),
            causation: SUB.0,
            origin: RUNTIME,
            payload: accepted.encode().expect("JSON"),
        };
        let part = Part {
            stream: Target::Name(name("session")),
            expect: vec![Expect::Absent],
            records: vec![first],
        };
        let appending = log.append(Append::of(vec![part])).await.expect("room");
        let run = RunRef {
            stream: appending.await.expect("durable").parts[0].stream,
            sub: SUB,
            request: "r".into(),
            action: "f/a".into(),
        };
        let recorder = Recorder::new(log.clone(), run, 1 << 20);
        (disk, log, recorder)
    }

    async fn message(recorder: &Recorder) -> Result<(), RecordError> {
        let body = ItemBody::Message {
            role: Role::User,
            content: vec![ContentPart::text("hello")],
        };
        recorder.add_whole_item(Visibility::CONVERSATION, body).await
    }

    #[tokio::test]
    async fn what_the_buffer_held_is_recorded_though_whoever_sent_it_was_dropped() {
        let (disk, log, recorder) = recorder().await;
        disk.hold_syncs("slot");
        recorder.start().await.expect("buffered");
        recorder.send().await;
        message(&recorder).await.expect("buffered");
        // Looked at when the disk goes on, which the log waits for when a test fails.
        let mut dropped = Vec::new();
        for _ in 0..3 {
            let sent = tokio::time::timeout(Duration::from_millis(20), recorder.send()).await;
            dropped.push((sent.is_err(), recorder.has_buffered()));
        }
        let settled = tokio::time::timeout(Duration::from_millis(20), recorder.settle()).await;
        let more = message(&recorder).await;
        disk.release();
        assert_eq!(
            dropped,
            [(true, true); 3],
            "the log has no room, and somebody has to see it through"
        );
        assert!(settled.is_err(), "nothing is durable");
        more.expect("buffered, behind what is on its way");
        recorder.settle().await.expect("durable");
        assert!(!recorder.has_buffered());
        let outcome = Outcome::Completed(serde_json::Value::Null);
        let finished = recorder.finish(outcome, &CancellationToken::new()).await;
        finished.expect("ended");
        let records = log.read(recorder.stream(), 1, 100).await.expect("records");
        let seen: Vec<_> = records
            .iter()
            .map(|record| (record.sub.map_or(0, |(_, number)| number), record.kind.0))
            .collect();
        assert_eq!(seen, [(1, 17), (2, 18), (3, 19), (4, 23), (5, 19), (6, 23), (7, 30)]);
    }
}
