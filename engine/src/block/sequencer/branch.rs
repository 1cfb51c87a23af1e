//! `branch`: the first of several cases whose condition holds.

use std::marker::PhantomData;
use std::sync::Arc;

use super::Sequencer;
use super::plan::{BranchCase, Named, Step};
use crate::block::answer::{Answer, Condition, Mapper, condition, mapper};
use crate::block::{BlockDef, IntoBlock};
use crate::exec::Ctx;
use crate::value::Data;

/// A case of [`Sequencer::branch`]: what the block gets is made from the value by `connect`, and the condition is on that.
pub fn case<Cur: Data, In: Data, O: Data, C, R, M, M2, M3>(
    name: impl Into<String>,
    connect: impl Fn(Cur, Ctx) -> C + Send + Sync + 'static,
    when: impl Fn(&In, &Ctx) -> R + Send + Sync + 'static,
    block: impl IntoBlock<In, O, M>,
) -> Case<Cur, O>
where
    C: Answer<In, M2>,
    R: Answer<bool, M3>,
{
    Case {
        name: name.into().into(),
        connect: mapper::<Cur, In, C, M2>(connect),
        block: block.into_block().into_def(),
        when: condition::<In, R, M3>(when),
        _types: PhantomData,
    }
}

/// See [`case`].
pub struct Case<Cur, O> {
    name: Arc<str>,
    connect: Mapper,
    block: Arc<BlockDef>,
    when: Condition,
    _types: PhantomData<fn(Cur) -> O>,
}

/// Several cases of one output: an array or a `Vec`.
pub trait Cases<Cur, O>: IntoIterator<Item = Case<Cur, O>> {}
impl<Cur, O, C: IntoIterator<Item = Case<Cur, O>>> Cases<Cur, O> for C {}

impl<I: Data, Cur: Data, E> Sequencer<I, Cur, E> {
    /// Runs the first case whose condition holds, in their order; its output is the value from there on. If none holds the step fails
    /// with `no_matching_branch`.
    pub fn branch<O: Data>(mut self, cases: impl Cases<Cur, O>) -> Sequencer<I, O, E> {
        let cases: Vec<BranchCase> = cases
            .into_iter()
            .map(|case| BranchCase {
                case: Named {
                    name: case.name,
                    block: case.block,
                },
                connect: case.connect,
                when: case.when,
            })
            .collect();
        let names: Vec<Named> = cases.iter().map(|case| case.case.clone()).collect();
        self.check_arms("branch", &names);
        self.push(Step::Branch(cases.into()))
    }
}
