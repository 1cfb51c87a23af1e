//! Generators: a block that asks a model, runs the tools that it calls, and streams what it says into items.
//!
//! What the model is shown is put together in `generator/prompt` and `generator/history`; `generator/context` makes parts of it of
//! the scopes' states. The loop of answers and tools is a value (`generator/turn`) that `generator/drive` performs: `generator/ask` asks, `generator/hear` records the answer as it comes,
//! `generator/calls` runs the tools. `generator/shape` reads structured output, with `generator/repair`; `generator/emission` says who sees what.

mod ask;
mod calls;
mod context;
mod drive;
mod emission;
mod hear;
mod history;
mod prompt;
mod repair;
mod shape;
mod tools;
pub mod turn;

use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::answer::Answer;
use super::{Block, Body, Edge, IntoBlock, Tool, ViaGenerator};
use crate::exec::Ctx;
use crate::item::Audience;
use crate::model::{ModelChoice, ProviderTool, Search};
use crate::scope::Views;
use crate::value::{Data, Val};
use context::{Context, Part};
use drive::Spec;
use prompt::{Before, Slot, Slots, made};
use shape::Shape;
use tools::Tools;

pub use context::{ContextFn, context_fn};
pub(crate) use drive::shown_to_model;
pub use emission::Emission;
pub use history::History;
pub use prompt::{SlotMessages, SlotText};
pub use shape::Repair;

/// How often a model is asked in one execution, unless it is said otherwise.
const STEPS_MAX: u32 = 8;

/// Begins a generator. It gives the model's words, unless [`Generator::output`] says otherwise.
pub fn generator<I: Data>(name: impl Into<String>) -> Generator<I> {
    Generator {
        name: name.into(),
        model: Slot::Fixed(ModelChoice::default()),
        slots: Slots::default(),
        tools: Vec::new(),
        emission: Emission::default(),
        audience: None,
        steps_max: STEPS_MAX,
        repair: None,
        search: None,
        provider_tools: Vec::new(),
        tokens_max: None,
        provider_options: Map::new(),
        views: Views::default(),
        problems: Vec::new(),
        _output: PhantomData,
    }
}

/// A generator; see [`generator`].
///
/// A slot is the same in every run, or made by a function of the input, which may be async: `|input, ctx| ..` gives a value, a `Result` of
/// it, or a future of that.
pub struct Generator<I, O = String> {
    name: String,
    model: Slot<I, ModelChoice>,
    slots: Slots<I>,
    tools: Vec<Tool>,
    emission: Emission,
    audience: Option<Audience>,
    steps_max: u32,
    repair: Option<Repair>,
    search: Option<Search>,
    provider_tools: Vec<ProviderTool>,
    tokens_max: Option<u32>,
    provider_options: Map<String, Value>,
    pub(super) views: Views,
    pub(super) problems: Vec<String>,
    _output: PhantomData<fn() -> O>,
}

impl<I: Data, O: Data> Generator<I, O> {
    /// The model that it asks: `openai/gpt-5-mini`, `anthropic/..`, `preset/fast`, `intent/chat`, the name of one that the engine was given,
    /// or a model itself. Of several, in an array, each is tried in that order: one that fails before it says anything gives way to
    /// the next. Without this, the engine's default.
    pub fn model(mut self, model: impl Into<ModelChoice>) -> Self {
        let model = model.into();
        if !model.is_default() && model.names().next().is_none() {
            self.problems.push("its list of models is empty".into());
        }
        self.model = Slot::Fixed(model);
        self
    }

