//! Steps with several blocks for one value: all of them (`parallel`, `then_all`), or the first that succeeds (`then_any`, `race`).

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Sequencer;
use super::plan::{Gather, Named, Step};
use crate::block::{Block, BlockDef, IntoBlock};
use crate::error::BlockError;
use crate::schema::{Schema, deserialize};
use crate::value::{Data, Val};

/// An arm of `parallel`: a block under a name.
pub fn arm<I: Data, O: Data, M>(name: impl Into<String>, block: impl IntoBlock<I, O, M>) -> Arm<I, O> {
    Arm {
        name: name.into().into(),
        block: block.into_block(),
    }
}

/// See [`arm`].
pub struct Arm<I, O> {
    name: Arc<str>,
    block: Block<I, O>,
}

/// Tuples of arms: 1 to 12.
pub trait Arms<I> {
    /// The tuple of their outputs.
    type Out: Data;

    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn erase(self) -> (Vec<Named>, Gather);
}

macro_rules! arms {
    ($($($name:ident)*;)*) => {
        $(impl<I: Data, $($name: Data),*> Arms<I> for ($(Arm<I, $name>,)*) {
            type Out = ($($name,)*);

            #[allow(non_snake_case, private_interfaces)]
            fn erase(self) -> (Vec<Named>, Gather) {
                let ($($name,)*) = self;
                let arms = vec![$(Named { name: $name.name, block: $name.block.into_def() }),*];
                let gather: Gather = Arc::new(|outputs: Vec<Val>| {
                    let mut outputs = outputs.into_iter();
                    let mut next = || outputs.next().ok_or_else(lost);
                    Ok(Val::new(($(next()?.take::<$name>()?,)*)))
                });
                (arms, gather)
            }
        })*
    };
}

arms! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D F;
    A B C D F G;
    A B C D F G H;
    A B C D F G H J;
    A B C D F G H J K;
    A B C D F G H J K L;
    A B C D F G H J K L N;
    A B C D F G H J K L N P;
}

fn lost() -> BlockError {
    BlockError::new("lost_output", "an arm gave no output")
}

/// Outputs of one type as a list.
pub(super) fn list<O: Data>() -> Gather {
    Arc::new(|outputs| {
        let typed: Result<Vec<O>, _> = outputs.into_iter().map(Val::take::<O>).collect();
        typed.map(Val::new)
    })
}

fn defs<I: Data, O: Data>(blocks: impl IntoIterator<Item = Block<I, O>>) -> Vec<Arc<BlockDef>> {
    blocks.into_iter().map(Block::into_def).collect()
}

impl<I: Data, Cur: Data, E> Sequencer<I, Cur, E> {
    /// Runs all arms at once with the value; the tuple of their outputs is the value from there on. All run at the same time, or as
    /// many as [`Self::max_concurrency`] says. If one fails the others are stopped, and the step fails.
    pub fn parallel<A: Arms<Cur>>(mut self, arms: A) -> Sequencer<I, A::Out, E> {
        let (arms, gather) = arms.erase();
        self.check_arms("parallel", &arms);
        self.push(Step::Parallel {
            op: "parallel",
            arms: arms.into(),
            max: usize::MAX,
            gather,
        })
    }

    /// The same, with the outputs as the fields of a `T`, by the names of the arms. Names that `T` does not have, and required
    /// fields without an arm, fail the build. The outputs go through JSON.
    pub fn parallel_into<T: Data, A: Arms<Cur>>(mut self, arms: A) -> Sequencer<I, T, E> {
        let (arms, _) = arms.erase();
        self.check_arms("parallel_into", &arms);
        self.check_fields::<T>(&arms);
        let names: Arc<[Arc<str>]> = arms.iter().map(|arm| arm.name.clone()).collect();
        let gather: Gather = Arc::new(move |outputs| {
            let mut fields = Map::new();
            for (name, output) in names.iter().zip(outputs) {
                fields.insert(name.to_string(), output.json()?);
            }
            deserialize::<T>("", &Value::Object(fields))
                .map(Val::new)
                .map_err(|problem| {
                    BlockError::invalid(
                        "output_validation_error",
                        "the arms' outputs do not fit together",
                        &[problem],
                    )
                })
        });
        self.push(Step::Parallel {
            op: "parallel",
            arms: arms.into(),
            max: usize::MAX,
            gather,
        })
    }

    /// Runs all blocks at once with the value; the list of their outputs, in their order, is the value from there on.
    pub fn then_all<O: Data>(self, blocks: impl IntoIterator<Item = Block<Cur, O>>) -> Sequencer<I, Vec<O>, E> {
        let named = |(index, block): (usize, Arc<BlockDef>)| Named {
            name: index.to_string().into(),
            block,
        };
        self.push(Step::Parallel {
            op: "then_all",
            arms: defs(blocks).into_iter().enumerate().map(named).collect(),
            max: usize::MAX,
            gather: list::<O>(),
        })
    }

    /// Runs the blocks one after the other until one succeeds; its output is the value from there on. If all fail, the step fails
    /// with an `aggregate_error` that has every cause.
    pub fn then_any<O: Data>(mut self, blocks: impl IntoIterator<Item = Block<Cur, O>>) -> Sequencer<I, O, E> {
        let blocks = defs(blocks);
        self.check_blocks("then_any", &blocks);
        self.push(Step::Any(blocks.into()))
    }

    /// Runs the blocks at once until one succeeds; its output is the value from there on, and the others are stopped. If all fail,
    /// the step fails with an `aggregate_error` that has every cause.
    pub fn race<O: Data>(mut self, blocks: impl IntoIterator<Item = Block<Cur, O>>) -> Sequencer<I, O, E> {
        let blocks = defs(blocks);
        self.check_blocks("race", &blocks);
        self.push(Step::Race {
            blocks: blocks.into(),
            max: usize::MAX,
        })
    }

    fn check_blocks(&mut self, method: &str, blocks: &[Arc<BlockDef>]) {
        if blocks.is_empty() {
            self.problems.push(format!("{method} has no block to run"));
        }
    }

    pub(super) fn check_arms(&mut self, method: &str, arms: &[Named]) {
        for (at, arm) in arms.iter().enumerate() {
            if arm.name.is_empty() || arm.name.contains('/') {
                self.problems.push(format!(
                    "{method}: the name {:?} must not be empty nor have a slash",
                    arm.name
                ));
            }
            if arms[..at].iter().any(|earlier| earlier.name == arm.name) {
                self.problems
                    .push(format!("{method}: the name {:?} is used twice", arm.name));
            }
        }
    }

    fn check_fields<T: Data>(&mut self, arms: &[Named]) {
        let target = std::any::type_name::<T>();
        let schema = match Schema::of::<T>() {
            Ok(schema) => schema,
            Err(problem) => return self.problems.push(format!("parallel_into: {problem}")),
        };
        let (known, open) = schema.fields();
        for arm in arms {
            if !open && !known.iter().any(|field| **field == *arm.name) {
                self.problems.push(format!(
                    "parallel_into: {target} has no field {:?}; it has {}",
                    arm.name,
                    known.join(", ")
                ));
            }
        }
        let required = schema
            .json()
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for field in required.filter_map(Value::as_str) {
            if !arms.iter().any(|arm| *arm.name == *field) {
                self.problems
                    .push(format!("parallel_into: no arm gives the field {field:?} of {target}"));
            }
        }
    }
}
