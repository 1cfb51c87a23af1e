//! Accepts requests: checks everything that can be checked, writes the first record, starts the run.

mod accept;
mod ids;
mod resource;
mod session;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use flowstate_log::error::AppendError;
use flowstate_log::record::SubStreamId;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::Core;
use super::cancel::was_asked;
use super::recorder::{Outcome, Recorder, RunRef};
use super::resources::RunResources;
use super::run::{Past, Repeats, Run, run};
use super::scopes::Scopes;
use super::speech::Speaker;
use super::work::Work;
use crate::error::{RecordError, SubmitError};
use crate::flow::Flow;
use crate::principal::Principal;
use crate::record::RequestAccepted;
use crate::trace::TraceParent;
use crate::value::Val;
pub(super) use accept::AcceptedRequest;
use accept::accept;
pub(super) use ids::OWN_USER;
use ids::{check_user, id_problems};
pub(crate) use resource::{ClientChange, ClientChangeKind, change};
pub use session::NewSession;
pub(crate) use session::{create, describe};

/// How long a request that is gone on with waits for room on the disk before it tries again.
const ROOM_PAUSE: Duration = Duration::from_secs(1);

/// What a caller asks for.
#[derive(Debug, Clone, Default)]
pub struct Submission {
    /// On whose behalf.
    pub principal: Principal,
    /// Kind of the flow.
    pub flow: String,
    /// The action.
    pub action: String,
    /// Its input; absent counts as `null`.
    pub input: Option<Value>,
    /// The user who asks. Empty, where the flow allows it: the session has a user of its own.
    pub user: String,
    /// The session; created if there is none of this id. Absent: a new one.
    pub session: Option<String>,
    /// The request's id; absent: a new one.
    pub request: Option<String>,
    /// The project of a new session; must be that of an existing one.
    pub project: Option<String>,
    /// What the caller wants remembered with the request.
    pub metadata: Option<Map<String, Value>>,
    /// The trace that the request is part of: its calls of models go on with it.
    pub trace: Option<TraceParent>,
    /// The request of the same session that this one does again.
    pub retry_of: Option<String>,
}

impl Submission {
    /// Of a request as it was asked for before.
    pub(crate) fn again(asked: RequestAccepted, principal: &Principal) -> Self {
        // The user of a session that has none is made anew from the session's id.
        let is_own = asked.user.strip_prefix(OWN_USER) == Some(&asked.session);
        let user = if is_own { String::new() } else { asked.user };
        Self {
            principal: principal.clone(),
            flow: asked.flow,
            action: asked.action,
            input: Some(asked.input),
            user,
            session: Some(asked.session),
            request: Some(asked.request),
            project: asked.project,
            metadata: asked.metadata,
            retry_of: asked.retry_of,
            // Nobody is called.
            trace: None,
        }
    }
}

/// A request that is durable and running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub request: String,
    /// Its session.
    pub session: String,
    /// Kind of its flow.
    pub flow: String,
    /// Instance of its flow.
    pub flow_id: String,
    /// Its action.
    pub action: String,
}

/// Accepts a request and starts its run. The request is durable on return. It is accepted and run in a task of the engine,
/// so that a caller who goes away stops neither.
pub(crate) async fn submit(core: &Arc<Core>, submission: Submission) -> Result<Accepted, SubmitError> {
    submit_with(core, submission, None).await
}

