//! Context that is made of the scopes' states, as a value that can be exported.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::SlotText;
use crate::block::answer::Answer;
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::value::Data;

/// Makes context for a generator of what its scopes' states are: `|session: S|`, `|session: S, user: U|` or
/// `|session: S, user: U, project: Option<P>|`, each with a `Ctx` behind it if it needs one. The types say what is read; each may have only the
/// fields that the text is made of. The project is `None` if the session has none.
///
/// It gives text, `None` or empty text for nothing, a `Result` of that, or a future. The states are read when the generator runs, and again
/// before each later step. One that can't be read fails the generator.
///
/// ```
/// use flowstate_engine::ContextFn;
/// use flowstate_engine::prelude::*;
/// use flowstate_engine::prompt::{list, section, when};
///
/// #[derive(Clone, Serialize, Deserialize, JsonSchema)]
/// struct Research {
///     findings: Vec<String>,
/// }
///
/// pub fn research() -> ContextFn {
///     context_fn(|session: Research| {
///         let found = &session.findings;
///         when(!found.is_empty(), || section("Findings", [list(found)]))
///     })
/// }
///
/// let write = generator("write").context(research()).user(|topic: &String, _ctx| topic.clone());
/// # let _: Block<String, String> = write.into_block();
/// ```
pub fn context_fn<A>(make: impl OfStates<A>) -> ContextFn {
    let make = Arc::new(make);
    ContextFn(Arc::new(move |ctx| {
        let make = make.clone();
        Box::pin(async move { make.made(ctx).await })
    }))
}

/// Context made of states; see [`context_fn`]. It knows nothing of the generator, so that any number of them may have it.
#[derive(Clone)]
pub struct ContextFn(Arc<dyn Fn(Ctx) -> BoxFuture<'static, Result<String, BlockError>> + Send + Sync>);

impl ContextFn {
    pub(super) fn fill(&self, ctx: Ctx) -> BoxFuture<'static, Result<String, BlockError>> {
        (self.0)(ctx)
    }
}

/// A function of states that gives text. `A` only tells apart what it takes.
#[diagnostic::on_unimplemented(
    message = "this is no function of states that gives text",
    label = "takes the session's state, then the user's, then an `Option` of the project's, then a `Ctx`: by value, with their types",
    note = "gives a `String`, an `Option<String>`, a `Result` of one, or a future of that"
)]
pub trait OfStates<A>: Send + Sync + 'static {
    #[doc(hidden)]
    fn made(&self, ctx: Ctx) -> impl Future<Output = Result<String, BlockError>> + Send;
}

async fn session<S: Data>(ctx: &Ctx) -> Result<S, BlockError> {
    Ok(ctx.session().get().await?)
}

async fn user<U: Data>(ctx: &Ctx) -> Result<U, BlockError> {
    Ok(ctx.user().get().await?)
}

async fn project<P: Data>(ctx: &Ctx) -> Result<Option<P>, BlockError> {
    match ctx.project() {
        Some(project) => Ok(Some(project.get().await?)),
        None => Ok(None),
    }
}

/// For a function of these states, and for one with a `Ctx` behind them.
macro_rules! of_states {
    ($($read:ident: $state:ident as $argument:ty),+) => {
        impl<$($state: Data,)+ T: SlotText, R: Answer<T, M>, M, F> OfStates<(($($state,)+), T, M)> for F
        where
            F: Fn($($argument),+) -> R + Send + Sync + 'static,
        {
            async fn made(&self, ctx: Ctx) -> Result<String, BlockError> {
                $(let $read = $read(&ctx).await?;)+
                let answer = self($($read),+).answer();
                answer.get().await.map(T::text)
            }
        }

        impl<$($state: Data,)+ T: SlotText, R: Answer<T, M>, M, F> OfStates<(($($state,)+), Ctx, T, M)> for F
        where
            F: Fn($($argument,)+ Ctx) -> R + Send + Sync + 'static,
        {
            async fn made(&self, ctx: Ctx) -> Result<String, BlockError> {
                $(let $read = $read(&ctx).await?;)+
                let answer = self($($read,)+ ctx).answer();
                answer.get().await.map(T::text)
            }
        }
    };
}

of_states!(session: S as S);
of_states!(session: S as S, user: U as U);
of_states!(session: S as S, user: U as U, project: P as Option<P>);

/// What [`Generator::context`](super::Generator::context) takes: text, or a [`ContextFn`]. `M` only tells these apart.
pub trait Context<M> {
    #[doc(hidden)]
    fn part(self) -> Part;
}

/// See [`Context`].
#[doc(hidden)]
pub enum Part {
    Text(String),
    Made(ContextFn),
}

/// Marks [`Context`] for text.
pub struct AsText;
/// Marks [`Context`] for functions of states.
pub struct AsFn;

impl<T: Into<String>> Context<AsText> for T {
    fn part(self) -> Part {
        Part::Text(self.into())
    }
}

impl Context<AsFn> for ContextFn {
    fn part(self) -> Part {
        Part::Made(self)
    }
}
