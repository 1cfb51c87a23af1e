//! Blocks without their types: what the interpreter runs, and the one way in which every block runs.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::answer::Mapper;
use super::container::Opens;
use super::edge::Edge;
use super::retry::Retry;
use super::router::Routes;
use super::sequencer::plan::Plan;
use crate::error::{BlockError, Problem, RecordError};
use crate::exec::{Begun, Ctx, RecalledEnd};
use crate::item::ContainerHandle;
use crate::record::BlockKind;
use crate::scope::{ScopeDef, Views};
use crate::value::{Recorded, Val};

pub(super) type Code = Arc<dyn Fn(Val, Ctx) -> BoxFuture<'static, Result<Val, BlockError>> + Send + Sync>;
pub(super) type Rules = Arc<dyn Fn(&str, &Val) -> Result<Vec<Problem>, BlockError> + Send + Sync>;
pub(super) type OnCompleted = Arc<dyn Fn(&Val, Ctx) -> BoxFuture<'static, Result<(), BlockError>> + Send + Sync>;
pub(super) type OnErrored = Arc<dyn Fn(&BlockError, Ctx) -> BoxFuture<'static, Result<(), BlockError>> + Send + Sync>;

/// Most levels of blocks in blocks. A run polls all of them on one stack, that of a thread of the runtime.
pub(super) const DEPTH_MAX: usize = 64;
/// As many levels as a generator and its tools take of that stack.
const TOOL_LEVELS: usize = 8;
/// Most calls of tools in calls of tools.
pub(super) const TOOLS_DEPTH_MAX: usize = DEPTH_MAX / TOOL_LEVELS;

/// A block without its types.
#[derive(Clone)]
pub(crate) struct BlockDef {
    pub(super) name: Arc<str>,
    pub(super) body: Body,
    /// What it takes, and what it gives.
    pub(super) input: Edge,
    pub(super) output: Edge,
    /// What is wrong with how it was built; reported when the flow is built.
    pub(super) problems: Vec<String>,
    /// The models that it asks for by name.
    pub(super) models: Vec<Arc<str>>,
    pub(super) description: Option<Arc<str>>,
    /// The state that each of its executions has.
    pub(super) state: Option<Arc<ScopeDef>>,
    /// The item that groups what each of its executions shows.
    pub(super) container: Option<Opens>,
    /// What it needs of the scopes' states.
    pub(super) views: Arc<Views>,
    /// Make its input, in this order.
    pub(super) connectors: Vec<Mapper>,
    pub(super) input_rules: Option<Rules>,
    /// What happens to its body's output, in this order.
    pub(super) finishes: Vec<Finish>,
    pub(super) retry: Option<Retry>,
    pub(super) on_errored: Option<OnErrored>,
    /// How deeply blocks nest in it, itself included.
    pub(super) depth: usize,
    /// Whether background work begins in it.
    begins_work: bool,
}

/// What happens to an output before the block ends.
#[derive(Clone)]
pub(super) enum Finish {
    Check(Rules),
    Map(Mapper),
    Tell(OnCompleted),
}

#[derive(Clone)]
pub(super) enum Body {
    Handler(Code),
    /// With the tools that it always has.
    Generator {
        code: Code,
        tools: Vec<Arc<BlockDef>>,
    },
    Steps(Plan),
    Routes(Routes),
}

impl BlockDef {
    pub(super) fn new(name: String, body: Body, input: Edge, output: Edge, mut problems: Vec<String>) -> Self {
        if name.trim().is_empty() {
            problems.insert(0, "a block has no name".into());
        }
        let deepest = match &body {
            Body::Handler(_) => None,
            Body::Generator { tools, .. } => tools.iter().map(|block| block.depth).max(),
            Body::Steps(plan) => plan.blocks().map(|block| block.depth).max(),
            Body::Routes(routes) => routes.blocks().map(|block| block.depth).max(),
        };
        let levels = if matches!(body, Body::Generator { .. }) {
            TOOL_LEVELS
        } else {
            1
        };
        let depth = deepest.map_or(1, |deepest| deepest + levels);
        let begins_work = match &body {
            Body::Handler(_) | Body::Generator { .. } => false,
            Body::Steps(plan) => plan.begins_work() || plan.blocks().any(|block| block.begins_work),
            Body::Routes(routes) => routes.blocks().any(|block| block.begins_work),
        };
        // What is in one that is too deep is told there.
        if depth > DEPTH_MAX && deepest.is_none_or(|deepest| deepest <= DEPTH_MAX) {
            problems.push(format!(
                "blocks are nested in it more than {DEPTH_MAX} deep, itself included"
            ));
        }
        Self {
            name: name.trim().into(),
            body,
            input,
            output,
            problems,
            models: Vec::new(),
            description: None,
            state: None,
            container: None,
            views: Arc::default(),
            connectors: Vec::new(),
            input_rules: None,
            finishes: Vec::new(),
            retry: None,
            on_errored: None,
            depth,
            begins_work,
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn kind(&self) -> BlockKind {
        match &self.body {
            Body::Handler(_) => BlockKind::Handler,
            Body::Generator { .. } => BlockKind::Generator,
            Body::Steps(_) => BlockKind::Sequencer,
            Body::Routes(_) => BlockKind::Router,
        }
    }

    /// What the declared rules say against an input, before any connector; paths start with `root`.
    pub(crate) fn entry_problems(&self, root: &str, input: &Val) -> Result<Vec<Problem>, BlockError> {
        match &self.input_rules {
            Some(rules) if self.connectors.is_empty() => rules(root, input),
            _ => Ok(Vec::new()),
        }
    }

    /// Calls `visit` with this block and every block in it.
    pub(crate) fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        match &self.body {
            Body::Handler(_) => {}
            Body::Generator { tools, .. } => tools.iter().for_each(|block| block.walk(visit)),
            Body::Steps(plan) => plan.blocks().for_each(|block| block.walk(visit)),
            Body::Routes(routes) => routes.blocks().for_each(|block| block.walk(visit)),
        }
    }

    pub(crate) fn build_problems(&self) -> impl Iterator<Item = String> + '_ {
        self.problems
            .iter()
            .map(|problem| format!("block {:?}: {problem}", self.name))
    }

