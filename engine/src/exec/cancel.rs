//! Stopping a request: a record in its session's stream says that someone asked. Whoever runs the request stops it then, its background
//! work included; who disconnects stops nothing.

use std::collections::HashMap;

use flowstate_log::SubStreamInfo;
use flowstate_log::append::{Append, Expect, NewRecord, Part, Target};
use flowstate_log::record::{StreamId, SubStreamId, Subject};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Core;
use crate::error::{CancelError, RecordError};
use crate::projection::{RequestStatus, requests};
use crate::record::{CancelRequested, Fact};

/// The requests that run in this process.
#[derive(Default)]
pub(crate) struct Running(Mutex<HashMap<SubStreamId, CancellationToken>>);

impl Running {
    /// A request begins to run; what is given back is cancelled when someone asks.
    pub(super) fn begin(&self, request: SubStreamId) -> CancellationToken {
        self.0.lock().entry(request).or_default().clone()
    }

    pub(super) fn end(&self, request: SubStreamId) {
        self.0.lock().remove(&request);
    }

    fn stop(&self, request: SubStreamId) {
        if let Some(token) = self.0.lock().get(&request) {
            token.cancel();
        }
    }
}

/// Asks that a request be stopped. Durable on return; `false` if it has ended or was asked to stop before.
pub(crate) async fn cancel(core: &Core, request: &SubStreamInfo) -> Result<bool, CancelError> {
    let row = requests::read(&core.log, request.stream, |requests| requests.get(request.id).cloned()).await?;
    let Some(row) = row.filter(|row| row.status == RequestStatus::InProgress && !row.cancelled) else {
        return Ok(false);
    };
    let fact = Fact::from(CancelRequested { request: row.request });
    let payload = fact.encode().map_err(|error| RecordError::Encode(error.to_string()))?;
    let record = NewRecord {
        kind: fact.kind(),
        subject: Subject::NONE,
        sub: None,
        causation: request.id.0,
        origin: 0,
        payload,
    };
    let part = Part {
        stream: Target::Id(request.stream),
        expect: vec![Expect::Exists],
        records: vec![record],
    };
    let appending = core
        .log
        .append(Append::of(vec![part]))
        .await
        .map_err(RecordError::from)?;
    appending.await.map_err(RecordError::from)?;
    core.running.stop(request.id);
    Ok(true)
}

/// Whether someone asked that it be stopped, before it began to run here.
pub(super) async fn was_asked(core: &Core, stream: StreamId, request: SubStreamId) -> bool {
    let asked = requests::read(&core.log, stream, |requests| {
        requests.get(request).is_some_and(|row| row.cancelled)
    });
    asked.await.unwrap_or(false)
}
