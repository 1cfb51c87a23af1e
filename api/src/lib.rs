//! Flowstate: AI flows whose every step and token is stored before it is shown.
//!
//! This is the crate to depend on. It serves flows over HTTP and SSE, and re-exports what flows are built with.
//! What runs them is `flowstate-engine`; what stores them is `flowstate-log`.
//!
//! ```no_run
//! use flowstate::prelude::*;
//! use flowstate::{FlowState, lsm};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let echo = handler("echo").run(|input: String, _ctx: Ctx| async move { Ok(input) });
//! let app = flow("echo").action("say", action(echo)).instance("default")?;
//!
//! let server = FlowState::builder().flow(app).store(lsm("./data")).build()?;
//! server.serve("127.0.0.1:4400").await?;
//! # Ok(())
//! # }
//! ```

pub mod auth;
pub mod cli;
mod flow_state;
#[cfg(doctest)]
mod guide;
#[cfg(feature = "otel")]
pub mod otel;
mod server;
mod signals;
mod store;
mod wire;

pub use flow_state::{BuildError, FlowState, FlowStateBuilder, Meta, ReadyError, ServeError};
pub use server::limits::Limits;
pub use server::observe::{CallError, CallInfo};
pub use store::{Profile, Slot, Store, StoreAdapter, fjall, lsm, memory};

pub use flowstate_engine as engine;
pub use flowstate_engine::model::Models;
pub use flowstate_engine::{CapturedError, ErrorSink, prelude};
pub use flowstate_log as log;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The guide's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/assembly.md")]
struct Assembly;
