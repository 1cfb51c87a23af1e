//! What a block sees of its run. It holds no store: everything goes through the recorder.

use std::future::Future;
use std::sync::Arc;

use flowstate_log::Log;
use flowstate_log::record::Record;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::hooks;
use super::recorder::Recorder;
use super::run::Run;
use super::scopes::RunScope;
use crate::block::BlockDef;
use crate::error::{AmbiguousBlockName, BlockError, QueryError, RecordError};
use crate::flow::Flow;
use crate::item::{Emit, Phase, Provenance};
use crate::model::Model;
use crate::projection;
use crate::record::{Fact, ScopeKind};
use crate::scope::{InstanceRef, InstanceState, ScopeDef, StateRef};
use crate::value::Data;

/// A block's view of the run that it is part of. Owned, and cheap to clone.
#[derive(Clone)]
pub struct Ctx {
    run: Arc<Run>,
    place: Arc<Place>,
}

impl Ctx {
    /// The request's id.
    pub fn request_id(&self) -> &str {
        &self.run.request
    }

    /// The session's id.
    pub fn session_id(&self) -> &str {
        &self.run.session
    }

    /// The user who asked.
    pub fn user_id(&self) -> &str {
        &self.run.user
    }

    /// The session's project.
    pub fn project_id(&self) -> Option<&str> {
        self.run.project.as_deref()
    }

    /// Kind of the flow.
    pub fn flow_kind(&self) -> &str {
        self.run.flow.kind()
    }

    /// The request's own state: it begins anew with each request. `S` may have only the fields that the block cares about.
    pub fn request_state<S>(&self) -> StateRef<S> {
        StateRef::new(self.clone(), ScopeKind::Request)
    }

    /// The session's state. `S` may have only the fields that the block cares about.
    pub fn session<S>(&self) -> StateRef<S> {
        StateRef::new(self.clone(), ScopeKind::Session)
    }

    /// The user's state, in all sessions. `S` may have only the fields that the block cares about.
    pub fn user<S>(&self) -> StateRef<S> {
        StateRef::new(self.clone(), ScopeKind::User)
    }

    /// The project's state, for all its users; `None` if the session has no project. `S` may have only the fields that the block cares about.
    pub fn project<S>(&self) -> Option<StateRef<S>> {
        self.scope(ScopeKind::Project)?;
        Some(StateRef::new(self.clone(), ScopeKind::Project))
    }

    /// Shows something, as this block.
    pub fn emit(&self) -> Emit {
        Emit::new(self.clone())
    }

    /// Waits until everything that the request appended so far is durable and visible to every reader.
    pub async fn durable(&self) -> Result<(), RecordError> {
        self.run.recorder.settle().await
    }

    /// The place in the run: `root/then[0]/…`, the same in every run of the request.
    pub fn path(&self) -> &Arc<str> {
        &self.place.path
    }

    /// How often this block was tried before, from 0.
    pub fn attempt_number(&self) -> u32 {
        self.place.attempt
    }

    /// Name of the block.
    pub fn block_name(&self) -> &str {
        &self.place.block
    }

    /// Where a block stands that nothing else of the flow runs: the root of an action, a hook.
    pub(super) fn root(run: Arc<Run>, path: &str, phase: Phase, block: &BlockDef) -> Self {
        let place = Place {
            block: block.name().clone(),
            path: path.into(),
            parent: None,
            step_index: None,
            attempt: 0,
            phase,
            task: MAIN,
            owned_by: None,
            state: None,
            dispatched: Mutex::default(),
        };
        Self {
            run,
            place: Arc::new(place),
        }
    }