    /// Adds a check of the output as it is now, ahead of who is told of it.
    pub(super) fn check_output(&mut self, rules: Rules) {
        let told = self
            .finishes
            .iter()
            .rev()
            .take_while(|finish| matches!(finish, Finish::Tell(_)));
        let at = self.finishes.len() - told.count();
        self.finishes.insert(at, Finish::Check(rules));
    }

    pub(crate) fn views(&self) -> &Arc<Views> {
        &self.views
    }

    pub(crate) fn models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|name| &**name)
    }

    /// Runs it, connectors first. `ctx` stands at its place.
    pub(crate) fn run(self: Arc<Self>, input: Val, ctx: Ctx) -> BoxFuture<'static, Result<Val, BlockError>> {
        if self.connectors.is_empty() {
            return self.run_connected(input, ctx);
        }
        Box::pin(async move {
            let input = self.connect(input, &ctx).await?;
            self.run_connected(input, ctx).await
        })
    }

    /// What its connectors make of a value.
    pub(crate) async fn connect(&self, mut value: Val, ctx: &Ctx) -> Result<Val, BlockError> {
        for connector in &self.connectors {
            // It is called inside, so that what it does before its first await is caught too.
            let connected = AssertUnwindSafe(async { connector(value, ctx.clone()).await })
                .catch_unwind()
                .await;
            value = connected.unwrap_or_else(|panic| {
                Err(BlockError::panicked(
                    &format!("a connector of the block {:?}", self.name),
                    &*panic,
                ))
            })?;
        }
        Ok(value)
    }

    /// Runs it with what its connectors made, as often as its policy says.
    pub(crate) fn run_connected(self: Arc<Self>, input: Val, ctx: Ctx) -> BoxFuture<'static, Result<Val, BlockError>> {
        Box::pin(self.run_attempts(input, ctx))
    }

    async fn run_attempts(self: Arc<Self>, input: Val, ctx: Ctx) -> Result<Val, BlockError> {
        let mut input = Some(input);
        for attempt in 0.. {
            let ctx = match (attempt, &self.state) {
                (0, None) => ctx.clone(),
                (_, state) => ctx.attempt(attempt, state.as_ref()),
            };
            let ended = ctx.recalled_end();
            if ended.is_some() && self.begins_work {
                self.walk_again(input.clone(), &ctx).await;
            }
            match ended {
                None => {}
                Some(RecalledEnd::Completed(output, at)) => return self.recalled(output, *at),
                Some(RecalledEnd::Failed(error)) => {
                    match self.retry.as_ref().and_then(|retry| retry.pause(attempt, error)) {
                        Some(_) => continue,
                        None => return Err(error.clone()),
                    }
                }
                // Who runs it stopped it. If what decided that is recorded, it decides again before this goes on.
                Some(RecalledEnd::Stopped) => tokio::task::yield_now().await,
            }
            let ctx = if ctx.begins_anew() { ctx.fresh() } else { ctx };
            let given = match self.retry {
                Some(_) => input.clone(),
                None => input.take(),
            };
            let Some(given) = given else { break };
            let started = ctx.recorder().begin(ctx.place(), self.kind()).await?;
            let mut refused = false;
            let ran = AssertUnwindSafe(self.run_once(given, &ctx, &mut refused))
                .catch_unwind()
                .await;
            let ran =
                ran.unwrap_or_else(|panic| Err(BlockError::panicked(&format!("the block {:?}", self.name), &*panic)));
            let error = match ran {
                Ok(output) => match ctx.recorder().end(started, &output).await {
                    Ok(()) => return Ok(output),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if error.place().is_none() && !refused {
                ctx.capture(&error, self.kind());
            }
            let error = error.at(ctx.path());
            if !self.failed(attempt, started, &error, &ctx).await {
                return Err(error);
            }
        }
        Err(BlockError::new("retry", "a policy has no attempt left"))
    }

    /// Walks through an execution that has ended, for the background work in it that has not: what has ended gives what it gave, and
    /// nothing is recorded of this block.
    fn walk_again<'a>(&'a self, input: Option<Val>, ctx: &'a Ctx) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(input) = input else { return };
            let walked = match &self.body {
                Body::Steps(plan) => plan.run(input, ctx).await,
                Body::Routes(routes) => routes.run(input, ctx).await,
                Body::Handler(_) | Body::Generator { .. } => return,
            };
            if let Err(error) = walked {
                tracing::debug!(block = &*self.name, %error, "an execution that had failed was walked through again");
            }
        })
    }

    /// The output that it is recorded to have given.
    fn recalled(&self, output: &Value, at: Recorded) -> Result<Val, BlockError> {
        let output = self.output.parse("output", output).map_err(|problem| {
            let what = format!("the recorded output of block {:?} is not what it gives now", self.name);
            BlockError::invalid("output_changed", &what, &[problem])
        })?;
        output.set_recorded(at);
        Ok(output)
    }

    /// Records that an attempt failed, and waits as long as the policy says; `false` if it was the last. On the heap, as is all
    /// that seldom runs: blocks that nest are polled on one stack.
    fn failed<'a>(&'a self, attempt: u32, started: Begun, error: &'a BlockError, ctx: &'a Ctx) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let pause = self.retry.as_ref().and_then(|retry| retry.pause(attempt, error));
            // What can't be recorded now fails the next record too; the block's own error says more.
            let _ = ctx.recorder().end_failed(started, error, pause).await;
            match pause {
                Some(Duration::ZERO) => {}
                Some(pause) => ctx.wait(pause).await,
                None => self.tell_error(error, ctx.clone()).await,
            }
            pause.is_some()
        })
    }

    /// Sets `refused` if the input is not valid.
    async fn run_once(&self, input: Val, ctx: &Ctx, refused: &mut bool) -> Result<Val, BlockError> {
        self.check("input", self.input_rules.as_ref(), &input)
            .inspect_err(|_| *refused = true)?;
        // If this fails or is dropped, the recorder closes it.
        let container = match &self.container {
            Some(opens) => Some(open(opens, &input, ctx).await?),
            None => None,
        };
        let inside = container.as_ref().map_or(ctx, |container| container.ctx());
        let mut output = match &self.body {
            Body::Handler(code) | Body::Generator { code, .. } => code(input, inside.clone()).await?,
            Body::Steps(plan) => plan.run(input, inside).await?,
            Body::Routes(routes) => routes.run(input, inside).await?,
        };
        for finish in &self.finishes {
            match finish {
                Finish::Check(rules) => self.check("output", Some(rules), &output)?,
                Finish::Map(map) => output = map(output, ctx.clone()).await?,
                Finish::Tell(told) => told(&output, ctx.clone()).await?,
            }
        }
        if let Some(container) = container {
            done(container).await?;
        }
        Ok(output)
    }

    fn check(&self, side: &'static str, rules: Option<&Rules>, value: &Val) -> Result<(), BlockError> {
        let problems = rules.map_or_else(|| Ok(Vec::new()), |rules| rules(side, value))?;
        if problems.is_empty() {
            return Ok(());
        }
        let code = match side {
            "input" => "validation_error",
            _ => "output_validation_error",
        };
        let what = format!("the {side} of block {:?} is not valid", self.name);
        Err(BlockError::invalid(code, &what, &problems))
    }

    /// A failure of the hook changes nothing about the error.
    async fn tell_error(&self, error: &BlockError, ctx: Ctx) {
        let Some(on_errored) = &self.on_errored else { return };
        let told = AssertUnwindSafe(on_errored(error, ctx)).catch_unwind().await;
        let told = told.unwrap_or_else(|panic| Err(BlockError::panicked("on_errored", &*panic)));
        if let Err(failure) = told {
            tracing::warn!(block = &*self.name, %failure, "an on_errored hook failed");
        }
    }
}

fn open<'a>(opens: &'a Opens, input: &'a Val, ctx: &'a Ctx) -> BoxFuture<'a, Result<ContainerHandle, BlockError>> {
    Box::pin(async move { Ok(ctx.emit().container(opens(input, ctx)?).await?) })
}

fn done(container: ContainerHandle) -> BoxFuture<'static, Result<(), RecordError>> {
    Box::pin(container.done())
}
