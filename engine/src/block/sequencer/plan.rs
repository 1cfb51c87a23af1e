//! The plan of a sequencer: its steps as data. What runs them is in `run`.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use super::rescue::Rescuer;
use crate::block::BlockDef;
use crate::block::answer::{Condition, Mapper};
use crate::block::choice::{Choice, Pool};
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::value::Val;

/// Steps in order.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    pub(super) steps: Vec<Entry>,
}

/// A step, where it may be jumped to, and with what.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) label: Option<Arc<str>>,
    /// Type of the value that it gets.
    pub(super) input: TypeId,
    pub(super) input_name: &'static str,
    pub(super) step: Step,
}

/// One step. `op` is its method's name, and its part of the path.
#[derive(Clone)]
pub(super) enum Step {
    /// Runs a block; its output is the value from there on, or with `keep` the value stays.
    Run {
        op: &'static str,
        block: Arc<BlockDef>,
        when: Option<Condition>,
        keep: bool,
    },
    /// Changes the value, without a block.
    Map(Mapper),
    /// All arms with the same value at once; their outputs together are the value.
    Parallel {
        op: &'static str,
        arms: Arc<[Named]>,
        max: usize,
        gather: Gather,
    },
    /// One block for every element of the value; their outputs together are the value.
    ForEach { each: Each, max: usize, gather: Gather },
    /// The same beside the chain; the value stays.
    ForEachBackground { each: Each, max: usize },
    /// A block again and again, each time with its last output.
    Repeat {
        op: &'static str,
        block: Arc<BlockDef>,
        /// Goes on while the condition on the output gives this.
        again: bool,
        ask: Condition,
        max: u32,
    },
    /// Goes back to step `to`, for at most `max` times.
    LoopBack {
        label: Arc<str>,
        to: usize,
        max: u32,
        when: Option<Condition>,
    },
    /// Starts a block beside the chain; the value stays.
    Work {
        op: &'static str,
        block: Arc<BlockDef>,
        when: Option<Condition>,
    },
    /// Waits for what this sequencer started beside the chain.
    WaitForWork { fail: bool, timeout: Option<Duration> },
    /// Handles an error of the steps before it.
    Rescue(Arc<[Rescuer]>),
    /// The first case whose condition holds.
    Branch(Arc<[BranchCase]>),
    /// One after the other until one gives its output.
    Any(Arc<[Arc<BlockDef>]>),
    /// All at once until one gives its output.
    Race { blocks: Arc<[Arc<BlockDef>]>, max: usize },
    /// Ends the sequencer, with the value or what `convert` makes of it.
    ExitIf { when: Condition, convert: Option<Mapper> },
}

/// A block under the name that its step knows it by.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) name: Arc<str>,
    pub(super) block: Arc<BlockDef>,
}

/// One case of a branch. The condition and the block see what `connect` made.
#[derive(Clone)]
pub(super) struct BranchCase {
    pub(super) case: Named,
    pub(super) connect: Mapper,
    pub(super) when: Condition,
}

/// Makes one value of many.
pub(super) type Gather = Arc<dyn Fn(Vec<Val>) -> Result<Val, BlockError> + Send + Sync>;
/// Makes many values of one.
pub(super) type Split = fn(Val) -> Result<Vec<Val>, BlockError>;
/// Chooses the block for an element.
pub(super) type Pick = Arc<dyn Fn(&Val, usize, &Ctx) -> Result<Choice, BlockError> + Send + Sync>;

/// What runs for every element of a value.
#[derive(Clone)]
pub(super) struct Each {
    pub(super) split: Split,
    pub(super) blocks: Arc<[Arc<BlockDef>]>,
    /// Absent if there is one block only.
    pub(super) pick: Option<(Pool, Pick)>,
}

impl Each {
    /// The block for an element.
    pub(super) fn block(&self, item: &Val, index: usize, ctx: &Ctx) -> Result<Arc<BlockDef>, BlockError> {
        let chosen = match &self.pick {
            None => 0,
            Some((pool, pick)) => pool.index("a for_each", pick(item, index, ctx)?)?,
        };
        let block = self.blocks.get(chosen).cloned();
        block.ok_or_else(|| BlockError::new("unknown_block", format!("the step has no block {chosen}")))
    }
}

