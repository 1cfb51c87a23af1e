//! The port to language models: what a generator asks, what a model answers, piece by piece. What is asked and answered is in
//! `model/request`, `model/message` and `model/event`; the built-in deterministic model is in `model/scripted`.
//!
//! From a name to something that answers: `model/reference` reads names, `model/models` is what an engine is told of its models,
//! `model/resolver` finds who can be asked (`model/route` is the way there), and `model/chain` says what is tried when one fails.

mod chain;
mod choice;
mod error;
mod event;
mod message;
mod models;
pub mod providers;
mod reference;
mod request;
mod resolver;
mod route;
mod scripted;

use futures_util::stream::BoxStream;

pub use chain::{Chain, Then};
pub use choice::ModelChoice;
pub use error::{ModelAttempt, ModelError, ModelErrorKind};
pub use event::{Finish, ModelEvent, Usage};
pub use message::{AssistantPart, ModelMessage, Native, ToolResult, ToolUse, UserPart};
pub use models::{Models, ModelsError, Preset};
pub use reference::{Gateway, ModelRef, ModelRefError, Provider};
pub use request::{
    ModelRequest, OutputSchema, ProviderTool, Search, SearchDepth, ToolSpec, UserLocation, provider_tool,
};
pub use resolver::{Candidate, Connect, Resolved, Resolver};
pub use route::{Protocol, Route, Secret, Timeouts};
pub use scripted::{Reply, ScriptedModel};

/// A language model.
pub trait Model: Send + Sync + 'static {
    /// The name that generators refer to and records keep.
    fn name(&self) -> &str;

    /// Answers: any number of pieces, then one [`ModelEvent::End`]. A stream that ends without it counts as failed.
    /// It tries once: who calls it decides what is tried again. Dropping the stream stops the answer.
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>>;
}
