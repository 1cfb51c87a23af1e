//! One answer of a script: its pieces, when they come, and how it ends.

use std::time::Duration;

use serde_json::Value;

use crate::item::Source;
use crate::model::{Finish, ModelError, ModelEvent, ToolUse, Usage};

/// One answer of a script, as a list of what happens. It ends by itself, with [`Finish::ToolCalls`] if there is a tool in it, else
/// [`Finish::Stop`].
///
/// ```
/// use std::time::Duration;
///
/// use flowstate_engine::model::{Finish, Reply, Usage};
/// use serde_json::json;
///
/// let wants_tools = Reply::new()
///     .reasoning("Two cities, two calls.")
///     .and_text("One moment.")
///     .tool("weather", json!({"city": "Bergen"}))
///     .tool("weather", json!({"city": "Oslo"}))
///     .usage(Usage::new(120, 40));
/// let slow_and_cut = Reply::text("It is rai").delay(Duration::from_secs(3)).and_text("ning").cut();
/// let too_long = Reply::text("And so on").finish(Finish::Length);
/// # drop((wants_tools, slow_and_cut, too_long));
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use = "it does nothing outside of a script"]
pub struct Reply {
    pub(super) steps: Vec<Step>,
    pub(super) usage: Option<Usage>,
    pub(super) finish: Option<Finish>,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Event(ModelEvent),
    /// A tool of this name and these arguments, whose id the script makes.
    Tool(String, Value),
    Wait(Duration),
    /// Nothing comes after it.
    Fail(ModelError),
    /// The stream ends, without an end.
    Cut,
}

impl Reply {
    /// An empty answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// This text, as one piece.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new().and_text(text)
    }

    /// No answer: this error.
    pub fn fail(error: ModelError) -> Self {
        Self::new().then_fail(error)
    }

    /// More text, as one piece.
    pub fn and_text(self, text: impl Into<String>) -> Self {
        self.event(ModelEvent::Text(text.into()))
    }

    /// A thought, as one piece, and its end.
    pub fn reasoning(self, text: impl Into<String>) -> Self {
        self.event(ModelEvent::Reasoning(text.into()))
            .event(ModelEvent::ReasoningEnd(None))
    }

    /// A call of a tool, by the name that the model is told. Its id is `call-<reply>-<call>`, both from 1.
    pub fn tool(self, name: impl Into<String>, arguments: Value) -> Self {
        self.step(Step::Tool(name.into(), arguments))
    }

    /// A call of a tool as it is, with an id of its own or malformed arguments.
    pub fn tool_use(self, tool_use: ToolUse) -> Self {
        self.event(ModelEvent::ToolUse(tool_use))
    }

    /// Where the answer has something from.
    pub fn source(self, source: Source) -> Self {
        self.event(ModelEvent::Source(source))
    }

    /// Any piece of an answer. After an [`ModelEvent::End`] nothing more comes.
    pub fn event(self, event: ModelEvent) -> Self {
        self.step(Step::Event(event))
    }

    /// Waits, in tokio's time: a paused clock moves on by itself.
    pub fn delay(self, time: Duration) -> Self {
        self.step(Step::Wait(time))
    }

    /// Fails here, whatever has come before.
    pub fn then_fail(self, error: ModelError) -> Self {
        self.step(Step::Fail(error))
    }

    /// Breaks off here: the stream ends without an end.
    pub fn cut(self) -> Self {
        self.step(Step::Cut)
    }

    /// What it used; without this, it does not say.
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Why it ended.
    pub fn finish(mut self, finish: Finish) -> Self {
        self.finish = Some(finish);
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Its steps with an end, as the reply of this number.
    pub(super) fn played(self, number: usize) -> Vec<Step> {
        let (mut steps, mut calls) = (Vec::new(), 0_usize);
        for step in self.steps {
            let step = match step {
                Step::Tool(name, arguments) => {
                    calls += 1;
                    Step::Event(ModelEvent::ToolUse(ToolUse {
                        id: format!("call-{number}-{calls}"),
                        name,
                        arguments: arguments.to_string(),
                        native: None,
                    }))
                }
                other => other,
            };
            let is_last = matches!(step, Step::Fail(_) | Step::Cut | Step::Event(ModelEvent::End { .. }));
            steps.push(step);
            if is_last {
                return steps;
            }
        }
        let wants_tools = steps
            .iter()
            .any(|step| matches!(step, Step::Event(ModelEvent::ToolUse(_))));
        let by_itself = if wants_tools { Finish::ToolCalls } else { Finish::Stop };
        steps.push(Step::Event(ModelEvent::End {
            finish: self.finish.unwrap_or(by_itself),
            usage: self.usage,
        }));
        steps
    }
}
