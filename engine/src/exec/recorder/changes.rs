//! Changes of states: each has its place in the order before it returns, behind everything that was recorded before.

use std::sync::Arc;

use flowstate_log::append::{Appended, Appending, Expect, NewRecord, Part};
use flowstate_log::error::AppendError;
use flowstate_log::record::Subject;
use tokio::sync::MutexGuard;

use super::{Recorder, State};
use crate::error::RecordError;
use crate::exec::ctx::Place;
use crate::record::{ChangeItem, StateChanged, StateNoted};
use crate::scope::ScopeWrite;

/// See [`Recorder::turn`].
pub(crate) struct Turn<'a> {
    recorder: &'a Recorder,
    state: MutexGuard<'a, State>,
}

impl Turn<'_> {
    /// Queues a change of a state.
    pub(crate) async fn change(
        &mut self,
        place: &Place,
        write: ScopeWrite,
    ) -> Result<(Appending, Arc<StateChanged>), RecordError> {
        let (recorder, state) = (self.recorder, &mut *self.state);
        let (index, ts_ms) = recorder.next_item(state);
        let item = ChangeItem {
            index,
            ts_ms,
            provenance: recorder.provenance(place),
            owned_by: place.owned_by(&recorder.request),
            path: write.path,
            delta: write.delta,
        };
        let expect = write.under.map(|version| Expect::Version(write.subject, version));
        let mut change = write.change;
        let parts = match write.stream {
            None => {
                change.item = Some(item);
                let record = recorder.next_record(place.origin(), write.subject, &change.clone().into())?;
                vec![recorder.part(state, expect, vec![record])]
            }
            Some(stream) => {
                let noted = StateNoted {
                    scope: change.scope,
                    operation: change.op.name().to_owned(),
                    item,
                };
                let noted = recorder.next_record(place.origin(), Subject::NONE, &noted.into())?;
                let record = NewRecord {
                    sub: None,
                    ..recorder.next_record(place.origin(), write.subject, &change.clone().into())?
                };
                let theirs = Part {
                    stream,
                    expect: expect.into_iter().collect(),
                    records: vec![record],
                };
                vec![theirs, recorder.part(state, None, vec![noted])]
            }
        };
        let appending = recorder.append(parts).await?;
        state.count += 1;
        Ok((appending, Arc::new(change)))
    }

    /// Appends a change that is taken only if its state has the version that it says, and gives its position.
    pub(crate) async fn decide(
        mut self,
        place: &Place,
        write: ScopeWrite,
    ) -> Result<(u64, Arc<StateChanged>), RecordError> {
        let (appending, change) = self.change(place, write).await?;
        // If this is cancelled while it waits, whoever is next learns what was decided.
        self.state.deciding = Some(appending);
        let decided = self.state.decided().await;
        let appended = decided.unwrap_or(Err(AppendError::Closed))?;
        Ok((first_position(&appended), change))
    }
}

/// Position of the first record of an append.
fn first_position(appended: &Appended) -> u64 {
    appended.parts.first().map_or(0, |part| part.first)
}

impl Recorder {
    /// The right to append next, behind everything recorded so far. While it is held, nothing else of this run is recorded.
    pub(crate) async fn turn(&self) -> Result<Turn<'_>, RecordError> {
        let mut state = self.state.lock().await;
        state.decided().await;
        self.flush(&mut state).await;
        state.check()?;
        Ok(Turn { recorder: self, state })
    }

    /// Waits until a change has its position, and gives it. What becomes of it after that, [`Recorder::settle`] knows.
    pub(crate) async fn sequenced(&self, mut change: Appending) -> Result<u64, RecordError> {
        let sequenced = change.sequenced().await;
        let mut state = self.state.lock().await;
        match sequenced {
            Some(appended) => {
                state.queued.push_back(change);
                Ok(first_position(&appended))
            }
            None => {
                let error = change.await.err().unwrap_or(AppendError::Closed);
                state.take_in(Err(error.clone()));
                Err(error.into())
            }
        }
    }
}
