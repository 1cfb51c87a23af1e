//! Execution records as items of a trace. Each record gives one event with its own number: what begins a block adds its item, calls of models
//! update it, what ends the block completes it. What an event needs of earlier records is folded from them, so that a reader who comes in the
//! middle is sent the same bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowstate_engine::item::{Phase, item_id};
use flowstate_engine::model::{ModelMessage, ToolUse, UserPart};
use flowstate_engine::record::{
    BlockEnded, BlockKind, BlockStarted, BlockStatus, Fact, ModelCalled, ModelFailed, ModelReplied, ReplyPart,
    RouteChosen, decode,
};
use flowstate_log::Log;
use flowstate_log::record::{Record, SubStreamId};
use serde_json::Value;

use super::frames::StreamError;
use crate::wire::event::Event;
use crate::wire::trace::{
    Asked, BlockTrace, BlockValue, Generator, Hidden, Input, ModelFailure, ModelUsage, ToolCall, TraceBody, TraceItem,
    TraceProvenance,
};

/// Of so many outputs it is known which block gave them. What hands an older one on tells nothing of it.
const OUTPUTS_MAX: usize = 65_536;
/// Records that are read at once.
const RECORDS_READ: usize = 1_000;
/// So many failed calls an item tells of, the last ones.
const FAILURES_MAX: usize = 32;

/// What the execution records of one request came to so far.
#[derive(Debug)]
pub(crate) struct Traces {
    sub: SubStreamId,
    request: Arc<str>,
    /// `<flow kind>/<action>`.
    action: String,
    /// Number of the last record that is part of it.
    at: u64,
    /// What was asked, until the first block began.
    input: Option<Value>,
    /// Blocks that run, by the number of the record that says so.
    blocks: BTreeMap<u64, Running>,
    /// The same numbers by path.
    places: BTreeMap<String, u64>,
    /// The block that gave each output, by the number of the record that has it.
    outputs: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Running {
    began: BlockStarted,
    ts: i64,
    input: Option<Value>,
    asked: Asked,
    call: Option<ToolCall>,
    /// What its model wants, of the last answer: the answer's number, and the calls.
    wants: (u32, Vec<ToolUse>),
}

impl Traces {
    pub(crate) fn new(sub: SubStreamId, request: Arc<str>, action: String) -> Self {
        Self {
            sub,
            request,
            action,
            at: 0,
            input: None,
            blocks: BTreeMap::new(),
            places: BTreeMap::new(),
            outputs: BTreeMap::new(),
        }
    }

    /// Takes in what it lacks of the request's records up to `number`, which lie between the positions `first` and that of `record`.
    pub(crate) async fn catch_up(
        &mut self,
        log: &Log,
        record: &Record,
        first: u64,
        number: u64,
    ) -> Result<(), StreamError> {
        if self.at == number {
            return Ok(());
        }
        *self = Self::new(self.sub, self.request.clone(), std::mem::take(&mut self.action));
        let mut from = first.max(log.oldest(record.stream).await?);
        while from < record.position && self.at < number {
            let records = log.read(record.stream, from, RECORDS_READ).await?;
            let Some(last) = records.last() else { break };
            from = last.position + 1;
            for earlier in &records {
                if let Some((_, at)) = earlier.sub.filter(|(sub, at)| *sub == self.sub && *at <= number) {
                    self.take(at, earlier, &decode(earlier)?);
                }
            }
        }
        Ok(())
    }

    /// The request's next record is a piece of text.
    pub(crate) fn pass(&mut self, number: u64) {
        if self.at + 1 == number {
            self.at = number;
        }
    }

    /// Takes in the request's next record; gives its event, if there is one of its kind.
    pub(crate) fn take(&mut self, number: u64, record: &Record, fact: &Fact) -> Option<Event> {
        self.at = number;
        let ts = record.time_us / 1_000;
        match fact {
            Fact::RequestAccepted(accepted) => {
                self.input = Some(accepted.input.clone());
                None
            }
            Fact::BlockStarted(began) => Some(self.begin(number, ts, began)),
            Fact::BlockEnded(ended) => self.end(number, ts, ended),
            Fact::RouteChosen(chosen) => Some(self.route(number, ts, chosen)),
            Fact::ModelCalled(called) => self.called(called),
            Fact::ModelReplied(replied) => self.replied(replied),
            Fact::ModelFailed(failed) => self.failed(failed),
            _ => None,
        }
    }

