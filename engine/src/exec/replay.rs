//! Runs a recorded request again, in a log of its own in memory that begins with what its session, user and project were when it was
//! accepted. Models answer what they answered, and tools give what they gave; the code of blocks runs again. Nothing of it is
//! written to the log that it was recorded in.

use std::sync::Arc;

use flowstate_log::append::{Append, Expect, NewRecord, Part, Sub, Target};
use flowstate_log::record::{Name, Record, StreamId};
use flowstate_log::{Log, Options, Storage, SubStreamInfo};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::recall::Recall;
use super::resume::accepted;
use super::run::{Past, Repeats};
use super::submit::submit_with;
use super::{Core, Running, Submission};
use crate::error::{QueryError, RecordError, ReplayError};
use crate::principal::Principal;
use crate::projection;
use crate::record::{Fact, decode};

/// Records that are copied at once.
const COPY_RECORDS: usize = 256;

/// How a recorded request is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replay {
    runs_tools: bool,
}

impl Replay {
    /// Models and tools answer from the record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs the tools too, with whatever they do outside; only models answer from the record. What a tool's block has changed in the
    /// states is changed again, which it is not otherwise.
    pub fn run_tools(mut self) -> Self {
        self.runs_tools = true;
        self
    }
}

/// Submits a recorded request again, to an engine of its own; gives that.
pub(crate) async fn replay(
    core: &Arc<Core>,
    principal: &Principal,
    request: &SubStreamInfo,
    how: Replay,
) -> Result<(Arc<Core>, Submission), ReplayError> {
    let first = core.log.read_positions(request.stream, &[request.first]).await;
    let first = first.map_err(QueryError::from)?;
    let (Some(asked), Some(first)) = (accepted(&core.log, request).await?, first.first()) else {
        return Err(ReplayError::Incomplete(
            "the first record of the request is gone".into(),
        ));
    };
    let recall = Recall::to_replay(&core.log, request, &asked.request).await?;
    let scratch = Arc::new(scratch(core).await?);
    let session = principal.session_stream(&asked.session);
    let user = principal.user_stream(&asked.user);
    let project = asked
        .project
        .as_deref()
        .map(|project| principal.project_stream(project));
    for name in [Some(session), Some(user), project].into_iter().flatten() {
        let name = name.map_err(|error| ReplayError::Incomplete(error.to_string()))?;
        copy(&core.log, &scratch.log, principal, &name, first).await?;
    }
    let submission = Submission::again(asked, principal);
    let past = Past {
        recall,
        repeats: Repeats::Replayed,
        runs_tools: how.runs_tools,
        begun: Mutex::default(),
    };
    submit_with(&scratch, submission.clone(), Some(Box::new(past))).await?;
    Ok((scratch, submission))
}

/// The same flows, with a log of their own.
async fn scratch(core: &Core) -> Result<Core, ReplayError> {
    let mut storage = Storage::from(Options::in_memory());
    storage.views().extend(projection::views());
    let log = match tokio::task::spawn_blocking(move || storage.open()).await {
        Ok(opened) => opened.map_err(|error| ReplayError::Incomplete(error.to_string()))?,
        Err(_) => return Err(ReplayError::Incomplete("the runtime has stopped".into())),
    };
    Ok(Core {
        log,
        registry: core.registry.clone(),
        resumes: false,
        tasks: Mutex::new(JoinSet::new()),
        closing: CancellationToken::new(),
        payload_bytes_max: core.payload_bytes_max,
        running: Running::default(),
        describing: Default::default(),
        latest: super::scopes::Latest::default(),
        timer: core.timer.clone(),
        // What was said was spoken.
        voices: Arc::default(),
        settings: core.settings.clone(),
        // What fails has failed before.
        host: Default::default(),
        stats: Default::default(),
        close_within: core.close_within,
    })
}

/// Copies what a stream had when `until` was appended.
async fn copy(from: &Log, to: &Log, principal: &Principal, name: &Name, until: &Record) -> Result<(), ReplayError> {
    let Some(stream) = from.stream(name).await.map_err(QueryError::from)? else {
        return Ok(());
    };
    if from.oldest(stream).await.map_err(QueryError::from)? > 1 {
        let what = format!("{} was trimmed: what it was then is not known any more", name.name());
        return Err(ReplayError::Incomplete(what));
    }
    let is_before = |record: &&Record| match stream == until.stream {
        true => record.position < until.position,
        false => record.commit < until.commit,
    };
    let (mut target, mut next) = (None::<StreamId>, 1);
    loop {
        let records = from.read(stream, next, COPY_RECORDS).await.map_err(QueryError::from)?;
        let mut copies = Vec::with_capacity(records.len());
        for record in records.iter().take_while(is_before) {
            copies.push(copied(record, principal)?);
        }
        if copies.is_empty() {
            return Ok(());
        }
        next += copies.len() as u64;
        let (at, expect) = match target {
            Some(id) => (Target::Id(id), Expect::Exists),
            None => (Target::Name(name.clone()), Expect::Absent),
        };
        let part = Part {
            stream: at,
            expect: vec![expect],
            records: copies,
        };
        let appending = to.append(Append::of(vec![part])).await.map_err(RecordError::from)?;
        let appended = appending.await.map_err(RecordError::from)?;
        target = appended.parts.first().map(|part| part.stream);
    }
}

fn copied(record: &Record, principal: &Principal) -> Result<NewRecord, ReplayError> {
    let sub = match record.sub {
        None => None,
        Some((id, 1)) => {
            let name = match decode(record).map_err(QueryError::from)? {
                Fact::RequestAccepted(accepted) => principal.request_sub_stream(&accepted.request),
                _ => return Err(ReplayError::Incomplete("a request has no beginning".into())),
            };
            let name = name.map_err(|error| ReplayError::Incomplete(error.to_string()))?;
            Some(Sub::Open(id, name))
        }
        Some((id, _)) => Some(Sub::Next(id)),
    };
    if record.erased {
        return Err(ReplayError::Incomplete("a part of the session was erased".into()));
    }
    Ok(NewRecord {
        kind: record.kind,
        subject: record.subject,
        sub,
        causation: record.causation,
        origin: record.origin,
        payload: record.payload.clone(),
    })
}
