//! A scope's state as a block sees it. Operations that commute are appended as they are and never conflict; `set` and `atomic`
//! are appended under the version that they were worked out from, and run again if somebody was first.

use std::marker::PhantomData;
use std::time::Duration;

use flowstate_log::error::AppendError;
use serde::Serialize;
use serde_json::{Map, Number, Value};
use tokio::time::sleep;

use super::op::{Difference, Fields, StateOp};
use super::{ScopeDef, ScopeWrite, StateError, StateProblem, Write, Written, partial};
use crate::error::RecordError;
use crate::exec::{Ctx, RunScope};
use crate::record::{ScopeKind, StateChanged};
use crate::value::Data;

/// How often a `set` or `atomic` that lost a race is run again, and the pause before the first time; it doubles.
const RERUNS_MAX: u32 = 3;
const RERUN_PAUSE: Duration = Duration::from_millis(10);
/// How often it is appended again as it is, because what changed is none of its fields.
const REBASES_MAX: u32 = 64;
/// How often a run waits for its own records to be visible while its other blocks append more.
const SETTLES_MAX: u32 = 64;

/// A scope's state as a block sees it. `S` may have only the fields that the block cares about: no other field is read,
/// changed or fought over.
pub struct StateRef<S> {
    ctx: Ctx,
    kind: ScopeKind,
    _state: PhantomData<fn() -> S>,
}

impl<S> StateRef<S> {
    pub(crate) fn new(ctx: Ctx, kind: ScopeKind) -> Self {
        Self {
            ctx,
            kind,
            _state: PhantomData,
        }
    }

    /// Whose state it is.
    pub fn scope(&self) -> ScopeKind {
        self.kind
    }

    /// The id of the request, session, user or project.
    pub fn id(&self) -> &str {
        match self.kind {
            ScopeKind::Request => self.ctx.request_id(),
            ScopeKind::Session => self.ctx.session_id(),
            ScopeKind::User => self.ctx.user_id(),
            ScopeKind::Project => self.ctx.project_id().unwrap_or_default(),
        }
    }

