//! The runtime as its callers hold it: verbs only. Each is a few lines over `exec`, the projections and the log.

mod assembly;
mod instances;
mod media;
mod output;
mod place;
mod prefix;
mod replay;
mod resources;
mod run;
mod sessions;
mod snapshot;

use std::any::Any;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use flowstate_log::record::{StreamId, SubStreamId};
use flowstate_log::{Log, Storage, SubStreamInfo};
use futures_util::future::BoxFuture;

use crate::error::{CancelError, EngineOpenError, QueryError, SubmitError};
use crate::exec::{Accepted, Core, Submission, cancel, submit};
use crate::flow::Flow;
use crate::host::{ErrorSink, Host};
use crate::model::{Model, Models, Resolver};
use crate::principal::Principal;
use crate::projection::session::List;
use crate::projection::{self, RequestRow, SessionSummary};
use crate::settings::{SettingsBuilder, SettingsMissing};
use crate::stats::RunCounts;
use crate::timer::Timer;
use crate::voice::{TranscribeError, Transcription, TranscriptionRequest, VoiceProviders};

pub use assembly::Assembly;
pub use instances::{InstancePage, InstanceQuery, ResourceInfo, ShownInstance};
pub use media::Media;
pub use prefix::Prefix;
pub use run::RunResult;
pub use sessions::{ListedRequest, RequestQuery};
pub use snapshot::{ClientDataError, ItemPage, ResourceEntry, Snapshot, SnapshotQuery};

/// Position of the record that makes a session.
const SESSION_CREATED: u64 = 1;
/// Most sessions that one list has.
const SESSIONS_MAX: usize = 1_000;
/// Rows beyond those asked for that a list looks at, for sessions that are there twice because they move at this moment.
const MOVED_MAX: usize = 64;

/// An open engine. Cheap to clone. Runs go on until [`Engine::close`], whoever holds it.
#[derive(Clone)]
pub struct Engine {
    core: Arc<Core>,
}

/// What an engine is made of.
#[derive(Default)]
pub struct EngineBuilder {
    flows: Vec<Flow>,
    models: Models,
    own: Vec<Arc<dyn Model>>,
    timer: Option<Arc<dyn Timer>>,
    resumes: bool,
    leaves: bool,
    voice: VoiceProviders,
    settings: SettingsBuilder,
    host: Host,
    close_within: Option<Duration>,
}

impl EngineBuilder {
    /// Adds a flow.
    pub fn flow(mut self, flow: Flow) -> Self {
        self.flows.push(flow);
        self
    }

    /// The models that flows may name, and how they are reached. Without this, no environment is read, and there are the scripted model
    /// and those of [`EngineBuilder::model`].
    pub fn models(mut self, models: Models) -> Self {
        self.models = models;
        self
    }

    /// Adds a model under its name to those of [`EngineBuilder::models`]. The first one is the default if no other is declared.
    pub fn model(mut self, model: Arc<dyn Model>) -> Self {
        self.own.push(model);
        self
    }

    /// Who can speak, and who can write down what was spoken. Without this nobody can, but models that a flow has itself.
    pub fn voice(mut self, providers: VoiceProviders) -> Self {
        self.voice = providers;
        self
    }

    /// What runs wait on, instead of real time: for tests.
    pub fn timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = Some(timer);
        self
    }

    /// Goes on with the requests that were open when the process ended, or when the engine was closed, instead of closing them as
    /// interrupted. What has ended in them is not done again: no model is asked twice for an answer that is recorded, and no tool or
    /// block that has given its output is run twice. A block that ran at that moment begins anew, so it may do twice what it did
    /// before its end was recorded.
    pub fn resume_open_requests(mut self) -> Self {
        self.resumes = true;
        self
    }

    /// Leaves the requests alone that were open when the process ended: they are neither closed nor gone on with, and the next engine that is
    /// opened finds them as they are.
    pub fn leave_open_requests(mut self) -> Self {
        self.leaves = true;
        self
    }

    /// What blocks find as `ctx.settings::<S>()`: one value of each type.
    pub fn settings<S: Any + Send + Sync>(mut self, settings: S) -> Self {
        self.settings.add(settings);
        self
    }

    /// How long [`Engine::close`] waits for runs to write their last record; 5 s without this.
    pub fn close_within(mut self, time: Duration) -> Self {
        self.close_within = Some(time);
        self
    }

    /// Who is told of every attempt of a block that fails.
    pub fn error_capture(mut self, sink: impl ErrorSink) -> Self {
        self.host.errors = Some(Arc::new(sink));
        self
    }

    /// Called for every request that is accepted or gone on with, before its caller is answered, with a future that ends when the request
    /// has, its background work included: for hosts that would stop the process once it has answered.
    pub fn on_background_work(mut self, told: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        self.host.background = Some(Arc::new(told));
        self
    }

    /// Checks that everything fits together; opens nothing. `Err` lists everything that does not.
    pub fn assemble(self) -> Result<Assembly, Vec<String>> {
        assembly::assemble(self)
    }

    /// Opens the log with the engine's views, closes what was open when it was last stopped, and is ready.
    pub async fn open(self, storage: impl Into<Storage>) -> Result<Engine, EngineOpenError> {
        let assembly = self.assemble().map_err(EngineOpenError::Assembly)?;
        assembly.open(storage).await
    }
}

