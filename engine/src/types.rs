//! Names for the types that follow from others: what a block takes and gives, and the state that a declaration is of.
//!
//! ```
//! use flowstate_engine::prelude::*;
//! use flowstate_engine::types::{BlockInput, BlockOutput, ContextOf, StateOf};
//!
//! #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
//! struct Turns {
//!     turns: u32,
//! }
//!
//! type Count = Block<String, usize>;
//! type Declared = flowstate_engine::Scope<Turns>;
//!
//! fn twice(count: Count) -> Block<BlockInput<Count>, BlockOutput<Count>> {
//!     count.map_output(|length, _ctx| length * 2)
//! }
//!
//! async fn add(session: ContextOf<Declared>) -> Result<StateOf<Declared>, BlockError> {
//!     session.inc("turns", 1).await?;
//!     Ok(session.get().await?)
//! }
//! # let _ = (twice, add);
//! ```
//!
//! What is asked for must be what follows:
//!
//! ```compile_fail
//! # use flowstate_engine::prelude::*;
//! # use flowstate_engine::types::{BlockInput, BlockOutput};
//! type Count = Block<String, usize>;
//! fn twice(count: Count) -> Block<BlockOutput<Count>, BlockInput<Count>> {
//!     count.map_output(|length, _ctx| length * 2)
//! }
//! ```

use crate::block::{Block, Generator, Sequencer};
use crate::flow::Action;
use crate::resource::{Collection, CollectionRef, Definition, Resource, ResourceRef};
use crate::scope::{InstanceRef, Scope, StateRef, View};

pub use crate::record::ScopeKind;
pub use crate::scope::{Difference, Fields, StateOp, Written};
pub use crate::value::Data;

/// What has a type that it takes: a block, a builder of one, an action.
pub trait Takes {
    /// That type.
    type Input;
}

/// What has a type that it gives: a block, a builder of one.
pub trait Gives {
    /// That type.
    type Output;
}

/// What is about a state: its declaration, a block's view of it, a handle to it.
pub trait OfState {
    /// The state's type.
    type State;
}

/// The type that a block takes.
pub type BlockInput<B> = <B as Takes>::Input;
/// The type that a block gives.
pub type BlockOutput<B> = <B as Gives>::Output;
/// The type of a state.
pub type StateOf<D> = <D as OfState>::State;
/// The handle that a block has to such a state: `ctx.session()` and the like give it.
pub type ContextOf<D> = StateRef<StateOf<D>>;

/// A declared resource or collection.
pub trait OfResource {
    /// What a block has of it.
    type Handle;
}

/// What a block has of a declared resource or collection: `ctx.resource(..)` and `ctx.collection(..)` give it.
pub type ResourceContext<D> = <D as OfResource>::Handle;

impl<I, O> Takes for Block<I, O> {
    type Input = I;
}

impl<I, O> Gives for Block<I, O> {
    type Output = O;
}

impl<I, Cur, E> Takes for Sequencer<I, Cur, E> {
    type Input = I;
}

impl<I, Cur, E> Gives for Sequencer<I, Cur, E> {
    type Output = Cur;
}

impl<I> Takes for Generator<I> {
    type Input = I;
}

impl<I> Gives for Generator<I> {
    type Output = String;
}

impl<I> Takes for Action<I> {
    type Input = I;
}

impl<S> OfState for Scope<S> {
    type State = S;
}

impl<S> OfState for View<S> {
    type State = S;
}

impl<S> OfState for StateRef<S> {
    type State = S;
}

impl<S> OfState for InstanceRef<S> {
    type State = S;
}

impl<S, K> OfState for Definition<S, K> {
    type State = S;
}

impl<S> OfState for ResourceRef<S> {
    type State = S;
}

impl<S> OfState for CollectionRef<S> {
    type State = S;
}

impl<S> OfResource for Resource<S> {
    type Handle = ResourceRef<S>;
}

impl<S> OfResource for Collection<S> {
    type Handle = CollectionRef<S>;
}