    /// Adds `by` to a number field; one that is missing counts as 0. Gives the sum.
    pub fn inc(&self, field: &str, by: impl Into<Number>) -> Write<'_, Number> {
        let op = StateOp::Inc(Map::from_iter([(field.to_owned(), Value::Number(by.into()))]));
        let field = field.to_owned();
        self.commute(op, move |state| match state.get(&field) {
            Some(Value::Number(sum)) => sum.clone(),
            _ => Number::from(0),
        })
    }

    /// Adds to several number fields at once: all of them or none. Gives their values.
    pub fn inc_all<F: Into<String>, N: Into<Number>>(&self, by: impl IntoIterator<Item = (F, N)>) -> Write<'_, Fields> {
        let by = by.into_iter();
        let by: Fields = by.map(|(field, by)| (field.into(), Value::Number(by.into()))).collect();
        let named: Vec<String> = by.keys().cloned().collect();
        self.commute(StateOp::Inc(by), move |state| values(state, &named))
    }

    /// Replaces the fields of `fields` (an object, or a struct that serialises to one); the others stay. One record, applied whole,
    /// however many fields it has. What is worked out from the state as it is needs [`StateRef::atomic`]. Gives their values.
    pub fn patch(&self, fields: impl Serialize) -> Write<'_, Fields> {
        let fields = partial::fields(fields);
        self.write(async move {
            let fields = fields?;
            let named: Vec<String> = fields.keys().cloned().collect();
            self.append(StateOp::Patch(fields), |state| values(state, &named)).await
        })
    }

    /// Adds an element at the end of an array field; one that is missing counts as empty. Gives the length.
    pub fn push(&self, field: &str, value: impl Serialize) -> Write<'_, usize> {
        let (field, value) = (field.to_owned(), json(value));
        self.write(async move {
            let op = StateOp::Push {
                field: field.clone(),
                value: value?,
            };
            let length = |state: &Fields| state.get(&field).and_then(Value::as_array).map_or(0, Vec::len);
            self.append(op, length).await
        })
    }

    /// Sets one key of a map field; one that is missing counts as empty. Gives the number of keys.
    pub fn record_set(&self, field: &str, key: &str, value: impl Serialize) -> Write<'_, usize> {
        let (field, key, value) = (field.to_owned(), key.to_owned(), json(value));
        self.write(async move {
            let op = StateOp::RecordSet {
                field: field.clone(),
                key,
                value: value?,
            };
            self.append(op, |state| keys(state, &field)).await
        })
    }

    /// Removes one key of a map field. Gives the number of keys that are left.
    pub fn record_delete(&self, field: &str, key: &str) -> Write<'_, usize> {
        let op = StateOp::RecordDelete {
            field: field.to_owned(),
            key: key.to_owned(),
        };
        let field = field.to_owned();
        self.commute(op, move |state| keys(state, &field))
    }

    fn commute<'a, T>(&'a self, op: StateOp, value: impl FnOnce(&Fields) -> T + Send + 'a) -> Write<'a, T>
    where
        T: Send + 'a,
    {
        self.write(self.append(op, value))
    }

    fn write<'a, T>(
        &'a self,
        write: impl Future<Output = Result<Written<T>, StateProblem>> + Send + 'a,
    ) -> Write<'a, T> {
        Write::new(&self.ctx, self.kind, write)
    }

    /// What the flow declares, and what the run knows.
    fn parts(&self) -> Result<(&ScopeDef, &RunScope), StateProblem> {
        let def = self.ctx.flow().scope(self.kind);
        match self.ctx.scope(self.kind) {
            Some(scope) if def.is_declared() => Ok((def, scope)),
            _ => Err(StateProblem::Undeclared {
                flow: self.ctx.flow_kind().to_owned(),
                builder: self.kind.as_str(),
            }),
        }
    }

    /// Appends an operation that commutes.
    async fn append<T>(&self, op: StateOp, value: impl FnOnce(&Fields) -> T) -> Result<Written<T>, StateProblem> {
        let (def, scope) = self.parts()?;
        scope.catch_up(&self.ctx).await?;
        let recorder = self.ctx.recorder();
        let mut turn = recorder.turn().await?;
        let write = {
            let overlay = scope.overlay.lock();
            def.check(overlay.fields(), &op)?;
            let base = def.base(overlay.fields(), &op);
            write(def, scope, op, base, None)
        };
        let (appending, change) = turn.change(self.ctx.place(), write).await?;
        if scope.is_the_runs() {
            scope.overlay.lock().queued(&change);
        }
        drop(turn);
        let version = recorder.sequenced(appending).await?;
        Ok(Written::Changed {
            value: value(scope.sequenced(version, change, false).fields()),
            version,
        })
    }
}

impl<S: Data> StateRef<S> {
    /// The state now: what is visible, and every write of this request that has returned. A copy of the fields that `S` has.
    pub async fn get(&self) -> Result<S, StateError> {
        let read = async {
            let (def, scope) = self.parts()?;
            scope.catch_up(&self.ctx).await?;
            partial::read(def, scope.overlay.lock().fields())
        };
        read.await.map_err(|problem| StateError {
            scope: self.kind,
            problem,
        })
    }

