//! One question to a model and its answer, both recorded: the question before it is asked, the answer before the loop goes on.

use futures_util::StreamExt;

use super::drive::Spec;
use super::emission::Shown;
use super::hear::Hearing;
use super::prompt::Prompt;
use super::turn::{Reply, Turn};
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::model::{Model, ModelError, ModelErrorKind, ModelMessage, ModelRequest};
use crate::record::{ModelCalled, ModelReplied};

/// Asks for the turn's next answer.
pub(super) async fn ask<I: Send + Sync + 'static>(
    spec: &Spec<I>,
    input: &I,
    prompt: &mut Prompt,
    turn: &Turn,
    shown: Shown,
    ctx: &Ctx,
) -> Result<Reply, BlockError> {
    let step = u32::try_from(turn.steps().len()).unwrap_or(u32::MAX);
    let request = spec.request(prompt, turn);
    if request.messages.is_empty() {
        let what = "there is no prompt, no history and no user's message to answer";
        return Err(BlockError::new("empty_prompt", what));
    }
    let name = spec.model.names(input, ctx).await?;
    let model = ctx.model(name.first().map(String::as_str))?;
    let said = match turn.steps().last() {
        None => prompt.to_record(),
        Some(last) => last.correction.iter().map(ModelMessage::user).collect(),
    };
    let (system, tools) = prompt.changes();
    ctx.record(ModelCalled {
        model: model.name().to_owned(),
        instance: ctx.instance(),
        step,
        system,
        history: prompt.range.filter(|_| step == 0),
        said,
        tools,
    })
    .await?;
    ctx.durable().await?;
    let mut hearing = Hearing::new(ctx, shown, step, spec.shape.is_some());
    let answered = listen(&*model, request, &mut hearing).await?;
    let (finish, usage) = match answered {
        Ok(end) => end,
        Err(error) => {
            hearing.fail().await?;
            return Err(error.into());
        }
    };
    let (reply, parts) = hearing.end(model.name(), finish, usage).await?;
    let mut total = turn.usage();
    if let Some(usage) = reply.usage {
        *total.get_or_insert_default() += usage;
    }
    ctx.record(ModelReplied {
        model: reply.model.clone(),
        instance: ctx.instance(),
        step,
        parts,
        finish: reply.finish.clone(),
        usage: reply.usage,
        total,
        item: reply.item,
    })
    .await?;
    Ok(reply)
}

type End = (crate::model::Finish, Option<crate::model::Usage>);

/// Hears an answer to its end. The outer error is one of recording it.
async fn listen(
    model: &dyn Model,
    request: ModelRequest,
    hearing: &mut Hearing<'_>,
) -> Result<Result<End, ModelError>, BlockError> {
    let mut events = model.stream(request);
    loop {
        match events.next().await {
            Some(Ok(event)) => {
                if let Some(end) = hearing.hear(event).await? {
                    return Ok(Ok(end));
                }
            }
            Some(Err(error)) => return Ok(Err(error)),
            None => {
                let cut = ModelError::new(model.name(), ModelErrorKind::Cut, "its answer broke off");
                return Ok(Err(cut));
            }
        }
    }
}