/// Which sessions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionQuery {
    /// Of this flow kind only.
    pub flow: Option<String>,
    /// Of this user only.
    pub user: Option<String>,
    /// At most so many, and never more than 1,000.
    pub limit: Option<usize>,
    /// After so many.
    pub offset: usize,
}

/// A session by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDetail {
    /// What lists show of it.
    pub summary: SessionSummary,
    /// Version of its state: the position of the record that made it what it is; 0 if nothing has changed it since it was made.
    pub version: u64,
}

/// A request that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRef {
    /// Where its records are: `engine.log().follow_sub(&request.sub, after)` reads them.
    pub sub: SubStreamInfo,
    /// What is known of it.
    pub row: RequestRow,
}

impl Engine {
    /// Begins an engine.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// The flows, by kind.
    pub fn flows(&self) -> &[Arc<Flow>] {
        self.core.registry.flows()
    }

    /// The flow of this kind.
    pub fn flow(&self, kind: &str) -> Option<&Arc<Flow>> {
        self.core.registry.flow(kind)
    }

    /// The models that flows may name.
    pub fn models(&self) -> &Resolver {
        self.core.registry.models()
    }

    /// Writes down what was spoken.
    pub async fn transcribe(
        &self,
        model: &str,
        request: TranscriptionRequest,
    ) -> Result<Transcription, TranscribeError> {
        let model = self.core.voices.transcription(model)?;
        match request.audio.is_empty() {
            true => Err(TranscribeError::NoAudio),
            false => Ok(model.transcribe(request).await?),
        }
    }

    /// The settings of this type that it was given.
    pub fn settings<S: Any>(&self) -> Result<&S, SettingsMissing> {
        self.core.settings.get()
    }

    /// How the requests that ran here ended, and how many run.
    pub fn run_counts(&self) -> RunCounts {
        self.core.stats.counts()
    }

    /// The log, for reading.
    pub fn log(&self) -> &Log {
        &self.core.log
    }

    /// Accepts a request and starts it. On return it is durable, listed, and can be followed. It runs on if the caller goes away.
    pub async fn submit(&self, submission: Submission) -> Result<Accepted, SubmitError> {
        submit::submit(&self.core, submission).await
    }

    /// The request of this id, waiting up to `wait` for it to be submitted. `None` also if it is of another flow.
    pub async fn request(
        &self,
        principal: &Principal,
        flow: &str,
        request: &str,
        wait: Duration,
    ) -> Result<Option<RequestRef>, QueryError> {
        let Ok(name) = principal.request_sub_stream(request) else {
            return Ok(None);
        };
        let Some(sub) = self.core.log.sub_stream_within(&name, wait).await? else {
            return Ok(None);
        };
        if !self.is_for(principal, sub.stream).await? {
            return Ok(None);
        }
        let row =
            projection::requests::read(&self.core.log, sub.stream, |requests| requests.get(sub.id).cloned()).await?;
        Ok(row.filter(|row| row.flow == flow).map(|row| RequestRef { sub, row }))
    }

    /// The request in this sub-stream of a session.
    pub async fn request_in(&self, stream: StreamId, sub: SubStreamId) -> Result<Option<RequestRef>, QueryError> {
        let row = projection::requests::read(&self.core.log, stream, |requests| requests.get(sub).cloned()).await?;
        let Some(row) = row else { return Ok(None) };
        let sub = self.core.log.sub_stream_info(stream, sub).await?;
        Ok(Some(RequestRef { sub, row }))
    }

    /// Where a session's records are, with its id; `None` if the principal has none of this id.
    pub async fn session_records(&self, principal: &Principal, session: &str) -> Result<Option<StreamId>, QueryError> {
        let found = self.session_stream(principal, session).await?;
        let Some(stream) = found else { return Ok(None) };
        let is_there = projection::session::read(&self.core.log, stream, |fold| fold.summary().is_some()).await?;
        Ok(is_there.then_some(stream))
    }

    /// The id of the session in this stream.
    pub async fn session_id(&self, stream: StreamId) -> Result<Option<String>, QueryError> {
        let id = projection::session::read(&self.core.log, stream, |fold| Some(fold.summary()?.session.clone()));
        Ok(id.await?)
    }

