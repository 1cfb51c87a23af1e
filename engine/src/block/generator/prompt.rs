//! What a model is shown: the system part (prompt, then context), then the history, then the user's words.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::History;
use super::tools::Tools;
use crate::block::Tool;
use crate::block::answer::{Answer, Answering};
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::model::ModelMessage;
use crate::record::{HistoryRange, ModelCalled};

/// A function of the input; a sync one has its answer at once.
pub(super) type Fill<I, T> = Arc<dyn Fn(&I, Ctx) -> BoxFuture<'static, Result<T, BlockError>> + Send + Sync>;

/// Something that is the same in every run, or made anew in each.
pub(super) enum Slot<I, T> {
    Fixed(T),
    Made(Fill<I, T>),
}

impl<I, T: Clone> Slot<I, T> {
    pub(super) async fn fill(&self, input: &I, ctx: &Ctx) -> Result<T, BlockError> {
        match self {
            Self::Fixed(value) => Ok(value.clone()),
            Self::Made(make) => make(input, ctx.clone()).await,
        }
    }

    fn is_made(&self) -> bool {
        matches!(self, Self::Made(_))
    }
}

/// A slot's function, with its answer brought into the form that the slot has.
pub(super) fn made<I: 'static, A, T, R, M>(
    make: impl Fn(&I, Ctx) -> R + Send + Sync + 'static,
    into: impl Fn(A) -> T + Clone + Send + Sync + 'static,
) -> Fill<I, T>
where
    A: Send + 'static,
    T: 'static,
    R: Answer<A, M>,
{
    Arc::new(move |input, ctx| {
        let (answer, into) = (make(input, ctx).answer(), into.clone());
        Box::pin(async move { answer.get().await.map(into) })
    })
}

/// What a slot of text may be given: text, or `None` for nothing.
pub trait SlotText: Send + 'static {
    #[doc(hidden)]
    fn text(self) -> String;
}

impl SlotText for String {
    fn text(self) -> String {
        self
    }
}

impl SlotText for Option<String> {
    fn text(self) -> String {
        self.unwrap_or_default()
    }
}

/// What a slot of messages may be given: text (the user's words), a message, several, or `None` for nothing.
pub trait SlotMessages: Send + 'static {
    #[doc(hidden)]
    fn messages(self) -> Vec<ModelMessage>;
}

impl SlotMessages for String {
    fn messages(self) -> Vec<ModelMessage> {
        vec![ModelMessage::user(self)]
    }
}

impl SlotMessages for &'static str {
    fn messages(self) -> Vec<ModelMessage> {
        vec![ModelMessage::user(self)]
    }
}

impl SlotMessages for ModelMessage {
    fn messages(self) -> Vec<ModelMessage> {
        vec![self]
    }
}

impl SlotMessages for Vec<ModelMessage> {
    fn messages(self) -> Vec<ModelMessage> {
        self
    }
}

impl<T: SlotMessages> SlotMessages for Option<T> {
    fn messages(self) -> Vec<ModelMessage> {
        self.map(T::messages).unwrap_or_default()
    }
}

/// Marks [`Answer`] for tools.
pub struct ToolsAtOnce;

impl Answer<Vec<Tool>, ToolsAtOnce> for Vec<Tool> {
    fn answer(self) -> Answering<Vec<Tool>> {
        Answering::Now(Ok(self))
    }
}

/// Where the session's part of a prompt comes from.
pub(super) enum Before<I> {
    Session(History),
    Made(Fill<I, Vec<ModelMessage>>),
}

/// Where the parts of a prompt come from.
pub(super) struct Slots<I> {
    pub(super) prompt: Option<Slot<I, String>>,
    pub(super) context: Vec<Slot<I, String>>,
    pub(super) history: Option<Before<I>>,
    pub(super) user: Option<Slot<I, Vec<ModelMessage>>>,
    /// Those that are always there; they have their names already.
    pub(super) tools: Tools,
    pub(super) more_tools: Vec<Fill<I, Vec<Tool>>>,
}

impl<I> Default for Slots<I> {
    fn default() -> Self {
        Self {
            prompt: None,
            context: Vec::new(),
            history: None,
            user: None,
            tools: Tools::default(),
            more_tools: Vec::new(),
        }
    }
}

