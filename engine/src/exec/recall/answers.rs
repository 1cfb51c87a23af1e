//! How far the loops of answers and tools are: what models have said and tools have given, in the order in which it is recorded.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Recall;
use crate::block::generator::shown_to_model;
use crate::block::turn::{Reply, Turn};
use crate::error::BlockError;
use crate::item::ItemBody;
use crate::model::{AssistantPart, ModelEvent, ModelMessage, ToolResult};
use crate::record::{Fact, ItemRecord, ModelCalled, ModelReplied, ReplyPart, ToolReturned};

/// The loop of one execution of a generator, as far as it is recorded.
#[derive(Default)]
pub(crate) struct RecordedLoop {
    /// The first question: where its history lies, and what else was said.
    pub(crate) called: ModelCalled,
    /// The loop; how often the model may be asked is not recorded.
    pub(crate) turn: Turn,
    /// The answers, piece by piece.
    answers: Vec<Vec<ModelEvent>>,
    /// What tools gave, by the numbers of answer and call: the output, unless they failed.
    outputs: BTreeMap<(u32, u32), Option<Value>>,
    /// What the generator failed with.
    pub(super) failed: Option<BlockError>,
}

impl RecordedLoop {
    /// Whether a first question is recorded: without it, nothing says what its history and the user's words were.
    pub(crate) fn was_asked(&self) -> bool {
        !self.called.instance.is_empty()
    }

    /// An answer, piece by piece, its end included.
    pub(crate) fn answer(&self, step: u32) -> Option<&[ModelEvent]> {
        self.answers.get(step as usize).map(Vec::as_slice)
    }

    /// Who gave it.
    pub(crate) fn model(&self, step: u32) -> Option<&str> {
        self.turn
            .steps()
            .get(step as usize)
            .map(|step| step.reply.model.as_str())
    }

    /// What the generator failed with, if it did.
    pub(crate) fn failed(&self) -> Option<&BlockError> {
        self.failed.as_ref()
    }

    /// What a tool gave: the result, and its output unless it failed.
    pub(crate) fn returned(&self, step: u32, call: u32) -> Option<(&ToolResult, Option<&Value>)> {
        let result = self
            .turn
            .steps()
            .get(step as usize)?
            .results
            .get(call as usize)?
            .as_ref()?;
        let output = self.outputs.get(&(step, call)).and_then(Option::as_ref);
        Some((result, output))
    }
}

impl Recall {
    pub(super) fn answer(&mut self, fact: &Fact) {
        match fact {
            Fact::ModelCalled(called) => self.called(called),
            Fact::ModelReplied(replied) => self.replied(replied),
            Fact::ToolReturned(returned) => self.returned(returned),
            _ => {}
        }
    }

    fn loop_of(&mut self, instance: &str) -> Option<&mut RecordedLoop> {
        let place = self.place_of(instance)?;
        self.loops.get_mut(&place)?.last_mut()
    }

    fn called(&mut self, called: &ModelCalled) {
        let Some(of) = self.loop_of(&called.instance) else {
            return;
        };
        // Other models may have been asked the same.
        if called.step == 0 && !of.was_asked() {
            of.called = called.clone();
        }
        let correction = called.said.first().map(ModelMessage::text);
        if let (Some(what), true) = (correction, called.step > 0) {
            of.turn.corrected(called.step - 1, what);
        }
    }

    fn replied(&mut self, replied: &ModelReplied) {
        let Some(place) = self.place_of(&replied.instance) else {
            return;
        };
        // The calls of an earlier answer are over, and ids may come again.
        let earlier: Vec<_> = self.tool_items.keys().filter(|(of, _)| *of == place).cloned().collect();
        for of in earlier {
            self.tool_items.remove(&of);
        }
        let said = replied.item.map(|item| self.text(item)).unwrap_or_default();
        let (mut answer, mut parts) = (Vec::new(), Vec::new());
        for part in &replied.parts {
            match part {
                ReplyPart::Said { from, bytes } => {
                    let text = said.get(*from..from.saturating_add(*bytes)).unwrap_or_default();
                    answer.push(ModelEvent::Text(text.to_owned()));
                    parts.push(AssistantPart::Text { text: text.to_owned() });
                }
                ReplyPart::Text { text } => {
                    answer.push(ModelEvent::Text(text.clone()));
                    parts.push(AssistantPart::Text { text: text.clone() });
                }
                ReplyPart::Reasoning { item, text, native } => {
                    let text = item.map_or_else(|| text.clone(), |item| self.text(item));
                    answer.push(ModelEvent::Reasoning(text.clone()));
                    answer.push(ModelEvent::ReasoningEnd(native.clone()));
                    let native = native.clone();
                    parts.push(AssistantPart::Reasoning { text, native });
                }
                ReplyPart::ToolUse(call) => {
                    answer.push(ModelEvent::ToolUse(call.clone()));
                    parts.push(AssistantPart::ToolUse(call.clone()));
                }
                ReplyPart::Native(native) => {
                    answer.push(ModelEvent::Native(native.clone()));
                    parts.push(AssistantPart::Native(native.clone()));
                }
                ReplyPart::Source { item, source } => {
                    let source = item.and_then(|item| self.sources.get(&item)).or(source.as_ref());
                    answer.extend(source.cloned().map(ModelEvent::Source));
                }
            }
        }
        let (finish, usage) = (replied.finish.clone(), replied.usage);
        answer.push(ModelEvent::End {
            finish: finish.clone(),
            usage,
        });
        let Some(of) = self.loops.get_mut(&place).and_then(|loops| loops.last_mut()) else {
            return;
        };
        if of.turn.steps().len() != replied.step as usize {
            return;
        }
        of.answers.push(answer);
        of.turn.replied(Reply {
            model: replied.model.clone(),
            parts,
            finish,
            usage,
            item: replied.item,
        });
    }

    fn returned(&mut self, returned: &ToolReturned) {
        let output = match (returned.is_error, returned.item, returned.same_as) {
            (true, ..) => None,
            (false, Some(item), _) => Some(Value::from(self.text(item))),
            (false, None, Some(record)) => Some(self.output(record)),
            (false, None, None) => returned.content.clone().map(Value::from),
        };
        let content = returned.content.clone();
        let content = content.unwrap_or_else(|| output.as_ref().map(shown_to_model).unwrap_or_default());
        let Some(place) = self.place_of(&returned.instance) else {
            return;
        };
        let Some(of) = self.loops.get_mut(&place).and_then(|loops| loops.last_mut()) else {
            return;
        };
        let step = of.turn.steps().get(returned.step as usize);
        let Some(call) = step.and_then(|step| step.reply.calls().nth(returned.call as usize)) else {
            return;
        };
        let result = ToolResult {
            id: call.id.clone(),
            name: call.name.clone(),
            content,
            is_error: returned.is_error,
        };
        self.tool_items.remove(&(place.clone(), result.id.clone()));
        of.outputs.insert((returned.step, returned.call), output);
        of.turn.returned(returned.step, returned.call, result);
    }

    /// Remembers what source items say: answers refer to them.
    pub(super) fn source(&mut self, item: &ItemRecord) {
        if let ItemBody::Source(source) = &item.body {
            self.sources.insert(item.index, source.clone());
        }
    }
}
