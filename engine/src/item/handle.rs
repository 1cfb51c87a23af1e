//! Items that a block holds open, or replaces.

use serde::Serialize;
use serde_json::Value;

use super::emit::component_body;
use super::{Audience, Failure, ItemBody, ItemStatus, ToolOutput};
use crate::error::{BlockError, RecordError};
use crate::exec::Ctx;

/// A message or thought that is open. If it is dropped without [`MessageHandle::done`], the end of the request closes it.
pub struct MessageHandle {
    pub(super) ctx: Ctx,
    pub(super) item: u32,
}

impl MessageHandle {
    /// Adds text.
    pub async fn append(&self, delta: impl Into<String>) -> Result<(), RecordError> {
        let recorder = self.ctx.recorder();
        recorder.add_delta(self.ctx.place(), self.item, 0, delta.into()).await
    }

    /// Nothing more follows.
    pub async fn done(self) -> Result<(), RecordError> {
        let recorder = self.ctx.recorder();
        recorder.finish_content(self.ctx.place(), self.item, 0).await?;
        recorder
            .complete_item(self.ctx.place(), self.item, ItemStatus::Completed)
            .await
    }
}

/// A tool's output that is open. If it is dropped without an end, the end of the request closes it.
pub struct ToolHandle {
    pub(super) ctx: Ctx,
    pub(super) item: u32,
}

impl ToolHandle {
    /// The tool gave this.
    pub async fn done(self, output: Value) -> Result<(), RecordError> {
        self.end(ItemStatus::Completed, |tool| tool.output = Some(output)).await
    }

    /// The tool failed.
    pub async fn fail(self, error: &BlockError) -> Result<(), RecordError> {
        self.end(ItemStatus::Failed, |tool| tool.error = Some(Failure::of(error)))
            .await
    }

    async fn end(self, status: ItemStatus, end: impl FnOnce(&mut ToolOutput)) -> Result<(), RecordError> {
        let end = |body: &mut ItemBody| {
            if let ItemBody::ToolOutput(tool) = body {
                end(tool);
            }
        };
        let recorder = self.ctx.recorder();
        recorder
            .complete_item_with(self.ctx.place(), self.item, status, end)
            .await
    }
}

/// A component that was emitted under a key.
pub struct ComponentHandle {
    pub(super) ctx: Ctx,
    pub(super) component: String,
    pub(super) key: String,
}

impl ComponentHandle {
    /// Replaces its data.
    pub async fn update(&self, data: impl Serialize) -> Result<(), BlockError> {
        let body = component_body(self.component.clone(), data, Some(self.key.clone()))?;
        let visibility = Audience::default().sees(&body);
        let recorder = self.ctx.recorder();
        recorder.add_whole(self.ctx.place(), visibility, body).await?;
        Ok(())
    }
}

/// A container that is open. If it is dropped without an end, the end of the request closes it.
pub struct ContainerHandle {
    /// The block's context inside of the container.
    pub(super) inside: Ctx,
    pub(super) outside: Ctx,
    pub(super) item: u32,
}

impl ContainerHandle {
    /// The context to emit with, and to run blocks with, so that their items are in the container.
    pub fn ctx(&self) -> &Ctx {
        &self.inside
    }

    /// Nothing more is in it.
    pub async fn done(self) -> Result<(), RecordError> {
        let recorder = self.outside.recorder();
        recorder
            .complete_item(self.outside.place(), self.item, ItemStatus::Completed)
            .await
    }

    /// Its block failed.
    pub async fn fail(self, error: &BlockError) -> Result<(), RecordError> {
        let end = |body: &mut ItemBody| {
            if let ItemBody::Container(container) = body {
                container.error = Some(Failure::of(error));
            }
        };
        let recorder = self.outside.recorder();
        recorder
            .complete_item_with(self.outside.place(), self.item, ItemStatus::Failed, end)
            .await
    }
}
