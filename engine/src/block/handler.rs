//! Handlers: a block that is one async function.

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
}
