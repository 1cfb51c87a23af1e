//! Choices among declared blocks. A choice is minted where the blocks are declared, so that none can name another block.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::BlockError;

/// One of the blocks that a router or a dynamic step declares. Only these hand choices out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pool: u64,
    index: usize,
}

/// Where choices are minted. Each pool is another one, so that a choice carried from one to another is refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool(u64);

impl Pool {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn choice(self, index: usize) -> Choice {
        Choice { pool: self.0, index }
    }

    /// The number of the chosen block.
    pub(crate) fn index(self, what: &str, choice: Choice) -> Result<usize, BlockError> {
        if choice.pool == self.0 {
            return Ok(choice.index);
        }
        let what =
            format!("{what} was given a choice of another router or step; return one of the choices it is called with");
        Err(BlockError::new("foreign_choice", what))
    }
}

/// Tuples of choices, one for each route declared so far.
pub trait Choices: Copy + Send + Sync + 'static {
    /// With one more.
    type More: Choices;

    #[doc(hidden)]
    fn mint(choice: &dyn Fn(usize) -> Choice) -> Self;
}

macro_rules! one {
    ($index:literal) => {
        Choice
    };
}

macro_rules! choices {
    ($([$($index:literal)*] $last:literal;)*) => {
        $(impl Choices for ($(one!($index),)*) {
            type More = ($(one!($index),)* one!($last),);

            #[allow(unused_variables, clippy::unused_unit)]
            fn mint(choice: &dyn Fn(usize) -> Choice) -> Self {
                ($(choice($index),)*)
            }
        })*
    };
}

choices! {
    [] 0;
    [0] 1;
    [0 1] 2;
    [0 1 2] 3;
    [0 1 2 3] 4;
    [0 1 2 3 4] 5;
    [0 1 2 3 4 5] 6;
    [0 1 2 3 4 5 6] 7;
    [0 1 2 3 4 5 6 7] 8;
    [0 1 2 3 4 5 6 7 8] 9;
    [0 1 2 3 4 5 6 7 8 9] 10;
    [0 1 2 3 4 5 6 7 8 9 10] 11;
}

impl Choices
    for (
        Choice,
        Choice,
        Choice,
        Choice,
        Choice,
        Choice,
        Choice,
        Choice,
        Choice,
        Choice,
        Choice,
        Choice,
    )
{
    /// A router has at most 12 routes by type; nest routers beyond that.
    type More = Self;

    fn mint(choice: &dyn Fn(usize) -> Choice) -> Self {
        let c = choice;
        (c(0), c(1), c(2), c(3), c(4), c(5), c(6), c(7), c(8), c(9), c(10), c(11))
    }
}
