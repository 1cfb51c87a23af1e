//! Generators: a block that asks a model and streams its answer into a message item.
//! What the model is shown is put together in `generator/prompt`.

mod prompt;

use std::sync::Arc;

use futures_util::StreamExt;

use super::{Block, Body, IntoBlock, ViaGenerator};
use crate::error::{BlockError, RecordError};
use crate::exec::Ctx;
use crate::item::{Audience, ContentPart, ItemBody, ItemStatus, Role};
use crate::model::{ModelError, ModelErrorKind, ModelEvent, ModelRequest};
use crate::record::{ModelCalled, ModelReplied};
use crate::scope::Views;
use crate::value::{Data, Recorded, Val};
use prompt::{Prompt, Slots};

pub use prompt::History;

/// Begins a generator. It gives the model's whole text.
pub fn generator<I: Data>(name: impl Into<String>) -> Generator<I> {
    Generator {
        name: name.into(),
        model: None,
        slots: Slots::default(),
        audience: None,
        views: Views::default(),
        problems: Vec::new(),
    }
}

/// A generator; see [`generator`].
pub struct Generator<I> {
    name: String,
    model: Option<String>,
    slots: Slots<I>,
    audience: Option<Audience>,
    pub(super) views: Views,
    pub(super) problems: Vec<String>,
}

impl<I: Data> Generator<I> {
    /// The model that it asks, by the name under which the engine has it; without this, the engine's default model.
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.model = Some(name.into());
        self
    }

    /// What the model is told before anything else. Empty text is left out.
    pub fn prompt(self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.prompt_with(move |_, _| text.clone())
    }

    /// The same, made from the input.
    pub fn prompt_with(mut self, prompt: impl Fn(&I, &Ctx) -> String + Send + Sync + 'static) -> Self {
        self.slots.prompt = Some(Arc::new(prompt));
        self
    }

    /// For whom its answers are. Without this: for clients and models in the main phase, for traces in a tool's call and in background work.
    pub fn audience(mut self, audience: Audience) -> Self {
        self.audience = Some(audience);
        self
    }

    /// What the model sees of the session before. Without this, nothing.
    pub fn history(mut self, history: History) -> Self {
        self.slots.history = Some(history);
        self
    }

    /// The user's words, made from the input. They are shown once if the history ends with the same words.
    pub fn user(mut self, user: impl Fn(&I, &Ctx) -> String + Send + Sync + 'static) -> Self {
        self.slots.user = Some(Arc::new(user));
        self
    }
}

impl<I: Data> IntoBlock<I, String, ViaGenerator> for Generator<I> {
    fn into_block(self) -> Block<I, String> {
        let mut problems = self.problems;
        if self.slots.user.is_none() && self.slots.history.is_none() {
            problems.push("a generator needs .user(..) or .history(..), else it has nothing to answer".into());
        }
        let model: Option<Arc<str>> = self.model.map(Into::into);
        let (slots, named) = (Arc::new(self.slots), model.clone());
        let (audience, views) = (self.audience, self.views);
        let code = Arc::new(move |input: Val, ctx: Ctx| {
            let (slots, named) = (slots.clone(), named.clone());
            let future: futures_util::future::BoxFuture<'static, _> = Box::pin(async move {
                let prompt = slots.fill(input.get::<I>()?, &ctx).await?;
                let (item, text) = answer(named.as_deref(), audience, prompt, &ctx).await?;
                let output = Val::new(text);
                output.set_recorded(Recorded::Item(item));
                Ok(output)
            });
            future
        });
        Block::new(self.name, Body::Generator(code), problems)
            .with(|def| (def.model, def.views) = (model, views.into()))
    }
}

/// Asks the model and records every piece of its answer as it comes.
/// If the model stops half-way, the item is closed as failed with exactly what came. Gives the item and its text.
async fn answer(
    named: Option<&str>,
    audience: Option<Audience>,
    prompt: Prompt,
    ctx: &Ctx,
) -> Result<(u32, String), BlockError> {
    let model = ctx.model(named)?;
    let called = ModelCalled {
        model: model.name().to_owned(),
        instance: ctx.instance(),
        prompt: prompt.system.clone(),
        history: prompt.range,
        user: prompt.user.clone(),
    };
    let messages = prompt.into_messages();
    if messages.is_empty() {
        return Err(BlockError::new(
            "empty_prompt",
            "there is no prompt, no history and no user's message to answer",
        ));
    }
    ctx.record(called).await?;
    ctx.durable().await?;

    let mut events = model.stream(ModelRequest::new(messages));
    let mut answer = Answer {
        ctx,
        audience: Audience::first(None, audience, Audience::of_generator(ctx.phase(), ctx.is_in_tool())),
        item: None,
        text: String::new(),
    };
    let ended = loop {
        match events.next().await {
            Some(Ok(ModelEvent::Text(text))) => answer.push(text).await?,
            Some(Ok(ModelEvent::End { finish, usage })) => break Ok((finish, usage)),
            Some(Ok(_)) => {}
            Some(Err(error)) => break Err(error),
            None => {
                break Err(ModelError::new(
                    model.name(),
                    ModelErrorKind::Cut,
                    "its answer broke off",
                ));
            }
        }
    };
    let (finish, usage) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            answer.fail().await?;
            return Err(error.into());
        }
    };
    let (item, text) = answer.finish().await?;
    ctx.record(ModelReplied {
        model: model.name().to_owned(),
        finish,
        usage,
        item: Some(item),
    })
    .await?;
    Ok((item, text))
}

/// The message item that an answer becomes. It is opened by the first piece of text.
struct Answer<'a> {
    ctx: &'a Ctx,
    audience: Audience,
    item: Option<u32>,
    text: String,
}

/// The answer is the only part of its item.
const PART: u32 = 0;

impl Answer<'_> {
    async fn push(&mut self, text: String) -> Result<(), RecordError> {
        if text.is_empty() {
            return Ok(());
        }
        let item = self.open().await?;
        self.text.push_str(&text);
        self.ctx.recorder().add_delta(self.ctx.place(), item, PART, text).await
    }

    async fn finish(mut self) -> Result<(u32, String), RecordError> {
        let item = self.open().await?;
        let recorder = self.ctx.recorder();
        recorder.finish_content(self.ctx.place(), item, PART).await?;
        recorder
            .complete_item(self.ctx.place(), item, ItemStatus::Completed)
            .await?;
        Ok((item, self.text))
    }

    async fn fail(self) -> Result<(), RecordError> {
        match self.item {
            Some(item) => {
                self.ctx
                    .recorder()
                    .complete_item(self.ctx.place(), item, ItemStatus::Failed)
                    .await
            }
            None => Ok(()),
        }
    }

    async fn open(&mut self) -> Result<u32, RecordError> {
        if let Some(item) = self.item {
            return Ok(item);
        }
        let body = ItemBody::Message {
            role: Role::Assistant,
            content: Vec::new(),
        };
        let (recorder, place) = (self.ctx.recorder(), self.ctx.place());
        let visibility = self.audience.sees(&body);
        let item = recorder
            .add_item(place, ItemStatus::InProgress, visibility, body)
            .await?;
        recorder.add_content(place, item, ContentPart::text("")).await?;
        self.item = Some(item);
        Ok(item)
    }
}
