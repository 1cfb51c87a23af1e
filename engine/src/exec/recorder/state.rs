//! What a recorder knows of its run: what is open, what waits, what is on its way.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use flowstate_log::append::{Appended, Appending, NewRecord};
use flowstate_log::error::AppendError;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::error::RecordError;
use crate::exec::ctx::Place;
use crate::exec::recall::Recall;
use crate::item::Status;
use crate::item::open::OpenItems;
use crate::record::{Fact, ItemAdded};

use super::changes::Queued;
use super::speech::Speaking;

/// See the module.
pub(super) struct State {
    /// Records of the request that were queued, those on their way into the log included.
    pub(super) count: u64,
    /// Records that are yet to be queued, in order.
    pub(super) buffer: Vec<NewRecord>,
    pub(super) buffer_bytes: usize,
    /// An append of what was in the buffer that the log has not taken yet.
    pub(super) sending: Option<BoxFuture<'static, Result<Appending, AppendError>>>,
    /// Blocks that run, by the number of the record that says so.
    pub(super) blocks: BTreeMap<u64, Arc<Place>>,
    /// The block that each open item is of, if it is one's.
    pub(super) owners: BTreeMap<u32, Arc<Place>>,
    pub(super) items: u32,
    pub(super) last_ts_ms: i64,
    /// Number and time of the items that have a key, by that.
    pub(super) keyed: HashMap<String, (u32, i64)>,
    /// What clients were last told that the request is about.
    pub(super) status: Status,
    pub(super) open: OpenItems,
    /// The open messages that are spoken, unless nothing is.
    pub(super) speech: Option<Speaking>,
    /// Text of each open item as it is encoded, in bytes.
    pub(super) open_bytes: BTreeMap<u32, usize>,
    /// Queued and not known to be durable.
    pub(super) queued: VecDeque<Appending>,
    /// Appended under a version, and not known to be taken.
    pub(super) deciding: Option<Queued>,
    /// Why nothing more is recorded but the last record.
    pub(super) failed: Option<RecordError>,
    pub(super) ended: bool,
}

impl State {
    /// Of a request of which only the first record exists.
    pub(super) fn new() -> Self {
        Self {
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
            speech: None,
            open_bytes: BTreeMap::new(),
            queued: VecDeque::new(),
            deciding: None,
            failed: None,
            ended: false,
        }
    }

    /// Of a request that another process began: behind what is recorded of it. What is open in it goes on.
    pub(super) fn resumed(past: &Recall, kept: &HashSet<u32>) -> Self {
        let mut state = Self::new();
        state.count = past.count;
        (state.items, state.last_ts_ms) = (past.items, past.last_ts_ms);
        state.keyed.clone_from(&past.keyed);
        state.status = past.status.clone();
        for item in kept.iter().filter_map(|index| past.left.items.get(*index)) {
            state.apply(&ItemAdded { item: item.clone() }.into());
        }
        state
    }

    /// Takes a fact into what is open.
    pub(super) fn apply(&mut self, fact: &Fact) {
        if let Some(completed) = self.open.apply(fact) {
            self.open_bytes.remove(&completed.index);
            self.owners.remove(&completed.index);
        }
        if let Some(speech) = &mut self.speech {
            speech.apply(fact);
        }
    }

    /// Looks, without waiting, at what became of queued appends; `Err` if nothing more may be recorded.
    pub(super) fn check(&mut self) -> Result<(), RecordError> {
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
    /// If it was not, it has no numbers: the next records have them.
    pub(super) async fn decided(&mut self) -> Option<Result<Appended, AppendError>> {
        let sequenced = self.deciding.as_mut()?.appending.sequenced().await;
        let Queued { appending, count } = self.deciding.take()?;
        Some(match sequenced {
            Some(appended) => {
                self.queued.push_back(appending);
                Ok(appended)
            }
            None => {
                self.count -= count;
                let error = appending.await.err().unwrap_or(AppendError::Closed);
                if !matches!(error, AppendError::VersionMismatch { .. }) {
                    self.take_in(Err(error.clone()));
                }
                Err(error)
            }
        })
    }

    pub(super) fn take_in(&mut self, outcome: Result<(), AppendError>) {
        if let Err(error) = outcome {
            self.failed.get_or_insert(RecordError::Append(error));
        }
    }
}
