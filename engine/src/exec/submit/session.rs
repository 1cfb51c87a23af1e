//! Makes sessions before anything is asked of them, and changes what they are called.

use std::collections::BTreeSet;

use flowstate_log::append::{Append, Expect, NewRecord, Part, Target};
use flowstate_log::error::AppendError;
use flowstate_log::record::{StreamId, SubStreamId, Subject};
use serde_json::{Map, Value};

use super::ids::id_problem;
use super::{OWN_USER, check_user};
use crate::error::{Problem, SessionError};
use crate::exec::Core;
use crate::flow::Flow;
use crate::principal::Principal;
use crate::projection::SessionSummary;
use crate::record::{Fact, SESSION_STATE, ScopeKind, SessionCreated, SessionDescribed};
use crate::scope::{Fields, StateProblem};

/// Most bytes of a session's title, of its description, of one tag, and of all its metadata as JSON.
const TITLE_BYTES_MAX: usize = 1 << 10;
const DESCRIPTION_BYTES_MAX: usize = 8 << 10;
const TAG_BYTES_MAX: usize = 256;
const METADATA_BYTES_MAX: usize = 32 << 10;
/// Most tags.
const TAGS_MAX: usize = 64;

/// A session that is to be made.
#[derive(Debug, Clone, Default)]
pub struct NewSession {
    /// On whose behalf.
    pub principal: Principal,
    /// Kind of its flow.
    pub flow: String,
    /// Its user. Empty, where the flow allows it: it has a user of its own.
    pub user: String,
    /// Its id; absent: a new one.
    pub session: Option<String>,
    /// Its project.
    pub project: Option<String>,
    /// What it is called.
    pub description: SessionDescribed,
    /// What fields of its state begin as, of those that the flow lets callers set.
    pub state: Option<Map<String, Value>>,
}

/// Makes a session; gives its id. Durable on return.
pub(crate) async fn create(core: &Core, mut new: NewSession) -> Result<String, SessionError> {
    let flow = core.registry.flow(&new.flow).cloned();
    let flow = flow.ok_or_else(|| SessionError::UnknownFlow(new.flow.clone()))?;
    let minted = || format!("sess_{}", SubStreamId(core.log.env().mint()));
    let session = new.session.get_or_insert_with(minted).clone();
    let mut details = Vec::new();
    if let Err(problem) = check_user(&flow, &session, &mut new.user) {
        details.push(problem);
    }
    let ids = [("session", Some(&session)), ("project", new.project.as_ref())];
    details.extend(
        ids.into_iter()
            .filter_map(|(path, id)| Some(Problem::new(path, id_problem(id?)?))),
    );
    if !new.user.starts_with(OWN_USER) {
        details.extend(id_problem(&new.user).map(|problem| Problem::new("user", problem)));
    }
    details.extend(description_problems(&new.description));
    let state = beginning(&flow, new.state.unwrap_or_default(), &mut details)?;
    if !details.is_empty() {
        return Err(SessionError::Invalid { details });
    }
    let name = new.principal.session_stream(&session);
    let name = name.map_err(|error| invalid("session", error.to_string()))?;
    let created = SessionCreated {
        session: session.clone(),
        user: new.user,
        project: new.project,
        flow: flow.kind().to_owned(),
        flow_id: flow.id().to_owned(),
        state: Value::Object(state),
        description: new.description,
    };
    let appended = append(core, Target::Name(name), Expect::Absent, SESSION_STATE, created.into()).await;
    match appended {
        Ok(()) => Ok(session),
        Err(AppendError::StreamExists(_)) => Err(SessionError::Exists(session)),
        Err(error) => Err(error.into()),
    }
}

/// Changes what a session is called. Durable on return.
pub(crate) async fn describe(
    core: &Core,
    stream: StreamId,
    summary: &SessionSummary,
    change: SessionDescribed,
) -> Result<(), SessionError> {
    // What is kept has bounds too, not only what is sent.
    let after = summary.clone().described(change.clone());
    let whole = SessionDescribed {
        metadata: after.metadata,
        ..change.clone()
    };
    let details = description_problems(&whole);
    if !details.is_empty() {
        return Err(SessionError::Invalid { details });
    }
    let described = append(core, Target::Id(stream), Expect::Exists, Subject::NONE, change.into()).await;
    described.map_err(|error| match error {
        AppendError::UnknownStream(_) => SessionError::UnknownSession(summary.session.clone()),
        error => error.into(),
    })
}

/// One record, of a session and of no request.
async fn append(core: &Core, stream: Target, expect: Expect, subject: Subject, fact: Fact) -> Result<(), AppendError> {
    let payload = fact.encode().map_err(|error| AppendError::Invalid(error.to_string()))?;
    let record = NewRecord {
        kind: fact.kind(),
        subject,
        sub: None,
        causation: [0; 16],
        origin: 0,
        payload,
    };
    let part = Part {
        stream,
        expect: vec![expect],
        records: vec![record],
    };
    core.log.append(Append::of(vec![part])).await?.await?;
    Ok(())
}

/// What the state of a new session begins as: the flow's own, and over it what the caller may set and does.
fn beginning(flow: &Flow, set: Fields, details: &mut Vec<Problem>) -> Result<Fields, SessionError> {
    let def = flow.scope(ScopeKind::Session);
    let mut state = def.initial.clone();
    if set.is_empty() {
        return Ok(state);
    }
    let refused: BTreeSet<&String> = set.keys().filter(|field| !def.is_set_by_clients(field)).collect();
    if !refused.is_empty() {
        return Err(SessionError::StateNotAllowed(refused.into_iter().cloned().collect()));
    }
    state.extend(set);
    match def.check_whole(&state) {
        Ok(()) => {}
        Err(StateProblem::Invalid(problems)) => {
            let in_state = |problem: Problem| Problem::new(format!("state.{}", problem.path), problem.message);
            details.extend(problems.into_iter().map(in_state));
        }
        Err(problem) => details.push(Problem::new("state", problem.to_string())),
    }
    Ok(state)
}

/// What is too much of a description.
fn description_problems(description: &SessionDescribed) -> Vec<Problem> {
    let too_long = |path: String, bytes: usize, max: usize| {
        let what = || format!("is {bytes} bytes long; at most {max} are allowed");
        (bytes > max).then(|| Problem::new(path, what()))
    };
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let tags = description.tags.as_deref().unwrap_or_default();
    let metadata = description.metadata.as_ref();
    let metadata = metadata.and_then(|metadata| serde_json::to_vec(metadata).ok());
    let mut problems: Vec<Problem> = [
        too_long("title".into(), length(&description.title), TITLE_BYTES_MAX),
        too_long(
            "description".into(),
            length(&description.description),
            DESCRIPTION_BYTES_MAX,
        ),
        too_long(
            "metadata".into(),
            metadata.map_or(0, |json| json.len()),
            METADATA_BYTES_MAX,
        ),
        (tags.len() > TAGS_MAX).then(|| {
            Problem::new(
                "tags",
                format!("has {} tags; at most {TAGS_MAX} are allowed", tags.len()),
            )
        }),
    ]
    .into_iter()
    .flatten()
    .collect();
    let tags = tags.iter().take(TAGS_MAX).enumerate();
    problems.extend(tags.filter_map(|(index, tag)| too_long(format!("tags[{index}]"), tag.len(), TAG_BYTES_MAX)));
    problems
}

fn invalid(path: &str, message: String) -> SessionError {
    SessionError::Invalid {
        details: vec![Problem::new(path, message)],
    }
}
