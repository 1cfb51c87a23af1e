//! Accepts requests: checks everything that can be checked, writes the first record, starts the run.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use flowstate_log::append::{Append, Expect, NewRecord, Part, Sub, Target};
use flowstate_log::error::{AppendError, Remedy};
use flowstate_log::record::{Name, StreamId, SubStreamId, Subject};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::Core;
use super::cancel::was_asked;
use super::recorder::{Recorder, RunRef};
use super::run::{Run, run};
use super::scopes::Scopes;
use super::work::Work;
use crate::error::{Problem, SubmitError};
use crate::flow::Flow;
use crate::principal::Principal;
use crate::projection;
use crate::record::{Fact, RequestAccepted, SESSION_STATE, ScopeKind, SessionCreated};
use crate::value::Val;

/// Longest id of a session, request, user or project, in bytes.
const ID_BYTES_MAX: usize = 200;
/// What the user of a session begins with that has none: the session's id follows.
const OWN_USER: &str = "session:";
/// How often a lost race for a session is run again.
const ATTEMPTS_MAX: u32 = 3;

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
pub(crate) async fn submit(core: &Arc<Core>, mut submission: Submission) -> Result<Accepted, SubmitError> {
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
    if submission.user.is_empty() && !flow.requires_user() {
        submission.user = format!("{OWN_USER}{session}");
    } else if submission.user.starts_with(OWN_USER) {
        let what = format!("begins with {OWN_USER:?}, as only the users of sessions without one do");
        return Err(SubmitError::Invalid {
            details: vec![Problem::new("user", what)],
        });
    }
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
                    // The caller may be gone; the request runs all the same.
                    let _ = answer.send(Ok(request.accepted.clone()));
                    start(core, flow, submission, request, parsed).await;
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

/// A request whose first record is durable.
struct AcceptedRequest {
    accepted: Accepted,
    stream: StreamId,
    sub: SubStreamId,
    project: Option<String>,
    /// Of its user and project.
    streams: (Name, Option<Name>),
}

async fn accept(
    core: &Core,
    flow: &Flow,
    submission: &Submission,
    input: Value,
) -> Result<AcceptedRequest, SubmitError> {
    let env = core.log.env();
    let session = submission.session.clone().unwrap_or_default();
    let minted = || format!("req_{}", SubStreamId(env.mint()));
    let request = submission.request.clone().unwrap_or_else(minted);
    let stream_name = submission
        .principal
        .session_stream(&session)
        .map_err(bad_name("session"))?;
    let sub_name = submission
        .principal
        .request_sub_stream(&request)
        .map_err(bad_name("request"))?;
    let user_stream = submission
        .principal
        .user_stream(&submission.user)
        .map_err(bad_name("user"))?;
    let sub = SubStreamId(env.mint());
    let mut accepted = RequestAccepted {
        request: request.clone(),
        session: session.clone(),
        flow: flow.kind().to_owned(),
        flow_id: flow.id().to_owned(),
        action: submission.action.clone(),
        user: submission.user.clone(),
        project: None,
        input,
        metadata: submission.metadata.clone(),
        at_ms: env.now_us() / 1_000,
    };
    for _ in 0..ATTEMPTS_MAX {
        let (target, created) = match core.log.stream(&stream_name).await? {
            Some(stream) => {
                accepted.project = existing_project(core, flow, submission, &session, stream).await?;
                (Target::Id(stream), None)
            }
            None => {
                accepted.project = submission.project.clone();
                let created = SessionCreated {
                    session: session.clone(),
                    user: submission.user.clone(),
                    project: submission.project.clone(),
                    flow: flow.kind().to_owned(),
                    flow_id: flow.id().to_owned(),
                    state: Value::Object(flow.scope(ScopeKind::Session).initial.clone()),
                };
                (Target::Name(stream_name.clone()), Some(created))
            }
        };
        let project_stream = accepted
            .project
            .as_deref()
            .map(|project| submission.principal.project_stream(project));
        let project_stream = project_stream.transpose().map_err(bad_name("project"))?;
        match append(core, target, created, &accepted, sub, &sub_name).await {
            Ok(stream) => {
                let project = accepted.project;
                let accepted = Accepted {
                    request,
                    session,
                    flow: flow.kind().to_owned(),
                    flow_id: flow.id().to_owned(),
                    action: submission.action.clone(),
                };
                return Ok(AcceptedRequest {
                    accepted,
                    stream,
                    sub,
                    project,
                    streams: (user_stream, project_stream),
                });
            }
            Err(AppendError::SubStreamTaken(_)) => {
                return Err(SubmitError::RequestIdTaken(request));
            }
            // Someone else made or deleted the session meanwhile.
            Err(AppendError::StreamExists(_) | AppendError::UnknownStream(_)) => {}
            Err(AppendError::Invalid(message)) => {
                return Err(SubmitError::Invalid {
                    details: vec![Problem::new("", message)],
                });
            }
            Err(error) => {
                return Err(SubmitError::Unavailable {
                    message: error.to_string(),
                    remedy: error.kind(),
                });
            }
        }
    }
    Err(SubmitError::Unavailable {
        message: format!(
            "the session {session:?} was made and deleted by others at the same time, {ATTEMPTS_MAX} times"
        ),
        remedy: Remedy::Retry,
    })
}

/// The project of a session that exists, if the submission may use it.
async fn existing_project(
    core: &Core,
    flow: &Flow,
    submission: &Submission,
    session: &str,
    stream: StreamId,
) -> Result<Option<String>, SubmitError> {
    let mismatch = |what: String| SubmitError::SessionMismatch {
        session: session.to_owned(),
        what,
    };
    let summary = projection::session::read(&core.log, stream, |fold| fold.summary().cloned()).await?;
    let summary = summary.ok_or_else(|| mismatch("it has no beginning".into()))?;
    if summary.user != submission.user {
        return Err(mismatch("it belongs to another user".into()));
    }
    if summary.flow != flow.kind() {
        return Err(mismatch(format!("it belongs to the flow {:?}", summary.flow)));
    }
    if submission.project.is_some() && submission.project != summary.project {
        return Err(mismatch("it is bound to another project, or to none".into()));
    }
    Ok(summary.project)
}

/// One append: the session, if it is new, and the request. Gives the session's stream when it is durable.
async fn append(
    core: &Core,
    stream: Target,
    created: Option<SessionCreated>,
    accepted: &RequestAccepted,
    sub: SubStreamId,
    sub_name: &Name,
) -> Result<StreamId, AppendError> {
    let encode = |fact: Fact, subject: Subject, sub: Option<Sub>| {
        let payload = fact.encode().map_err(|error| AppendError::Invalid(error.to_string()))?;
        let causation = accepted_by(&sub);
        Ok::<_, AppendError>(NewRecord {
            kind: fact.kind(),
            subject,
            sub,
            causation,
            origin: 0,
            payload,
        })
    };
    let expect = if created.is_some() {
        Expect::Absent
    } else {
        Expect::Exists
    };
    let mut records = Vec::with_capacity(2);
    if let Some(created) = created {
        records.push(encode(created.into(), SESSION_STATE, None)?);
    }
    records.push(encode(
        accepted.clone().into(),
        Subject::NONE,
        Some(Sub::Open(sub, sub_name.clone())),
    )?);
    let part = Part {
        stream,
        expect: vec![expect],
        records,
    };
    let appended = core.log.append(Append::of(vec![part])).await?.await?;
    let part = appended
        .parts
        .first()
        .ok_or_else(|| AppendError::Invalid("the log gave no place".into()))?;
    Ok(part.stream)
}

async fn start(core: Arc<Core>, flow: Arc<Flow>, submission: Submission, request: AcceptedRequest, input: Val) {
    let AcceptedRequest {
        accepted,
        stream,
        sub,
        project,
        streams: (user_stream, project_stream),
    } = request;
    let (request, action): (Arc<str>, String) = (accepted.request.into(), submission.action);
    let scopes = Scopes::new(&flow, &core.latest, stream, user_stream, project_stream);
    let of = RunRef {
        stream,
        sub,
        request: request.clone(),
        action: format!("{}/{action}", flow.kind()).into(),
    };
    let recorder = Recorder::new(core.log.clone(), of, core.payload_bytes_max);
    let shared = Run {
        core: core.clone(),
        flow,
        action,
        request,
        session: accepted.session,
        user: submission.user,
        project,
        recorder,
        scopes,
        work: Work::default(),
        step_errors: AtomicU32::new(0),
    };
    // First known here, then looked up: whoever asks to stop it either finds it here, or is found.
    let cancelled = core.running.begin(sub);
    if was_asked(&core, stream, sub).await {
        cancelled.cancel();
    }
    run(Arc::new(shared), input, cancelled).await;
    core.running.end(sub);
}

/// A record that opens a request is made on behalf of that request; the session's first one on behalf of none.
fn accepted_by(sub: &Option<Sub>) -> [u8; 16] {
    match sub {
        Some(Sub::Open(id, _) | Sub::Next(id)) => id.0,
        None => [0; 16],
    }
}

fn bad_name(path: &'static str) -> impl Fn(flowstate_log::record::NameError) -> SubmitError {
    move |error| SubmitError::Invalid {
        details: vec![Problem::new(path, error.to_string())],
    }
}

fn id_problems(submission: &Submission) -> Vec<Problem> {
    let own = submission.user.starts_with(OWN_USER);
    let ids = [
        ("user", (!own).then_some(&submission.user)),
        ("session", submission.session.as_ref()),
        ("request", submission.request.as_ref()),
        ("project", submission.project.as_ref()),
    ];
    ids.into_iter()
        .filter_map(|(path, id)| Some(Problem::new(path, id_problem(id?)?)))
        .collect()
}

fn id_problem(id: &str) -> Option<String> {
    if id.is_empty() {
        return Some("is required and may not be empty".into());
    }
    if id.len() > ID_BYTES_MAX {
        return Some(format!(
            "is {} bytes long; at most {ID_BYTES_MAX} are allowed",
            id.len()
        ));
    }
    id.contains(char::is_control).then(|| "has a control character".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bounded_and_printable() {
        let submission = Submission {
            user: String::new(),
            session: Some("a\nb".into()),
            request: Some("x".repeat(ID_BYTES_MAX + 1)),
            project: Some("é/:ok".into()),
            ..Submission::default()
        };
        let paths: Vec<String> = id_problems(&submission)
            .into_iter()
            .map(|problem| problem.path)
            .collect();
        assert_eq!(paths, ["user", "session", "request"]);
    }
}
