//! Changes of states: each has its place in the order before it returns, behind everything that was recorded before.

use std::sync::Arc;

use flowstate_log::append::{Appended, Appending, Expect, NewRecord, Part};
use flowstate_log::error::AppendError;
use flowstate_log::record::Subject;
use tokio::sync::MutexGuard;

use super::resources::{ResourceFact, ResourceWrite};
use super::{Recorder, State};
use crate::error::RecordError;
use crate::exec::ctx::Place;
use crate::record::{ChangeItem, StateChanged, StateNoted};
use crate::scope::ScopeWrite;

/// See [`Recorder::turn`].
pub(crate) struct Turn<'a> {
    pub(super) recorder: &'a Recorder,
    pub(super) state: MutexGuard<'a, State>,
}

impl Turn<'_> {
    /// Queues a change of a state.
    pub(crate) async fn change(
        &mut self,
        place: &Place,
        write: ScopeWrite,
    ) -> Result<(Queued, Arc<StateChanged>), RecordError> {
        if let Some(of) = write.of {
            let change = Arc::new(write.change);
            let state = write.under.map(|version| (write.subject, version));
            let fact = ResourceFact::changed(of.at, &change).left(write.delta);
            let write = ResourceWrite {
                facts: vec![(write.subject, fact)],
                stream: write.stream,
                under: of.there.into_iter().chain(state).collect(),
                is_shown: of.is_shown,
            };
            let queued = self.resource(place, write).await?;
            return Ok((queued, change));
        }
        let (recorder, state) = (self.recorder, &mut *self.state);
        let item = ChangeItem {
            path: write.path,
            delta: write.delta,
            ..recorder.change_item(state, place)
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
        Ok((Queued { appending, count: 1 }, Arc::new(change)))
    }

    /// Appends a change that is taken only if its state has the version that it says, and gives its position.
    pub(crate) async fn decide(
        mut self,
        place: &Place,
        write: ScopeWrite,
    ) -> Result<(u64, Arc<StateChanged>), RecordError> {
        let (queued, change) = self.change(place, write).await?;
        Ok((self.decided(queued).await?, change))
    }

    /// Position of the first record of what was appended under a version, if it was taken.
    pub(super) async fn decided(&mut self, queued: Queued) -> Result<u64, RecordError> {
        // If this is cancelled while it waits, whoever is next learns what was decided.
        self.state.deciding = Some(queued);
        let decided = self.state.decided().await;
        let appended = decided.unwrap_or(Err(AppendError::Closed))?;
        Ok(first_position(&appended))
    }
}

/// An append that is queued, and how many of its records are the request's.
pub(crate) struct Queued {
    pub(super) appending: Appending,
    pub(super) count: u64,
}

/// Position of the first record of an append.
fn first_position(appended: &Appended) -> u64 {
    appended.parts.first().map_or(0, |part| part.first)
}

impl Recorder {
    /// The next item, which tells clients of a change.
    pub(super) fn change_item(&self, state: &mut State, place: &Place) -> ChangeItem {
        let (index, ts_ms) = self.next_item(state);
        ChangeItem {
            index,
            ts_ms,
            provenance: self.provenance(place),
            owned_by: place.owned_by(&self.request),
            path: None,
            delta: None,
        }
    }

    /// The right to append next, behind everything recorded so far. While it is held, nothing else of this run is recorded.
    pub(crate) async fn turn(&self) -> Result<Turn<'_>, RecordError> {
        let mut state = self.state.lock().await;
        state.decided().await;
        self.flush(&mut state).await;
        state.check()?;
        Ok(Turn { recorder: self, state })
    }

    /// Waits until a change has its position, and gives it. What becomes of it after that, [`Recorder::settle`] knows.
    pub(crate) async fn sequenced(&self, queued: Queued) -> Result<u64, RecordError> {
        let mut change = queued.appending;
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
