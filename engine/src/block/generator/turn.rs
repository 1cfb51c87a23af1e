//! The tool loop as a value: what a generator's model has answered so far, what its tools have given, and what comes next. It never
//! waits and calls nothing; `generator/drive` does what it says and feeds back what came of it. It is written and read as JSON, and the
//! records of a request give it back: the loop can be left after any step and gone on with elsewhere.

use serde::{Deserialize, Serialize};

use crate::model::{AssistantPart, Finish, ModelMessage, ToolResult, ToolUse, Usage};

/// The loop of one execution of a generator.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Turn {
    steps_max: u32,
    steps: Vec<Step>,
}

/// One answer of the model, and what followed from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The answer.
    pub reply: Reply,
    /// What the tools gave that it asked for, in the order of its calls; `None` for one that has not returned.
    pub results: Vec<Option<ToolResult>>,
    /// What the model was told because its answer had not the shape that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<String>,
}

/// A model's answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reply {
    /// The model that answered.
    pub model: String,
    /// Its parts, in order.
    pub parts: Vec<AssistantPart>,
    /// Why it ended.
    pub finish: Finish,
    /// What it used, if the model says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The message item that has its words, if one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
}

impl Reply {
    /// The calls of tools in it.
    pub fn calls(&self) -> impl Iterator<Item = &ToolUse> {
        self.parts.iter().filter_map(|part| match part {
            AssistantPart::ToolUse(call) => Some(call),
            _ => None,
        })
    }

    /// Its words.
    pub fn text(&self) -> String {
        self.parts.iter().map(AssistantPart::as_text).collect()
    }
}

/// What a loop does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The model is asked.
    Ask {
        /// The number of the answer to come, from 0.
        step: u32,
    },
    /// Tools are run, all at once.
    Run {
        /// The number of the answer that asked for them.
        step: u32,
        /// Which of its calls have not returned.
        calls: Vec<u32>,
    },
    /// Nothing: it has ended.
    End {
        /// Whether it ended because the model may not be asked again.
        at_limit: bool,
    },
}

impl Turn {
    /// A loop in which the model is asked at most so often; at least once.
    pub fn new(steps_max: u32) -> Self {
        Self {
            steps_max: steps_max.max(1),
            steps: Vec::new(),
        }
    }

    /// What comes next.
    pub fn next(&self) -> Next {
        let Some((index, last)) = self.steps.iter().enumerate().next_back() else {
            return Next::Ask { step: 0 };
        };
        let step = number(index);
        let missing = last.results.iter().enumerate().filter(|(_, result)| result.is_none());
        let calls: Vec<u32> = missing.map(|(call, _)| number(call)).collect();
        if !calls.is_empty() {
            return Next::Run { step, calls };
        }
        // The provider ran something itself, or paused: it goes on from its own words.
        let ran_itself = || {
            last.reply
                .parts
                .iter()
                .any(|part| matches!(part, AssistantPart::Native(_)))
        };
        let goes_on = match last.reply.finish {
            Finish::Pause => true,
            Finish::ToolCalls => ran_itself(),
            _ => false,
        };
        if last.results.is_empty() && last.correction.is_none() && !goes_on {
            return Next::End { at_limit: false };
        }
        match step + 1 < self.steps_max {
            true => Next::Ask { step: step + 1 },
            false => Next::End { at_limit: true },
        }
    }

    /// The model has answered.
    pub fn replied(&mut self, reply: Reply) {
        let results = reply.calls().map(|_| None).collect();
        self.steps.push(Step {
            reply,
            results,
            correction: None,
        });
    }

    /// A tool has returned. A call that does not exist, or has returned, changes nothing.
    pub fn returned(&mut self, step: u32, call: u32, result: ToolResult) {
        let step = self.steps.get_mut(step as usize);
        if let Some(slot) = step.and_then(|step| step.results.get_mut(call as usize)) {
            slot.get_or_insert(result);
        }
    }

    /// The last answer is not what was asked for: the model is told so, and asked again. `false` if it may not be.
    pub fn correct(&mut self, what: String) -> bool {
        let may = self.steps.len() < self.steps_max as usize;
        if let (true, Some(last)) = (may, self.steps.last_mut()) {
            last.correction = Some(what);
        }
        may
    }

    /// The model was told this about an answer; what [`Turn::correct`] does, as it was recorded.
    pub(crate) fn corrected(&mut self, step: u32, what: String) {
        if let Some(step) = self.steps.get_mut(step as usize) {
            step.correction = Some(what);
        }
    }

    /// The same loop, in which the model may be asked so often; at least once.
    pub(crate) fn at_most(mut self, steps_max: u32) -> Self {
        self.steps_max = steps_max.max(1);
        self
    }

    /// The answers so far, and what followed from each.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How often the model was corrected.
    pub fn corrections(&self) -> u32 {
        number(self.steps.iter().filter(|step| step.correction.is_some()).count())
    }