    /// Replaces the fields that `S` has. If somebody else changed one of them at the same time it is tried again, at most three times.
    pub fn set(&self, next: S) -> Write<'_, S> {
        self.write(self.versioned(StateOp::Set, move |_| next.clone()))
    }

    /// Replaces the fields that `S` has with what `next` makes of them. If somebody else changed one of them at the same time
    /// `next` is run again, at most three times, so it should do nothing else.
    pub fn atomic<'a>(&'a self, next: impl Fn(S) -> S + Send + Sync + 'a) -> Write<'a, S> {
        self.write(self.versioned(StateOp::Atomic, next))
    }

    async fn versioned(
        &self,
        op: fn(Difference) -> StateOp,
        next: impl Fn(S) -> S + Send,
    ) -> Result<Written<S>, StateProblem> {
        if self.parts()?.1.is_the_runs() {
            return self.in_turn(op, next).await;
        }
        let (mut attempts, mut rebases) = (0, 0);
        let mut lost = None::<(Fields, S, Fields)>;
        loop {
            let (version, before) = self.exact().await?;
            let was = partial::fields(&before)?;
            let (after, wanted) = match lost.take() {
                Some((read, after, wanted)) if read == was && rebases < REBASES_MAX => {
                    rebases += 1;
                    (after, wanted)
                }
                Some(_) if attempts > RERUNS_MAX => return Err(StateProblem::ConcurrentModification { attempts }),
                Some(_) => {
                    sleep(RERUN_PAUSE * (1 << (attempts - 1))).await;
                    continue;
                }
                None => {
                    attempts += 1;
                    let after = next(before);
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

    /// The state's part with the version that it is exactly the state of, waiting until nothing of this run is between the two.
    async fn exact(&self) -> Result<(u64, S), StateProblem> {
        let (def, scope) = self.parts()?;
        for _ in 0..SETTLES_MAX {
            scope.catch_up(&self.ctx).await?;
            {
                let overlay = scope.overlay.lock();
                if let Some(version) = overlay.exact() {
                    return Ok((version, partial::read(def, overlay.fields())?));
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
        let write = {
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
            def.check(overlay.fields(), &op)?;
            write(def, scope, op, Map::new(), Some(version))
        };
        match self.ctx.recorder().turn().await?.decide(self.ctx.place(), write).await {
            Ok((version, change)) => {
                drop(scope.sequenced(version, change, true));
                Ok(Some(Written::Changed { value: (), version }))
            }
            Err(RecordError::Append(AppendError::VersionMismatch { .. })) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A state that only this run has: its writers take turns, so nobody loses.
    async fn in_turn(
        &self,
        op: fn(Difference) -> StateOp,
        next: impl Fn(S) -> S + Send,
    ) -> Result<Written<S>, StateProblem> {
        let (def, scope) = self.parts()?;
        let recorder = self.ctx.recorder();
        let mut turn = recorder.turn().await?;
        let (before, version) = {
            let overlay = scope.overlay.lock();
            (partial::read::<S>(def, overlay.fields())?, overlay.version())
        };
        let was = partial::fields(&before)?;
        let value = next(before);
        let wanted = partial::fields(&value)?;
        let write = {
            let overlay = scope.overlay.lock();
            let difference = partial::difference(def, overlay.fields(), &was, wanted);
            if difference.is_empty() {
                return Ok(Written::Unchanged { value, version });
            }
            def.check_rules(overlay.fields(), &difference)?;
            let op = op(difference);
            def.check(overlay.fields(), &op)?;
            write(def, scope, op, Map::new(), None)
        };
        let (appending, change) = turn.change(self.ctx.place(), write).await?;
        scope.overlay.lock().queued(&change);
        drop(turn);
        let version = recorder.sequenced(appending).await?;
        drop(scope.sequenced(version, change, true));
        Ok(Written::Changed { value, version })
    }
}

fn write(def: &ScopeDef, scope: &RunScope, op: StateOp, base: Fields, under: Option<u64>) -> ScopeWrite {
    let (path, delta) = def.shown(&op);
    ScopeWrite {
        change: StateChanged {
            scope: scope.kind,
            op,
            base,
            flow: scope.flow.clone(),
            item: None,
        },
        subject: scope.subject,
        path,
        delta,
        stream: scope.target(),
        under,
    }
}

fn values(state: &Fields, named: &[String]) -> Fields {
    let values = named.iter();
    values
        .filter_map(|field| Some((field.clone(), state.get(field)?.clone())))
        .collect()
}

fn keys(state: &Fields, field: &str) -> usize {
    state.get(field).and_then(Value::as_object).map_or(0, Map::len)
}

fn json(value: impl Serialize) -> Result<Value, StateProblem> {
    serde_json::to_value(value).map_err(|error| RecordError::Encode(error.to_string()).into())
}
