//! What the records of a request say has happened in it: which blocks have ended and with what, how far its loops of answers and tools
//! are. A run that goes on after the process died does none of that again, and a replay takes the models' answers from it.
//!
//! A pure fold. Places are `(path, attempt)`; when a block begins again, what is known of what ran below it is of an earlier attempt, and
//! is forgotten.

mod answers;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use flowstate_log::{Log, SubStreamInfo};
use serde_json::Value;

use super::left::Left;
use crate::error::{BlockError, RecoverError};
use crate::item::{ItemBody, ItemStatus, Source, Status};
use crate::record::{
    BlockEnded, BlockKind, BlockStatus, ChangeItem, Fact, ItemRecord, ResourceAt, ScopeKind, StateChanged, decode,
};
use crate::scope::StateOp;
use crate::value::Recorded;

pub(crate) use answers::RecordedLoop;

/// Records that are read at once.
const READ_RECORDS: usize = 1_000;

type Place = (String, u32);

/// How a block ended.
#[derive(Clone)]
pub(crate) enum RecalledEnd {
    /// With this output, which is recorded there.
    Completed(Value, Recorded),
    /// With this error.
    Failed(BlockError),
    /// It was stopped, because nothing waited for it any more.
    Stopped,
}

/// An item that a call of a tool has made.
#[derive(Clone, Copy)]
pub(crate) struct RecalledItem {
    pub(crate) index: u32,
    pub(crate) is_open: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Recall {
    request: String,
    ends: BTreeMap<Place, RecalledEnd>,
    /// One for each time that a block began there; the last counts.
    loops: BTreeMap<Place, Vec<RecordedLoop>>,
    routes: BTreeMap<Place, String>,
    states: BTreeMap<Place, Vec<StateOp>>,
    /// The items of calls whose result is not recorded, by the calling block and the call's id.
    tool_items: BTreeMap<(Place, String), RecalledItem>,
    /// Changes of the request's own state, with their positions.
    pub(super) state: Vec<(u64, StateChanged)>,
    /// Instances of the session's collections whose access it has recorded.
    pub(super) accessed: Vec<ResourceAt>,
    /// Everything that happened at a place is kept, not only what counts now: a replay repeats all of it.
    keeps_all: bool,
    /// The user's words were shown.
    pub(crate) said: bool,
    /// Records so far.
    pub(super) count: u64,
    /// Items so far, and the time of the last.
    pub(super) items: u32,
    pub(super) last_ts_ms: i64,
    /// Number and time of the items that have a key, by that.
    pub(super) keyed: HashMap<String, (u32, i64)>,
    /// What clients were last told that the request is about.
    pub(super) status: Status,
    /// What is open.
    pub(super) left: Left,
    /// Where each block is that began, by the number of the record that says so.
    begun: HashMap<u64, Place>,
    /// Outputs by the number of the record that has them, and texts of items.
    outputs: HashMap<u64, Value>,
    texts: HashMap<u32, String>,
    /// Sources by the number of the item.
    sources: HashMap<u32, Source>,
    /// Blocks that an earlier start of the engine closed because it ran them again.
    reopened: HashSet<u64>,
    /// Where those are: beginning again, they go on, and what ran below them counts.
    rerun: HashSet<Place>,
}

impl Recall {
    /// What the durable records of a request say, for going on with it.
    pub(crate) async fn to_resume(log: &Log, of: &SubStreamInfo, request: &str) -> Result<Self, RecoverError> {
        Self::read(log, of, request, false).await
    }

    /// The same, for doing all of it again.
    pub(crate) async fn to_replay(log: &Log, of: &SubStreamInfo, request: &str) -> Result<Self, RecoverError> {
        Self::read(log, of, request, true).await
    }

    async fn read(log: &Log, of: &SubStreamInfo, request: &str, keeps_all: bool) -> Result<Self, RecoverError> {
        let mut recall = Self {
            request: request.to_owned(),
            keeps_all,
            ..Self::default()
        };
        let mut from = of.first;
        while from <= of.last {
            let records = log.read(of.stream, from, READ_RECORDS).await?;
            let Some(last) = records.last() else { break };
            from = last.position + 1;
            for record in &records {
                if let Some((_, number)) = record.sub.filter(|(sub, _)| *sub == of.id) {
                    recall.apply(number, record.position, &decode(record)?);
                }
            }
        }
        Ok(recall)
    }

    /// How the block at this place ended.
    pub(crate) fn end(&self, path: &str, attempt: u32) -> Option<&RecalledEnd> {
        self.ends.get(&(path.to_owned(), attempt))
    }

