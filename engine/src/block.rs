//! Blocks: units of logic with typed edges. What is here is their common shape; each kind has its file.
//! Builders are generic and thin; what runs them sees [`BlockDef`]s and erased values.

pub(crate) mod answer;
mod choice;
mod container;
mod def;
mod edge;
pub(crate) mod generator;
mod handler;
mod needs;
mod retry;
mod router;
mod sequencer;
mod tool;

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::error::{BlockError, Problem};
use crate::exec::Ctx;
use crate::schema::join;
use crate::value::Data;

pub use answer::Answer;
pub(crate) use answer::{Answering, AtOnce, InTime, OrError};
pub use choice::{Choice, Choices};
pub use generator::turn;
pub use generator::{ContextFn, Emission, Generator, History, Repair, SlotMessages, SlotText, context_fn, generator};
pub use handler::{Handler, handler};
pub use retry::Retry;
pub use router::{Router, RouterName, router};
pub use sequencer::{
    Arm, Arms, Case, Cases, ExitInto, Exits, IntoItems, IntoRescuers, NoExit, RescueOn, Rescued, Rescuer, Sequencer,
    any_error, arm, case, on, on_code, sequencer,
};
pub use tool::Tool;

pub(crate) use def::BlockDef;
use def::{Body, Finish, Rules};
pub(crate) use edge::Edge;

/// A unit of logic from an `I` to an `O`. Cheap to clone, and used any number of times.
pub struct Block<I, O> {
    def: Arc<BlockDef>,
    _types: PhantomData<fn(I) -> O>,
}

impl<I, O> Clone for Block<I, O> {
    fn clone(&self) -> Self {
        Self {
            def: self.def.clone(),
            _types: PhantomData,
        }
    }
}

impl<I, O> std::fmt::Debug for Block<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({:?})", self.def.name())
    }
}

impl<I: Data, O: Data> Block<I, O> {
    fn new(name: String, body: Body, problems: Vec<String>) -> Self {
        Self::from_def(BlockDef::new(name, body, Edge::of::<I>(), Edge::of::<O>(), problems))
    }

    /// The caller answers for the types.
    pub(crate) fn from_def(def: impl Into<Arc<BlockDef>>) -> Self {
        Self {
            def: def.into(),
            _types: PhantomData,
        }
    }

    pub(crate) fn into_def(self) -> Arc<BlockDef> {
        self.def
    }

    fn with(mut self, change: impl FnOnce(&mut BlockDef)) -> Self {
        change(Arc::make_mut(&mut self.def));
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.def.name()
    }

    /// The same block under another name.
    pub fn named(self, name: impl Into<String>) -> Self {
        let name: String = name.into();
        self.with(|def| {
            if name.trim().is_empty() {
                def.problems
                    .push("it was renamed to nothing: a block needs a name".into());
            }
            def.name = name.trim().into();
        })
    }

    /// What it does, for a model that may use it as a tool.
    pub fn describe(self, description: impl Into<String>) -> Self {
        let description: String = description.into();
        self.with(|def| def.description = Some(description.into()))
    }

    /// A block that takes a `D` and makes this one's input from it: `|value, ctx| ..` gives the input, a `Result` of it,
    /// or a future of one. It runs before any check of the input.
    pub fn map_input<D: Data, R, M>(self, map: impl Fn(D, Ctx) -> R + Send + Sync + 'static) -> Block<D, O>
    where
        R: Answer<I, M>,
    {
        let mut def = Arc::unwrap_or_clone(self.def);
        def.connectors.insert(0, answer::mapper::<D, I, R, M>(map));
        def.input = Edge::of::<D>();
        Block::from_def(def)
    }

    /// A block that gives what `map` makes of this one's output. What was declared about the old output still holds for that.
    pub fn map_output<P: Data, R, M>(self, map: impl Fn(O, Ctx) -> R + Send + Sync + 'static) -> Block<I, P>
    where
        R: Answer<P, M>,
    {
        let mut def = Arc::unwrap_or_clone(self.def);
        def.finishes.push(Finish::Map(answer::mapper::<O, P, R, M>(map)));
        def.output = Edge::of::<P>();
        Block::from_def(def)
    }

    /// Checks each input against the rules that its type declares with `garde`, before the block runs.
    /// As the root of an action, they are checked before the request is accepted.
    pub fn validated(self) -> Self
    where
        I: garde::Validate,
        I::Context: Default,
    {
        self.with(|def| def.input_rules = Some(rules::<I>()))
    }

    /// Checks each output against the rules that its type declares with `garde`, before anyone gets it.
    pub fn validated_output(self) -> Self
    where
        O: garde::Validate,
        O::Context: Default,
    {
        self.with(|def| def.check_output(rules::<O>()))
    }

    /// Tries it again when it fails.
    pub fn retry(self, policy: Retry) -> Self {
        self.with(|def| def.retry = Some(policy))
    }

    /// Told of each output before the block ends; if this fails, the block does.
    pub fn on_completed<R, M>(self, told: impl Fn(&O, Ctx) -> R + Send + Sync + 'static) -> Self
    where
        R: Answer<(), M>,
    {
        self.with(|def| {
            def.finishes.push(Finish::Tell(Arc::new(move |output, ctx| {
                let told = output.get::<O>().map(|output| told(output, ctx).answer());
                Box::pin(async move { told?.get().await })
            })));
        })
    }

    /// Told of the error when the block fails for good. A failure of this is logged and changes nothing.
    pub fn on_errored<R, M>(self, told: impl Fn(&BlockError, Ctx) -> R + Send + Sync + 'static) -> Self
    where
        R: Answer<(), M>,
    {
        self.with(|def| {
            def.on_errored = Some(Arc::new(move |error, ctx| {
                let told = told(error, ctx).answer();
                Box::pin(async move { told.get().await })
            }));
        })
    }
}

fn rules<T: Data + garde::Validate>() -> Rules
where
    T::Context: Default,
{
    Arc::new(|root, value| {
        let Err(report) = value.get::<T>()?.validate() else {
            return Ok(Vec::new());
        };
        let problems = report
            .iter()
            .map(|(path, error)| Problem::new(join(root, &path.to_string()), error.to_string()));
        Ok(problems.collect())
    })
}

/// What may stand where a block is expected: a [`Block`], a builder, or an async function `|input, ctx| async { Ok(output) }`.
/// `M` only tells these apart.
pub trait IntoBlock<I, O, M> {
    /// The block.
    fn into_block(self) -> Block<I, O>;
}

/// Marks [`IntoBlock`] for blocks.
pub struct ViaBlock;
/// Marks [`IntoBlock`] for sequencers.
pub struct ViaSequencer;
/// Marks [`IntoBlock`] for generators.
pub struct ViaGenerator;
/// Marks [`IntoBlock`] for async functions.
pub struct ViaFunction;

impl<I: Data, O: Data> IntoBlock<I, O, ViaBlock> for Block<I, O> {
    fn into_block(self) -> Block<I, O> {
        self
    }
}

impl<I, O, F, Fut> IntoBlock<I, O, ViaFunction> for F
where
    I: Data,
    O: Data,
    F: Fn(I, Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, BlockError>> + Send + 'static,
{
    fn into_block(self) -> Block<I, O> {
        handler("inline").run(self)
    }
}
