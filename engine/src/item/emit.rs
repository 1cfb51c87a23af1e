//! What a block shows by itself: `ctx.emit()`. Each call is recorded before it returns; nothing is waited for.

use serde::Serialize;
use serde_json::Value;

use super::handle::{ComponentHandle, ContainerHandle, MessageHandle, ToolHandle};
use super::{
    Audience, Component, Container, ContentPart, Failure, IntoParts, ItemBody, ItemStatus, Role, Source, Status,
    StepError, ToolCall, ToolOutput,
};
use crate::error::{BlockError, RecordError};
use crate::exec::Ctx;

/// See [`Ctx::emit`].
#[must_use = "nothing is emitted before a method is awaited"]
pub struct Emit {
    ctx: Ctx,
    audience: Option<Audience>,
}

impl Emit {
    pub(crate) fn new(ctx: Ctx) -> Self {
        Self { ctx, audience: None }
    }

    /// For whom messages, thoughts and tools' outputs are; everything else is for clients.
    pub fn to(mut self, audience: Audience) -> Self {
        self.audience = Some(audience);
        self
    }

    /// A message of the assistant, whole: text, or parts.
    pub async fn message(self, parts: impl IntoParts) -> Result<(), RecordError> {
        self.message_as(Role::Assistant, parts).await
    }

    /// A message of another role, whole.
    pub async fn message_as(self, role: Role, parts: impl IntoParts) -> Result<(), RecordError> {
        let content = parts.into_parts();
        self.whole(ItemBody::Message { role, content }).await
    }

    /// Text for models in later turns, which clients do not see.
    pub async fn model_only(self, text: impl Into<String>) -> Result<(), RecordError> {
        self.to(Audience::History).message(text.into()).await
    }

    /// Begins a message of the assistant, to which text is added as it comes.
    pub async fn open_message(self) -> Result<MessageHandle, RecordError> {
        let body = ItemBody::Message {
            role: Role::Assistant,
            content: Vec::new(),
        };
        self.open_text(body, ContentPart::text("")).await
    }

    /// A thought, whole.
    pub async fn reasoning(self, text: impl Into<String>) -> Result<(), RecordError> {
        let summary = vec![ContentPart::reasoning(text)];
        self.whole(ItemBody::Reasoning { summary }).await
    }

    /// Begins a thought, to which text is added as it comes.
    pub async fn open_reasoning(self) -> Result<MessageHandle, RecordError> {
        let body = ItemBody::Reasoning { summary: Vec::new() };
        self.open_text(body, ContentPart::reasoning("")).await
    }

    /// Data (an object) for a part of a user interface.
    pub async fn component(self, component: impl Into<String>, data: impl Serialize) -> Result<(), BlockError> {
        let body = component_body(component.into(), data, None)?;
        Ok(self.whole(body).await?)
    }

    /// The same under a key: it takes the place of what the request emitted under that key before.
    pub async fn keyed_component(
        self,
        component: impl Into<String>,
        key: impl Into<String>,
        data: impl Serialize,
    ) -> Result<ComponentHandle, BlockError> {
        let handle = ComponentHandle {
            ctx: self.ctx.clone(),
            component: component.into(),
            key: key.into(),
        };
        handle.update(data).await?;
        Ok(handle)
    }

    /// Begins a container: what the context in the handle emits, and what the blocks that it is given to emit, is in it.
    pub async fn container(self, container: Container) -> Result<ContainerHandle, RecordError> {
        let container = Container {
            block_name: self.ctx.block_name().to_owned(),
            ..container
        };
        let item = self.open(ItemBody::Container(container)).await?;
        Ok(ContainerHandle {
            inside: self.ctx.inside_own_container(),
            outside: self.ctx,
            item,
        })
    }

    /// Where something is from.
    pub async fn source(self, source: Source) -> Result<(), RecordError> {
        self.whole(ItemBody::Source(source)).await
    }

