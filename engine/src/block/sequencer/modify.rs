//! Methods that say more about the step before them, and labels. One that does not fit that step is an error of the build.

use std::time::Duration;

use serde_json::Value;

use super::Sequencer;
use super::plan::Step;
use crate::block::answer::{Answer, condition};
use crate::exec::Ctx;
use crate::scope::{ScopeDef, scope};
use crate::value::Data;

impl<I: Data, Cur: Data, E> Sequencer<I, Cur, E> {
    /// Gives each execution of this sequencer a state of its own, which begins as `S::default()`. The blocks in it find it with
    /// [`Ctx::sequencer`] and [`Ctx::target`].
    pub fn state<S: Data + Default>(mut self) -> Self {
        let def = scope::<S>().erase("sequencer", &mut self.problems);
        self.declare_state(def);
        self
    }

    /// The same, beginning as `initial`.
    pub fn state_from<S: Data + Default>(mut self, initial: S) -> Self {
        let mut def = scope::<S>().erase("sequencer", &mut self.problems);
        match serde_json::to_value(initial) {
            Ok(Value::Object(fields)) => def.initial = fields,
            Ok(other) => self
                .problems
                .push(format!("the initial state must be an object, not {other}")),
            Err(error) => self
                .problems
                .push(format!("the initial state has no JSON form: {error}")),
        }
        self.declare_state(def);
        self
    }

    fn declare_state(&mut self, def: ScopeDef) {
        if self.state.replace(def.into()).is_some() {
            self.problems.push("its state is declared twice".into());
        }
    }

    /// Names the next step, so that a `loop_back` can go there.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        if let Some(earlier) = self.label.replace(label.into().into()) {
            self.problems
                .push(format!("the label {earlier:?} has no step after it"));
        }
        self
    }

    /// How many arms, elements or blocks of the step before run at once.
    pub fn max_concurrency(mut self, at_once: usize) -> Self {
        if at_once == 0 {
            self.problems.push("max_concurrency must be 1 at least".into());
        }
        let fits = "parallel, then_all, for_each, for_each_background or race";
        self.modify(
            "max_concurrency",
            fits,
            |step| match step {
                Step::Parallel { max, .. }
                | Step::ForEach { max, .. }
                | Step::ForEachBackground { max, .. }
                | Step::Race { max, .. } => Some(max),
                _ => None,
            },
            at_once,
        )
    }

    /// How often the loop before runs its block at most.
    pub fn max_passes(self, passes: u32) -> Self {
        self.modify(
            "max_passes",
            "do_until or do_while",
            |step| match step {
                Step::Repeat { max, .. } => Some(max),
                _ => None,
            },
            passes,
        )
    }

    /// The condition under which the `loop_back` before goes back.
    pub fn when<R, M>(self, when: impl Fn(&Cur, &Ctx) -> R + Send + Sync + 'static) -> Self
    where
        R: Answer<bool, M>,
    {
        self.modify(
            "when",
            "loop_back",
            |step| match step {
                Step::LoopBack { when, .. } => Some(when),
                _ => None,
            },
            Some(condition::<Cur, R, M>(when)),
        )
    }

    /// The `wait_for_work` before waits for all of the work, and then fails with its first failure.
    pub fn fail_on_error(self) -> Self {
        self.modify(
            "fail_on_error",
            "wait_for_work",
            |step| match step {
                Step::WaitForWork { fail, .. } => Some(fail),
                _ => None,
            },
            true,
        )
    }

    /// The `wait_for_work` before fails with a `timeout_error` after this time; the work goes on.
    pub fn timeout(self, after: Duration) -> Self {
        self.modify(
            "timeout",
            "wait_for_work",
            |step| match step {
                Step::WaitForWork { timeout, .. } => Some(timeout),
                _ => None,
            },
            Some(after),
        )
    }

    /// Sets what `find` finds in the step before.
    fn modify<T>(mut self, method: &str, fits: &str, find: impl FnOnce(&mut Step) -> Option<&mut T>, value: T) -> Self {
        match self.plan.steps.last_mut().and_then(|entry| find(&mut entry.step)) {
            Some(found) => *found = value,
            None => {
                let problem = format!(".{method}(..) says something about the step before it, which must be a {fits}");
                self.problems.push(problem);
            }
        }
        self
    }
}
