//! One question to a model and its answer, both recorded: the question before it is asked, the answer before the loop goes on. A model
//! that fails before it says anything is asked again, then the next one is: what follows from a failure is in `model/chain`.

use futures_util::StreamExt;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::drive::Spec;
use super::emission::Shown;
use super::hear::Hearing;
use super::prompt::Prompt;
use super::turn::{Reply, Turn};
use crate::error::BlockError;
use crate::exec::{Ctx, RecordedLoop};
use crate::model::{
    Candidate, Chain, Finish, ModelError, ModelErrorKind, ModelMessage, ModelRequest, Resolved, Then, Usage,
};
use crate::record::{ModelCalled, ModelFailed, ModelReplied};
use crate::trace::TraceParent;

/// Asks for the turn's next answer.
pub(super) async fn ask<I: Send + Sync + 'static>(
    spec: &Spec<I>,
    resolved: Resolved,
    prompt: &mut Prompt,
    turn: &Turn,
    shown: Shown,
    ctx: &Ctx,
) -> Result<Reply, BlockError> {
    let request = spec.request(prompt, turn);
    if request.messages.is_empty() {
        let what = "there is no prompt, no history and no user's message to answer";
        return Err(BlockError::new("empty_prompt", what));
    }
    let mut asking = Asking {
        step: u32::try_from(turn.steps().len()).unwrap_or(u32::MAX),
        chain: Chain::new(resolved),
        structured: spec.shape.is_some(),
        shown,
        ctx,
    };
    let (hearing, model, end) = asking.until_answered(&request, prompt, turn).await?;
    record_reply(hearing, model, end, asking.step, turn, ctx).await
}

/// Gives the turn's next answer as it is in the recording that is replayed; no model is asked.
pub(super) async fn replay<I: Send + Sync + 'static>(
    spec: &Spec<I>,
    recorded: Option<&RecordedLoop>,
    prompt: &mut Prompt,
    turn: &Turn,
    shown: Shown,
    ctx: &Ctx,
) -> Result<Reply, BlockError> {
    let step = u32::try_from(turn.steps().len()).unwrap_or(u32::MAX);
    let answer = recorded.and_then(|recorded| Some((recorded.model(step)?, recorded.answer(step)?)));
    let Some((model, answer)) = answer else {
        let failed = recorded.and_then(RecordedLoop::failed).cloned();
        return Err(failed.unwrap_or_else(|| not_recorded(step, ctx)));
    };
    record_call(model.to_owned(), step, said(prompt, turn), prompt, ctx).await?;
    let mut hearing = Hearing::new(ctx, shown, step, spec.shape.is_some());
    let mut end = End::default();
    for event in answer {
        if let Some(ended) = hearing.hear(event.clone()).await? {
            end = ended;
        }
    }
    record_reply(hearing, model.to_owned(), end, step, turn, ctx).await
}

fn not_recorded(step: u32, ctx: &Ctx) -> BlockError {
    let what = format!(
        "the recording has no answer {step} of {}: the flow does not do what it did when it was recorded",
        ctx.path()
    );
    BlockError::new("replay_diverged", what)
}