    /// Asks that a request be stopped, its background work included. The record that says so is durable on return; the request ends
    /// soon after, as interrupted. `false` if it has ended, or was asked to stop before.
    pub async fn cancel(&self, principal: &Principal, request: &str) -> Result<bool, CancelError> {
        let unknown = || CancelError::UnknownRequest(request.to_owned());
        let name = principal.request_sub_stream(request).map_err(|_| unknown())?;
        let found = self.core.log.sub_stream(&name).await.map_err(QueryError::from)?;
        cancel::cancel(&self.core, &found.ok_or_else(unknown)?).await
    }

    /// Numbers of the request's items, up to now, that clients may not see.
    pub async fn hidden_items(&self, request: &RequestRef) -> Result<BTreeSet<u32>, QueryError> {
        let hidden = projection::items::read(&self.core.log, request.sub.stream, |items| {
            let own = items.entries().iter().filter(|entry| entry.sub() == request.sub.id);
            own.filter(|entry| !entry.client).map(|entry| entry.index).collect()
        });
        Ok(hidden.await?)
    }

    /// Sessions, the most recently updated first.
    pub async fn sessions(
        &self,
        principal: &Principal,
        query: &SessionQuery,
    ) -> Result<Vec<SessionSummary>, QueryError> {
        let list = query.user.as_deref().map_or(List::All, List::User);
        let prefix = list.prefix(principal.as_str());
        let limit = query.limit.unwrap_or(SESSIONS_MAX).min(SESSIONS_MAX);
        // One look: between two, a session that is updated would move from the part to come to the part that was read.
        let rows = match query.flow {
            Some(_) => usize::MAX,
            None => query.offset.saturating_add(limit).saturating_add(MOVED_MAX),
        };
        let rows = self
            .core
            .log
            .index(projection::session::ID, &prefix, None, rows)
            .await?;
        let (mut sessions, mut to_skip, mut seen) = (Vec::new(), query.offset, HashSet::new());
        for (_, row) in &rows {
            let summary: SessionSummary = serde_json::from_slice(row).map_err(|error| QueryError::Row {
                view: "session",
                message: error.to_string(),
            })?;
            // A session that moved during the look can be there twice; the newer row comes first.
            let other_flow = query.flow.as_ref().is_some_and(|flow| *flow != summary.flow);
            if other_flow || !principal.may_use(summary.project.as_deref()) || !seen.insert(summary.session.clone()) {
                continue;
            }
            if to_skip > 0 {
                to_skip -= 1;
            } else if sessions.len() < limit {
                sessions.push(summary);
            }
        }
        Ok(sessions)
    }

    /// A session.
    pub async fn session(&self, principal: &Principal, session: &str) -> Result<Option<SessionDetail>, QueryError> {
        let log = &self.core.log;
        let Some(stream) = self.session_stream(principal, session).await? else {
            return Ok(None);
        };
        let summary = projection::session::read(log, stream, |fold| fold.summary().cloned()).await?;
        let version = projection::state::read(log, stream, |state| state.session().version).await?;
        let version = if version == SESSION_CREATED { 0 } else { version };
        Ok(summary.map(|summary| SessionDetail { summary, version }))
    }

    /// What clients may see of a session: values derived from its states and resources, which resources they may know of, and its
    /// items. Never a state or a body itself.
    pub async fn snapshot(
        &self,
        principal: &Principal,
        session: &str,
        query: &SnapshotQuery,
    ) -> Result<Option<Snapshot>, QueryError> {
        match self.session_stream(principal, session).await? {
            Some(stream) => snapshot::snapshot(&self.core, principal, stream, query).await,
            None => Ok(None),
        }
    }

    /// Accepts nothing more, stops the runs and closes their requests as interrupted (for at most 5 s, or [`EngineBuilder::close_within`]; what is open then is closed
    /// at the next start), then closes the log.
    pub async fn close(&self) {
        self.core.closing.cancel();
        let mut tasks = std::mem::take(&mut *self.core.tasks.lock());
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.core.close_within, ended).await.is_err() {
            tracing::warn!(
                runs = tasks.len(),
                "runs did not stop in time; the next start closes their requests"
            );
            tasks.shutdown().await;
        }
        self.core.log.close().await;
    }

    async fn session_stream(&self, principal: &Principal, session: &str) -> Result<Option<StreamId>, QueryError> {
        let Ok(name) = principal.session_stream(session) else {
            return Ok(None);
        };
        match self.core.log.stream(&name).await? {
            Some(stream) if self.is_for(principal, stream).await? => Ok(Some(stream)),
            _ => Ok(None),
        }
    }

    /// Whether the session in a stream is of a project that the principal may use.
    async fn is_for(&self, principal: &Principal, stream: StreamId) -> Result<bool, QueryError> {
        if !principal.is_bounded() {
            return Ok(true);
        }
        let project = projection::session::read(&self.core.log, stream, |fold| {
            fold.summary().and_then(|summary| summary.project.clone())
        });
        Ok(principal.may_use(project.await?.as_deref()))
    }
}
