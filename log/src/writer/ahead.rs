//! What streams will be: the changes of a commit that is being made, over those of the one that is being written, over what is visible.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::append::Target;
use crate::error::AppendError;
use crate::index::{Answered, Cell};
use crate::log::Shared;
use crate::record::{IdempotencyKey, Name, StreamId, SubStreamId, Subject};

/// A stream as it will be when a commit is durable.
pub(super) struct Pending {
    pub(super) cell: Arc<Cell>,
    pub(super) position: u64,
    pub(super) time_us: i64,
    /// Last numbers of the sub-streams, and last positions about the subjects, that the commit has records of.
    pub(super) subs: FxHashMap<SubStreamId, u64>,
    pub(super) versions: FxHashMap<Subject, u64>,
    /// Opened by this commit: the first record introduces it.
    pub(super) opened: bool,
    pub(super) deleted: bool,
    /// Positions up to this one were given up.
    pub(super) trimmed: u64,
    /// Position of the record that said so; 0 if there is none.
    pub(super) snapshot: u64,
}

impl Pending {
    /// A stream that its first record opens.
    pub(super) fn opened(cell: Arc<Cell>) -> Self {
        Self {
            opened: true,
            ..Self::visible(&cell)
        }
    }

    fn visible(cell: &Arc<Cell>) -> Self {
        let index = cell.index.read();
        Self {
            cell: cell.clone(),
            position: index.last(),
            time_us: index.head.time_us,
            subs: FxHashMap::default(),
            versions: FxHashMap::default(),
            opened: false,
            deleted: index.head.deleted,
            trimmed: index.head.trimmed,
            snapshot: index.head.snapshot,
        }
    }

    fn after(before: &Self) -> Self {
        Self {
            cell: before.cell.clone(),
            subs: FxHashMap::default(),
            versions: FxHashMap::default(),
            opened: false,
            ..*before
        }
    }
}

/// What a commit changes. The streams that it touches are numbered in it.
#[derive(Default)]
pub(super) struct Ahead {
    pub(super) streams: Vec<Pending>,
    numbers: FxHashMap<StreamId, usize>,
    /// Streams that it opens.
    pub(super) names: HashMap<Name, usize>,
    /// Names of sub-streams that it opens.
    pub(super) subs: HashSet<Name>,
    pub(super) answered: HashMap<(StreamId, IdempotencyKey), Answered>,
    /// Streams that it forks.
    pub(super) forked: FxHashSet<StreamId>,
}

/// What a fork has to know of a stream that it would continue.
pub(super) struct Standing {
    pub(super) deleted: bool,
    pub(super) trimmed: u64,
    pub(super) snapshot: u64,
}

impl Ahead {
    pub(super) fn get(&self, id: StreamId) -> Option<&Pending> {
        self.numbers.get(&id).map(|number| &self.streams[*number])
    }

    pub(super) fn add(&mut self, pending: Pending) -> usize {
        let number = self.streams.len();
        self.numbers.insert(pending.cell.id, number);
        self.streams.push(pending);
        number
    }

    /// How a stream stands, with this commit's changes.
    pub(super) fn standing(&self, base: Base<'_>, cell: &Arc<Cell>) -> Standing {
        let standing = |pending: &Pending| Standing {
            deleted: pending.deleted,
            trimmed: pending.trimmed,
            snapshot: pending.snapshot,
        };
        self.get(cell.id)
            .map_or_else(|| standing(&base.pending(cell)), standing)
    }

    /// Whether there was a stream of this id, and it is deleted.
    pub(super) fn is_deleted(&self, base: Base<'_>, id: StreamId) -> bool {
        base.cell(id).is_some_and(|cell| self.standing(base, &cell).deleted)
    }

    /// A stream's number in this commit.
    fn number(&mut self, base: Base<'_>, cell: &Arc<Cell>) -> usize {
        match self.numbers.get(&cell.id) {
            Some(number) => *number,
            None => self.add(base.pending(cell)),
        }
    }

