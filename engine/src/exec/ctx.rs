//! What a block sees of its run. It holds no store: everything goes through the recorder.

mod place;
mod recalled;
mod steps;
mod targets;

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use flowstate_log::Log;
use flowstate_log::record::{Record, Subject};

use super::hooks;
use super::recorder::Recorder;
use super::resources::RunResources;
use super::run::Run;
use super::scopes::{RunScope, Told};
use crate::block::History;
use crate::error::{BlockError, QueryError, RecordError};
use crate::flow::Flow;
use crate::host::CapturedError;
use crate::item::{Emit, Phase};
use crate::model::{ModelChoice, ModelError, ModelMessage, Resolved};
use crate::projection;
use crate::record::{BlockKind, Fact, ResourceAt, ScopeKind};
use crate::scope::{StateRef, Views};
use crate::settings::SettingsMissing;
use crate::trace::TraceParent;

pub(crate) use place::Place;

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

    /// The settings of this type that the engine was given.
    pub fn settings<S: Any>(&self) -> Result<&S, SettingsMissing> {
        self.run.core.settings.get()
    }

    /// Shows something, as this block.
    pub fn emit(&self) -> Emit {
        Emit::new(self.clone())
    }

    /// The messages of the session that a generator with this history would show its model, this request's up to now included.
    pub async fn history(&self, history: History) -> Result<Vec<ModelMessage>, BlockError> {
        Ok(history.read(self).await?.0)
    }

    /// The models that a name, or a list of names, means now; `ModelChoice::default()` asks for the default model. Nothing is asked of them.
    pub fn resolve_model(&self, asked: impl Into<ModelChoice>) -> Result<Resolved, ModelError> {
        self.run.core.registry.models().resolve(asked)
    }

    /// Waits until everything that the request appended so far is durable and visible to every reader.
    pub async fn durable(&self) -> Result<(), RecordError> {
        self.run.recorder.settle().await
    }

    /// The place in the run: `root/then[0]/…`, the same in every run of the request.
    pub fn path(&self) -> &Arc<str> {
        &self.place.path
    }

    /// Whether it stands in the chain or beside it.
    pub(crate) fn phase(&self) -> Phase {
        self.place.phase
    }

    /// Whether it is in a tool's call.
    pub(crate) fn is_in_tool(&self) -> bool {
        self.tools_around() > 0
    }

    /// How many calls of tools it is in.
    pub(crate) fn tools_around(&self) -> usize {
        let segments = self.path().split('/');
        segments.filter(|segment| segment.starts_with("tool.")).count()
    }

    /// How often this block was tried before, from 0.
    pub fn attempt_number(&self) -> u32 {
        self.place.attempt
    }

    /// Name of the block.
    pub fn block_name(&self) -> &str {
        &self.place.block
    }

    /// A place of its own in the request's trace, for a call to somebody else.
    pub(crate) fn trace_child(&self) -> Option<TraceParent> {
        let trace = self.run.trace?;
        Some(trace.child(self.log().env().mint()))
    }

    /// Tells the application that an attempt of this block failed, with an error that came up in it.
    pub(crate) fn capture(&self, error: &BlockError, kind: BlockKind) {
        let run = &*self.run;
        run.core.host.capture(|| CapturedError {
            error,
            request: &run.request,
            flow: run.flow.kind(),
            action: &run.action,
            user: &run.user,
            session: &run.session,
            project: run.project.as_deref(),
            block: &self.place.block,
            kind,
            instance: self.instance(),
            path: &self.place.path,
            attempt: self.place.attempt,
            scope: self.place.phase,
            transient: error.is_retryable(),
        });
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

    /// What the block needs of the states.
    pub(crate) fn views(&self) -> &Views {
        &self.place.views
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.run.recorder
    }

    /// Records a fact that this block makes.
    pub(crate) async fn record(&self, fact: impl Into<Fact>) -> Result<(), RecordError> {
        self.run.recorder.add(&self.place, fact.into()).await
    }

    /// Ends after so much time.
    pub(crate) async fn wait(&self, time: Duration) {
        self.run.core.timer.wait(time).await;
    }

    pub(crate) fn log(&self) -> &Log {
        &self.run.core.log
    }

    /// What the run knows of a state; `None` for the project of a session that has none.
    pub(crate) fn scope(&self, kind: ScopeKind) -> Option<&RunScope> {
        self.run.scopes.get(kind)
    }

    /// What the run knows of resources.
    pub(crate) fn run_resources(&self) -> &RunResources {
        &self.run.resources
    }

    /// A resource in one of the run's scopes.
    pub(crate) fn resource_scope(&self, around: &RunScope, at: ResourceAt, subject: Subject) -> RunScope {
        around.of_resource(at, subject, &self.run.core.latest, self.run.recorder.stream())
    }

    /// What all runs know of a subject in a scope's stream.
    pub(crate) fn told(&self, scope: &RunScope, subject: Subject) -> Arc<Told> {
        scope.told(subject, &self.run.core.latest, self.run.recorder.stream())
    }

    /// Where the final records of what a model may see of the session lie, by request: the newest `turns_max` of them, and
    /// everything that this one has recorded up to now.
    pub(crate) async fn history_turns(&self, turns_max: Option<usize>) -> Result<Vec<Vec<u64>>, BlockError> {
        let recorder = &self.run.recorder;
        // What is whole but for its sound is part of it.
        recorder.spoken_out().await;
        recorder.settle().await?;
        let (log, stream, sub) = (&self.run.core.log, recorder.stream(), recorder.sub());
        let turns = projection::items::read(log, stream, |items| items.history(sub, turns_max)).await;
        let mut turns = turns.map_err(QueryError::from)?;
        // A turn that was trimmed in part is no turn: a tool's result may be without its call.
        let oldest = log.oldest(stream).await.map_err(QueryError::from)?;
        turns.retain(|turn| turn.iter().all(|position| *position >= oldest));
        Ok(turns)
    }

    /// The records of the session at these positions.
    pub(crate) async fn session_records(&self, positions: &[u64]) -> Result<Vec<Record>, BlockError> {
        let records = self
            .run
            .core
            .log
            .read_positions(self.run.recorder.stream(), positions)
            .await;
        Ok(records.map_err(QueryError::from)?)
    }
}
