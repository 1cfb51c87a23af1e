//! A scope's state as a block sees it, and the operations that commute: they are appended as they are and never conflict.
//! Whole values are in `scope/versioned`.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::left::{elements, json, keys, names, number, values};
use super::op::{Fields, StateOp};
use super::{ScopeDef, ScopeWrite, StateProblem, Write, Written, partial};
use crate::exec::{Ctx, RunResource, RunScope};
use crate::record::{ScopeKind, StateChanged};

/// A scope's state as a block sees it. `S` may have only the fields that the block cares about: no other field is read,
/// changed or fought over.
pub struct StateRef<S> {
    pub(super) ctx: Ctx,
    pub(super) kind: ScopeKind,
    /// The resource whose state it is, if it is one's.
    pub(super) of: Option<Arc<RunResource>>,
    _state: PhantomData<fn() -> S>,
}

impl<S> StateRef<S> {
    pub(crate) fn new(ctx: Ctx, kind: ScopeKind) -> Self {
        Self {
            ctx,
            kind,
            of: None,
            _state: PhantomData,
        }
    }

    pub(crate) fn of_resource(ctx: Ctx, of: Arc<RunResource>) -> Self {
        Self {
            ctx,
            kind: of.at().scope,
            of: Some(of),
            _state: PhantomData,
        }
    }

    /// Whose state it is, or whose resource's.
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
        self.commute(op, move |state| number(state, &field))
    }

    /// Adds to several number fields at once: all of them or none. Gives their values.
    pub fn inc_all<F: Into<String>, N: Into<Number>>(&self, by: impl IntoIterator<Item = (F, N)>) -> Write<'_, Fields> {
        let by = by.into_iter();
        let by: Fields = by.map(|(field, by)| (field.into(), Value::Number(by.into()))).collect();
        let named = names(&by);
        self.commute(StateOp::Inc(by), move |state| values(state, &named))
    }

    /// Replaces the fields of `fields` (an object, or a struct that serialises to one); the others stay. One record, applied whole,
    /// however many fields it has. What is worked out from the state as it is needs [`StateRef::atomic`]. Gives their values.
    pub fn patch(&self, fields: impl Serialize) -> Write<'_, Fields> {
        let fields = partial::fields(fields);
        self.write(async move {
            let fields = fields?;
            let named = names(&fields);
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
            self.append(op, |state| elements(state, &field)).await
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

    pub(super) fn write<'a, T>(
        &'a self,
        write: impl Future<Output = Result<Written<T>, StateProblem>> + Send + 'a,
    ) -> Write<'a, T> {
        Write::new(&self.ctx, self.kind, self.path(), write)
    }

    /// Of the resource whose state it is.
    pub(super) fn path(&self) -> Option<&str> {
        self.of.as_ref().map(|resource| resource.at().path())
    }

    /// What the flow declares, and what the run knows.
    pub(super) fn parts(&self) -> Result<(&ScopeDef, &RunScope), StateProblem> {
        if let Some(resource) = &self.of {
            return Ok((&resource.def().state, resource.scope()));
        }
        let def = self.ctx.flow().scope(self.kind);
        match self.ctx.scope(self.kind) {
            Some(scope) if def.is_declared() => Ok((def, scope)),
            _ => Err(StateProblem::Undeclared {
                flow: self.ctx.flow_kind().to_owned(),
                builder: self.kind.as_str(),
            }),
        }
    }

    /// Refuses an operation of a block that did not declare it, and any on what is read-only.
    pub(super) fn check_allowed(&self, op: &StateOp) -> Result<(), StateProblem> {
        match &self.of {
            None => self.ctx.views().check(self.kind, self.ctx.block_name(), op),
            Some(_) => self.check_writable(),
        }
    }

    pub(super) fn check_writable(&self) -> Result<(), StateProblem> {
        match &self.of {
            Some(resource) if resource.def().read_only => Err(StateProblem::ReadOnly),
            _ => Ok(()),
        }
    }

    /// What the hooks of a resource are told of a change, if there is one that is.
    pub(super) fn is_watched(&self) -> bool {
        self.of.as_ref().is_some_and(|resource| resource.is_watched())
    }

    /// Tells them, when the change is durable, of what was and what it made of that.
    pub(super) async fn tell(&self, change: Option<(Fields, Arc<StateChanged>)>) -> Result<(), StateProblem> {
        match (&self.of, change) {
            (Some(resource), Some((before, change))) => {
                let mut after = before.clone();
                let _ = change.apply_to(&mut after);
                Ok(resource.tell_updated(&self.ctx, &before, &after).await?)
            }
            _ => Ok(()),
        }
    }

    /// Appends an operation that commutes.
    async fn append<T>(&self, op: StateOp, value: impl FnOnce(&Fields) -> T) -> Result<Written<T>, StateProblem> {
        let (def, scope) = self.parts()?;
        self.check_allowed(&op)?;
        if let Some(resource) = self.live() {
            return self.append_live(resource, op, value).await;
        }
        scope.be_close(&self.ctx).await?;
        let recorder = self.ctx.recorder();
        let mut turn = recorder.turn().await?;
        let (write, before) = {
            let overlay = scope.overlay.lock();
            def.check(overlay.fields(), &op)?;
            let base = def.base(overlay.fields(), &op);
            let before = self.is_watched().then(|| overlay.fields().clone());
            (self.to_write(op, base, None)?, before)
        };
        let on_its_way = scope.departs();
        let (appending, change) = turn.change(self.ctx.place(), write).await?;
        if scope.is_the_runs() {
            scope.overlay.lock().queued(&change);
        }
        drop(turn);
        let version = recorder.sequenced(appending).await?;
        let told = before.map(|before| (before, change.clone()));
        let value = value(scope.sequenced(version, change, false).fields());
        drop(on_its_way);
        self.wrote().await?;
        self.tell(told).await?;
        Ok(Written::Changed { value, version })
    }

    /// What the run knows of a resource that it has written is kept until that is visible.
    pub(super) async fn wrote(&self) -> Result<(), StateProblem> {
        match &self.of {
            Some(resource) => Ok(self.ctx.run_resources().wrote(&self.ctx, resource, 0).await?),
            None => Ok(()),
        }
    }

    pub(super) fn to_write(&self, op: StateOp, base: Fields, under: Option<u64>) -> Result<ScopeWrite, StateProblem> {
        let (def, scope) = self.parts()?;
        let (path, delta) = def.shown(&op);
        Ok(ScopeWrite {
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
            of: self.of.as_ref().map(|resource| resource.mark()),
        })
    }
}