/// Records the answer, and gives it to the loop.
async fn record_reply(
    hearing: Hearing<'_>,
    model: String,
    (finish, usage): End,
    step: u32,
    turn: &Turn,
    ctx: &Ctx,
) -> Result<Reply, BlockError> {
    let (reply, parts) = hearing.end(&model, finish, usage).await?;
    let mut total = turn.usage();
    if let Some(usage) = reply.usage {
        *total.get_or_insert_default() += usage;
    }
    ctx.record(ModelReplied {
        model,
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

/// What is said in the next question and is recorded nowhere else.
fn said(prompt: &Prompt, turn: &Turn) -> Vec<ModelMessage> {
    match turn.steps().last() {
        None => prompt.to_record(),
        Some(last) => last.correction.iter().map(ModelMessage::user).collect(),
    }
}

/// Records the question. On return it is durable, and all that led to it.
async fn record_call(
    model: String,
    step: u32,
    said: Vec<ModelMessage>,
    prompt: &mut Prompt,
    ctx: &Ctx,
) -> Result<(), BlockError> {
    let (system, tools) = prompt.changes();
    ctx.record(ModelCalled {
        model,
        instance: ctx.instance(),
        step,
        system,
        history: prompt.range.filter(|_| step == 0),
        said,
        tools,
    })
    .await?;
    Ok(ctx.durable().await?)
}

type End = (Finish, Option<Usage>);

/// One question, whoever answers it.
struct Asking<'a> {
    step: u32,
    chain: Chain,
    structured: bool,
    shown: Shown,
    ctx: &'a Ctx,
}

impl<'a> Asking<'a> {
    /// The answer as it was heard, and who gave it.
    async fn until_answered(
        &mut self,
        request: &ModelRequest,
        prompt: &mut Prompt,
        turn: &Turn,
    ) -> Result<(Hearing<'a>, String, End), BlockError> {
        let mut asked = None;
        loop {
            let Some(candidate) = self.chain.current().cloned() else {
                return Err(BlockError::new("unknown_model", "there is no model to ask"));
            };
            let model = candidate.model.name().to_owned();
            // The same question to the same model is recorded once.
            if asked.as_ref() != Some(&model) {
                let said = match asked {
                    None => said(prompt, turn),
                    // Behind the first question to this answer, it is known.
                    Some(_) => Vec::new(),
                };
                record_call(model.clone(), self.step, said, prompt, self.ctx).await?;
                asked = Some(model.clone());
            }
            let mut hearing = Hearing::new(self.ctx, self.shown, self.step, self.structured);
            let mut question = request.clone();
            question.trace = self.ctx.trace_child();
            let error = match self.listen(&candidate, question, &mut hearing).await? {
                Ok(end) => return Ok((hearing, model, end)),
                Err(error) => error,
            };
            hearing.fail().await?;
            let failed = |retry_in_ms| ModelFailed {
                model: model.clone(),
                instance: self.ctx.instance(),
                step: self.step,
                kind: error.kind,
                message: error.message.clone(),
                status: error.status,
                retry_in_ms,
            };
            match self.chain.failed(error.clone()) {
                Then::Wait(pause) => {
                    let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                    self.ctx.record(failed(Some(ms))).await?;
                    self.ctx.wait(pause).await;
                }
                Then::Next => self.ctx.record(failed(None)).await?,
                Then::GiveUp(last) => {
                    self.ctx.record(failed(None)).await?;
                    return Err(last.into());
                }
            }
        }
    }

    /// Hears an answer to its end, in a span of its own. The outer error is one of recording it.
    async fn listen(
        &mut self,
        candidate: &Candidate,
        mut request: ModelRequest,
        hearing: &mut Hearing<'_>,
    ) -> Result<Result<End, ModelError>, BlockError> {
        let span = call_span(candidate.model.name());
        // Who exports spans knows the call by this one.
        request.trace = TraceParent::of(&span).or(request.trace);
        let heard = self.hear(candidate, request, hearing).instrument(span.clone()).await;
        match &heard {
            Ok(Ok((finish, usage))) => tell(&span, finish, usage.as_ref()),
            Ok(Err(error)) => {
                span.record("error.type", tracing::field::debug(error.kind));
            }
            Err(error) => {
                span.record("error.type", error.code());
            }
        }
        heard
    }

    async fn hear(
        &mut self,
        candidate: &Candidate,
        request: ModelRequest,
        hearing: &mut Hearing<'_>,
    ) -> Result<Result<End, ModelError>, BlockError> {
        let mut events = candidate.model.stream(candidate.settle(request));
        loop {
            match events.next().await {
                Some(Ok(event)) => {
                    self.chain.answering();
                    if let Some(end) = hearing.hear(event).await? {
                        return Ok(Ok(end));
                    }
                }
                Some(Err(error)) => return Ok(Err(error)),
                None => {
                    let (model, what) = (candidate.model.name(), "its answer broke off");
                    return Ok(Err(ModelError::new(model, ModelErrorKind::Cut, what)));
                }
            }
        }
    }
}

/// The span of a call of a model, in the words of OpenTelemetry's conventions for generative AI.
fn call_span(model: &str) -> Span {
    let provider = model.split_once('/').map_or(model, |(provider, _)| provider);
    tracing::info_span!(
        "chat",
        otel.kind = "client",
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = provider,
        gen_ai.request.model = model,
        gen_ai.response.finish_reasons = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        error.type = Empty,
    )
}

/// What the span says of an answer.
fn tell(span: &Span, finish: &Finish, usage: Option<&Usage>) {
    span.record("gen_ai.response.finish_reasons", tracing::field::debug([finish]));
    if let Some(usage) = usage {
        span.record("gen_ai.usage.input_tokens", usage.input_tokens);
        span.record("gen_ai.usage.output_tokens", usage.output_tokens);
    }
}
