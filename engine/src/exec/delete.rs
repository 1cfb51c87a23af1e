//! Deletes a session: stops what runs in it, waits for that to end, so that its readers are told how, and lets the log give up the stream.

use std::sync::Arc;
use std::time::Duration;

use flowstate_log::error::{ReadError, RetentionError};
use flowstate_log::record::StreamId;
use flowstate_log::{FollowSub, SubStreamInfo};
use tokio::sync::oneshot;

use super::{Core, cancel};
use crate::error::{QueryError, SessionError};
use crate::projection::{RequestStatus, requests};
use crate::record::decode;

/// How long a session that is deleted waits for its requests to end.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Deletes the session in `stream`, called `session`, in a task of the engine: a caller who goes away stops nothing half done. Durable on return.
pub(crate) async fn delete(core: &Arc<Core>, stream: StreamId, session: &str) -> Result<(), SessionError> {
    let (answer, answered) = oneshot::channel();
    let task = {
        let (core, session) = (core.clone(), session.to_owned());
        async move { drop(answer.send(stop_and_delete(&core, stream, session).await)) }
    };
    {
        let mut tasks = core.tasks.lock();
        if core.closing.is_cancelled() {
            return Err(QueryError::from(ReadError::Closed).into());
        }
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
    let closed = || Err(QueryError::from(ReadError::Closed).into());
    answered.await.unwrap_or_else(|_| closed())
}

async fn stop_and_delete(core: &Core, stream: StreamId, session: String) -> Result<(), SessionError> {
    let deleted = match tokio::time::timeout(WAIT_MAX, stop_all(core, stream)).await {
        Ok(Err(error)) => Err(error),
        // What does not end by then is cut off: its next record finds no session.
        Ok(Ok(())) | Err(_) => core.log.delete(stream).await.map_err(|error| match error {
            RetentionError::Read(error) => error.into(),
            error => error.into(),
        }),
    };
    match deleted {
        // Somebody else did it meanwhile.
        Err(SessionError::Query(error)) if error.is_gone() => Err(SessionError::UnknownSession(session)),
        deleted => deleted,
    }
}

/// Stops what runs in a session, until nothing does: requests may be accepted meanwhile.
async fn stop_all(core: &Core, stream: StreamId) -> Result<(), SessionError> {
    loop {
        let open = requests::read(&core.log, stream, |requests| {
            let open = requests
                .all()
                .filter(|(_, row)| row.status == RequestStatus::InProgress);
            open.map(|(sub, _)| sub).collect::<Vec<_>>()
        });
        let open = open.await.map_err(QueryError::from)?;
        if open.is_empty() {
            return Ok(());
        }
        let mut ends = Vec::new();
        for sub in open {
            let info = core.log.sub_stream_info(stream, sub).await?;
            cancel::cancel(core, &info).await?;
            ends.push(last_of(core, &info).await?);
        }
        for end in ends {
            ended(end).await?;
        }
    }
}

/// A cursor at a request's last record.
async fn last_of(core: &Core, info: &SubStreamInfo) -> Result<FollowSub, ReadError> {
    core.log.follow_sub(info, info.count.saturating_sub(1)).await
}

async fn ended(mut records: FollowSub) -> Result<(), ReadError> {
    loop {
        let page = records.page().await?;
        let mut facts = page.iter().filter_map(|record| decode(record).ok());
        if facts.any(|fact| fact.is_terminal()) {
            return Ok(());
        }
    }
}
