//! The end of a run: what is open is closed, and the last record is written.

use std::time::Duration;

use flowstate_log::error::AppendError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{RUNTIME, Recorder, State};
use crate::error::{BlockError, RecordError, RecoverError};
use crate::exec::left::Left;
use crate::item::{ItemBody, ItemStatus, Provenance, Visibility};
use crate::record::{ItemAdded, ItemCompleted, RequestCompleted, RequestFailed, RequestInterrupted};
use crate::value::{Recorded, Val};

/// Pauses between two attempts to write a last record for which the disk has no room.
const ROOM_PAUSE_MIN: Duration = Duration::from_millis(100);
const ROOM_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often a last record is tried again from what is durable.
const RESYNCS_MAX: u32 = 3;

/// How a run ended.
#[derive(Clone)]
pub(in crate::exec) enum Outcome {
    /// With this output.
    Completed(Val),
    /// With this error.
    Failed(BlockError),
    /// It was stopped, for this reason.
    Interrupted(&'static str),
}

impl Outcome {
    /// The same, with an output that is stored nowhere: what it was stored in may be lost.
    fn by_itself(self) -> Self {
        match self {
            Self::Completed(output) => output
                .json()
                .map_or_else(Self::Failed, |json| Self::Completed(Val::new(json))),
            other => other,
        }
    }
}

/// The output is stored once: here, or where the block that gave it has recorded it.
fn completed(output: &Val) -> Result<RequestCompleted, RecordError> {
    let mut completed = RequestCompleted::default();
    match output.recorded() {
        Some(Recorded::Record(number)) => completed.same_as = Some(number),
        Some(Recorded::Item(item)) => completed.item = Some(item),
        None => {
            let json = output.json();
            completed.output = Some(json.map_err(|error| RecordError::Encode(error.message().to_owned()))?);
        }
    }
    Ok(completed)
}

impl Recorder {
    /// Closes what is open, tells the error if there is one, and writes the request's last record, durable on return. While the disk is full it waits for room, until `closing`. Without the record, the next start of the engine closes the request.
    pub(in crate::exec) async fn finish(
        &self,
        mut outcome: Outcome,
        closing: &CancellationToken,
    ) -> Result<(), RecoverError> {
        self.hush().await;
        let settled = self.settle().await;
        let mut state = self.state.lock().await;
        let mut left = match settled {
            Ok(()) => Left {
                items: std::mem::take(&mut state.open),
                blocks: std::mem::take(&mut state.blocks).into_keys().collect(),
            },
            Err(_) => {
                outcome = outcome.by_itself();
                self.resync(&mut state).await?
            }
        };
        let (items, mut refused, mut missed, mut pause) = (state.items, false, 0, ROOM_PAUSE_MIN);
        loop {
            match self.finish_with(&mut state, &left, outcome.clone()).await {
                Err(why @ (RecordError::Append(AppendError::Invalid(_)) | RecordError::TooLarge { .. }))
                    if !refused =>
                {
                    refused = true;
                    let what = format!("the request's last record was refused: {why}");
                    outcome = Outcome::Failed(BlockError::new("record_refused", what));
                }
                Err(RecordError::Append(AppendError::Full(_))) if !closing.is_cancelled() => {
                    closing.run_until_cancelled(sleep(pause)).await;
                    pause = (pause * 2).min(ROOM_PAUSE_MAX);
                }
                // What became of a state operation that was dropped while it waited is not known.
                Err(RecordError::Append(AppendError::SubStreamMismatch { .. })) if missed < RESYNCS_MAX => missed += 1,
                finished => return finished.map_err(RecoverError::from),
            }
            state.items = items;
            left = self.resync(&mut state).await?;
        }
    }

    /// Goes on from what is durable, and gives what that leaves open: what was queued behind a failed append was refused with it.
    async fn resync(&self, state: &mut State) -> Result<Left, RecoverError> {
        while let Some(appending) = state.queued.pop_front() {
            state.take_in(appending.await.map(drop));
        }
        let info = self.log.sub_stream_info(self.stream, self.sub).await?;
        state.count = info.count;
        Left::read(&self.log, &info).await
    }

    async fn finish_with(&self, state: &mut State, left: &Left, outcome: Outcome) -> Result<(), RecordError> {
        let status = match outcome {
            Outcome::Failed(_) => ItemStatus::Failed,
            Outcome::Completed(_) | Outcome::Interrupted(_) => ItemStatus::Incomplete,
        };
        let mut facts = left.closing(status);
        match outcome {
            Outcome::Completed(output) => facts.push(completed(&output)?.into()),
            Outcome::Interrupted(reason) => facts.push(RequestInterrupted { reason: reason.into() }.into()),
            Outcome::Failed(error) => {
                let (message, code, details) = (
                    error.message().to_owned(),
                    error.code().to_owned(),
                    error.details().cloned(),
                );
                let body = ItemBody::Error {
                    message: message.clone(),
                    code: code.clone(),
                    details: details.clone(),
                };
                let item = self.new_item(
                    state,
                    Provenance::runtime(),
                    ItemStatus::Failed,
                    Visibility::CLIENT,
                    body,
                );
                facts.push(ItemAdded { item: item.clone() }.into());
                facts.push(ItemCompleted { item }.into());
                facts.push(
                    RequestFailed {
                        code,
                        message,
                        details,
                        retryable: error.is_retryable(),
                    }
                    .into(),
                );
            }
        }
        self.push(state, RUNTIME, &facts).await?;
        state.ended = true;
        Ok(())
    }
}
