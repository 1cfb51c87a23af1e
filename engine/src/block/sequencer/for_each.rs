//! Steps with one block for every element of the value.

use std::sync::Arc;

use super::Sequencer;
use super::fan_out::list;
use super::plan::{Each, Pick, Split, Step};
use crate::block::choice::{Choice, Pool};
use crate::block::{Block, IntoBlock};
use crate::exec::Ctx;
use crate::value::{Data, Val};

/// How many elements run at once beside the chain, unless the step says otherwise.
const BACKGROUND_MAX: usize = 16;

/// Values with elements: a `Vec`, or an `Option` of one, of which `None` has none.
pub trait IntoItems: Data {
    /// An element.
    type Item: Data;

    /// The elements in order.
    fn into_items(self) -> Vec<Self::Item>;
}

impl<T: Data> IntoItems for Vec<T> {
    type Item = T;

    fn into_items(self) -> Vec<T> {
        self
    }
}

impl<T: Data> IntoItems for Option<Vec<T>> {
    type Item = T;

    fn into_items(self) -> Vec<T> {
        self.unwrap_or_default()
    }
}

fn split<T: IntoItems>() -> Split {
    |value| Ok(value.take::<T>()?.into_items().into_iter().map(Val::new).collect())
}

fn one<T: IntoItems, O: Data>(block: Block<T::Item, O>) -> Each {
    Each {
        split: split::<T>(),
        blocks: Arc::new([block.into_def()]),
        pick: None,
    }
}

fn among<T: IntoItems, O: Data, const N: usize>(
    blocks: [Block<T::Item, O>; N],
    pick: impl Fn(&T::Item, usize, [Choice; N]) -> Choice + Send + Sync + 'static,
) -> Each {
    let pool = Pool::new();
    let choices = std::array::from_fn(|index| pool.choice(index));
    let pick: Pick =
        Arc::new(move |item: &Val, index: usize, _: &Ctx| Ok(pick(item.get::<T::Item>()?, index, choices)));
    Each {
        split: split::<T>(),
        blocks: blocks.into_iter().map(Block::into_def).collect(),
        pick: Some((pool, pick)),
    }
}

impl<I: Data, Cur: IntoItems, E> Sequencer<I, Cur, E> {
    /// Runs a block for every element at once, or for as many at a time as [`Self::max_concurrency`] says; the list of the outputs,
    /// in the order of the elements, is the value from there on. If one fails the others are stopped, and the step fails.
    pub fn for_each<O: Data, M>(self, block: impl IntoBlock<Cur::Item, O, M>) -> Sequencer<I, Vec<O>, E> {
        let each = one::<Cur, O>(block.into_block());
        self.push(Step::ForEach {
            each,
            max: usize::MAX,
            gather: list::<O>(),
        })
    }

    /// The same, with one of several blocks for each element: `|item, index, [a, b]| ..` gives `a` or `b`.
    ///
    /// ```
    /// # use flowstate_engine::prelude::*;
    /// # let block = |name: &str| handler(name).run(|text: String, _| async move { Ok(text.len()) });
    /// # let (short, long) = (block("short"), block("long"));
    /// let lengths = sequencer::<Vec<String>>("lengths")
    ///     .for_each_with([short, long], |text, _index, [short, long]| if text.len() < 80 { short } else { long });
    /// # let _: Block<Vec<String>, Vec<usize>> = lengths.build();
    /// ```
    pub fn for_each_with<O: Data, const N: usize>(
        self,
        blocks: [Block<Cur::Item, O>; N],
        pick: impl Fn(&Cur::Item, usize, [Choice; N]) -> Choice + Send + Sync + 'static,
    ) -> Sequencer<I, Vec<O>, E> {
        let each = among::<Cur, O, N>(blocks, pick);
        self.push(Step::ForEach {
            each,
            max: usize::MAX,
            gather: list::<O>(),
        })
    }

    /// Starts a block for every element beside the chain, 16 at a time or as [`Self::max_concurrency`] says; the value stays. One
    /// that fails stops none of the others; all of them together are one piece of work, which fails with the first failure.
    pub fn for_each_background<O: Data, M>(self, block: impl IntoBlock<Cur::Item, O, M>) -> Self {
        let each = one::<Cur, O>(block.into_block());
        self.push(Step::ForEachBackground {
            each,
            max: BACKGROUND_MAX,
        })
    }

    /// The same, with one of several blocks for each element.
    pub fn for_each_background_with<O: Data, const N: usize>(
        self,
        blocks: [Block<Cur::Item, O>; N],
        pick: impl Fn(&Cur::Item, usize, [Choice; N]) -> Choice + Send + Sync + 'static,
    ) -> Self {
        let each = among::<Cur, O, N>(blocks, pick);
        self.push(Step::ForEachBackground {
            each,
            max: BACKGROUND_MAX,
        })
    }
}
