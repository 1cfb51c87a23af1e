//! One answer as it comes: every piece is recorded at once, as the item that clients see or as part of what the loop goes on with.

use std::collections::BTreeMap;

use super::emission::Shown;
use super::turn::Reply;
use crate::error::{BlockError, RecordError};
use crate::exec::Ctx;
use crate::item::{ContentPart, ItemBody, ItemStatus, Role, Source, ToolCall};
use crate::model::{AssistantPart, Finish, ModelEvent, Native, ToolUse, Usage};
use crate::record::ReplyPart;

/// Most parts of one answer: thoughts, runs of words, calls, sources.
const PARTS_MAX: usize = 4_096;

/// The text of an item is its only part.
const PART: u32 = 0;

/// A part of an answer, with the item that it is.
enum Heard {
    Text(String),
    Thought {
        text: String,
        native: Option<Native>,
        item: Option<u32>,
    },
    Call(ToolUse),
    Native(Native),
    Source(Source, Option<u32>),
}

/// Listens to one answer.
pub(super) struct Hearing<'a> {
    ctx: &'a Ctx,
    shown: Shown,
    step: u32,
    /// Words become no item: they are JSON.
    structured: bool,
    heard: Vec<Heard>,
    /// The message that the words are in.
    message: Option<u32>,
    /// Whether the last that was heard is a thought that is open.
    thinking: bool,
    /// Arguments that are being written, by the call's id.
    arguments: BTreeMap<String, Written>,
    bytes: usize,
}

#[derive(Default)]
struct Written {
    text: String,
    shown: usize,
}

