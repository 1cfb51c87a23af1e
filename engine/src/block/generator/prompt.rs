//! What a model is shown: the system prompt, then the history, then the user's words.

use std::sync::Arc;

use crate::error::{BlockError, QueryError};
use crate::exec::Ctx;
use crate::item::{ItemBody, Role};
use crate::model::ModelMessage;
use crate::record::{Fact, HistoryRange, decode};

/// How much of the session a model sees. Always whole turns (requests), and always the running one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    turns_max: Option<usize>,
}

impl History {
    /// All of it.
    pub fn all() -> Self {
        Self { turns_max: None }
    }

    /// The newest turns, the running one included.
    pub fn turns(turns_max: usize) -> Self {
        Self {
            turns_max: Some(turns_max),
        }
    }

    /// The messages, and where they lie in the session's stream.
    pub(crate) async fn read(self, ctx: &Ctx) -> Result<(Vec<ModelMessage>, Option<HistoryRange>), BlockError> {
        let records = ctx.history_records(self.turns_max).await?;
        let positions = || records.iter().map(|record| record.position);
        let range = positions()
            .min()
            .zip(positions().max())
            .map(|(from, to)| HistoryRange { from, to });
        let mut messages = Vec::with_capacity(records.len());
        for record in &records {
            let Fact::ItemCompleted(completed) = decode(record).map_err(QueryError::from)? else {
                continue;
            };
            if let ItemBody::Message { role, content } = completed.item.body {
                let text: String = content.iter().map(|part| part.as_text()).collect();
                if !text.is_empty() {
                    messages.push(match role {
                        Role::Assistant => ModelMessage::assistant(text),
                        Role::User => ModelMessage::user(text),
                        Role::System | Role::Developer | Role::Tool => ModelMessage::system(text),
                    });
                }
            }
        }
        Ok((messages, range))
    }
}

type Slot<I> = Arc<dyn Fn(&I, &Ctx) -> String + Send + Sync>;

/// Where the parts of a prompt come from.
pub(super) struct Slots<I> {
    pub(super) prompt: Option<Slot<I>>,
    pub(super) history: Option<History>,
    pub(super) user: Option<Slot<I>>,
}

impl<I> Default for Slots<I> {
    fn default() -> Self {
        Self {
            prompt: None,
            history: None,
            user: None,
        }
    }
}

impl<I> Slots<I> {
    pub(super) async fn fill(&self, input: &I, ctx: &Ctx) -> Result<Prompt, BlockError> {
        let system = self
            .prompt
            .as_ref()
            .map(|prompt| prompt(input, ctx))
            .filter(|text| !text.is_empty());
        let mut user = self.user.as_ref().map(|user| user(input, ctx));
        let (history, range) = match self.history {
            Some(history) => history.read(ctx).await?,
            None => (Vec::new(), None),
        };
        let last = history.last().filter(|last| last.role() == Role::User);
        if last.is_some_and(|last| Some(last.text()) == user) {
            user = None;
        }
        Ok(Prompt {
            system,
            history,
            range,
            user,
        })
    }
}

/// A filled prompt.
pub(super) struct Prompt {
    pub(super) system: Option<String>,
    pub(super) history: Vec<ModelMessage>,
    /// Where the history lies in the session's stream.
    pub(super) range: Option<HistoryRange>,
    /// The user's words, unless they are the end of the history.
    pub(super) user: Option<String>,
}

impl Prompt {
    pub(super) fn into_messages(self) -> Vec<ModelMessage> {
        let system = self.system.map(ModelMessage::system);
        let user = self.user.map(ModelMessage::user);
        system.into_iter().chain(self.history).chain(user).collect()
    }
}