impl Step {
    /// Its method's name, as it stands in paths.
    pub(super) fn op(&self) -> &'static str {
        match self {
            Self::Run { op, .. } | Self::Parallel { op, .. } | Self::Repeat { op, .. } | Self::Work { op, .. } => op,
            Self::Map(_) => "map",
            Self::ForEach { .. } => "for_each",
            Self::ForEachBackground { .. } => "for_each_background",
            Self::LoopBack { .. } => "loop_back",
            Self::WaitForWork { .. } => "wait_for_work",
            Self::Rescue(_) => "rescue",
            Self::Branch(_) => "branch",
            Self::Any(_) => "then_any",
            Self::Race { .. } => "race",
            Self::ExitIf { .. } => "exit_if",
        }
    }

    /// The name of its block, by which it can be jumped to.
    fn block_name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Run { block, .. } | Self::Repeat { block, .. } | Self::Work { block, .. } => Some(block.name()),
            _ => None,
        }
    }

    fn blocks(&self) -> Vec<&BlockDef> {
        match self {
            Self::Run { block, .. } | Self::Repeat { block, .. } | Self::Work { block, .. } => vec![block],
            Self::Parallel { arms, .. } => arms.iter().map(|arm| &*arm.block).collect(),
            Self::ForEach { each, .. } | Self::ForEachBackground { each, .. } => {
                each.blocks.iter().map(|block| &**block).collect()
            }
            Self::Rescue(handlers) => handlers.iter().map(|handler| &*handler.block).collect(),
            Self::Branch(cases) => cases.iter().map(|case| &*case.case.block).collect(),
            Self::Any(blocks) | Self::Race { blocks, .. } => blocks.iter().map(|block| &**block).collect(),
            Self::Map(_) | Self::LoopBack { .. } | Self::WaitForWork { .. } | Self::ExitIf { .. } => Vec::new(),
        }
    }
}

impl Plan {
    /// Every block that a step may run.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &BlockDef> {
        self.steps.iter().flat_map(|entry| entry.step.blocks())
    }

    /// Whether a step of its own begins background work.
    pub(crate) fn begins_work(&self) -> bool {
        let begins = |entry: &Entry| matches!(entry.step, Step::Work { .. } | Step::ForEachBackground { .. });
        self.steps.iter().any(begins)
    }

    /// Finds where each jump goes; gives what is wrong with the others.
    pub(super) fn resolve(&mut self) -> Vec<String> {
        let (mut problems, mut jumps) = (Vec::new(), Vec::new());
        for (at, entry) in self.steps.iter().enumerate() {
            let name = entry.label.as_ref();
            let twice = name.is_some() && self.steps[..at].iter().any(|earlier| earlier.label.as_ref() == name);
            if let Some(name) = name.filter(|_| twice) {
                problems.push(format!("the label {name:?} is declared twice"));
            }
            if let Step::LoopBack { label, .. } = &entry.step {
                match self.target(at, label) {
                    Ok(to) => jumps.push((at, to)),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        for (at, target) in jumps {
            if let Step::LoopBack { to, .. } = &mut self.steps[at].step {
                *to = target;
            }
        }
        problems
    }

    /// The step that a jump at `at` goes back to: the one of this label, else the one that runs a block of this name.
    fn target(&self, at: usize, label: &Arc<str>) -> Result<usize, String> {
        let places = |matches: &dyn Fn(&Entry) -> bool| -> Vec<usize> {
            let found = self.steps.iter().enumerate().filter(|(_, entry)| matches(entry));
            found.map(|(place, _)| place).collect()
        };
        let mut found = places(&|entry| entry.label.as_ref() == Some(label));
        if found.is_empty() {
            found = places(&|entry| entry.step.block_name() == Some(label));
        }
        let to = match found.as_slice() {
            [] => {
                return Err(format!(
                    "loop_back goes to {label:?}, and no step has that label or name"
                ));
            }
            [to] => *to,
            _ => {
                return Err(format!(
                    "loop_back goes to {label:?}, which several steps are named: use .label(..)"
                ));
            }
        };
        if to >= at {
            return Err(format!("loop_back goes to {label:?}, which is not before it"));
        }
        let (from, target) = (&self.steps[at], &self.steps[to]);
        if from.input != target.input {
            return Err(format!(
                "loop_back goes to {label:?} with a {}, and that step takes a {}",
                from.input_name, target.input_name
            ));
        }
        Ok(to)
    }
}