    fn begin(&mut self, number: u64, ts: i64, began: &BlockStarted) -> Event {
        let block = Running {
            ts,
            input: self.input.take(),
            asked: Asked::default(),
            call: self.tool_call(&began.path),
            wants: Default::default(),
            began: began.clone(),
        };
        let item = self.item(number, &block, BlockStatus::Completed, None);
        self.places.insert(began.path.clone(), number);
        self.blocks.insert(number, block);
        Event::added(item)
    }

    fn end(&mut self, number: u64, ts: i64, ended: &BlockEnded) -> Option<Event> {
        let block = self.blocks.remove(&ended.started)?;
        // Another attempt may have begun there.
        if self.places.get(&block.began.path) == Some(&ended.started) {
            self.places.remove(&block.began.path);
        }
        if ended.output.is_some() {
            self.outputs.insert(number, ended.started);
            if self.outputs.len() > OUTPUTS_MAX {
                self.outputs.pop_first();
            }
        }
        Some(Event::done(self.item(
            ended.started,
            &block,
            ended.status,
            Some((ts, ended)),
        )))
    }

    fn route(&self, number: u64, ts: i64, chosen: &RouteChosen) -> Event {
        let router = self.at_path(&chosen.path);
        let name = router.map(|router| router.began.block.clone()).unwrap_or_default();
        let phase = router.map(|router| router.began.phase).unwrap_or_default();
        Event::added(TraceItem {
            provenance: self.provenance(&name, &chosen.path, chosen.attempt, phase),
            ..self.hull(
                number,
                "router_decision",
                "completed",
                ts,
                TraceBody::Router {
                    router_name: name,
                    selected_route: chosen.route.clone(),
                },
            )
        })
    }

    fn called(&mut self, called: &ModelCalled) -> Option<Event> {
        let user = called.said.iter().find_map(|message| match message {
            ModelMessage::User { parts } => Some(parts.iter().filter_map(words).collect::<String>()),
            _ => None,
        });
        self.update(&called.instance, |block| {
            let asked = &mut block.asked;
            let generator = asked.generator.get_or_insert_with(Generator::default);
            generator.model.clone_from(&called.model);
            if let Some(tools) = &called.tools {
                generator.tools.clone_from(tools);
            }
            if let Some(system) = &called.system {
                generator.prompt = system.join("\n\n");
            }
            generator.user = generator.user.take().or(user);
            asked.model = Some(called.model.clone());
            let is_new = called.step == 0 || called.tools.is_some() || called.system.is_some();
            Asked {
                generator: asked.generator.clone().filter(|_| is_new),
                model: asked.model.clone(),
                model_usage: None,
            }
        })
    }

    fn replied(&mut self, replied: &ModelReplied) -> Option<Event> {
        self.update(&replied.instance, |block| {
            block.asked.model = Some(replied.model.clone());
            if let Some(usage) = replied.total.as_ref().or(replied.usage.as_ref()) {
                block.asked.model_usage = Some(ModelUsage::new(replied.model.clone(), usage));
            }
            let calls = replied.parts.iter().filter_map(|part| match part {
                ReplyPart::ToolUse(call) => Some(call.clone()),
                _ => None,
            });
            block.wants = (replied.step, calls.collect());
            Asked {
                generator: None,
                ..block.asked.clone()
            }
        })
    }

    fn failed(&mut self, failed: &ModelFailed) -> Option<Event> {
        self.update(&failed.instance, |block| {
            let generator = block.asked.generator.get_or_insert_with(Generator::default);
            if generator.failures.len() == FAILURES_MAX {
                generator.failures.remove(0);
            }
            generator.failures.push(ModelFailure {
                model: failed.model.clone(),
                kind: failed.kind,
                message: failed.message.clone(),
                status: failed.status,
                retry_in_ms: failed.retry_in_ms,
            });
            Asked {
                generator: Some(generator.clone()),
                ..Asked::default()
            }
        })
    }

    /// Changes what is known of the generator that a record names, and tells what `change` gives.
    fn update(&mut self, instance: &str, change: impl FnOnce(&mut Running) -> Asked) -> Option<Event> {
        let place = instance.strip_prefix(&*self.request)?.strip_prefix(':')?;
        let (path, _attempt) = place.rsplit_once(':')?;
        let number = *self.places.get(path)?;
        let patch = change(self.blocks.get_mut(&number)?);
        Some(Event::updated(self.id(number), patch))
    }

