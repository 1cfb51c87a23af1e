//! Whole values of a state: `get`, and `set` and `atomic`, which are appended under the version that they were worked out from and run
//! again if somebody was first.

use std::time::Duration;

use flowstate_log::error::AppendError;
use serde_json::Map;

use super::live::tell_live;
use super::op::{Difference, Fields, StateOp};
use super::{StateError, StateProblem, StateRef, Write, Written, partial};
use crate::error::RecordError;
use crate::value::Data;

/// How often a `set` or `atomic` that lost a race is run again, and the pause before the first time; it doubles.
const RERUNS_MAX: u32 = 3;
const RERUN_PAUSE: Duration = Duration::from_millis(10);
/// How often it is appended again as it is, because what changed is none of its fields.
const REBASES_MAX: u32 = 64;
/// How often a run waits for its own records to be visible while its other blocks append more.
const SETTLES_MAX: u32 = 64;

impl<S: Data> StateRef<S> {
    /// The state now: what is visible, and every write of this request that has returned. A copy of the fields that `S` has.
    pub async fn get(&self) -> Result<S, StateError> {
        let read = async {
            let (def, scope) = self.parts()?;
            self.check_read()?;
            scope.catch_up(&self.ctx).await?;
            partial::read(def, scope.overlay.lock().fields())
        };
        read.await.map_err(|problem| StateError {
            scope: self.kind,
            resource: self.path().map(str::to_owned),
            problem,
        })
    }

    /// Refuses a type with fields that the block doesn't declare, if it declares what it needs.
    fn check_read(&self) -> Result<(), StateProblem> {
        match self.of {
            None => self.ctx.views().check_read::<S>(self.kind, self.ctx.block_name()),
            Some(_) => Ok(()),
        }
    }