    /// The same, by a function. It is asked once, before the first step.
    pub fn model_with<T, R, M>(mut self, model: impl Fn(&I, Ctx) -> R + Send + Sync + 'static) -> Self
    where
        T: Into<ModelChoice> + Send + 'static,
        R: Answer<T, M>,
    {
        self.model = Slot::Made(made(model, T::into));
        self
    }

    /// What the model is told before anything else. Empty text is left out.
    pub fn prompt(mut self, text: impl Into<String>) -> Self {
        self.slots.prompt = Some(Slot::Fixed(text.into()));
        self
    }

    /// The same, by a function. It is asked again before every later step.
    pub fn prompt_with<T: SlotText, R, M>(mut self, prompt: impl Fn(&I, Ctx) -> R + Send + Sync + 'static) -> Self
    where
        R: Answer<T, M>,
    {
        self.slots.prompt = Some(Slot::Made(made(prompt, T::text)));
        self
    }

    /// Something that the model is told behind the prompt, as a message of its own: text, or what a [`context_fn`] makes of the states
    /// before every step. May be said several times; empty text is left out.
    pub fn context<M>(mut self, context: impl Context<M>) -> Self {
        self.slots.context.push(match context.part() {
            Part::Text(text) => Slot::Fixed(text),
            Part::Made(context) => Slot::Made(Arc::new(move |_, ctx| context.fill(ctx))),
        });
        self
    }

    /// The same, by a function of the input. It is asked again before every later step.
    pub fn context_with<T: SlotText, R, M>(mut self, context: impl Fn(&I, Ctx) -> R + Send + Sync + 'static) -> Self
    where
        R: Answer<T, M>,
    {
        self.slots.context.push(Slot::Made(made(context, T::text)));
        self
    }

    /// What the model sees of the session before. Without this, nothing.
    pub fn history(mut self, history: History) -> Self {
        self.slots.history = Some(Before::Session(history));
        self
    }

    /// The same, by a function that gives the messages; `ctx.history(..)` has those of the session. They are recorded with the call.
    pub fn history_with<T: SlotMessages, R, M>(mut self, history: impl Fn(&I, Ctx) -> R + Send + Sync + 'static) -> Self
    where
        R: Answer<T, M>,
    {
        self.slots.history = Some(Before::Made(made(history, T::messages)));
        self
    }

    /// The user's words (or messages), by a function. They are shown once if the history ends with the same words.
    pub fn user<T: SlotMessages, R, M>(mut self, user: impl Fn(&I, Ctx) -> R + Send + Sync + 'static) -> Self
    where
        R: Answer<T, M>,
    {
        self.slots.user = Some(Slot::Made(made(user, T::messages)));
        self
    }

    /// The user's words (or messages), always the same.
    pub fn user_fixed(mut self, user: impl SlotMessages) -> Self {
        self.slots.user = Some(Slot::Fixed(user.messages()));
        self
    }

    /// A block that the model may call. The same one twice counts once; two of one name can't be built.
    pub fn tool<T: Data, P: Data, M>(mut self, block: impl IntoBlock<T, P, M>) -> Self {
        let block = block.into_block();
        match block.tool() {
            Ok(tool) => self.tools.push(tool),
            Err(why) => self
                .problems
                .push(format!("its tool {:?} has no schema: {why}", block.name())),
        }
        self
    }

    /// Blocks that the model may call.
    pub fn tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.tools.extend(tools);
        self
    }

    /// More of them, by a function, which is asked again before every later step. The flow does not know them when it is built: what they
    /// need of the states must be declared by other blocks or by the flow.
    pub fn tools_with<R, M>(mut self, tools: impl Fn(&I, Ctx) -> R + Send + Sync + 'static) -> Self
    where
        R: Answer<Vec<Tool>, M>,
    {
        self.slots.more_tools.push(made(tools, |tools: Vec<Tool>| tools));
        self
    }

    /// How often the model is asked at most in one execution; 8 unless this says otherwise, and at least once.
    pub fn steps_max(mut self, steps: u32) -> Self {
        if steps == 0 {
            self.problems
                .push("its model is asked at least once: steps_max is 0".into());
        }
        self.steps_max = steps;
        self
    }

    /// Web search by the model's provider, if that has any.
    pub fn search(mut self, search: Search) -> Self {
        self.search = Some(search);
        self
    }

    /// A tool of the model's provider, passed on as it is. What it does makes no items; the provider runs it.
    pub fn provider_tool(mut self, tool: ProviderTool) -> Self {
        self.provider_tools.push(tool);
        self
    }

    /// Most tokens of one answer.
    pub fn tokens_max(mut self, tokens: u32) -> Self {
        self.tokens_max = Some(tokens);
        self
    }

    /// Options for one provider (`openai`, `anthropic`, `google`), added to its calls as they are: an object.
    pub fn provider_options(mut self, provider: impl Into<String>, options: Value) -> Self {
        let provider = provider.into();
        if !options.is_object() {
            self.problems
                .push(format!("the options of the provider {provider:?} are not an object"));
        }
        self.provider_options.insert(provider, options);
        self
    }

    /// Which items it makes by itself: `false` for none, or see [`Emission`]. Without this, all. The block runs all the same.
    pub fn emit(mut self, emission: impl Into<Emission>) -> Self {
        self.emission = emission.into();
        self
    }

    /// For whom they are. Without this: for clients and models in the main phase, for traces in a tool's call and in background work.
    pub fn emit_audience(mut self, audience: Audience) -> Self {
        self.audience = Some(audience);
        self
    }

    /// Makes the model answer in the shape of `T`, which is what the generator then gives. Such an answer becomes no message item.
    pub fn output<T: Data>(self) -> Generator<I, T> {
        Generator {
            name: self.name,
            model: self.model,
            slots: self.slots,
            tools: self.tools,
            emission: self.emission,
            audience: self.audience,
            steps_max: self.steps_max,
            repair: Some(self.repair.unwrap_or_default()),
            search: self.search,
            provider_tools: self.provider_tools,
            tokens_max: self.tokens_max,
            provider_options: self.provider_options,
            views: self.views,
            problems: self.problems,
            _output: PhantomData,
        }
    }

    /// What is done about an answer that has not that shape; [`Repair::auto`]`(1)` unless this says otherwise.
    pub fn repair(mut self, repair: Repair) -> Self {
        if self.repair.is_none() {
            self.problems
                .push("only structured output is repaired: call .output::<T>() before .repair(..)".into());
        }
        self.repair = Some(repair);
        self
    }
}

impl<I: Data, O: Data> IntoBlock<I, O, ViaGenerator> for Generator<I, O> {
    fn into_block(self) -> Block<I, O> {
        let mut problems = self.problems;
        let mut slots = self.slots;
        if slots.user.is_none() && slots.history.is_none() {
            problems.push("a generator needs .user(..) or .history(..), else it has nothing to answer".into());
        }
        slots.tools = Tools::new(self.tools).unwrap_or_else(|problem| {
            problems.push(problem);
            Tools::default()
        });
        let shape = self.repair.and_then(|repair| {
            let shape = Shape::new(&self.name, Edge::of::<O>(), repair);
            shape
                .map_err(|why| problems.push(format!("its output has no schema: {why}")))
                .ok()
        });
        let models = match &self.model {
            Slot::Fixed(choice) => choice.references().map(Into::into).collect(),
            Slot::Made(_) => Vec::new(),
        };
        let tools = slots.tools.blocks();
        let spec = Arc::new(Spec {
            model: self.model,
            slots,
            emission: self.emission,
            audience: self.audience,
            steps_max: self.steps_max,
            shape,
            search: self.search,
            provider_tools: self.provider_tools,
            tokens_max: self.tokens_max,
            provider_options: self.provider_options,
        });
        let code = Arc::new(move |input: Val, ctx: Ctx| {
            let spec = spec.clone();
            let future: BoxFuture<'static, _> = Box::pin(async move { spec.run(input.get::<I>()?, &ctx).await });
            future
        });
        let views = self.views;
        Block::new(self.name, Body::Generator { code, tools }, problems)
            .with(|def| (def.models, def.views) = (models, views.into()))
    }
}
