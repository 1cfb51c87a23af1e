//! Actions: the named entry points of a flow, each with the type of its input and its root block.

use std::sync::Arc;

use serde_json::Value;

use crate::block::{Block, BlockDef, IntoBlock};
use crate::error::{BlockError, Problem};
use crate::exec::hooks::{Completed, Errored, Hooks};
use crate::schema::{Schema, deserialize};
use crate::value::{Data, Val};

/// Where an action's input stands in the paths of problems.
const INPUT: &str = "input";

/// An action that runs this block. Its input is checked against the schema of `I` before a request is accepted.
pub fn action<I: Data, O: Data, M>(block: impl IntoBlock<I, O, M>) -> Action<I> {
    Action {
        block: block.into_block().into_def(),
        user_message: None,
        hooks: Hooks::default(),
        _input: std::marker::PhantomData,
    }
}

/// An action; see [`action`].
pub struct Action<I> {
    block: Arc<BlockDef>,
    user_message: Option<UserMessage>,
    hooks: Hooks,
    _input: std::marker::PhantomData<fn(I)>,
}

type UserMessage = Arc<dyn Fn(&Val) -> Result<String, BlockError> + Send + Sync>;
type Parse = Arc<dyn Fn(&Value) -> Result<Val, Vec<Problem>> + Send + Sync>;

impl<I: Data> Action<I> {
    /// What the user said, as it follows from the input: shown as the user's message before the block runs.
    pub fn user_message(mut self, message: impl Fn(&I) -> String + Send + Sync + 'static) -> Self {
        self.user_message = Some(Arc::new(move |input| Ok(message(input.get::<I>()?))));
        self
    }

    /// Checks inputs also against the rules that their type declares with `garde`.
    pub fn validated(mut self) -> Self
    where
        I: garde::Validate,
        I::Context: Default,
    {
        self.block = Block::<I, ()>::from_def(self.block).validated().into_def();
        self
    }

    /// Runs when the action's block gave its output, before the flow's hooks. What it fails with changes nothing.
    pub fn on_completed<O: Data, M>(mut self, hook: impl IntoBlock<Completed, O, M>) -> Self {
        self.hooks.completed.push(hook.into_block().into_def());
        self
    }

    /// Runs when the action's block failed, before the flow's hooks.
    pub fn on_errored<O: Data, M>(mut self, hook: impl IntoBlock<Errored, O, M>) -> Self {
        self.hooks.errored.push(hook.into_block().into_def());
        self
    }

    /// The action without its type; `Err` says why its input's schema is not usable.
    pub(super) fn erase(self, name: String) -> Result<ActionDef, String> {
        Ok(ActionDef {
            name,
            schema: Schema::of::<I>()?,
            parse: Arc::new(|input| {
                deserialize::<I>(INPUT, input)
                    .map(Val::new)
                    .map_err(|problem| vec![problem])
            }),
            user_message: self.user_message,
            hooks: self.hooks,
            block: self.block,
        })
    }
}

/// An action without its type.
pub(crate) struct ActionDef {
    pub(crate) name: String,
    pub(crate) schema: Schema,
    /// Makes the user's message, if the action has one.
    pub(crate) user_message: Option<UserMessage>,
    pub(crate) block: Arc<BlockDef>,
    pub(crate) hooks: Hooks,
    parse: Parse,
}

impl ActionDef {
    /// Its own block, and those of its hooks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &BlockDef> {
        std::iter::once(&*self.block).chain(self.hooks.blocks())
    }

    /// The typed input; `Err` has every problem of it: those of the schema, or else of its type, or else of its declared rules.
    pub(crate) fn parse(&self, input: &Value) -> Result<Val, Vec<Problem>> {
        let problems = self.schema.problems(INPUT, input);
        if !problems.is_empty() {
            return Err(problems);
        }
        let input = (self.parse)(input)?;
        match self.block.entry_problems(INPUT, &input) {
            Ok(problems) if problems.is_empty() => Ok(input),
            Ok(problems) => Err(problems),
            Err(error) => Err(vec![Problem::new(INPUT, error.to_string())]),
        }
    }
}

#[cfg(test)]
mod tests {
    use garde::Validate;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;
    use crate::exec::Ctx;

    #[derive(Clone, Serialize, Deserialize, JsonSchema, Validate)]
    struct Even {
        #[garde(custom(even))]
        n: u32,
    }

    fn even(n: &u32, _: &()) -> garde::Result {
        if n.is_multiple_of(2) {
            Ok(())
        } else {
            Err(garde::Error::new("must be even"))
        }
    }

    #[test]
    fn declared_rules_are_checked_only_when_asked_for() {
        let build = || action(|input: Even, _: Ctx| async move { Ok(input.n) });
        let lax = build().erase("a".into()).expect("an action");
        assert!(lax.parse(&json!({"n": 3})).is_ok());
        let strict = build().validated().erase("a".into()).expect("an action");
        assert!(strict.parse(&json!({"n": 2})).is_ok());
        let problems = strict.parse(&json!({"n": 3})).err().expect("odd");
        assert_eq!(problems, [Problem::new("input.n", "must be even")]);
    }
}
