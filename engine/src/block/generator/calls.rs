//! The calls of tools that an answer asks for: run all at once, each to its end, whatever becomes of the others. What fails is told to the
//! model, which goes on with that.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;

use super::drive::shown_to_model;
use super::emission::Shown;
use super::tools::Tools;
use super::turn::Turn;
use crate::error::{BlockError, RecordError};
use crate::exec::{Ctx, RecalledItem, RecordedLoop};
use crate::item::{Failure, ItemBody, ItemStatus, ToolCall, ToolOutput};
use crate::model::{ToolResult, ToolUse};
use crate::record::ToolReturned;
use crate::value::{Recorded, Val};

/// Most calls of one answer that are run.
const CALLS_MAX: usize = 128;

/// The calls of one answer.
pub(super) struct Running<'a> {
    pub(super) step: u32,
    pub(super) tools: &'a Tools,
    /// The recording that says what they gave, instead of the tools themselves: `Some(None)` if it has nothing of this loop.
    pub(super) recorded: Option<Option<&'a RecordedLoop>>,
    pub(super) shown: Shown,
    pub(super) ctx: &'a Ctx,
}

impl Running<'_> {
    /// Runs these calls. Every result is recorded before the turn has it.
    pub(super) async fn run(&self, turn: &mut Turn, calls: &[u32]) -> Result<(), BlockError> {
        let uses: Vec<ToolUse> = match turn.steps().get(self.step as usize) {
            Some(step) => step.reply.calls().cloned().collect(),
            None => Vec::new(),
        };
        let call = |index: &u32| {
            let used = uses.get(*index as usize)?.clone();
            let call = Call {
                of: self,
                index: *index,
                used,
            };
            Some(async move { (call.index, call.run().await) })
        };
        let mut running: FuturesUnordered<_> = calls.iter().filter_map(call).collect();
        while let Some((index, result)) = running.next().await {
            turn.returned(self.step, index, result?);
        }
        Ok(())
    }
}

struct Call<'a> {
    of: &'a Running<'a>,
    index: u32,
    used: ToolUse,
}

impl Call<'_> {
    async fn run(self) -> Result<ToolResult, BlockError> {
        let tools = self.of.tools;
        let tool = tools.get(&self.used.name);
        let item = self.open(tool.map_or(&self.used.name, |tool| tool.name())).await?;
        let outcome = match tool {
            _ if self.of.recorded.is_some() => self.recorded(),
            None => Err(unknown(&self.used.name, tools)),
            Some(_) if self.index as usize >= CALLS_MAX => {
                let what = format!("at most {CALLS_MAX} tools are run at once: this call was not");
                Err(BlockError::new("too_many_calls", what))
            }
            Some(tool) => match arguments(&self.used.arguments) {
                // The id that the model chose may have any characters, and come twice.
                Ok(arguments) => {
                    let segment = format!("tool.{}[{}.{}]", self.used.name, self.of.step, self.index);
                    tool.run(&segment, self.index, arguments, self.of.ctx).await
                }
                Err(error) => Err(error),
            },
        };
        self.end(item, outcome).await
    }

    /// What it gave in the recording that is replayed.
    fn recorded(&self) -> Result<Val, BlockError> {
        let recorded = self.of.recorded.flatten();
        let returned = recorded.and_then(|recorded| recorded.returned(self.of.step, self.index));
        match returned {
            Some((_, Some(output))) => Ok(Val::new(output.clone())),
            Some((result, None)) => Err(BlockError::new("tool_execution_error", result.content.clone())),
            None => Err(BlockError::new(
                "replay_diverged",
                format!("the recording does not say what the tool {:?} gave", self.used.name),
            )),
        }
    }

    async fn open(&self, tool: &str) -> Result<Option<u32>, RecordError> {
        let body = ItemBody::ToolOutput(ToolOutput {
            block_name: tool.to_owned(),
            call: ToolCall {
                call_id: self.used.id.clone(),
                name: self.used.name.clone(),
                arguments: self.used.arguments.clone(),
                generator: self.of.ctx.block_name().to_owned(),
            },
            ..ToolOutput::default()
        });
        let Some(visibility) = self.of.shown.sees(&body) else {
            return Ok(None);
        };
        let recorder = self.of.ctx.recorder();
        // Another process has opened it.
        match self.of.ctx.recalled_tool_item(self.of.step, &self.used.id) {
            Some(RecalledItem { is_open: false, .. }) => return Ok(None),
            Some(item) => {
                recorder.adopt_item(self.of.ctx.place(), item.index).await;
                return Ok(Some(item.index));
            }
            None => {}
        }
        let item = recorder.add_item(self.of.ctx.place(), ItemStatus::InProgress, visibility, body);
        item.await.map(Some)
    }

    /// Closes the item and records the result.
    async fn end(self, item: Option<u32>, outcome: Result<Val, BlockError>) -> Result<ToolResult, BlockError> {
        let mut returned = ToolReturned {
            instance: self.of.ctx.instance(),
            step: self.of.step,
            call: self.index,
            ..ToolReturned::default()
        };
        let outcome = outcome.and_then(|output| output.json().map(|json| (output, json)));
        let content = match &outcome {
            Ok((_, json)) => shown_to_model(json),
            Err(error) => error.message().to_owned(),
        };
        match outcome.as_ref().map(|(output, _)| output.recorded()) {
            Ok(Some(Recorded::Record(number))) => returned.same_as = Some(number),
            Ok(Some(Recorded::Item(item))) => returned.item = Some(item),
            Ok(None) | Err(_) => returned.content = Some(content.clone()),
        }
        returned.is_error = outcome.is_err();
        let is_error = returned.is_error;
        let recorder = self.of.ctx.recorder();
        if let Some(item) = item {
            let status = if is_error {
                ItemStatus::Failed
            } else {
                ItemStatus::Completed
            };
            let end = |body: &mut ItemBody| {
                if let ItemBody::ToolOutput(tool) = body {
                    match outcome {
                        Ok((_, json)) => tool.output = Some(json),
                        Err(error) => tool.error = Some(Failure::of(&error)),
                    }
                }
            };
            let place = self.of.ctx.place();
            match recorder.complete_item_with(place, item, status, end).await {
                // The output is recorded where its block ended; here it does not fit beside the arguments.
                Err(error @ RecordError::TooLarge { .. }) => {
                    let error = BlockError::from(error);
                    let end = |body: &mut ItemBody| {
                        if let ItemBody::ToolOutput(tool) = body {
                            tool.error = Some(Failure::of(&error));
                        }
                    };
                    recorder
                        .complete_item_with(place, item, ItemStatus::Failed, end)
                        .await?;
                }
                completed => completed?,
            }
        }
        self.of.ctx.record(returned).await?;
        Ok(ToolResult {
            id: self.used.id,
            name: self.used.name,
            content,
            is_error,
        })
    }
}

fn unknown(name: &str, tools: &Tools) -> BlockError {
    let known = match tools.names() {
        names if names.is_empty() => "there are no tools".to_owned(),
        names => format!("there are: {}", names.join(", ")),
    };
    BlockError::new("unknown_tool", format!("there is no tool {name:?}; {known}"))
}

/// The arguments as the model wrote them; none count as `{}`.
fn arguments(json: &str) -> Result<Value, BlockError> {
    if json.trim().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    serde_json::from_str(json).map_err(|error| {
        let what = format!("the arguments are not JSON: {error}");
        BlockError::new("invalid_arguments", what)
    })
}