    /// What the request is about now; `""` for nothing. The last one counts, and the same text again is not shown again.
    pub async fn status(self, message: impl Into<String>) -> Result<(), RecordError> {
        let message = Some(message.into());
        self.ctx
            .recorder()
            .set_status(self.ctx.place(), message, None, None)
            .await
    }

    /// Whether the session waits for the request, and how much runs beside it. The text stays.
    pub async fn status_flags(self, blocked: bool, background_tasks: u32) -> Result<(), RecordError> {
        let recorder = self.ctx.recorder();
        let (blocked, tasks) = (Some(blocked), Some(background_tasks));
        recorder.set_status(self.ctx.place(), None, blocked, tasks).await
    }

    /// Something failed, and the request goes on.
    pub async fn step_error(self, error: &BlockError, recovered: bool) -> Result<(), RecordError> {
        let error = StepError {
            message: error.message().to_owned(),
            code: Some(error.code().to_owned()),
            block_name: Some(self.ctx.block_name().to_owned()),
            recovered,
        };
        self.whole(ItemBody::StepError(error)).await
    }

    /// A model's call of this block as a tool, while its arguments come: live only.
    pub async fn tool_call_progress(self, call: ToolCall) -> Result<(), RecordError> {
        self.whole(ItemBody::ToolCallProgress(call)).await
    }

    /// Begins the output of this block as a tool that a model called.
    pub async fn open_tool(self, call: ToolCall) -> Result<ToolHandle, RecordError> {
        let output = ToolOutput {
            block_name: self.ctx.block_name().to_owned(),
            call,
            ..ToolOutput::default()
        };
        let item = self.open(ItemBody::ToolOutput(output)).await?;
        Ok(ToolHandle { ctx: self.ctx, item })
    }

    async fn whole(self, body: ItemBody) -> Result<(), RecordError> {
        let visibility = self.audience().sees(&body);
        self.ctx
            .recorder()
            .add_whole(self.ctx.place(), visibility, body)
            .await?;
        Ok(())
    }

    async fn open(&self, body: ItemBody) -> Result<u32, RecordError> {
        let visibility = self.audience().sees(&body);
        let recorder = self.ctx.recorder();
        recorder
            .add_item(self.ctx.place(), ItemStatus::InProgress, visibility, body)
            .await
    }

    async fn open_text(self, body: ItemBody, part: ContentPart) -> Result<MessageHandle, RecordError> {
        let item = self.open(body).await?;
        self.ctx.recorder().add_content(self.ctx.place(), item, part).await?;
        Ok(MessageHandle { ctx: self.ctx, item })
    }

    /// What a block says by itself is for clients and models unless it is said otherwise.
    fn audience(&self) -> Audience {
        self.audience.unwrap_or_default()
    }
}

pub(super) fn component_body(
    component: String,
    data: impl Serialize,
    key: Option<String>,
) -> Result<ItemBody, BlockError> {
    match serde_json::to_value(data)? {
        data @ Value::Object(_) => Ok(ItemBody::Component(Component { component, data, key })),
        other => Err(BlockError::new(
            "invalid_component",
            format!("the data of the component {component:?} must be an object, not {other}"),
        )),
    }
}

impl Failure {
    pub(crate) fn of(error: &BlockError) -> Self {
        Self {
            message: error.message().to_owned(),
            code: Some(error.code().to_owned()),
            details: error.details().cloned(),
        }
    }
}

/// The status that a request shows.
impl Status {
    /// What it becomes; `None` if that shows nothing new.
    pub(crate) fn changed(
        &self,
        message: Option<String>,
        blocked: Option<bool>,
        background_tasks: Option<u32>,
    ) -> Option<Self> {
        let next = Self {
            message: message.unwrap_or_else(|| self.message.clone()),
            detail: None,
            blocked: blocked.or(self.blocked),
            background_tasks: background_tasks.or(self.background_tasks),
        };
        (next != *self).then_some(next)
    }
}