    /// Whether the block at this place ran when the process ended: what is known of what is below it is of that execution.
    pub(crate) fn was_open(&self, path: &str, attempt: u32) -> bool {
        let at = |place: &Place| place.0 == path && place.1 == attempt;
        self.begun.values().any(at) || self.rerun.iter().any(at)
    }

    /// How far the loop of the generator at this place is.
    pub(crate) fn of_loop(&self, path: &str, attempt: u32) -> Option<&RecordedLoop> {
        self.loops.get(&(path.to_owned(), attempt))?.last()
    }

    /// The loop of the generator at this place when it began there for the `time`th time, from 0.
    pub(crate) fn nth_loop(&self, path: &str, attempt: u32, time: usize) -> Option<&RecordedLoop> {
        self.loops.get(&(path.to_owned(), attempt))?.get(time)
    }

    /// The route that the router at this place has chosen.
    pub(crate) fn route(&self, path: &str, attempt: u32) -> Option<&str> {
        self.routes.get(&(path.to_owned(), attempt)).map(String::as_str)
    }

    /// What was done to the state of the execution at this place, in order.
    pub(crate) fn state_ops(&self, path: &str, attempt: u32) -> &[StateOp] {
        self.states.get(&(path.to_owned(), attempt)).map_or(&[], Vec::as_slice)
    }

    /// The item of a call of this answer whose result is not recorded.
    pub(crate) fn tool_item(&self, path: &str, attempt: u32, step: u32, call: &str) -> Option<RecalledItem> {
        let place = (path.to_owned(), attempt);
        // Ids may come again in later answers.
        let steps = self.loops.get(&place)?.last()?.turn.steps().len();
        let of_step = self.tool_items.get(&(place, call.to_owned()));
        of_step.filter(|_| step as usize + 1 == steps).copied()
    }

    /// The open items that belong to calls of tools which are run again: they stay open, and go on.
    pub(super) fn kept_items(&self) -> HashSet<u32> {
        let of_a_loop = |(place, id): &(Place, String)| {
            let last = self
                .loops
                .get(place)
                .and_then(|loops| loops.last()?.turn.steps().last());
            last.is_some_and(|step| {
                let mut calls = step.reply.calls().zip(&step.results);
                calls.any(|(call, result)| call.id == *id && result.is_none())
            })
        };
        let open = self
            .tool_items
            .iter()
            .filter(|(of, item)| item.is_open && of_a_loop(of));
        open.map(|(_, item)| item.index).collect()
    }

    fn apply(&mut self, number: u64, position: u64, fact: &Fact) {
        self.count = number;
        match fact {
            Fact::BlockStarted(started) => {
                let place = (started.path.clone(), started.attempt);
                if !self.rerun.remove(&place) {
                    self.forget(&place);
                    if started.kind == BlockKind::Generator {
                        self.loops
                            .entry(place.clone())
                            .or_default()
                            .push(RecordedLoop::default());
                    }
                }
                self.ends.remove(&place);
                self.begun.insert(number, place);
            }
            Fact::BlockEnded(ended) => self.ended(number, ended),
            Fact::RequestResumed(resumed) => self.reopened.extend(&resumed.blocks),
            Fact::RouteChosen(chosen) => {
                let attempt = chosen.attempt;
                self.routes.insert((chosen.path.clone(), attempt), chosen.route.clone());
            }
            Fact::InstanceStateChanged(changed) => {
                let ops = self.states.entry((changed.path.clone(), changed.attempt)).or_default();
                ops.push(changed.op.clone());
            }
            Fact::StateChanged(changed) => {
                self.numbered(changed.item.as_ref());
                if changed.scope == ScopeKind::Request {
                    self.state.push((position, changed.clone()));
                }
            }
            Fact::StateNoted(noted) => self.numbered(Some(&noted.item)),
            Fact::ResourceCreated(made) => self.numbered(made.item.as_ref()),
            Fact::ResourceChanged(changed) => self.numbered(changed.item.as_ref()),
            Fact::ResourceWritten(written) => self.numbered(written.item.as_ref()),
            Fact::ResourceDeleted(deleted) => self.numbered(deleted.item.as_ref()),
            Fact::ResourceNoted(noted) => self.numbered(Some(&noted.item)),
            Fact::ResourceAccessed(accessed) => self.accessed.push(accessed.at.clone()),
            Fact::ItemAdded(added) => self.item(&added.item, true),
            Fact::ItemCompleted(completed) => self.item(&completed.item, false),
            fact => self.answer(fact),
        }
        self.left.apply(number, fact);
    }

