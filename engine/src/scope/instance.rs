//! The state of one execution of a sequencer. It lives as long as the execution; every operation on it is a record.
//! Operations of one instance are done one after the other, so that none can miss another.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Number, Value};
use tokio::sync::Mutex;

use super::left::{elements, json, keys, names, number, values};
use super::op::{Difference, Fields};
use super::{InstanceError, ScopeDef, StateOp, StateProblem, partial};
use crate::exec::Ctx;
use crate::record::InstanceStateChanged;
use crate::value::Data;

/// The state of one instance, what it may be, and whose it is.
pub(crate) struct InstanceState {
    pub(crate) block: Arc<str>,
    path: Arc<str>,
    attempt: u32,
    def: Arc<ScopeDef>,
    fields: Mutex<Fields>,
}

impl InstanceState {
    /// Of an execution of `block` at `path`, to whose state this was done before.
    pub(crate) fn new(block: Arc<str>, path: Arc<str>, attempt: u32, def: Arc<ScopeDef>, done: &[StateOp]) -> Self {
        let mut fields = def.initial.clone();
        for op in done {
            // It was checked before it was recorded; if the declaration has changed since, the field is as it would begin now.
            if op.apply_to(&mut fields).is_err() {
                tracing::warn!(%path, "an operation on the state of a sequencer no longer fits its declaration");
            }
        }
        let fields = Mutex::new(fields);
        Self {
            block,
            path,
            attempt,
            def,
            fields,
        }
    }
}

/// The state of a running or finished block instance, as a block sees it. `S` may have only the fields that the block cares about.
pub struct InstanceRef<S> {
    ctx: Ctx,
    state: Arc<InstanceState>,
    _state: PhantomData<fn() -> S>,
}

impl<S> InstanceRef<S> {
    pub(crate) fn new(ctx: Ctx, state: Arc<InstanceState>) -> Self {
        Self {
            ctx,
            state,
            _state: PhantomData,
        }
    }

    /// The place of the instance in its run: `root/then[0]`.
    pub fn path(&self) -> &str {
        &self.state.path
    }

    /// Adds `by` to a number field; one that is missing counts as 0. Gives the sum.
    pub async fn inc(&self, field: &str, by: impl Into<Number>) -> Result<Number, InstanceError> {
        let by = Map::from_iter([(field.to_owned(), Value::Number(by.into()))]);
        self.change(Ok(StateOp::Inc(by)), |state| number(state, field)).await
    }

    /// Adds to several number fields at once: all of them or none. Gives their values.
    pub async fn inc_all<F: Into<String>, N: Into<Number>>(
        &self,
        by: impl IntoIterator<Item = (F, N)>,
    ) -> Result<Fields, InstanceError> {
        let by = by.into_iter();
        let by: Fields = by.map(|(field, by)| (field.into(), Value::Number(by.into()))).collect();
        let named = names(&by);
        self.change(Ok(StateOp::Inc(by)), |state| values(state, &named)).await
    }

    /// Replaces the fields of `fields` (an object, or a struct that serialises to one); the others stay. Gives their values.
    pub async fn patch(&self, fields: impl Serialize) -> Result<Fields, InstanceError> {
        let fields = partial::fields(fields);
        let named = fields.as_ref().map(names).unwrap_or_default();
        self.change(fields.map(StateOp::Patch), |state| values(state, &named))
            .await
    }

    /// Adds an element at the end of an array field; one that is missing counts as empty. Gives the length.
    pub async fn push(&self, field: &str, value: impl Serialize) -> Result<usize, InstanceError> {
        let op = json(value).map(|value| StateOp::Push {
            field: field.to_owned(),
            value,
        });
        self.change(op, |state| elements(state, field)).await
    }

    /// Sets one key of a map field; one that is missing counts as empty. Gives the number of keys.
    pub async fn record_set(&self, field: &str, key: &str, value: impl Serialize) -> Result<usize, InstanceError> {
        let op = json(value).map(|value| StateOp::RecordSet {
            field: field.to_owned(),
            key: key.to_owned(),
            value,
        });
        self.change(op, |state| keys(state, field)).await
    }

    /// Removes one key of a map field. Gives the number of keys that are left.
    pub async fn record_delete(&self, field: &str, key: &str) -> Result<usize, InstanceError> {
        let op = StateOp::RecordDelete {
            field: field.to_owned(),
            key: key.to_owned(),
        };
        self.change(Ok(op), |state| keys(state, field)).await
    }

    async fn change<T>(
        &self,
        op: Result<StateOp, StateProblem>,
        value: impl FnOnce(&Fields) -> T,
    ) -> Result<T, InstanceError> {
        let op = op.map_err(|problem| self.error(problem))?;
        let mut fields = self.state.fields.lock().await;
        self.apply(&mut fields, op)
            .await
            .map_err(|problem| self.error(problem))?;
        Ok(value(&fields))
    }

    /// Records an operation and does it. Nothing is waited for in between.
    async fn apply(&self, fields: &mut Fields, op: StateOp) -> Result<(), StateProblem> {
        self.state.def.check(fields, &op)?;
        let record = InstanceStateChanged {
            path: self.state.path.to_string(),
            attempt: self.state.attempt,
            op: op.clone(),
        };
        self.ctx.record(record).await?;
        op.apply_to(fields)?;
        Ok(())
    }

    fn error(&self, problem: StateProblem) -> InstanceError {
        InstanceError {
            block: self.state.block.to_string(),
            problem,
        }
    }
}

impl<S: Data> InstanceRef<S> {
    /// The state now.
    pub async fn get(&self) -> Result<S, InstanceError> {
        let fields = self.state.fields.lock().await;
        partial::read(&self.state.def, &fields).map_err(|problem| self.error(problem))
    }

    /// Replaces the fields that `S` has. Nothing is recorded if that changes nothing.
    pub async fn set(&self, next: S) -> Result<S, InstanceError> {
        self.replace(StateOp::Set, |_| next).await
    }

    /// Replaces the fields that `S` has with what `next` makes of them; nothing comes in between, so it runs once. Nothing is
    /// recorded if that changes nothing. Gives what it left.
    pub async fn atomic(&self, next: impl FnOnce(S) -> S + Send) -> Result<S, InstanceError> {
        self.replace(StateOp::Atomic, next).await
    }

    async fn replace(
        &self,
        op: fn(Difference) -> StateOp,
        next: impl FnOnce(S) -> S + Send,
    ) -> Result<S, InstanceError> {
        let mut fields = self.state.fields.lock().await;
        let replaced = async {
            let before: S = partial::read(&self.state.def, &fields)?;
            let was = partial::fields(&before)?;
            let after = next(before);
            let difference = partial::difference(&self.state.def, &fields, &was, partial::fields(&after)?);
            if !difference.is_empty() {
                self.apply(&mut fields, op(difference)).await?;
            }
            Ok(after)
        };
        replaced.await.map_err(|problem| self.error(problem))
    }
}