    /// What was said in the loop, as the model is shown it: behind the prompt, the history and the user's words.
    pub fn messages(&self) -> Vec<ModelMessage> {
        let mut messages = Vec::new();
        for step in &self.steps {
            if !step.reply.parts.is_empty() {
                let parts = step.reply.parts.clone();
                messages.push(ModelMessage::Assistant { parts });
            }
            let results: Vec<ToolResult> = step.results.iter().flatten().cloned().collect();
            if !results.is_empty() {
                messages.push(ModelMessage::Tool { results });
            }
            messages.extend(step.correction.as_ref().map(ModelMessage::user));
        }
        messages
    }

    /// What all answers used, as far as models say.
    pub fn usage(&self) -> Option<Usage> {
        let mut used = self.steps.iter().filter_map(|step| step.reply.usage).peekable();
        used.peek()?;
        let mut sum = Usage::default();
        used.for_each(|usage| sum += usage);
        Some(sum)
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Native;

    fn asks(ids: &[&str]) -> Reply {
        let call = |id: &&str| {
            AssistantPart::ToolUse(ToolUse {
                id: (*id).to_owned(),
                name: "look".into(),
                arguments: "{}".into(),
                native: None,
            })
        };
        Reply {
            parts: ids.iter().map(call).collect(),
            finish: Finish::ToolCalls,
            usage: Some(Usage::new(10, 1)),
            ..Reply::default()
        }
    }

    fn says(text: &str) -> Reply {
        Reply {
            parts: vec![AssistantPart::Text { text: text.into() }],
            usage: Some(Usage::new(20, 2)),
            ..Reply::default()
        }
    }

    fn gave(id: &str) -> ToolResult {
        ToolResult {
            id: id.into(),
            name: "look".into(),
            content: format!("of {id}"),
            is_error: false,
        }
    }

    #[test]
    fn it_goes_from_the_model_to_the_tools_and_back_until_there_are_no_calls() {
        let mut turn = Turn::new(8);
        assert_eq!(turn.next(), Next::Ask { step: 0 });
        turn.replied(asks(&["a", "b"]));
        assert_eq!(
            turn.next(),
            Next::Run {
                step: 0,
                calls: vec![0, 1]
            }
        );
        turn.returned(0, 1, gave("b"));
        assert_eq!(
            turn.next(),
            Next::Run {
                step: 0,
                calls: vec![0]
            }
        );
        turn.returned(0, 0, gave("a"));
        assert_eq!(turn.next(), Next::Ask { step: 1 });
        let messages = turn.messages();
        let results = ModelMessage::Tool {
            results: vec![gave("a"), gave("b")],
        };
        assert_eq!(messages[1], results, "in the order of the calls");
        turn.replied(says("done"));
        assert_eq!(turn.next(), Next::End { at_limit: false });
        assert_eq!(turn.usage(), Some(Usage::new(30, 3)));
    }

    #[test]
    fn a_result_counts_once_and_only_for_a_call() {
        let mut turn = Turn::new(8);
        turn.replied(asks(&["a"]));
        turn.returned(0, 0, gave("a"));
        let before = turn.clone();
        turn.returned(0, 0, gave("other"));
        turn.returned(0, 7, gave("a"));
        turn.returned(3, 0, gave("a"));
        assert_eq!(turn, before);
    }

    #[test]
    fn the_model_is_not_asked_more_often_than_it_may_be() {
        let mut turn = Turn::new(2);
        for step in 0..2 {
            assert_eq!(turn.next(), Next::Ask { step });
            turn.replied(asks(&["a"]));
            turn.returned(step, 0, gave("a"));
        }
        assert_eq!(turn.next(), Next::End { at_limit: true });
        assert!(!turn.correct("again".into()));
        assert_eq!(Turn::new(0).next(), Next::Ask { step: 0 }, "once at least");
    }

    #[test]
    fn what_the_provider_ran_itself_makes_no_calls_and_the_model_goes_on() {
        let native = AssistantPart::Native(Native::default());
        for (finish, parts, goes_on) in [
            (Finish::Pause, says("let me search").parts, true),
            (Finish::ToolCalls, vec![native], true),
            (Finish::ToolCalls, says("I called nothing").parts, false),
        ] {
            let mut turn = Turn::new(8);
            turn.replied(Reply {
                finish,
                parts,
                ..Reply::default()
            });
            assert_eq!(turn.next() == Next::Ask { step: 1 }, goes_on);
        }
    }

    #[test]
    fn a_correction_asks_again() {
        let mut turn = Turn::new(8);
        turn.replied(says("not json"));
        assert!(turn.correct("that is no JSON".into()));
        assert_eq!((turn.next(), turn.corrections()), (Next::Ask { step: 1 }, 1));
        assert_eq!(turn.messages().last(), Some(&ModelMessage::user("that is no JSON")));
    }

    #[test]
    fn it_survives_json_at_every_step() {
        let mut turn = Turn::new(3);
        let check = |turn: &Turn| {
            let json = serde_json::to_string(turn).expect("json");
            assert_eq!(serde_json::from_str::<Turn>(&json).expect("a turn"), *turn);
        };
        check(&turn);
        turn.replied(asks(&["a", "b"]));
        check(&turn);
        turn.returned(0, 1, gave("b"));
        check(&turn);
        turn.returned(0, 0, gave("a"));
        turn.replied(says("x"));
        turn.correct("no".into());
        check(&turn);
    }
}