    /// Replaces the fields that `S` has, also if what is there is no `S`. If somebody else changed one of them at the same time it is tried again, at most three times.
    pub fn set(&self, next: S) -> Write<'_, S> {
        self.write(self.versioned(StateOp::Set, move |_| Ok(next.clone())))
    }

    /// Replaces the fields that `S` has with what `next` makes of them. If somebody else changed one of them at the same time
    /// `next` is run again, at most three times, so it should do nothing else.
    pub fn atomic<'a>(&'a self, next: impl Fn(S) -> S + Send + Sync + 'a) -> Write<'a, S> {
        self.write(self.versioned(StateOp::Atomic, move |before| before.map(&next)))
    }

    async fn versioned(
        &self,
        op: fn(Difference) -> StateOp,
        next: impl Fn(Result<S, StateProblem>) -> Result<S, StateProblem> + Send,
    ) -> Result<Written<S>, StateProblem> {
        let is_the_runs = self.parts()?.1.is_the_runs();
        self.check_read()?;
        self.check_writable()?;
        if is_the_runs {
            return self.in_turn(op, next).await;
        }
        let (mut attempts, mut rebases) = (0, 0);
        let mut lost = None::<(Fields, S, Fields)>;
        loop {
            let (version, before, was) = self.exact().await?;
            let (after, wanted) = match lost.take() {
                Some((read, after, wanted)) if read == was && rebases < REBASES_MAX => {
                    rebases += 1;
                    (after, wanted)
                }
                Some(_) if attempts > RERUNS_MAX => return Err(StateProblem::ConcurrentModification { attempts }),
                Some(_) => {
                    self.ctx.wait(RERUN_PAUSE * (1 << (attempts - 1))).await;
                    continue;
                }
                None => {
                    attempts += 1;
                    let after = next(before)?;
                    let wanted = partial::fields(&after)?;
                    (after, wanted)
                }
            };
            match self.append_under(version, op, &was, wanted.clone()).await? {
                Some(Written::Changed { version, .. }) => return Ok(Written::Changed { value: after, version }),
                Some(Written::Unchanged { version, .. }) => return Ok(Written::Unchanged { value: after, version }),
                None => lost = Some((was, after, wanted)),
            }
        }
    }

    /// The state's part, as `S` and as fields, with the version that it is exactly the state of, waiting until nothing of this run is between the two.
    async fn exact(&self) -> Result<(u64, Result<S, StateProblem>, Fields), StateProblem> {
        let (def, scope) = self.parts()?;
        for _ in 0..SETTLES_MAX {
            scope.catch_up(&self.ctx).await?;
            {
                let overlay = scope.overlay.lock();
                if let Some(version) = overlay.exact() {
                    let (read, was) = partial::read_fields::<S>(def, overlay.fields())?;
                    return Ok((version, read, was));
                }
            }
            self.ctx.durable().await?;
        }
        Err(StateProblem::ConcurrentModification { attempts: SETTLES_MAX })
    }

    /// `None` if the state is not what it was any more.
    async fn append_under(
        &self,
        version: u64,
        op: fn(Difference) -> StateOp,
        was: &Fields,
        wanted: Fields,
    ) -> Result<Option<Written<()>>, StateProblem> {
        let (def, scope) = self.parts()?;
        let live = match self.live() {
            Some(resource) => {
                let turn = resource.live_turn(&self.ctx).await;
                Some((resource, resource.live_basis(&self.ctx).await?, turn))
            }
            None => None,
        };
        let (write, before) = {
            let overlay = scope.overlay.lock();
            if overlay.exact() != Some(version) {
                return Ok(None);
            }
            let difference = partial::difference(def, overlay.fields(), was, wanted);
            if difference.is_empty() {
                let latest = scope.is_latest(version);
                return Ok(latest.then_some(Written::Unchanged { value: (), version }));
            }
            def.check_rules(overlay.fields(), &difference)?;
            let op = op(difference);
            self.check_allowed(&op)?;
            def.check(overlay.fields(), &op)?;
            let before = (self.is_watched() || live.is_some()).then(|| overlay.fields().clone());
            (self.to_write(op, Map::new(), Some(version))?, before)
        };
        let write = match (&live, &before) {
            (Some((resource, basis, _)), Some(before)) => tell_live(resource, write, before, basis),
            _ => write,
        };
        match self.ctx.recorder().turn().await?.decide(self.ctx.place(), write).await {
            Ok((version, change)) => {
                let told = before.filter(|_| self.is_watched());
                let told = told.map(|before| (before, change.clone()));
                drop(scope.sequenced(version, change, true));
                drop(live);
                self.wrote().await?;
                self.tell(told).await?;
                Ok(Some(Written::Changed { value: (), version }))
            }
            Err(RecordError::Append(AppendError::VersionMismatch { actual, .. })) => {
                if let Some((resource, ..)) = &live {
                    resource.see(&self.ctx, actual).await?;
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A state that only this run has: its writers take turns, so nobody loses.
    async fn in_turn(
        &self,
        op: fn(Difference) -> StateOp,
        next: impl Fn(Result<S, StateProblem>) -> Result<S, StateProblem> + Send,
    ) -> Result<Written<S>, StateProblem> {
        let (def, scope) = self.parts()?;
        let recorder = self.ctx.recorder();
        let mut turn = recorder.turn().await?;
        let ((before, was), version) = {
            let overlay = scope.overlay.lock();
            (partial::read_fields::<S>(def, overlay.fields())?, overlay.version())
        };
        let value = next(before)?;
        let wanted = partial::fields(&value)?;
        let write = {
            let overlay = scope.overlay.lock();
            let difference = partial::difference(def, overlay.fields(), &was, wanted);
            if difference.is_empty() {
                return Ok(Written::Unchanged { value, version });
            }
            def.check_rules(overlay.fields(), &difference)?;
            let op = op(difference);
            self.check_allowed(&op)?;
            def.check(overlay.fields(), &op)?;
            self.to_write(op, Map::new(), None)?
        };
        let (appending, change) = turn.change(self.ctx.place(), write).await?;
        scope.overlay.lock().queued(&change);
        drop(turn);
        let version = recorder.sequenced(appending).await?;
        drop(scope.sequenced(version, change, true));
        Ok(Written::Changed { value, version })
    }
}
