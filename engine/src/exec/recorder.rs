//! Turns what a run does into records, in order, without gaps. One per run; the only way from a block to the log.
//!
//! Most calls are pipelined: they put the record into a buffer, which goes to the log as one append when the run has nothing else to do,
//! when it is full, and before anything that is waited for. State operations return when they have their place in the order, behind what was
//! buffered; the last record when it is durable. Each append expects the request's last number, so if one is lost everything queued
//! behind it is refused too: the records of a request have no hole, whatever fails.
//!
//! A run drops what it does not need any more at any await. What the buffer held is sent all the same; of a change that was on its way
//! under a version, whoever records next learns what was decided.

mod append;
mod blocks;
mod changes;
mod content;
mod finish;
mod items;
mod resources;
mod sender;
mod speech;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use flowstate_log::Log;
use flowstate_log::append::Appending;
use flowstate_log::env::Env;
use flowstate_log::record::{StreamId, SubStreamId};
use tokio::sync::{Mutex, Notify};

use super::ctx::Place;
use super::recall::Recall;
use crate::error::RecordError;
use crate::item::ItemStatus;
use crate::record::{Fact, RequestResumed, RequestStarted};
use sender::Sender;
use state::State;

pub(crate) use blocks::Begun;
pub(super) use finish::Outcome;
pub(crate) use resources::{ResourceFact, ResourceWrite};
pub(super) use speech::Sentence;

/// Number that records carry for the runtime itself.
const RUNTIME: u64 = 0;

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
    /// Who sends the buffer, to be woken by records that come from outside of what it polls.
    sender: Sender,
    /// A sentence was spoken, or nothing more is.
    spoken: Notify,
    /// What [`Recorder::settle`] waits for.
    settling: Mutex<VecDeque<Appending>>,
}

impl Recorder {
    /// For a request of which only the first record exists.
    pub(super) fn new(log: Log, run: RunRef, payload_bytes_max: usize) -> Self {
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
            state: Mutex::new(State::new()),
            buffered: AtomicBool::new(false),
            sender: Sender::default(),
            spoken: Notify::new(),
            settling: Mutex::default(),
        }
    }

    /// Goes on with a request that another process began, behind what is recorded of it: says so, and closes what that process left open,
    /// but for the items of tools that are run again. Durable on return.
    pub(super) async fn resume(&self, past: &Recall) -> Result<(), RecordError> {
        let kept = past.kept_items();
        let mut state = self.state.lock().await;
        *state = State::resumed(past, &kept);
        let resumed = RequestResumed {
            blocks: past.left.blocks.iter().copied().collect(),
        };
        let closing = past.left.closing_but(ItemStatus::Incomplete, &kept);
        let facts: Vec<Fact> = std::iter::once(resumed.into()).chain(closing).collect();
        self.push(&mut state, RUNTIME, &facts).await
    }

    /// Most bytes of the text of one item.
    pub(crate) fn item_bytes_max(&self) -> usize {
        self.item_bytes_max
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
}
