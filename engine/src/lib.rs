//! The engine: flows of blocks, run as requests, each of whose steps is a record in a log; and projections of that log.
//! It knows flows, scopes, items and models. It does not know HTTP, and of storage only what `flowstate-log` shows.
//!
//! ```
//! use flowstate_engine::prelude::*;
//!
//! #[derive(Clone, Serialize, Deserialize, JsonSchema, Validate)]
//! struct ChatInput {
//!     #[garde(length(min = 1))]
//!     message: String,
//! }
//!
//! #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
//! struct ChatState {
//!     turns: u32,
//! }
//!
//! # fn main() -> Result<(), FlowError> {
//! let chat = generator("chat")
//!     .prompt("You are a friendly assistant.")
//!     .history(History::all())
//!     .user(|input: &ChatInput, _ctx| input.message.clone());
//!
//! let count_turns = handler("count-turns").run(|answer: String, ctx: Ctx| async move {
//!     ctx.session::<ChatState>().inc("turns", 1).await?;
//!     Ok(answer)
//! });
//!
//! let hello_chat = flow("hello-chat")
//!     .action(
//!         "chat",
//!         action(sequencer("pipeline").then(chat).then(count_turns))
//!             .user_message(|input: &ChatInput| input.message.clone()),
//!     )
//!     .session(scope::<ChatState>().client_data("turns", |state: &ChatState| state.turns))
//!     .instance("default")?;
//!
//! let engine = Engine::builder().flow(hello_chat); // .open(options).await?
//! # drop(engine);
//! # Ok(())
//! # }
//! ```

mod block;
mod engine;
mod error;
mod exec;
mod flow;
#[cfg(doctest)]
mod guide;
mod host;
pub mod item;
pub mod model;
pub mod offline;
mod principal;
mod projection;
pub mod prompt;
pub mod record;
mod resource;
mod schema;
mod scope;
mod settings;
mod stats;
mod timer;
mod trace;
pub mod types;
mod value;
pub mod voice;

pub use block::{
    Answer, Arm, Arms, Block, Case, Cases, Choice, Choices, ContextFn, Emission, ExitInto, Exits, Generator, Handler,
    History, IntoBlock, IntoItems, IntoRescuers, NoExit, Repair, RescueOn, Rescued, Rescuer, Retry, Router, RouterName,
    Sequencer, SlotMessages, SlotText, Tool, ViaBlock, ViaFunction, ViaGenerator, ViaSequencer, any_error, arm, case,
    context_fn, generator, handler, on, on_code, router, sequencer, turn,
};
pub use engine::{
    Assembly, ClientDataError, Engine, EngineBuilder, InstancePage, InstanceQuery, ItemPage, ListedRequest, Media,
    Prefix, RequestQuery, RequestRef, ResourceEntry, ResourceInfo, RunResult, SessionDetail, SessionQuery,
    ShownInstance, Snapshot, SnapshotQuery,
};
pub use error::{
    AmbiguousBlockName, BlockError, CancelError, EngineOpenError, ErrorType, FlowError, NetworkError,
    OutputValidationError, Problem, QueryError, RateLimitError, RecordError, RecoverError, ReplayError,
    ResourceAccessError, RetryError, RunError, SessionError, SubmitError, TimeoutError, ToolError,
};
pub use exec::hooks::{Completed, ErrorInfo, Errored, Finished, Started, StepErrored};
pub use exec::{Accepted, Ctx, NewSession, Replay, Submission};
pub use flow::{
    Action, ActionDescription, ClientValue, Flow, FlowBuilder, FlowDescription, RESERVED_KINDS, action, flow,
};
pub use host::{CapturedError, ErrorSink};
#[cfg(feature = "otel")]
#[doc(hidden)]
pub use model::providers::http_client;
pub use principal::Principal;
pub use projection::{RequestRow, RequestStatus, SessionSummary};
pub use resource::{
    ClientAccess, Collection, CollectionRef, ContentVersion, Definition, Eviction, InstanceContext, Key, KeyError,
    KeyProblem, Many, One, Pattern, PatternError, PatternProblem, ReadResourceContent, Resource, ResourceContent,
    ResourceContentWritten, ResourceError, ResourceProblem, ResourceRef, Resources, ScopeResources, StorageKey,
    WriteResourceContent, collection, read_resource_content, resource, template, write_resource_content,
};
pub use scope::{
    Difference, InstanceError, InstanceRef, NoState, OpError, Scope, StateError, StateOp, StateProblem, StateRef, View,
    Write, Written, scope, view,
};
pub use settings::SettingsMissing;
pub use stats::RunCounts;
pub use timer::Timer;
pub use trace::{NoTraceParent, TraceParent};
pub use value::Data;

/// What a file that declares flows needs, the derives of its types included.
pub mod prelude {
    pub use garde::{self, Validate};
    pub use schemars::{self, JsonSchema};
    pub use serde::{self, Deserialize, Serialize};

    pub use crate::model::Models;
    pub use crate::voice::VoiceConfig;
    pub use crate::{
        Action, Block, BlockError, Choice, ContextFn, Ctx, Data, Emission, Engine, ErrorType, Flow, FlowError, History,
        IntoBlock, Repair, Rescued, Retry, StateRef, Written, action, any_error, arm, case, context_fn, flow,
        generator, handler, on, on_code, router, scope, sequencer, view,
    };
}
