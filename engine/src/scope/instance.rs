//! The state of one execution of a sequencer. It lives as long as the execution; every operation on it is a record.
//! Operations of one instance are done one after the other, so that none can miss another.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Number, Value};
use tokio::sync::Mutex;

use super::op::Fields;
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
    /// Of an execution of `block` at `path`.
    pub(crate) fn new(block: Arc<str>, path: Arc<str>, attempt: u32, def: Arc<ScopeDef>) -> Self {
        let fields = Mutex::new(def.initial.clone());
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

    /// Adds `by` to a number field.
    pub async fn inc(&self, field: &str, by: impl Into<Number>) -> Result<(), InstanceError> {
        let fields = Map::from_iter([(field.to_owned(), Value::Number(by.into()))]);
        self.change(|_| Ok(StateOp::Inc(fields))).await
    }

    /// Replaces the fields of `fields` (an object, or a struct that serialises to one); the others stay.
    pub async fn patch(&self, fields: impl Serialize) -> Result<(), InstanceError> {
        let fields = partial::fields(fields);
        self.change(|_| Ok(StateOp::Patch(fields?))).await
    }

    /// One operation, made from the state as it is then.
    async fn change(&self, op: impl FnOnce(&Fields) -> Result<StateOp, StateProblem>) -> Result<(), InstanceError> {
        let mut fields = self.state.fields.lock().await;
        let change = async {
            let op = op(&fields)?;
            self.state.def.check(&fields, &op)?;
            let mut next = fields.clone();
            op.apply_to(&mut next)?;
            let record = InstanceStateChanged {
                path: self.state.path.to_string(),
                attempt: self.state.attempt,
                op,
            };
            self.ctx.record(record).await?;
            Ok(next)
        };
        *fields = change.await.map_err(|problem| self.error(problem))?;
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

    /// Replaces the fields of `S` by what `update` makes of them; nothing comes in between.
    pub async fn update(&self, update: impl FnOnce(S) -> S + Send) -> Result<(), InstanceError> {
        self.change(|fields| {
            let next = update(partial::read(&self.state.def, fields)?);
            Ok(StateOp::Patch(partial::fields(next)?))
        })
        .await
    }
}