    fn item(&self, number: u64, block: &Running, status: BlockStatus, ended: Option<(i64, &BlockEnded)>) -> TraceItem {
        let began = &block.began;
        let (status, output, error) = match ended {
            None => ("in_progress", None, None),
            Some((_, ended)) => {
                let status = match status {
                    BlockStatus::Completed => "completed",
                    BlockStatus::Failed => "failed",
                    BlockStatus::Cancelled => "incomplete",
                };
                (status, self.output(ended), ended.error.clone().map(Into::into))
            }
        };
        let completed_at = ended.map(|(ts, _)| ts);
        let instance = self.instance(&began.path, began.attempt);
        let body = BlockTrace {
            block_name: began.block.clone(),
            block_kind: began.kind,
            block_instance_id: instance,
            input: block.input.clone().map(|value| Input {
                source: BlockValue::Inline { value },
            }),
            output,
            asked: block.asked.clone(),
            tool_call: block.call.clone(),
            started_at: block.ts,
            completed_at,
            duration: completed_at.map(|at| at - block.ts),
            error,
            retry_in_ms: ended.and_then(|(_, ended)| ended.retry_in_ms),
        };
        TraceItem {
            provenance: self.provenance(&began.block, &began.path, began.attempt, began.phase),
            ..self.hull(
                number,
                "block_trace",
                status,
                block.ts,
                TraceBody::Block(Box::new(body)),
            )
        }
    }

    /// The value itself where it was given first; where it is handed on, the item that has it.
    fn output(&self, ended: &BlockEnded) -> Option<BlockValue> {
        if let Some(value) = &ended.output {
            return Some(BlockValue::Inline { value: value.clone() });
        }
        let source_item_id = match (ended.item, ended.same_as) {
            (Some(item), _) => item_id(self.sub, item),
            (None, Some(number)) => self.id(*self.outputs.get(&number)?),
            (None, None) => return None,
        };
        Some(BlockValue::Ref { source_item_id })
    }

    fn hull(&self, number: u64, r#type: &'static str, status: &'static str, ts: i64, body: TraceBody) -> TraceItem {
        TraceItem {
            id: self.id(number),
            r#type,
            status,
            request_id: self.request.to_string(),
            item_index: number,
            ts,
            provenance: self.provenance("", "", 0, Phase::Main),
            item_visibility: Hidden::default(),
            agent_type: "trace",
            body,
        }
    }

    fn id(&self, number: u64) -> String {
        format!("trace_{}_{number}", self.sub)
    }

    fn instance(&self, path: &str, attempt: u32) -> String {
        format!("{}:{path}:{attempt}", self.request)
    }

    fn provenance(&self, block: &str, path: &str, attempt: u32, phase: Phase) -> TraceProvenance {
        let parent = self.parent(path);
        TraceProvenance {
            block_name: block.to_owned(),
            block_instance_id: self.instance(path, attempt),
            phase: match phase {
                Phase::Main => "main",
                Phase::Work => "work",
            },
            block_definition_id: format!("{}/{path}", self.action),
            parent_block_instance_id: parent.map(|parent| self.instance(&parent.began.path, parent.began.attempt)),
            attempt,
        }
    }

    fn at_path(&self, path: &str) -> Option<&Running> {
        self.blocks.get(self.places.get(path)?)
    }

    /// The nearest block that runs and that this path is in.
    fn parent(&self, path: &str) -> Option<&Running> {
        let mut path = path;
        while let Some((above, _)) = path.rsplit_once('/') {
            if let Some(parent) = self.at_path(above) {
                return Some(parent);
            }
            path = above;
        }
        None
    }

    /// The call that a block answers that begins at `<generator>/tool.<name>[<answer>.<call>]`.
    fn tool_call(&self, path: &str) -> Option<ToolCall> {
        let (above, last) = path.rsplit_once('/')?;
        let generator = self.at_path(above)?;
        if generator.began.kind != BlockKind::Generator || !last.starts_with("tool.") {
            return None;
        }
        let (_, numbers) = last.strip_suffix(']')?.rsplit_once('[')?;
        let (step, call) = numbers.split_once('.')?;
        let (wanted, calls) = &generator.wants;
        let call = calls
            .get(call.parse::<usize>().ok()?)
            .filter(|_| step.parse() == Ok(*wanted))?;
        Some(ToolCall {
            call_id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
            generator_block: generator.began.block.clone(),
        })
    }
}

/// The words of a part.
fn words(part: &UserPart) -> Option<&str> {
    match part {
        UserPart::Text { text } => Some(text),
        _ => None,
    }
}
