//! Performs what a [`Turn`] says: asks the model, runs the tools, and feeds back what came of it. Everything that came is recorded before
//! the loop goes on.

use serde_json::{Map, Value};

use super::ask;
use super::calls;
use super::emission::{Emission, Shown};
use super::prompt::{Prompt, Slot, Slots};
use super::shape::Shape;
use super::turn::{Next, Turn};
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::item::Audience;
use crate::model::{Finish, ModelChoice, ModelRequest, ProviderTool, Resolved, Search};
use crate::value::{Recorded, Val};

/// What is declared of a generator.
pub(super) struct Spec<I> {
    pub(super) model: Slot<I, ModelChoice>,
    pub(super) slots: Slots<I>,
    pub(super) emission: Emission,
    pub(super) audience: Option<Audience>,
    pub(super) steps_max: u32,
    /// Of its output, unless that is the model's words.
    pub(super) shape: Option<Shape>,
    pub(super) search: Option<Search>,
    pub(super) provider_tools: Vec<ProviderTool>,
    pub(super) tokens_max: Option<u32>,
    pub(super) provider_options: Map<String, Value>,
}

impl<I: Send + Sync + 'static> Spec<I> {
    /// Runs the loop to its end, from where the request's records say that it was.
    pub(super) async fn run(&self, input: &I, ctx: &Ctx) -> Result<Val, BlockError> {
        let shown = Shown::new(self.emission, self.audience, ctx.phase(), ctx.is_in_tool());
        let resumed = ctx.resumed_loop();
        let mut turn = resumed
            .map(|before| before.turn.clone())
            .unwrap_or_default()
            .at_most(self.steps_max);
        let mut prompt = match resumed {
            Some(before) => self.slots.fill_as(&before.called, input, ctx).await?,
            None => self.slots.fill(input, ctx).await?,
        };
        let replayed = ctx.begin_replayed_loop();
        let (mut refilled, mut resolved) = (0, None::<Resolved>);
        loop {
            match turn.next() {
                Next::Ask { step } => {
                    if step > refilled {
                        self.slots.refill(&mut prompt, input, ctx).await?;
                        refilled = step;
                    }
                    let reply = match replayed {
                        Some(recorded) => ask::replay(self, recorded, &mut prompt, &turn, shown, ctx).await?,
                        None => {
                            let resolved = match &resolved {
                                Some(resolved) => resolved,
                                None => &*resolved.insert(ctx.resolve_model(self.model.fill(input, ctx).await?)?),
                            };
                            ask::ask(self, resolved.clone(), &mut prompt, &turn, shown, ctx).await?
                        }
                    };
                    turn.replied(reply);
                }
                Next::Run { step, calls } => {
                    let running = calls::Running {
                        step,
                        tools: &prompt.tools,
                        recorded: replayed.filter(|_| ctx.replays_tools()),
                        shown,
                        ctx,
                    };
                    running.run(&mut turn, &calls).await?;
                }
                Next::End { at_limit } => {
                    if let Some(output) = self.output(&mut turn, at_limit)? {
                        return Ok(output);
                    }
                }
            }
        }
    }

    /// What the loop gives; `None` if the model is to be asked again.
    fn output(&self, turn: &mut Turn, at_limit: bool) -> Result<Option<Val>, BlockError> {
        let steps = turn.steps().len();
        let Some(last) = turn.steps().last() else {
            return Err(no_output(steps));
        };
        let text = last.reply.text();
        let Some(shape) = &self.shape else {
            let item = last.reply.item;
            let output = Val::new(text);
            if let Some(item) = item {
                output.set_recorded(Recorded::Item(item));
            }
            return Ok(Some(output));
        };
        if at_limit && text.trim().is_empty() {
            return Err(no_output(steps));
        }
        // What was cut off is not made whole by closing its brackets.
        let is_whole = !matches!(last.reply.finish, Finish::Length | Finish::ContentFilter);
        match shape.read(&text, is_whole) {
            Ok(output) => Ok(Some(output)),
            Err(error) => {
                let may = !at_limit && turn.corrections() < shape.corrections();
                match may && turn.correct(shape.correction(&error)) {
                    true => Ok(None),
                    false => Err(BlockError::of(error)),
                }
            }
        }
    }

    /// What the model is asked in this step.
    pub(super) fn request(&self, prompt: &Prompt, turn: &Turn) -> ModelRequest {
        let mut request = ModelRequest::new(prompt.messages(turn.messages()));
        request.tools = prompt.tools.specs();
        request.provider_tools = self.provider_tools.clone();
        request.search = self.search.clone();
        request.tokens_max = self.tokens_max;
        request.provider_options = self.provider_options.clone();
        request.output = self.shape.as_ref().map(Shape::told);
        request
    }
}

fn no_output(steps: usize) -> BlockError {
    BlockError::new("no_output", format!("the model gave no output after {steps} steps"))
}

/// A tool's output as a model sees it: text as it is, anything else as JSON.
pub(crate) fn shown_to_model(output: &Value) -> String {
    match output {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
