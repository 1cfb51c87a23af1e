//! Handlers: a block that is one function, async or not.

use std::future::Future;
use std::sync::Arc;

use super::{Block, Body};
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::value::{Data, Val};

/// Begins a handler.
pub fn handler(name: impl Into<String>) -> Handler {
    Handler { name: name.into() }
}

/// A handler that has a name and no function yet.
pub struct Handler {
    name: String,
}

impl Handler {
    /// The function that it runs. It emits nothing by itself.
    pub fn run<I, O, F, Fut>(self, run: F) -> Block<I, O>
    where
        I: Data,
        O: Data,
        F: Fn(I, Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, BlockError>> + Send + 'static,
    {
        let run = Arc::new(run);
        let code = Arc::new(move |input: Val, ctx: Ctx| {
            let run = run.clone();
            let future: futures_util::future::BoxFuture<'static, _> =
                Box::pin(async move { run(input.take::<I>()?, ctx).await.map(Val::new) });
            future
        });
        Block::new(self.name, Body::Handler(code), Vec::new())
    }

    /// The same with a function that waits for nothing. It runs on a thread of the runtime: what takes longer than a millisecond or so belongs
    /// into [`run`](Self::run), inside of `tokio::task::spawn_blocking`.
    ///
    /// ```
    /// # use flowstate_engine::prelude::*;
    /// let double = handler("double").run_sync(|n: u64, _ctx| Ok(n * 2));
    /// # let _: Block<u64, u64> = double;
    /// ```
    pub fn run_sync<I, O, F>(self, run: F) -> Block<I, O>
    where
        I: Data,
        O: Data,
        F: Fn(I, Ctx) -> Result<O, BlockError> + Send + Sync + 'static,
    {
        self.run(move |input, ctx| std::future::ready(run(input, ctx)))
    }
}