impl<'a> Hearing<'a> {
    pub(super) fn new(ctx: &'a Ctx, shown: Shown, step: u32, structured: bool) -> Self {
        Self {
            ctx,
            shown,
            step,
            structured,
            heard: Vec::new(),
            message: None,
            thinking: false,
            arguments: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Takes in a piece; `Some` if it was the last.
    pub(super) async fn hear(&mut self, event: ModelEvent) -> Result<Option<(Finish, Option<Usage>)>, BlockError> {
        if self.heard.len().max(self.arguments.len()) > PARTS_MAX {
            let what = format!("the model's answer has more than {PARTS_MAX} parts");
            return Err(BlockError::new("item_too_large", what));
        }
        match event {
            ModelEvent::Text(text) => self.text(text).await?,
            ModelEvent::Reasoning(text) => self.thought(text).await?,
            ModelEvent::ReasoningEnd(native) => self.thought_ends(native).await?,
            ModelEvent::ToolUseDelta { id, name, delta } => self.arguments(id, name, &delta).await?,
            ModelEvent::ToolUse(call) => self.call(call).await?,
            ModelEvent::Source(source) => self.source(source).await?,
            ModelEvent::Native(native) => {
                self.stop_thinking().await?;
                self.grow(native.value.to_string().len())?;
                self.heard.push(Heard::Native(native));
            }
            ModelEvent::End { finish, usage } => return Ok(Some((finish, usage))),
        }
        Ok(None)
    }

    async fn text(&mut self, text: String) -> Result<(), BlockError> {
        if text.is_empty() {
            return Ok(());
        }
        self.stop_thinking().await?;
        self.grow(text.len())?;
        match self.heard.last_mut() {
            Some(Heard::Text(last)) => last.push_str(&text),
            _ => self.heard.push(Heard::Text(text.clone())),
        }
        if let Some(item) = self.open_message().await? {
            self.delta(item, text).await?;
        }
        Ok(())
    }

    async fn thought(&mut self, more: String) -> Result<(), BlockError> {
        if more.is_empty() {
            return Ok(());
        }
        self.grow(more.len())?;
        if !self.thinking {
            self.thinking = true;
            let body = ItemBody::Reasoning { summary: Vec::new() };
            let item = self.open(body, ContentPart::reasoning("")).await?;
            let (text, native) = (String::new(), None);
            self.heard.push(Heard::Thought { text, native, item });
        }
        let Some(Heard::Thought { text, item, .. }) = self.heard.last_mut() else {
            return Ok(());
        };
        text.push_str(&more);
        match *item {
            Some(item) => Ok(self.delta(item, more).await?),
            None => Ok(()),
        }
    }

    async fn thought_ends(&mut self, ends: Option<Native>) -> Result<(), BlockError> {
        match (self.thinking, self.heard.last_mut()) {
            (true, Some(Heard::Thought { native, .. })) => *native = ends,
            // A thought of which the provider shows nothing.
            _ if ends.is_some() => self.heard.push(Heard::Thought {
                text: String::new(),
                native: ends,
                item: None,
            }),
            _ => {}
        }
        Ok(self.stop_thinking().await?)
    }

    /// Shows the arguments whenever there is twice as much of them: what is shown in all stays below twice what was written.
    async fn arguments(&mut self, id: String, name: String, delta: &str) -> Result<(), BlockError> {
        self.stop_thinking().await?;
        self.grow(delta.len())?;
        let is_new = !self.arguments.contains_key(&id);
        let written = self.arguments.entry(id.clone()).or_default();
        written.text.push_str(delta);
        if !is_new && written.text.len() < 2 * written.shown.max(16) {
            return Ok(());
        }
        written.shown = written.text.len();
        let call = ToolCall {
            call_id: id,
            name,
            arguments: written.text.clone(),
            generator: self.ctx.block_name().to_owned(),
        };
        self.whole(ItemBody::ToolCallProgress(call)).await?;
        Ok(())
    }

    async fn call(&mut self, mut call: ToolUse) -> Result<(), BlockError> {
        self.stop_thinking().await?;
        self.grow(call.arguments.len())?;
        self.arguments.remove(&call.id);
        let calls = self.heard.iter().filter_map(|heard| match heard {
            Heard::Call(call) => Some(&call.id),
            _ => None,
        });
        let (mut number, mut taken) = (0u32, false);
        for id in calls {
            number += 1;
            taken |= *id == call.id;
        }
        // Some servers give no ids, or the same to all: results could not be told apart.
        while call.id.is_empty() || taken {
            call.id = format!("call_{}_{number}", self.step);
            taken = self
                .heard
                .iter()
                .any(|heard| matches!(heard, Heard::Call(other) if other.id == call.id));
            number += 1;
        }
        self.heard.push(Heard::Call(call));
        Ok(())
    }

    async fn source(&mut self, source: Source) -> Result<(), BlockError> {
        self.stop_thinking().await?;
        let item = self.whole(ItemBody::Source(source.clone())).await?;
        self.heard.push(Heard::Source(source, item));
        Ok(())
    }

    /// The answer is whole. One without words and calls is an empty message.
    pub(super) async fn end(
        mut self,
        model: &str,
        finish: Finish,
        usage: Option<Usage>,
    ) -> Result<(Reply, Vec<ReplyPart>), BlockError> {
        self.stop_thinking().await?;
        let spoke = |heard: &Heard| matches!(heard, Heard::Text(_) | Heard::Call(_) | Heard::Native(_));
        if !self.heard.iter().any(spoke) {
            self.open_message().await?;
        }
        self.close_message(ItemStatus::Completed).await?;
        let mut from = 0;
        let said = self.message.is_some();
        let record = |heard: &Heard| match heard {
            Heard::Text(text) if said => {
                let bytes = text.len();
                from += bytes;
                let from = from - bytes;
                ReplyPart::Said { from, bytes }
            }
            Heard::Text(text) => ReplyPart::Text { text: text.clone() },
            Heard::Thought { text, native, item } => ReplyPart::Reasoning {
                item: *item,
                text: if item.is_some() { String::new() } else { text.clone() },
                native: native.clone(),
            },
            Heard::Call(call) => ReplyPart::ToolUse(call.clone()),
            Heard::Native(native) => ReplyPart::Native(native.clone()),
            Heard::Source(source, item) => ReplyPart::Source {
                item: *item,
                source: item.is_none().then(|| source.clone()),
            },
        };
        let records = self.heard.iter().map(record).collect();
        let part = |heard| match heard {
            Heard::Text(text) => Some(AssistantPart::Text { text }),
            Heard::Thought { text, native, .. } => Some(AssistantPart::Reasoning { text, native }),
            Heard::Call(call) => Some(AssistantPart::ToolUse(call)),
            Heard::Native(native) => Some(AssistantPart::Native(native)),
            Heard::Source(..) => None,
        };
        let reply = Reply {
            model: model.to_owned(),
            parts: self.heard.into_iter().filter_map(part).collect(),
            finish,
            usage,
            item: self.message,
        };
        Ok((reply, records))
    }

    /// The answer broke off: what came stays, as failed.
    pub(super) async fn fail(mut self) -> Result<(), RecordError> {
        if let (true, Some(Heard::Thought { item: Some(item), .. })) = (self.thinking, self.heard.last()) {
            self.complete(*item, ItemStatus::Failed).await?;
        }
        self.close_message(ItemStatus::Failed).await
    }

    async fn open_message(&mut self) -> Result<Option<u32>, RecordError> {
        if self.message.is_none() && !self.structured {
            let (role, content) = (Role::Assistant, Vec::new());
            self.message = self
                .open(ItemBody::Message { role, content }, ContentPart::text(""))
                .await?;
        }
        Ok(self.message)
    }

    async fn close_message(&mut self, status: ItemStatus) -> Result<(), RecordError> {
        let Some(item) = self.message else { return Ok(()) };
        if status == ItemStatus::Completed {
            let recorder = self.ctx.recorder();
            recorder.finish_content(self.ctx.place(), item, PART).await?;
        }
        self.complete(item, status).await
    }

    async fn stop_thinking(&mut self) -> Result<(), RecordError> {
        if !std::mem::take(&mut self.thinking) {
            return Ok(());
        }
        let Some(Heard::Thought { item: Some(item), .. }) = self.heard.last() else {
            return Ok(());
        };
        let recorder = self.ctx.recorder();
        recorder.finish_content(self.ctx.place(), *item, PART).await?;
        self.complete(*item, ItemStatus::Completed).await
    }

    async fn open(&self, body: ItemBody, part: ContentPart) -> Result<Option<u32>, RecordError> {
        let Some(visibility) = self.shown.sees(&body) else {
            return Ok(None);
        };
        let (recorder, place) = (self.ctx.recorder(), self.ctx.place());
        let item = recorder
            .add_item(place, ItemStatus::InProgress, visibility, body)
            .await?;
        recorder.add_content(place, item, part).await?;
        Ok(Some(item))
    }

    async fn whole(&self, body: ItemBody) -> Result<Option<u32>, RecordError> {
        let Some(visibility) = self.shown.sees(&body) else {
            return Ok(None);
        };
        let (recorder, place) = (self.ctx.recorder(), self.ctx.place());
        recorder.add_whole(place, visibility, body).await.map(Some)
    }

    async fn delta(&self, item: u32, text: String) -> Result<(), RecordError> {
        self.ctx.recorder().add_delta(self.ctx.place(), item, PART, text).await
    }

    async fn complete(&self, item: u32, status: ItemStatus) -> Result<(), RecordError> {
        self.ctx.recorder().complete_item(self.ctx.place(), item, status).await
    }

    /// An answer has a bound, whether its words become items or not.
    fn grow(&mut self, bytes: usize) -> Result<(), BlockError> {
        self.bytes = self.bytes.saturating_add(bytes);
        let max = self.ctx.recorder().item_bytes_max();
        match self.bytes > max {
            false => Ok(()),
            true => {
                let what = format!("the model's answer is larger than {max} bytes");
                Err(BlockError::new("item_too_large", what))
            }
        }
    }
}