impl<I> Slots<I> {
    /// What a loop that is gone on with was begun with: its history is what it was, not what has been said since, and the user's words
    /// are those that were recorded.
    pub(super) async fn fill_as(&self, called: &ModelCalled, input: &I, ctx: &Ctx) -> Result<Prompt, BlockError> {
        let history = match (&self.history, called.history) {
            (Some(Before::Session(history)), Some(range)) => history.within(range).read(ctx).await?.0,
            _ => Vec::new(),
        };
        Ok(Prompt {
            system: self.system(input, ctx).await?,
            tools: self.tools(input, ctx).await?,
            recorded: None,
            kept_history: false,
            history,
            range: called.history,
            user: called.said.clone(),
        })
    }

    /// Everything, before the first step.
    pub(super) async fn fill(&self, input: &I, ctx: &Ctx) -> Result<Prompt, BlockError> {
        let (system, tools) = (self.system(input, ctx).await?, self.tools(input, ctx).await?);
        let (history, range) = match &self.history {
            Some(Before::Session(history)) => history.read(ctx).await?,
            Some(Before::Made(make)) => (make(input, ctx.clone()).await?, None),
            None => (Vec::new(), None),
        };
        let mut user = match &self.user {
            Some(user) => user.fill(input, ctx).await?,
            None => Vec::new(),
        };
        // The action has shown the user's words already: they are in the history.
        let said = history.last().filter(|last| matches!(last, ModelMessage::User { .. }));
        if said.is_some() && said == user.first() {
            user.remove(0);
        }
        Ok(Prompt {
            system,
            tools,
            recorded: None,
            kept_history: range.is_none(),
            history,
            range,
            user,
        })
    }

    /// Makes anew, before a later step, what is made by functions and may have changed: not the history and the user's words.
    pub(super) async fn refill(&self, prompt: &mut Prompt, input: &I, ctx: &Ctx) -> Result<(), BlockError> {
        if self.prompt.iter().chain(&self.context).any(Slot::is_made) {
            prompt.system = self.system(input, ctx).await?;
        }
        if !self.more_tools.is_empty() {
            prompt.tools = self.tools(input, ctx).await?;
        }
        Ok(())
    }

    /// The prompt, then each piece of context by itself. What is empty is left out.
    async fn system(&self, input: &I, ctx: &Ctx) -> Result<Vec<String>, BlockError> {
        let mut system = Vec::with_capacity(1 + self.context.len());
        for slot in self.prompt.iter().chain(&self.context) {
            let text = slot.fill(input, ctx).await?;
            if !text.is_empty() {
                system.push(text);
            }
        }
        Ok(system)
    }

    async fn tools(&self, input: &I, ctx: &Ctx) -> Result<Tools, BlockError> {
        let mut more = Vec::new();
        for make in &self.more_tools {
            more.extend(make(input, ctx.clone()).await?);
        }
        match more.is_empty() {
            true => Ok(self.tools.clone()),
            false => self.tools.with(more).map_err(|what| BlockError::new("tools", what)),
        }
    }
}

/// A filled prompt.
pub(super) struct Prompt {
    pub(super) system: Vec<String>,
    pub(super) tools: Tools,
    history: Vec<ModelMessage>,
    /// The system part and the names of the tools, as they were last recorded.
    recorded: Option<(Vec<String>, Vec<String>)>,
    /// The history is nowhere in the log: a function made it.
    kept_history: bool,
    /// Where the history lies in the session's stream.
    pub(super) range: Option<HistoryRange>,
    /// The user's words, unless they are the end of the history.
    user: Vec<ModelMessage>,
}

impl Prompt {
    /// What is recorded of it besides the system part: what can't be read from the log elsewhere.
    pub(super) fn to_record(&self) -> Vec<ModelMessage> {
        let history = self.history.iter().filter(|_| self.kept_history);
        history.chain(&self.user).cloned().collect()
    }

    /// The system part and the names of the tools, each only if it is not what it was when this was last called.
    pub(super) fn changes(&mut self) -> (Option<Vec<String>>, Option<Vec<String>>) {
        let now = (self.system.clone(), self.tools.names());
        let before = self.recorded.replace(now.clone());
        let (system, tools) = before.unwrap_or_default();
        ((now.0 != system).then_some(now.0), (now.1 != tools).then_some(now.1))
    }

    /// The messages, and behind them those of the loop.
    pub(super) fn messages(&self, of_loop: Vec<ModelMessage>) -> Vec<ModelMessage> {
        let system = self.system.iter().map(ModelMessage::system);
        let said = self.history.iter().chain(&self.user).cloned();
        system.chain(said).chain(of_loop).collect()
    }
}