    fn ended(&mut self, number: u64, ended: &BlockEnded) {
        let Some(place) = self.begun.remove(&ended.started) else {
            return;
        };
        let end = match ended.status {
            BlockStatus::Cancelled if self.reopened.remove(&ended.started) => {
                self.rerun.insert(place);
                return;
            }
            BlockStatus::Cancelled => RecalledEnd::Stopped,
            BlockStatus::Failed => {
                let unknown = || BlockError::new("execution_error", "the record does not say why");
                let error = ended.error.as_ref().map_or_else(unknown, BlockError::from);
                if let Some(of) = self.loops.get_mut(&place).and_then(|loops| loops.last_mut()) {
                    of.failed = Some(error.clone());
                }
                RecalledEnd::Failed(error)
            }
            BlockStatus::Completed => {
                let (output, at) = match (ended.item, ended.same_as) {
                    (Some(item), _) => (Value::from(self.text(item)), Recorded::Item(item)),
                    (None, Some(same)) => (self.output(same), Recorded::Record(same)),
                    (None, None) => {
                        let output = ended.output.clone().unwrap_or_default();
                        self.outputs.insert(number, output.clone());
                        (output, Recorded::Record(number))
                    }
                };
                RecalledEnd::Completed(output, at)
            }
        };
        self.ends.insert(place, end);
    }

    /// A change of a state is an item, too.
    fn numbered(&mut self, item: Option<&ChangeItem>) {
        if let Some(item) = item {
            self.items = self.items.max(item.index + 1);
            self.last_ts_ms = self.last_ts_ms.max(item.ts_ms);
        }
    }

    fn item(&mut self, item: &ItemRecord, is_open: bool) {
        self.items = self.items.max(item.index + 1);
        self.last_ts_ms = self.last_ts_ms.max(item.ts_ms);
        if let Some(key) = item.body.key() {
            self.keyed.insert(key.to_owned(), (item.index, item.ts_ms));
        }
        match &item.body {
            ItemBody::Status(status) => self.status = status.clone(),
            ItemBody::ToolOutput(tool) => {
                let Some(place) = self.place_of(&item.provenance.instance) else {
                    return;
                };
                let (index, of) = (item.index, (place, tool.call.call_id.clone()));
                match item.status {
                    ItemStatus::Incomplete => drop(self.tool_items.remove(&of)),
                    _ => drop(self.tool_items.insert(of, RecalledItem { index, is_open })),
                }
            }
            ItemBody::Message { .. } if item.provenance.is_of_runtime() => self.said = true,
            ItemBody::Message { content: parts, .. } | ItemBody::Reasoning { summary: parts } if !is_open => {
                let text = parts.iter().map(|part| part.as_text()).collect();
                self.texts.insert(item.index, text);
            }
            _ => self.source(item),
        }
    }

    /// Text of an item, as far as it is there.
    fn text(&self, item: u32) -> String {
        let text = self.texts.get(&item).cloned();
        text.unwrap_or_else(|| {
            let part = self.left.items.part(item, 0);
            part.map(|part| part.as_text().to_owned()).unwrap_or_default()
        })
    }

    fn output(&self, record: u64) -> Value {
        self.outputs.get(&record).cloned().unwrap_or_default()
    }

    /// The place in an instance's id, `<request>:<path>:<attempt>`.
    fn place_of(&self, instance: &str) -> Option<Place> {
        let (path, attempt) = instance
            .strip_prefix(&self.request)?
            .strip_prefix(':')?
            .rsplit_once(':')?;
        Some((path.to_owned(), attempt.parse().ok()?))
    }

    /// A block begins at this place: what is known of an earlier execution there, and of what ran below that, does not count.
    fn forget(&mut self, place: &Place) {
        if self.keeps_all {
            return;
        }
        self.loops.remove(place);
        self.routes.remove(place);
        self.states.remove(place);
        let path = &place.0;
        // What is below a path sorts between it with a slash and it with the character after that.
        let (from, to) = ((format!("{path}/"), 0), (format!("{path}0"), 0));
        forget_between(&mut self.ends, &from, &to);
        forget_between(&mut self.loops, &from, &to);
        forget_between(&mut self.routes, &from, &to);
        forget_between(&mut self.states, &from, &to);
        self.tool_items.retain(|((of, _), _), _| !of.starts_with(&from.0));
    }
}

fn forget_between<T>(known: &mut BTreeMap<Place, T>, from: &Place, to: &Place) {
    let below = (Bound::Included(from), Bound::Excluded(to));
    let gone: Vec<Place> = known.range::<Place, _>(below).map(|(place, _)| place.clone()).collect();
    for place in gone {
        known.remove(&place);
    }
}
