//! Models that need no network and no key. One makes its answers from the messages alone (`scripted/echo`), for demos and benchmarks; one
//! says what it is told to (`scripted/script`), for development and tests. Neither understands anything.

mod echo;
mod reply;
mod script;

use std::sync::Arc;

use futures_util::stream::BoxStream;

use super::{Model, ModelError, ModelEvent, ModelRequest};
pub use reply::Reply;
use script::Script;

/// Tokens per second unless told otherwise.
const TOKENS_PER_SECOND: u32 = 50;

/// The built-in deterministic model. By itself its answer follows from the messages, at a steady pace; with a script, it says that.
///
/// ```
/// use flowstate_engine::model::{ModelError, ModelErrorKind, ScriptedModel, Reply};
/// use flowstate_engine::prelude::*;
/// use flowstate_log::Options;
/// use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = ScriptedModel::script([
///     Reply::text("Hello, Ann."),
///     Reply::fail(ModelError::new("scripted", ModelErrorKind::Auth, "no such key")),
/// ]);
/// let greet = generator("greet").user(|name: &String, _ctx| format!("I am {name}."));
/// let engine = Engine::builder()
///     .flow(flow("greeter").action("greet", action(greet)).instance("default")?)
///     .model(Arc::new(model.clone()))
///     .open(Options::in_memory())
///     .await?;
///
/// assert_eq!(engine.run("greeter", "greet", "Ann").await?.output, "Hello, Ann.");
/// assert!(engine.run("greeter", "greet", "Bob").await?.error.is_some());
/// assert_eq!(model.asked()[0].messages.last().map(|message| message.text()), Some("I am Ann.".to_owned()));
/// # engine.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ScriptedModel {
    name: String,
    says: Says,
}

#[derive(Debug, Clone)]
enum Says {
    /// What follows from the messages, at this pace.
    Echo(u32),
    /// What it is told to.
    Script(Arc<Script>),
}

impl ScriptedModel {
    /// Its name, unless it is given another.
    pub const NAME: &'static str = "scripted";

    /// Answers that follow from the messages, at this pace; 0 means as fast as they are read.
    pub fn new(tokens_per_second: u32) -> Self {
        Self {
            name: Self::NAME.to_owned(),
            says: Says::Echo(tokens_per_second),
        }
    }

    /// These replies, one for each call, in the order in which the model is called. A call beyond them fails, and is not to be tried again.
    /// Clones are one model: they share the script.
    pub fn script(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self {
            name: Self::NAME.to_owned(),
            says: Says::Script(Arc::new(Script::new(replies.into_iter().collect()))),
        }
    }

    /// A script for conversations in which a user said `text`: their calls take these replies and no others, so that requests that run at the
    /// same time each have their own. Of several that fit, the one that was declared first is taken. On a model without a script, this is the
    /// whole script.
    pub fn when(mut self, text: impl Into<String>, replies: impl IntoIterator<Item = Reply>) -> Self {
        let script = match &self.says {
            Says::Echo(_) => Script::new(Vec::new()),
            Says::Script(script) => script.unused(),
        };
        self.says = Says::Script(Arc::new(script.when(text.into(), replies.into_iter().collect())));
        self
    }

    /// Under another name, so that there can be several.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What it was asked, oldest first: calls that a script had a reply for.
    pub fn asked(&self) -> Vec<ModelRequest> {
        match &self.says {
            Says::Echo(_) => Vec::new(),
            Says::Script(script) => script.asked(),
        }
    }

    /// How many replies of its script nobody has taken.
    pub fn left(&self) -> usize {
        match &self.says {
            Says::Echo(_) => 0,
            Says::Script(script) => script.left(),
        }
    }
}

/// 50 tokens per second.
impl Default for ScriptedModel {
    fn default() -> Self {
        Self::new(TOKENS_PER_SECOND)
    }
}

impl Model for ScriptedModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        match &self.says {
            Says::Echo(tokens_per_second) => echo::stream(&request.messages, *tokens_per_second),
            Says::Script(script) => script.stream(&self.name, request),
        }
    }
}

#[cfg(test)]
mod tests;
