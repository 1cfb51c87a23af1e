//! What conditions, connectors and decisions may return: a value at once, or a future of one.

use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Choice;
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::value::{Data, Val};

/// Gives a `T`: a `T` itself, a `Result<T, BlockError>`, or a future of one. `M` only tells these apart.
pub trait Answer<T, M>: Send {
    #[doc(hidden)]
    fn answer(self) -> Answering<T>;
}

/// An answer that is there, or is to come.
#[doc(hidden)]
pub enum Answering<T> {
    Now(Result<T, BlockError>),
    Later(BoxFuture<'static, Result<T, BlockError>>),
}

impl<T> Answering<T> {
    pub(crate) async fn get(self) -> Result<T, BlockError> {
        match self {
            Self::Now(answer) => answer,
            Self::Later(answer) => answer.await,
        }
    }
}

/// Marks [`Answer`] for values.
pub struct AtOnce;
/// Marks [`Answer`] for results.
pub struct OrError;
/// Marks [`Answer`] for futures.
pub struct InTime;

impl<T: Data> Answer<T, AtOnce> for T {
    fn answer(self) -> Answering<T> {
        Answering::Now(Ok(self))
    }
}

impl Answer<Choice, AtOnce> for Choice {
    fn answer(self) -> Answering<Choice> {
        Answering::Now(Ok(self))
    }
}

impl<T: Send> Answer<T, OrError> for Result<T, BlockError> {
    fn answer(self) -> Answering<T> {
        Answering::Now(self)
    }
}

impl<T, F> Answer<T, InTime> for F
where
    F: Future<Output = Result<T, BlockError>> + Send + 'static,
{
    fn answer(self) -> Answering<T> {
        Answering::Later(self.boxed())
    }
}

/// A condition on a value.
pub(crate) type Condition = Arc<dyn Fn(&Val, &Ctx) -> Answering<bool> + Send + Sync>;
/// Makes a value from another one.
pub(crate) type Mapper = Arc<dyn Fn(Val, Ctx) -> BoxFuture<'static, Result<Val, BlockError>> + Send + Sync>;

pub(crate) fn condition<T: Data, R, M>(ask: impl Fn(&T, &Ctx) -> R + Send + Sync + 'static) -> Condition
where
    R: Answer<bool, M>,
{
    Arc::new(move |value, ctx| match value.get::<T>() {
        Ok(value) => ask(value, ctx).answer(),
        Err(error) => Answering::Now(Err(error)),
    })
}

pub(crate) fn mapper<T: Data, O: Data, R, M>(map: impl Fn(T, Ctx) -> R + Send + Sync + 'static) -> Mapper
where
    R: Answer<O, M>,
{
    Arc::new(move |value, ctx| {
        let mapped = value.take::<T>().map(|value| map(value, ctx).answer());
        Box::pin(async move { mapped?.get().await.map(Val::new) })
    })
}
