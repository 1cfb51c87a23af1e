//! Sequencers: blocks one after the other, each with the output of the one before. The chain is data (`sequencer/plan`), run by one
//! interpreter (`sequencer/run`). The methods that take one block at a time are here, the others with what they take.

mod branch;
mod fan_out;
mod for_each;
mod modify;
pub(super) mod plan;
mod rescue;
mod run;
mod works;

use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::Arc;

use super::answer::{Answer, condition, mapper};
use super::container::Opens;
use super::{Block, Body, IntoBlock, ViaSequencer};
use crate::exec::Ctx;
use crate::scope::ScopeDef;
use crate::value::Data;
use plan::{Entry, Plan, Step};

pub use branch::{Case, Cases, case};
pub use fan_out::{Arm, Arms, arm};
pub use for_each::IntoItems;
pub use rescue::{IntoRescuers, RescueOn, Rescued, Rescuer, any_error, on, on_code};

/// How often a loop runs its block at most, unless it says otherwise.
pub(super) const LOOP_MAX: u32 = 250;

/// Begins a sequencer. Without steps it gives its input.
///
/// Types flow from step to step; a step that takes something else does not compile:
///
/// ```compile_fail
/// # use flowstate_engine::prelude::*;
/// let length = handler("length").run(|text: String, _ctx| async move { Ok(text.len()) });
/// let shout = handler("shout").run(|text: String, _ctx| async move { Ok(text.to_uppercase()) });
/// sequencer::<String>("wrong").then(length).then(shout);
/// ```
pub fn sequencer<I: Data>(name: impl Into<String>) -> Sequencer<I, I> {
    Sequencer {
        name: name.into(),
        plan: Plan::default(),
        label: None,
        state: None,
        container: None,
        problems: Vec::new(),
        _types: PhantomData,
    }
}

/// A chain from an `I` to what its last step gives. Each method gives a longer one; a clone made before stays usable.
pub struct Sequencer<I, Cur, Exit = NoExit> {
    name: String,
    plan: Plan,
    /// Of the next step.
    label: Option<Arc<str>>,
    state: Option<Arc<ScopeDef>>,
    pub(super) container: Option<Opens>,
    pub(super) problems: Vec<String>,
    _types: PhantomData<fn(I, Exit) -> Cur>,
}

impl<I, Cur, E> Clone for Sequencer<I, Cur, E> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            plan: self.plan.clone(),
            label: self.label.clone(),
            state: self.state.clone(),
            container: self.container.clone(),
            problems: self.problems.clone(),
            _types: PhantomData,
        }
    }
}

/// Marks sequencers that only end at their end.
pub struct NoExit;
/// Marks sequencers that may end early, with a `T`.
pub struct Exits<T>(PhantomData<fn() -> T>);

/// How a sequencer may end early, if it ends with a `T`.
#[diagnostic::on_unimplemented(
    message = "the sequencer ends with a `{T}` and may exit early with another type ({Self})",
    note = "use `exit_with(condition, |value| ..)` to make the type that it ends with"
)]
pub trait ExitInto<T> {}
impl<T> ExitInto<T> for NoExit {}
impl<T> ExitInto<T> for Exits<T> {}

impl<I: Data, Cur: Data, E> Sequencer<I, Cur, E> {
    fn push<O, E2>(mut self, step: Step) -> Sequencer<I, O, E2> {
        self.plan.steps.push(Entry {
            label: self.label.take(),
            input: TypeId::of::<Cur>(),
            input_name: std::any::type_name::<Cur>(),
            step,
        });
        Sequencer {
            name: self.name,
            plan: self.plan,
            label: None,
            state: self.state,
            container: self.container,
            problems: self.problems,
            _types: PhantomData,
        }
    }

    /// Runs a block; its output is the value from there on.
    pub fn then<O: Data, M>(self, block: impl IntoBlock<Cur, O, M>) -> Sequencer<I, O, E> {
        self.push(Step::Run {
            op: "then",
            block: block.into_block().into_def(),
            when: None,
            keep: false,
        })
    }

    /// Runs a block if the condition holds; else the value stays, and no connector of the block runs.
    pub fn then_if<R, M, M2>(
        self,
        when: impl Fn(&Cur, &Ctx) -> R + Send + Sync + 'static,
        block: impl IntoBlock<Cur, Cur, M>,
    ) -> Self
    where
        R: Answer<bool, M2>,
    {
        self.push(Step::Run {
            op: "then_if",
            block: block.into_block().into_def(),
            when: Some(condition::<Cur, R, M2>(when)),
            keep: false,
        })
    }

