//! Hooks: blocks that a flow runs around its requests. They observe: one that fails is recorded and logged, and changes nothing.
//! All of them have run, and what they did is recorded, before the last record of their request.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Ctx;
use super::run::Run;
use crate::block::BlockDef;
use crate::error::BlockError;
use crate::item::Phase;
use crate::projection::RequestStatus;
use crate::value::{Data, Val};

/// A request begins; for `on_started`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// The request's id.
    pub request: String,
    /// Its action.
    pub action: String,
}

/// The action's block gave its output; for `on_completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Completed {
    /// The request's id.
    pub request: String,
    /// Its action.
    pub action: String,
    /// The output.
    pub output: Value,
}

/// The action's block failed; for `on_errored`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Errored {
    /// The request's id.
    pub request: String,
    /// Its action.
    pub action: String,
    /// Why.
    pub error: ErrorInfo,
}

/// A request is about to end; for `on_finished`. Nothing comes after it but the last record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finished {
    /// The request's id.
    pub request: String,
    /// Its action.
    pub action: String,
    /// How it ends.
    pub status: RequestStatus,
}

/// Something failed and the request goes on: a step that was rescued, or background work; for `on_step_errored`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepErrored {
    /// The request's id.
    pub request: String,
    /// Its action.
    pub action: String,
    /// Why.
    pub error: ErrorInfo,
}

/// An error as hooks see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorInfo {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// What else is known.
    pub details: Option<Value>,
    /// Whether the same may succeed later.
    pub retryable: bool,
    /// The place in the run where it came up.
    pub place: Option<String>,
}

impl From<&BlockError> for ErrorInfo {
    fn from(error: &BlockError) -> Self {
        Self {
            code: error.code().to_owned(),
            message: error.message().to_owned(),
            details: error.details().cloned(),
            retryable: error.is_retryable(),
            place: error.place().map(str::to_owned),
        }
    }
}

/// The hooks of a flow, or the two of an action, in the order in which they were declared.
#[derive(Default, Clone)]
pub(crate) struct Hooks {
    pub(crate) started: Vec<Arc<BlockDef>>,
    pub(crate) completed: Vec<Arc<BlockDef>>,
    pub(crate) errored: Vec<Arc<BlockDef>>,
    pub(crate) finished: Vec<Arc<BlockDef>>,
    pub(crate) step_errored: Vec<Arc<BlockDef>>,
}

impl Hooks {
    /// All of their blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &BlockDef> {
        let kinds = [
            &self.started,
            &self.completed,
            &self.errored,
            &self.finished,
            &self.step_errored,
        ];
        kinds.into_iter().flatten().map(|block| &**block)
    }
}

/// Runs hooks one after the other, each with the payload.
async fn call<P: Data>(run: &Arc<Run>, name: &str, hooks: &[Arc<BlockDef>], payload: impl FnOnce() -> P) {
    if hooks.is_empty() {
        return;
    }
    let payload = Val::new(payload());
    for (index, hook) in hooks.iter().enumerate() {
        let ctx = Ctx::root(run.clone(), &format!("{name}[{index}]"), Phase::Work, hook);
        if let Err(error) = hook.clone().run(payload.clone(), ctx).await {
            tracing::warn!(request = &*run.request, hook = name, %error, "a hook failed");
        }
    }
}

pub(super) async fn started(run: &Arc<Run>) {
    let (request, action) = run.names();
    call(run, "on_started", &run.flow.hooks.started, || Started {
        request,
        action,
    })
    .await;
}

/// The action's hooks, then the flow's.
pub(super) async fn ended(run: &Arc<Run>, of_action: &Hooks, ended: &Result<Val, BlockError>) {
    let of_flow = &run.flow.hooks;
    let (request, action) = run.names();
    match ended {
        Ok(output) => {
            let payload = || Completed {
                request,
                action,
                output: output.json().unwrap_or(Value::Null),
            };
            if of_action.completed.is_empty() && of_flow.completed.is_empty() {
                return;
            }
            let payload = payload();
            call(run, "action.on_completed", &of_action.completed, || payload.clone()).await;
            call(run, "on_completed", &of_flow.completed, || payload).await;
        }
        Err(error) => {
            let payload = Errored {
                request,
                action,
                error: error.into(),
            };
            call(run, "action.on_errored", &of_action.errored, || payload.clone()).await;
            call(run, "on_errored", &of_flow.errored, || payload).await;
        }
    }
}

pub(super) async fn finished(run: &Arc<Run>, status: RequestStatus) {
    let (request, action) = run.names();
    let payload = || Finished {
        request,
        action,
        status,
    };
    call(run, "on_finished", &run.flow.hooks.finished, payload).await;
}

pub(super) async fn step_errored(run: &Arc<Run>, error: &BlockError) {
    let hooks = &run.flow.hooks.step_errored;
    if hooks.is_empty() {
        return;
    }
    let (request, action) = run.names();
    let payload = || StepErrored {
        request,
        action,
        error: error.into(),
    };
    let number = run.step_errors.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    call(run, &format!("on_step_errored[{number}]"), hooks, payload).await;
}
