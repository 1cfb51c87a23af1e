//! What of its own doing a generator shows, and to whom.

use crate::item::{Audience, ItemBody, Phase, Visibility};

/// Which items a generator makes by itself; see `Generator::emit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emission {
    pub(super) reasoning: bool,
    pub(super) messages: bool,
    pub(super) tools: bool,
}

/// All of them.
impl Default for Emission {
    fn default() -> Self {
        Self::all(true)
    }
}

impl Emission {
    /// No item.
    pub fn none() -> Self {
        Self::all(false)
    }

    const fn all(shown: bool) -> Self {
        Self {
            reasoning: shown,
            messages: shown,
            tools: shown,
        }
    }

    /// Whether the model's thoughts become items.
    pub fn reasoning(mut self, shown: bool) -> Self {
        self.reasoning = shown;
        self
    }

    /// Whether its words do, and the sources that it names.
    pub fn messages(mut self, shown: bool) -> Self {
        self.messages = shown;
        self
    }

    /// Whether the calls of tools do.
    pub fn tools(mut self, shown: bool) -> Self {
        self.tools = shown;
        self
    }
}

impl From<bool> for Emission {
    fn from(shown: bool) -> Self {
        Self::all(shown)
    }
}

/// Who sees what one execution of a generator shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) emission: Emission,
    audience: Audience,
}

impl Shown {
    /// Declared for the block, at this place.
    pub(super) fn new(emission: Emission, declared: Option<Audience>, phase: Phase, in_tool: bool) -> Self {
        Self {
            emission,
            audience: Audience::first(None, declared, Audience::of_generator(phase, in_tool)),
        }
    }

    /// Who sees this item; `None`: it is not made.
    pub(super) fn sees(&self, body: &ItemBody) -> Option<Visibility> {
        let made = match body {
            ItemBody::Reasoning { .. } => self.emission.reasoning,
            ItemBody::ToolOutput(_) | ItemBody::ToolCallProgress(_) => self.emission.tools,
            _ => self.emission.messages,
        };
        // What is not part of a conversation is for clients, unless the generator speaks to traces only.
        match (body.is_conversation(), self.audience) {
            _ if !made => None,
            (true, audience) => Some(audience.sees(body)),
            (false, Audience::Client) => Some(Visibility::CLIENT),
            (false, Audience::History | Audience::Trace) => Some(Visibility::TRACE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Role, Source, ToolCall, ToolOutput};

    fn bodies() -> [ItemBody; 5] {
        let (role, content) = (Role::Assistant, Vec::new());
        [
            ItemBody::Reasoning { summary: Vec::new() },
            ItemBody::Message { role, content },
            ItemBody::ToolOutput(ToolOutput::default()),
            ItemBody::ToolCallProgress(ToolCall::default()),
            ItemBody::Source(Source::default()),
        ]
    }

    /// The value of the item's type, then the declared audience, then the place.
    #[test]
    fn precedence() {
        use Audience::{History, Trace};
        let (all, none) = (Emission::default(), Emission::none());
        let (talk, client) = (Some(Visibility::CONVERSATION), Some(Visibility::CLIENT));
        let (history, trace) = (Some(Visibility::HISTORY), Some(Visibility::TRACE));
        let (main, work) = ((Phase::Main, false), (Phase::Work, false));
        let tool = (Phase::Main, true);
        for (emission, declared, (phase, in_tool), sees) in [
            (all, None, main, [talk, talk, talk, client, client]),
            (all, None, work, [trace; 5]),
            (all, None, tool, [trace; 5]),
            (all, Some(Audience::Client), tool, [talk, talk, talk, client, client]),
            (all, Some(Audience::Client), work, [talk, talk, talk, client, client]),
            (all, Some(History), main, [history, history, history, trace, trace]),
            (all, Some(Trace), main, [trace; 5]),
            (all.reasoning(false), None, main, [None, talk, talk, client, client]),
            (all.messages(false), None, main, [talk, None, talk, client, None]),
            (all.tools(false), None, main, [talk, talk, None, None, client]),
            (
                none.messages(true),
                Some(History),
                main,
                [None, history, None, None, trace],
            ),
            (none, Some(Audience::Client), main, [None; 5]),
            (false.into(), None, work, [None; 5]),
        ] {
            let shown = Shown::new(emission, declared, phase, in_tool);
            let found = bodies().map(|body| shown.sees(&body));
            assert_eq!(found, sees, "{emission:?}, {declared:?}, {phase:?}, {in_tool}");
        }
    }
}