    /// Where step `index` of this block runs `block`; `segment` is its part of the path.
    pub(crate) fn step(&self, segment: &str, index: u32, block: &BlockDef) -> Self {
        let mut path = String::with_capacity(self.place.path.len() + 1 + segment.len());
        path.push_str(&self.place.path);
        path.push('/');
        path.push_str(segment);
        self.at(Place {
            block: block.name().clone(),
            path: path.into(),
            parent: Some(self.place.clone()),
            step_index: Some(index),
            attempt: 0,
            phase: self.place.phase,
            task: self.place.task,
            owned_by: self.place.owned_by.clone(),
            state: None,
            dispatched: Mutex::default(),
        })
    }

    /// The same place at this attempt, with the state that an execution of its block has.
    pub(crate) fn attempt(&self, attempt: u32, state: Option<&Arc<ScopeDef>>) -> Self {
        let place = &self.place;
        let state = state.map(|def| {
            let (block, path) = (place.block.clone(), place.path.clone());
            Arc::new(InstanceState::new(block, path, attempt, def.clone()))
        });
        if let (Some(parent), Some(state)) = (&place.parent, &state) {
            let mut dispatched = parent.dispatched.lock();
            // The last of a name is the one that counts.
            dispatched.retain(|earlier| earlier.block != state.block);
            dispatched.push(state.clone());
        }
        self.at(Place {
            attempt,
            state,
            ..place.copy()
        })
    }

    /// The state of the nearest enclosing sequencer that has one.
    pub fn sequencer<S: Data>(&self) -> Option<InstanceRef<S>> {
        let state = self.place.ancestors().find_map(|place| place.state.clone());
        state.map(|state| InstanceRef::new(self.clone(), state))
    }

    /// The state of the block of this name: of the one that was last started beside this one, else of the one that this one is in.
    /// `Err` if it is in several of that name.
    pub fn target<S: Data>(&self, name: &str) -> Result<Option<InstanceRef<S>>, AmbiguousBlockName> {
        let named = |state: &Arc<InstanceState>| {
            let instance = || InstanceRef::new(self.clone(), state.clone());
            (*state.block == *name).then(instance)
        };
        if let Some(parent) = &self.place.parent
            && let Some(sibling) = parent.dispatched.lock().iter().find_map(named)
        {
            return Ok(Some(sibling));
        }
        let around = self.place.ancestors().filter_map(|place| place.state.as_ref());
        let mut found: Vec<InstanceRef<S>> = around.filter_map(named).collect();
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => Err(AmbiguousBlockName {
                name: name.to_owned(),
                instances: found.iter().map(|instance| instance.path().to_owned()).collect(),
            }),
        }
    }

    /// The same place, as the beginning of background work.
    pub(crate) fn in_background(&self) -> Self {
        self.at(Place {
            phase: Phase::Work,
            task: self.run.work.number(),
            ..self.place.copy()
        })
    }

    /// The same place, inside of the container that this block opened.
    pub(crate) fn inside_own_container(&self) -> Self {
        self.at(Place {
            owned_by: Some(self.place.clone()),
            state: self.place.state.clone(),
            ..self.place.copy()
        })
    }

    fn at(&self, place: Place) -> Self {
        Self {
            run: self.run.clone(),
            place: Arc::new(place),
        }
    }

    /// Runs `work` beside the chain. The request waits for it.
    pub(crate) fn start_work(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<(), BlockError> {
        self.run.work.start(work)
    }

    /// Tells the flow's `on_step_errored` of an error that does not end the request.
    pub(crate) async fn tell_step_error(&self, error: &BlockError) {
        hooks::step_errored(&self.run, error).await;
    }

    /// Id of this block instance: `<request id>:<path>:<attempt>`.
    pub(crate) fn instance(&self) -> String {
        self.place.instance(&self.run.request)
    }

    pub(crate) fn flow(&self) -> &Flow {
        &self.run.flow
    }

    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.run.recorder
    }

    /// Records a fact that this block makes.
    pub(crate) async fn record(&self, fact: impl Into<Fact>) -> Result<(), RecordError> {
        self.run.recorder.add(&self.place, fact.into()).await
    }

    pub(crate) fn log(&self) -> &Log {
        &self.run.core.log
    }

    /// What the run knows of a state; `None` for the project of a session that has none.
    pub(crate) fn scope(&self, kind: ScopeKind) -> Option<&RunScope> {
        self.run.scopes.get(kind)
    }

    /// The model of this name, or the default one.
    pub(crate) fn model(&self, name: Option<&str>) -> Result<Arc<dyn Model>, BlockError> {
        self.run.core.registry.model(name).cloned().ok_or_else(|| {
            let name = name.unwrap_or("(default)");
            BlockError::new("unknown_model", format!("no model is named {name:?}"))
        })
    }

    /// The final records of what a model may see of the session, in order: the newest `turns_max` requests,
    /// and everything that this one has recorded up to now.
    pub(crate) async fn history_records(&self, turns_max: Option<usize>) -> Result<Vec<Record>, BlockError> {
        let run = &self.run;
        let recorder = &run.recorder;
        recorder.settle().await?;
        let log = &run.core.log;
        let positions =
            projection::items::read(log, recorder.stream(), |items| items.history(recorder.sub(), turns_max))
                .await
                .map_err(QueryError::from)?;
        let records = log.read_positions(recorder.stream(), &positions).await;
        Ok(records.map_err(QueryError::from)?)
    }
}

