//! The first record of a request: in the session that it names, or in a new one.

use flowstate_log::append::{Append, Expect, NewRecord, Part, Sub, Target};
use flowstate_log::error::{AppendError, Remedy};
use flowstate_log::record::{Name, StreamId, SubStreamId, Subject};
use serde_json::{Map, Value};

use super::{Accepted, Submission};
use crate::error::{Problem, SubmitError};
use crate::exec::Core;
use crate::flow::Flow;
use crate::projection;
use crate::record::{Fact, RequestAccepted, SESSION_STATE, ScopeKind, SessionCreated};
use crate::trace::TraceParent;

/// How often a lost race for a session is run again.
const ATTEMPTS_MAX: u32 = 3;

/// A request whose first record is durable.
pub(in crate::exec) struct AcceptedRequest {
    pub(in crate::exec) accepted: Accepted,
    pub(in crate::exec) stream: StreamId,
    pub(in crate::exec) sub: SubStreamId,
    pub(in crate::exec) project: Option<String>,
    /// Of its user and project.
    pub(in crate::exec) streams: (Name, Option<Name>),
    pub(in crate::exec) metadata: Option<Map<String, Value>>,
    pub(in crate::exec) trace: Option<TraceParent>,
}

pub(super) async fn accept(
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
        trace: submission.trace.map(|trace| trace.to_string()),
        at_ms: env.now_us() / 1_000,
        retry_of: submission.retry_of.clone(),
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
                    ..SessionCreated::default()
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
                    metadata: submission.metadata.clone(),
                    trace: submission.trace,
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
    if !submission.principal.may_use(summary.project.as_deref()) {
        return Err(mismatch(
            "it is bound to a project that is not the caller's any more".into(),
        ));
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