/// The same of a request that is recorded elsewhere.
pub(super) async fn submit_with(
    core: &Arc<Core>,
    mut submission: Submission,
    past: Option<Box<Past>>,
) -> Result<Accepted, SubmitError> {
    let flow = core.registry.flow(&submission.flow).cloned();
    let flow = flow.ok_or_else(|| SubmitError::UnknownFlow(submission.flow.clone()))?;
    let Some(action) = flow.action(&submission.action) else {
        return Err(SubmitError::UnknownAction {
            flow: submission.flow,
            action: submission.action,
            known: flow.actions().iter().map(|action| action.name.clone()).collect(),
        });
    };
    let minted = || format!("sess_{}", SubStreamId(core.log.env().mint()));
    let session = submission.session.get_or_insert_with(minted);
    check_user(&flow, session, &mut submission.user)
        .map_err(|problem| SubmitError::Invalid { details: vec![problem] })?;
    let mut details = id_problems(&submission);
    let input = submission.input.clone().unwrap_or(Value::Null);
    let parsed = action.parse(&input).map_err(|problems| details.extend(problems));
    let (true, Ok(parsed)) = (details.is_empty(), parsed) else {
        return Err(SubmitError::Invalid { details });
    };

    let (answer, answered) = oneshot::channel();
    let task = {
        let core = core.clone();
        async move {
            match accept(&core, &flow, &submission, input).await {
                Ok(request) => {
                    let kept = core.host.keep_alive();
                    // The caller may be gone; the request runs all the same.
                    let _ = answer.send(Ok(request.accepted.clone()));
                    start(core, flow, submission.user, request, parsed, past).await;
                    drop(kept);
                }
                Err(error) => drop(answer.send(Err(error))),
            }
        }
    };
    {
        let mut tasks = core.tasks.lock();
        if core.closing.is_cancelled() {
            return Err(SubmitError::closing());
        }
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
    answered.await.unwrap_or_else(|_| Err(SubmitError::closing()))
}

/// Runs a request that is accepted, to its end.
pub(super) async fn start(
    core: Arc<Core>,
    flow: Arc<Flow>,
    user: String,
    request: AcceptedRequest,
    input: Val,
    past: Option<Box<Past>>,
) {
    let AcceptedRequest {
        accepted,
        stream,
        sub,
        project,
        streams: (user_stream, project_stream),
        metadata,
        trace,
    } = request;
    let (request, action): (Arc<str>, String) = (accepted.request.into(), accepted.action);
    let scopes = Scopes::new(&flow, &core.latest, stream, user_stream, project_stream);
    let of = RunRef {
        stream,
        sub,
        request: request.clone(),
        action: format!("{}/{action}", flow.kind()).into(),
    };
    let resumed = past.as_ref().filter(|past| past.repeats == Repeats::Resumed);
    if let Some(past) = resumed {
        scopes.restore_request(&past.recall.state);
    }
    let accessed = resumed.map(|past| past.recall.accessed.as_slice());
    let resources = RunResources::resumed(accessed.unwrap_or_default());
    let recorder = Recorder::new(core.log.clone(), of, core.payload_bytes_max);
    if let Some(past) = resumed
        && !reopened(&core, &recorder, past, &request).await
    {
        return;
    }
    let (speaker, recorder) = Speaker::of(&core, &flow, metadata.as_ref(), recorder);
    let shared = Run {
        core: core.clone(),
        flow,
        action,
        request,
        session: accepted.session,
        user,
        project,
        recorder,
        scopes,
        resources,
        work: Work::default(),
        past,
        speaker,
        trace,
        step_errors: AtomicU32::new(0),
    };
    let _running = core.stats.begin();
    // First known here, then looked up: whoever asks to stop it either finds it here, or is found.
    let cancelled = core.running.begin(sub);
    if was_asked(&core, stream, sub).await {
        cancelled.cancel();
    }
    let span = tracing::info_span!(
        "run",
        request = &*shared.request,
        session = shared.session,
        flow = shared.flow.kind(),
        action = shared.action,
    );
    if let Some(trace) = shared.trace {
        trace.adopt(&span);
    }
    run(Arc::new(shared), input, cancelled).instrument(span).await;
    core.running.end(sub);
}

/// Says that the request is gone on with, as soon as there is room for that; `false` if it can't be. On the heap: few requests need it,
/// and each that runs keeps room for what it may do.
fn reopened<'a>(core: &'a Core, recorder: &'a Recorder, past: &'a Past, request: &'a str) -> BoxFuture<'a, bool> {
    Box::pin(async move {
        while let Err(error) = recorder.resume(&past.recall).await {
            tracing::error!(request, %error, "a request could not be gone on with");
            if !matches!(error, RecordError::Append(AppendError::Full(_))) {
                let outcome = Outcome::Interrupted("it could not be gone on with");
                if let Err(error) = recorder.finish(outcome, &core.closing).await {
                    tracing::error!(request, %error, "and could not be closed; the next start does that");
                }
                return false;
            }
            let waits = core.closing.run_until_cancelled(core.timer.wait(ROOM_PAUSE));
            if waits.await.is_none() {
                return false;
            }
        }
        true
    })
}