/// The place of a block instance in its run.
pub(crate) struct Place {
    block: Arc<str>,
    /// `root/then[0]/…`
    path: Arc<str>,
    parent: Option<Arc<Place>>,
    step_index: Option<u32>,
    attempt: u32,
    phase: Phase,
    /// What it is stopped with: the chain, or a piece of background work.
    task: u32,
    /// The instance whose container it is in.
    owned_by: Option<Arc<Place>>,
    /// Of this execution, if its block declares one.
    state: Option<Arc<InstanceState>>,
    /// The states of what ran in this one: the last of each name.
    dispatched: Mutex<Vec<Arc<InstanceState>>>,
}

/// The chain that leads to the output, and the hooks around it.
pub(super) const MAIN: u32 = 0;

impl Place {
    fn copy(&self) -> Self {
        Self {
            block: self.block.clone(),
            path: self.path.clone(),
            parent: self.parent.clone(),
            step_index: self.step_index,
            attempt: self.attempt,
            phase: self.phase,
            task: self.task,
            owned_by: self.owned_by.clone(),
            state: None,
            dispatched: Mutex::default(),
        }
    }

    /// The places that this one is in, the nearest first.
    fn ancestors(&self) -> impl Iterator<Item = &Arc<Place>> {
        std::iter::successors(self.parent.as_ref(), |place| place.parent.as_ref())
    }

    pub(super) fn block(&self) -> &Arc<str> {
        &self.block
    }

    pub(super) fn path(&self) -> &Arc<str> {
        &self.path
    }

    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn task(&self) -> u32 {
        self.task
    }

    /// The number that records carry for it.
    pub(crate) fn origin(&self) -> u64 {
        xxh3_64(self.path.as_bytes())
    }

    fn instance(&self, request: &str) -> String {
        format!("{request}:{}:{}", self.path, self.attempt)
    }

    /// The instance whose container it is in, if it is in one.
    pub(super) fn owned_by(&self, request: &str) -> Option<String> {
        self.owned_by.as_ref().map(|owner| owner.instance(request))
    }

    /// What items say of where they come from; `action` is `<flow kind>/<action>`.
    pub(super) fn provenance(&self, request: &str, action: &str) -> Provenance {
        Provenance {
            block_name: self.block.to_string(),
            instance: self.instance(request),
            parent: self.parent.as_ref().map(|parent| parent.instance(request)),
            phase: self.phase,
            step_index: self.step_index,
            attempt: Some(self.attempt),
            definition: Some(format!("{action}/{}", self.path)),
        }
    }
}
