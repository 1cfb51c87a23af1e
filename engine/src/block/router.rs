//! Routers: a block that runs one of its declared routes with its own input. The decision is recorded before the route starts.

use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::answer::Answer;
use super::choice::{Choice, Choices, Pool};
use super::container::Opens;
use super::{Block, BlockDef, Body, IntoBlock};
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::record::RouteChosen;
use crate::value::{Data, Val};

/// Begins a router.
///
/// ```
/// # use flowstate_engine::prelude::*;
/// # let (chat, agent) = (handler("chat").run(|i: String, _| async move { Ok(i) }), handler("agent").run(|i: String, _| async move { Ok(i) }));
/// let mode = router("mode")
///     .route("chat", chat)
///     .route("agent", agent)
///     .decide(|input: &String, _ctx, (chat, agent)| if input.len() > 80 { agent } else { chat });
/// # let _: Block<String, String> = mode;
/// ```
///
/// A choice can only be one of the routes:
///
/// ```compile_fail
/// # use flowstate_engine::prelude::*;
/// # let chat = handler("chat").run(|i: String, _| async move { Ok(i) });
/// router("mode").route("chat", chat).decide(|_: &String, _ctx, (_chat,)| "agent");
/// ```
///
/// and all routes have the types of the router:
///
/// ```compile_fail
/// # use flowstate_engine::prelude::*;
/// # let chat = handler("chat").run(|i: String, _| async move { Ok(i) });
/// # let count = handler("count").run(|i: String, _| async move { Ok(i.len()) });
/// router("mode").route("chat", chat).route("count", count);
/// ```
pub fn router(name: impl Into<String>) -> RouterName {
    RouterName { name: name.into() }
}

/// A router without routes; see [`router`].
pub struct RouterName {
    name: String,
}

impl RouterName {
    /// Declares the first route.
    pub fn route<I: Data, O: Data, M>(
        self,
        name: impl Into<String>,
        block: impl IntoBlock<I, O, M>,
    ) -> Router<I, O, (Choice,)> {
        let router = Router::<I, O, ()> {
            name: self.name,
            routes: Vec::new(),
            container: None,
            problems: Vec::new(),
            _types: PhantomData,
        };
        router.route(name, block)
    }
}

/// A router without a decision; see [`router`]. `C` is the tuple of choices that its decision gets.
pub struct Router<I, O, C> {
    name: String,
    routes: Vec<Route>,
    pub(super) container: Option<Opens>,
    pub(super) problems: Vec<String>,
    _types: PhantomData<fn(I, C) -> O>,
}

impl<I: Data, O: Data, C: Choices> Router<I, O, C> {
    /// Declares one more route.
    pub fn route<M>(mut self, name: impl Into<String>, block: impl IntoBlock<I, O, M>) -> Router<I, O, C::More> {
        let name: Arc<str> = name.into().into();
        if name.is_empty() || name.contains('/') {
            self.problems
                .push(format!("the route {name:?} must not be empty nor have a slash"));
        }
        if self.routes.iter().any(|route| route.name == name) {
            self.problems.push(format!("the route {name:?} is declared twice"));
        }
        if self.routes.len() == ROUTES_MAX {
            self.problems.push(format!(
                "a router has at most {ROUTES_MAX} routes: nest routers for more"
            ));
        }
        self.routes.push(Route {
            name,
            block: block.into_block().into_def(),
        });
        Router {
            name: self.name,
            routes: self.routes,
            container: self.container,
            problems: self.problems,
            _types: PhantomData,
        }
    }

    /// How it chooses: `|input, ctx, (a, b)| ..` gives `a` or `b`, a `Result` of it, or a future of one.
    pub fn decide<R, M>(self, decide: impl Fn(&I, Ctx, C) -> R + Send + Sync + 'static) -> Block<I, O>
    where
        R: Answer<Choice, M>,
    {
        let pool = Pool::new();
        let decide: Decide = Arc::new(move |input: &Val, ctx: Ctx| {
            let choices = C::mint(&|index| pool.choice(index));
            let answer = input.get::<I>().map(|input| decide(input, ctx, choices).answer());
            Box::pin(async move { answer?.get().await })
        });
        let routes = Routes {
            routes: self.routes.into(),
            pool,
            decide,
        };
        Block::new(self.name, Body::Routes(routes), self.problems).with(|def| def.container = self.container)
    }
}

/// Most routes of one router: choices are tuples.
const ROUTES_MAX: usize = 12;

type Decide = Arc<dyn Fn(&Val, Ctx) -> BoxFuture<'static, Result<Choice, BlockError>> + Send + Sync>;

struct Route {
    name: Arc<str>,
    block: Arc<BlockDef>,
}

/// A router's body.
#[derive(Clone)]
pub(super) struct Routes {
    routes: Arc<[Route]>,
    pool: Pool,
    decide: Decide,
}

impl Routes {
    pub(super) fn blocks(&self) -> impl Iterator<Item = &BlockDef> {
        self.routes.iter().map(|route| &*route.block)
    }

    pub(super) async fn run(&self, input: Val, ctx: &Ctx) -> Result<Val, BlockError> {
        let recalled = ctx.recalled_route();
        let recalled = recalled.and_then(|name| self.routes.iter().position(|route| *route.name == *name));
        let index = match recalled {
            Some(index) => index,
            None => {
                let choice = (self.decide)(&input, ctx.clone()).await?;
                self.pool.index(&format!("the router {:?}", ctx.block_name()), choice)?
            }
        };
        let missing = || BlockError::new("unknown_route", format!("the router has no route {index}"));
        let route = self.routes.get(index).ok_or_else(missing)?;
        if recalled.is_none() {
            ctx.record(RouteChosen {
                path: ctx.path().to_string(),
                route: route.name.to_string(),
                attempt: ctx.attempt_number(),
            })
            .await?;
        }
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let place = ctx.step(&format!("route.{}", route.name), index, &route.block);
        route.block.clone().run(input, place).await
    }
}