    /// Changes the value by a function, without a block: nothing is recorded of it.
    pub fn map<O: Data, R, M>(self, map: impl Fn(Cur, Ctx) -> R + Send + Sync + 'static) -> Sequencer<I, O, E>
    where
        R: Answer<O, M>,
    {
        self.push(Step::Map(mapper::<Cur, O, R, M>(map)))
    }

    /// Runs a block and waits for it; the value stays.
    pub fn tap<O: Data, M>(self, block: impl IntoBlock<Cur, O, M>) -> Self {
        self.push(Step::Run {
            op: "tap",
            block: block.into_block().into_def(),
            when: None,
            keep: true,
        })
    }

    /// Does the same if the condition holds.
    pub fn tap_if<O: Data, R, M, M2>(
        self,
        when: impl Fn(&Cur, &Ctx) -> R + Send + Sync + 'static,
        block: impl IntoBlock<Cur, O, M>,
    ) -> Self
    where
        R: Answer<bool, M2>,
    {
        self.push(Step::Run {
            op: "tap_if",
            block: block.into_block().into_def(),
            when: Some(condition::<Cur, R, M2>(when)),
            keep: true,
        })
    }

    /// Runs a block again and again, each time with its last output, until the condition on that holds. It runs once at least, and
    /// at most 250 times, or as [`Self::max_passes`] says; then the step fails.
    pub fn do_until<R, M, M2>(
        self,
        until: impl Fn(&Cur, &Ctx) -> R + Send + Sync + 'static,
        block: impl IntoBlock<Cur, Cur, M>,
    ) -> Self
    where
        R: Answer<bool, M2>,
    {
        self.push(Step::Repeat {
            op: "do_until",
            block: block.into_block().into_def(),
            again: false,
            ask: condition::<Cur, R, M2>(until),
            max: LOOP_MAX,
        })
    }

    /// The same, as long as the condition on the output holds. The block runs once at least.
    pub fn do_while<R, M, M2>(
        self,
        again: impl Fn(&Cur, &Ctx) -> R + Send + Sync + 'static,
        block: impl IntoBlock<Cur, Cur, M>,
    ) -> Self
    where
        R: Answer<bool, M2>,
    {
        self.push(Step::Repeat {
            op: "do_while",
            block: block.into_block().into_def(),
            again: true,
            ask: condition::<Cur, R, M2>(again),
            max: LOOP_MAX,
        })
    }

    /// Goes back to the step with this label, or to the one whose block has this name, with the value as it is now; at most `max`
    /// times, then on. [`Self::when`] adds a condition. A label that is missing, ambiguous, further on or of another type fails the build.
    pub fn loop_back(self, label: impl Into<String>, max: u32) -> Self {
        self.push(Step::LoopBack {
            label: label.into().into(),
            to: 0,
            max,
            when: None,
        })
    }

    /// Starts a block beside the chain and goes on at once with the same value. Its connector runs in the chain; its failure is
    /// recorded and told to `on_step_errored`, and fails nothing. The request waits for it before it ends.
    pub fn work<O: Data, M>(self, block: impl IntoBlock<Cur, O, M>) -> Self {
        self.push(Step::Work {
            op: "work",
            block: block.into_block().into_def(),
            when: None,
        })
    }

    /// Does the same if the condition holds.
    pub fn work_if<O: Data, R, M, M2>(
        self,
        when: impl Fn(&Cur, &Ctx) -> R + Send + Sync + 'static,
        block: impl IntoBlock<Cur, O, M>,
    ) -> Self
    where
        R: Answer<bool, M2>,
    {
        self.push(Step::Work {
            op: "work_if",
            block: block.into_block().into_def(),
            when: Some(condition::<Cur, R, M2>(when)),
        })
    }

    /// The same as [`Self::work`].
    pub fn background<O: Data, M>(self, block: impl IntoBlock<Cur, O, M>) -> Self {
        self.push(Step::Work {
            op: "background",
            block: block.into_block().into_def(),
            when: None,
        })
    }

    /// Waits for the work that this run of the sequencer has started; the value stays. [`Self::fail_on_error`] makes its first
    /// failure one of this step, [`Self::timeout`] bounds the wait.
    pub fn wait_for_work(self) -> Self {
        self.push(Step::WaitForWork {
            fail: false,
            timeout: None,
        })
    }

    /// Ends the sequencer with the value as it is, if the condition holds. What it ends with otherwise must be of the same type:
    ///
    /// ```compile_fail
    /// # use flowstate_engine::prelude::*;
    /// let length = handler("length").run(|text: String, _ctx| async move { Ok(text.len()) });
    /// action(sequencer::<String>("wrong").exit_if(|text, _| text.is_empty()).then(length));
    /// ```
    pub fn exit_if<R, M>(self, when: impl Fn(&Cur, &Ctx) -> R + Send + Sync + 'static) -> Sequencer<I, Cur, Exits<Cur>>
    where
        R: Answer<bool, M>,
        E: ExitInto<Cur>,
    {
        self.push(Step::ExitIf {
            when: condition::<Cur, R, M>(when),
            convert: None,
        })
    }

    /// Ends the sequencer with what `convert` makes of the value, if the condition holds.
    pub fn exit_with<T: Data, R, R2, M, M2>(
        self,
        when: impl Fn(&Cur, &Ctx) -> R + Send + Sync + 'static,
        convert: impl Fn(Cur, Ctx) -> R2 + Send + Sync + 'static,
    ) -> Sequencer<I, Cur, Exits<T>>
    where
        R: Answer<bool, M>,
        R2: Answer<T, M2>,
        E: ExitInto<T>,
    {
        self.push(Step::ExitIf {
            when: condition::<Cur, R, M>(when),
            convert: Some(mapper::<Cur, T, R2, M2>(convert)),
        })
    }
}

impl<I: Data, Cur: Data, E: ExitInto<Cur>> Sequencer<I, Cur, E> {
    /// The sequencer as a block.
    pub fn build(self) -> Block<I, Cur> {
        let (mut plan, mut problems) = (self.plan, self.problems);
        problems.extend(plan.resolve());
        if let Some(label) = self.label {
            problems.push(format!("the label {label:?} has no step after it"));
        }
        Block::new(self.name, Body::Steps(plan), problems).with(|def| {
            def.state = self.state;
            def.container = self.container;
        })
    }
}

impl<I: Data, Cur: Data, E: ExitInto<Cur>> IntoBlock<I, Cur, ViaSequencer> for Sequencer<I, Cur, E> {
    fn into_block(self) -> Block<I, Cur> {
        self.build()
    }
}
