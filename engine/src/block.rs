//! Blocks: units of logic with typed edges. What is here is their common shape; each kind has its file.
//! Builders are generic and thin; what runs them sees [`BlockDef`]s and erased values.

mod generator;
mod handler;
mod sequencer;

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::error::{BlockError, Problem};
use crate::exec::Ctx;
use crate::schema::join;
use crate::value::{Data, Val};

pub use generator::{Generator, History, generator};
pub use handler::{Handler, handler};
pub use sequencer::{Sequencer, sequencer};

use sequencer::plan::Plan;

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

impl<I: Data, O: Data> Block<I, O> {
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

    /// Checks each input against the rules that its type declares with `garde`, before the block runs.
    /// As the root of an action, they are checked before the request is accepted.
    pub fn validated(self) -> Self
    where
        I: garde::Validate,
        I::Context: Default,
    {
        let mut def = BlockDef::clone(&self.def);
        def.rules = Some(Arc::new(|root, input| {
            let Err(report) = input.get::<I>()?.validate() else {
                return Ok(Vec::new());
            };
            let problems = report
                .iter()
                .map(|(path, error)| Problem::new(join(root, &path.to_string()), error.to_string()));
            Ok(problems.collect())
        }));
        Self::from_def(def)
    }
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

type Code = Arc<dyn Fn(Val, Ctx) -> BoxFuture<'static, Result<Val, BlockError>> + Send + Sync>;
type Rules = Arc<dyn Fn(&str, &Val) -> Result<Vec<Problem>, BlockError> + Send + Sync>;

/// A block without its types.
#[derive(Clone)]
pub(crate) struct BlockDef {
    name: Arc<str>,
    body: Body,
    /// What is wrong with how it was built; reported when the flow is built.
    problems: Vec<String>,
    /// The model that it asks for by name.
    model: Option<Arc<str>>,
    rules: Option<Rules>,
}

#[derive(Clone)]
enum Body {
    Code(Code),
    Steps(Plan),
}

impl BlockDef {
    fn new(name: String, body: Body, mut problems: Vec<String>) -> Self {
        if name.trim().is_empty() {
            problems.insert(0, "a block has no name".into());
        }
        Self {
            name: name.trim().into(),
            body,
            problems,
            model: None,
            rules: None,
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the declared rules say against an input; paths start with `root`.
    pub(crate) fn problems_of(&self, root: &str, input: &Val) -> Result<Vec<Problem>, BlockError> {
        self.rules
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), |rules| rules(root, input))
    }

    /// Calls `visit` with this block and every block in it.
    pub(crate) fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        if let Body::Steps(plan) = &self.body {
            plan.blocks().for_each(|block| block.walk(visit));
        }
    }

    pub(crate) fn build_problems(&self) -> impl Iterator<Item = String> + '_ {
        self.problems
            .iter()
            .map(|problem| format!("block {:?}: {problem}", self.name))
    }

    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Runs it. `ctx` already stands at this block's place in the plan.
    pub(crate) fn run(self: Arc<Self>, input: Val, ctx: Ctx) -> BoxFuture<'static, Result<Val, BlockError>> {
        Box::pin(async move {
            let problems = self.problems_of("", &input)?;
            if !problems.is_empty() {
                let what = format!("the input of block {:?} is not valid", self.name);
                return Err(BlockError::invalid("validation_error", &what, &problems));
            }
            match &self.body {
                Body::Code(code) => code(input, ctx).await,
                Body::Steps(plan) => plan.run(input, ctx).await,
            }
        })
    }
}
