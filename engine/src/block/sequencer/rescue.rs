//! `rescue`: handlers for the errors of the steps before it. They are found by the error's code and get it rebuilt from what is
//! recorded of it, so that a replay finds the same handler.

use std::marker::PhantomData;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Sequencer;
use super::plan::Step;
use crate::block::{BlockDef, IntoBlock};
use crate::error::{BlockError, ErrorType};
use crate::value::{Data, Val};

/// What a handler of [`Sequencer::rescue`] gets: the error, as a type if it was asked for by type, else as its details.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rescued<E = Value> {
    /// The typed error, or the details of one that was not asked for by type.
    pub error: E,
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
    /// The place in the run (`root/then[0]`) where it came up.
    pub place: Option<String>,
}

/// Gives what the handler gets of an error that it is for.
type Matches = Arc<dyn Fn(&BlockError) -> Option<Val> + Send + Sync>;

/// Errors that a handler is for.
pub struct RescueOn<E> {
    matches: Matches,
    _error: PhantomData<fn(E)>,
}

/// Errors of this type: `on::<ModelError>().run(fallback)`.
pub fn on<E: ErrorType>() -> RescueOn<E> {
    RescueOn {
        matches: Arc::new(|error| error.typed::<E>().map(|typed| rescued(typed, error))),
        _error: PhantomData,
    }
}

/// Errors with this code.
pub fn on_code(code: impl Into<String>) -> RescueOn<Value> {
    let code: String = code.into();
    RescueOn {
        matches: Arc::new(move |error| (error.code() == code).then(|| untyped(error))),
        _error: PhantomData,
    }
}

/// All errors.
pub fn any_error() -> RescueOn<Value> {
    RescueOn {
        matches: Arc::new(|error| Some(untyped(error))),
        _error: PhantomData,
    }
}

fn untyped(error: &BlockError) -> Val {
    rescued(error.details().cloned().unwrap_or(Value::Null), error)
}

fn rescued<E: Data>(typed: E, error: &BlockError) -> Val {
    Val::new(Rescued {
        error: typed,
        code: error.code().to_owned(),
        message: error.message().to_owned(),
        retryable: error.is_retryable(),
        place: error.place().map(str::to_owned),
    })
}

impl<E: Data> RescueOn<E> {
    /// Handles them with this block; its output takes the place of the value.
    pub fn run<O: Data, M>(self, block: impl IntoBlock<Rescued<E>, O, M>) -> Rescuer<O> {
        Rescuer {
            matches: self.matches,
            block: block.into_block().into_def(),
            _output: PhantomData,
        }
    }
}

/// A handler: which errors it is for, and the block that handles them.
pub struct Rescuer<O = ()> {
    matches: Matches,
    pub(super) block: Arc<BlockDef>,
    _output: PhantomData<fn() -> O>,
}

impl Rescuer {
    /// What it gets if the error is one of those that it is for.
    pub(super) fn input(&self, error: &BlockError) -> Option<Val> {
        (self.matches)(error)
    }
}

/// One handler, or several in an array or `Vec`.
pub trait IntoRescuers<O> {
    #[doc(hidden)]
    fn into_rescuers(self) -> Vec<Rescuer<O>>;
}

impl<O> IntoRescuers<O> for Rescuer<O> {
    fn into_rescuers(self) -> Vec<Rescuer<O>> {
        vec![self]
    }
}

impl<O, const N: usize> IntoRescuers<O> for [Rescuer<O>; N] {
    fn into_rescuers(self) -> Vec<Rescuer<O>> {
        self.into()
    }
}

impl<O> IntoRescuers<O> for Vec<Rescuer<O>> {
    fn into_rescuers(self) -> Vec<Rescuer<O>> {
        self
    }
}

impl<I: Data, Cur: Data, E> Sequencer<I, Cur, E> {
    /// Guards the steps before it, those after an earlier `rescue` too. If one of them fails, the first handler that is for its error
    /// gives the value, and the chain goes on after the `rescue`. If that handler fails, the next one that is for the error is
    /// tried; if none is left, the last failure goes on to the next `rescue`, with the error as its cause.
    pub fn rescue(self, handlers: impl IntoRescuers<Cur>) -> Self {
        let handlers = handlers.into_rescuers().into_iter().map(|handler| Rescuer {
            matches: handler.matches,
            block: handler.block,
            _output: PhantomData,
        });
        self.push(Step::Rescue(handlers.collect()))
    }
}
