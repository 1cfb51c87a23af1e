//! One run: from an accepted request to its last record, whatever the user's code does.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::recall::Recall;
use super::recorder::{Outcome, Recorder};
use super::resources::RunResources;
use super::scopes::Scopes;
use super::speech::{self, Speaker};
use super::work::Work;
use super::{Core, Ctx, hooks};
use crate::error::BlockError;
use crate::flow::{ActionDef, Flow};
use crate::item::{ABORTED, ContentPart, ItemBody, Phase, Role, Status, Visibility};
use crate::projection::RequestStatus;
use crate::record::CANCELLED;
use crate::trace::TraceParent;
use crate::value::Val;

/// What has happened before in a request that runs.
pub(super) struct Past {
    pub(super) recall: Recall,
    pub(super) repeats: Repeats,
    /// A replay runs the tools too.
    pub(super) runs_tools: bool,
    /// How often a replay has begun the generators at each place.
    pub(super) begun: Mutex<HashMap<(Arc<str>, u32), usize>>,
}

/// Why a request runs that is recorded already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    /// The process that ran it ended: what is recorded has happened.
    Resumed,
    /// It is run again elsewhere: models, and tools, answer as they did.
    Replayed,
}

/// What the blocks of one run share.
pub(super) struct Run {
    pub(super) core: Arc<Core>,
    pub(super) flow: Arc<Flow>,
    pub(super) action: String,
    pub(super) request: Arc<str>,
    pub(super) session: String,
    pub(super) user: String,
    pub(super) project: Option<String>,
    pub(super) recorder: Recorder,
    pub(super) scopes: Scopes,
    pub(super) resources: RunResources,
    pub(super) work: Work,
    /// What is recorded of it already.
    pub(super) past: Option<Box<Past>>,
    /// Who speaks, if it is spoken to whoever asked.
    pub(super) speaker: Option<Speaker>,
    /// The trace that it is part of.
    pub(super) trace: Option<TraceParent>,
    /// How often `on_step_errored` was told.
    pub(super) step_errors: AtomicU32,
}

impl Run {
    /// The request's id and its action.
    pub(super) fn names(&self) -> (String, String) {
        (self.request.to_string(), self.action.clone())
    }

    /// Whether another process ran it before.
    fn is_resumed(&self) -> bool {
        self.past.as_ref().is_some_and(|past| past.repeats == Repeats::Resumed)
    }

    /// Whether another process has shown the user's words.
    fn has_said(&self) -> bool {
        self.is_resumed() && self.past.as_ref().is_some_and(|past| past.recall.said)
    }

    /// The action that runs.
    fn action(&self) -> Result<&ActionDef, BlockError> {
        let unknown = || BlockError::new("unknown_action", format!("there is no action {:?}", self.action));
        self.flow.action(&self.action).ok_or_else(unknown)
    }
}

/// Runs the action. Ends when the request's last record is durable, or can't be. `cancelled` stops it, background work included.
pub(super) async fn run(run: Arc<Run>, input: Val, cancelled: CancellationToken) {
    let closing = run.core.closing.clone();
    let outcome = tokio::select! {
        biased;
        () = closing.cancelled() => match run.core.resumes {
            // The next start goes on with it.
            true => {
                let _ = run.recorder.settle().await;
                return;
            }
            false => Outcome::Interrupted("the engine was closed"),
        },
        outcome = until_cancelled(&run, input, &cancelled) => outcome,
    };
    run.core.stats.ended(match &outcome {
        Outcome::Completed(_) => RequestStatus::Completed,
        Outcome::Failed(_) => RequestStatus::Failed,
        Outcome::Interrupted(_) => RequestStatus::Interrupted,
    });
    if let Err(error) = run.recorder.finish(outcome, &closing).await {
        tracing::error!(request = &*run.request, %error, "a request could not be closed; the next start closes it");
    }
}

async fn until_cancelled(run: &Arc<Run>, input: Val, cancelled: &CancellationToken) -> Outcome {
    let ran = {
        // On the heap, once: what polls it would each keep room for it.
        let chain = AssertUnwindSafe(run_all(run, input)).catch_unwind().boxed();
        let all = run.work.drive(&run.recorder, speech::beside(run, chain));
        cancelled.run_until_cancelled(all).await
    };
    match ran {
        Some(Ok(Ok(output))) => Outcome::Completed(output),
        Some(Ok(Err(error))) => Outcome::Failed(error),
        Some(Err(panic)) => Outcome::Failed(BlockError::panicked("a flow", &*panic)),
        None => {
            run.recorder.close_all().await;
            let notice = ItemBody::Status(Status {
                message: "the request was stopped".into(),
                detail: Some(json!({"code": ABORTED})),
                ..Status::default()
            });
            // Without it the request ends all the same.
            let _ = run.recorder.add_whole_item(Visibility::CLIENT, notice).await;
            let told = finish(run, RequestStatus::Interrupted);
            run.work.drive(&run.recorder, told).await;
            Outcome::Interrupted(CANCELLED)
        }
    }
}

/// Everything between the first record and the last: hooks, the action's block, and the work that it started.
async fn run_all(run: &Arc<Run>, input: Val) -> Result<Val, BlockError> {
    if !run.is_resumed() {
        run.recorder.start().await?;
    }
    hooks::started(run).await;
    let action = run.action()?;
    let ended = AssertUnwindSafe(run_block(run, action, input)).catch_unwind().await;
    let ended = ended.unwrap_or_else(|panic| Err(BlockError::panicked("an action", &*panic)));
    hooks::ended(run, &action.hooks, &ended).await;
    match &ended {
        Ok(_) => run.recorder.spoken_out().await,
        Err(_) => run.recorder.hush().await,
    }
    if run.work.count() > 0 {
        run.recorder.finishing(run.work.count()).await?;
    }
    run.work.quiet().await;
    let status = match &ended {
        Ok(_) => RequestStatus::Completed,
        Err(_) => RequestStatus::Failed,
    };
    finish(run, status).await;
    ended
}

async fn run_block(run: &Arc<Run>, action: &ActionDef, input: Val) -> Result<Val, BlockError> {
    if let Some(user_message) = action.user_message.as_ref().filter(|_| !run.has_said()) {
        let content = vec![ContentPart::text(user_message(&input)?)];
        let body = ItemBody::Message {
            role: Role::User,
            content,
        };
        run.recorder.add_whole_item(Visibility::CONVERSATION, body).await?;
    }
    let ctx = Ctx::root(run.clone(), "root", Phase::Main, &action.block);
    action.block.clone().run(input, ctx).await
}

async fn finish(run: &Arc<Run>, status: RequestStatus) {
    hooks::finished(run, status).await;
    run.work.quiet().await;
    run.recorder.spoken_out().await;
}
