//! One run: from an accepted request to its last record, whatever the user's code does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use super::recorder::{Outcome, Recorder};
use super::{Core, Ctx, panic_message};
use crate::error::BlockError;
use crate::flow::{ActionDef, Flow};
use crate::item::{ContentPart, ItemBody, Role, Visibility};
use crate::value::Val;

/// What the blocks of one run share.
pub(super) struct Run {
    pub(super) core: Arc<Core>,
    pub(super) flow: Arc<Flow>,
    pub(super) request: String,
    pub(super) session: String,
    pub(super) user: String,
    pub(super) recorder: Recorder,
}

/// Runs the action. Ends when the request's last record is durable, or can't be.
pub(super) async fn run(run: Arc<Run>, action: &str, input: Val) {
    let closing = run.core.closing.clone();
    let work = AssertUnwindSafe(work(&run, action, input)).catch_unwind();
    let outcome = tokio::select! {
        biased;
        () = closing.cancelled() => Outcome::Interrupted("the engine was closed"),
        ended = work => match ended {
            Ok(Ok(output)) => Outcome::Completed(output),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(panic) => {
                Outcome::Failed(BlockError::new("panic", format!("a block panicked: {}", panic_message(&*panic))))
            }
        },
    };
    if let Err(error) = run.recorder.finish(outcome, &closing).await {
        tracing::error!(request = run.request, %error, "a request could not be closed; the next start closes it");
    }
}

async fn work(run: &Arc<Run>, action: &str, input: Val) -> Result<serde_json::Value, BlockError> {
    run.recorder.start().await?;
    let flow = run.flow.clone();
    let ActionDef {
        block, user_message, ..
    } = flow
        .action(action)
        .ok_or_else(|| BlockError::new("unknown_action", format!("there is no action {action:?}")))?;
    if let Some(user_message) = user_message {
        let content = vec![ContentPart::text(user_message(&input)?)];
        let body = ItemBody::Message {
            role: Role::User,
            content,
        };
        run.recorder.add_whole_item(Visibility::CONVERSATION, body).await?;
    }
    let ctx = Ctx::root(run.clone(), action, block);
    block.clone().run(input, ctx).await?.json()
}