    /// The live stream of this name, with this commit's changes.
    pub(super) fn named(&mut self, base: Base<'_>, name: &Name) -> Option<usize> {
        let number = match self.names.get(name) {
            Some(number) => *number,
            None => self.number(base, &base.named(name)?),
        };
        (!self.streams[number].deleted).then_some(number)
    }

    /// The stream that a part names. `found` is what its name stood for earlier, and stands for until that one is deleted.
    pub(super) fn find(
        &mut self,
        base: Base<'_>,
        target: &Target,
        found: Option<&Arc<Cell>>,
    ) -> Result<Option<usize>, AppendError> {
        match target {
            Target::Id(id) => {
                if let Some(number) = self.numbers.get(id) {
                    return Ok(Some(*number));
                }
                let cell = base.cell(*id).ok_or(AppendError::UnknownStream(*id))?;
                Ok(Some(self.number(base, &cell)))
            }
            Target::Name(name) | Target::Fork { name, .. } => {
                let number = found.map(|cell| self.number(base, cell));
                let number = number.filter(|number| !self.streams[*number].deleted);
                Ok(number.or_else(|| self.named(base, name)))
            }
        }
    }
}

/// What a commit is decided on.
#[derive(Clone, Copy)]
pub(super) struct Base<'a> {
    pub(super) shared: &'a Shared,
    /// The changes of the commit before, while it is being written.
    pub(super) before: Option<&'a Ahead>,
}

impl Base<'_> {
    fn pending(self, cell: &Arc<Cell>) -> Pending {
        match self.before.and_then(|before| before.get(cell.id)) {
            Some(before) => Pending::after(before),
            None => Pending::visible(cell),
        }
    }

    fn cell(self, id: StreamId) -> Option<Arc<Cell>> {
        let before = self.before.and_then(|before| before.get(id));
        before
            .map(|pending| pending.cell.clone())
            .or_else(|| self.shared.streams.get(id))
    }

    /// The stream of this name, live or just deleted.
    fn named(self, name: &Name) -> Option<Arc<Cell>> {
        let opened = self
            .before
            .and_then(|before| Some(&before.streams[*before.names.get(name)?]));
        let opened = opened.map(|pending| pending.cell.clone());
        opened.or_else(|| self.shared.streams.named(name))
    }

    pub(super) fn sub_is_named(self, name: &Name) -> bool {
        self.before.is_some_and(|before| before.subs.contains(name)) || self.shared.streams.sub_named(name).is_some()
    }

    pub(super) fn is_forked(self, id: StreamId) -> bool {
        let forks = |cell: Arc<Cell>| !cell.index.read().head.forks.is_empty();
        self.before.is_some_and(|before| before.forked.contains(&id)) || self.shared.streams.get(id).is_some_and(forks)
    }

    /// The append that was answered under this key.
    pub(super) fn answered(self, id: StreamId, key: &IdempotencyKey) -> Option<Answered> {
        let before = self
            .before
            .and_then(|before| before.answered.get(&(id, key.clone())).cloned());
        before.or_else(|| self.shared.streams.get(id)?.index.read().answered(key).cloned())
    }

    /// The last number of a sub-stream; 0 if it is not open.
    pub(super) fn sub_count(self, state: &Pending, id: SubStreamId) -> u64 {
        let before = || self.before?.get(state.cell.id)?.subs.get(&id);
        let visible = || state.cell.index.read().sub(id).map_or(0, |sub| sub.count);
        state.subs.get(&id).or_else(before).copied().unwrap_or_else(visible)
    }

    /// The position of the last record about a subject; 0 if there is none.
    pub(super) fn version(self, state: &Pending, subject: Subject) -> u64 {
        let before = || self.before?.get(state.cell.id)?.versions.get(&subject);
        let visible = || state.cell.index.read().version(subject);
        state
            .versions
            .get(&subject)
            .or_else(before)
            .copied()
            .unwrap_or_else(visible)
    }
}
