//! A checker of linearizability: whether what concurrent callers of a log were told can be explained by an order of their operations in
//! which each takes effect at one instant between its call and its return. Knows a model of one stream and nothing of the log.
//! The search is that of Wing and Gong, with what it has seen remembered (Lowe): a state is an order of appends. Two things keep it short.
//! What changes nothing is never tried at a later place: where it can stand it hinders nobody. And an append whose outcome is unknown stands
//! where reads show it; if a last read shows the whole stream without it, nowhere.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

/// A record as the model knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Tells it from every other one.
    pub value: u64,
    /// What it is about.
    pub subject: u16,
}

/// What must hold for an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The stream ends here.
    Position(u64),
    /// The last record with this subject is here.
    Version(u16, u64),
}

/// What was asked of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// An append, repeatable if it has a key. The same key always comes with the same entries.
    Append {
        /// The records.
        entries: Vec<Entry>,
        /// Under this condition.
        condition: Option<Condition>,
        /// With this key.
        key: Option<u64>,
    },
    /// Records from a position on.
    Read {
        /// The position.
        from: u64,
        /// Most records.
        limit: usize,
    },
    /// The first position and the last; 1 and 0 of a stream that is absent.
    Bounds,
}

/// What the caller was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Appended here, now or by an earlier append with the same key.
    Appended {
        /// Position of the first record.
        first: u64,
        /// It was there already.
        repeated: bool,
    },
    /// The condition does not hold; what it is about stands here.
    Refused(u64),
    /// These records; none only at the end.
    Read(Vec<Entry>),
    /// The first position and the last.
    Bounds(u64, u64),
    /// Nothing: an append may have taken effect, may yet, or never will.
    Unknown,
}

/// One operation on one stream.
#[derive(Debug, Clone)]
pub struct Operation {
    /// When it was called, on a clock that all callers share.
    pub call: u64,
    /// When it returned; has no meaning if the outcome is unknown.
    pub back: u64,
    /// What was asked.
    pub asked: Asked,
    /// What was told.
    pub told: Told,
}

/// The model: a stream's records, in the order that the search tries.
#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    /// Of the entries up to each one.
    hashes: Vec<u64>,
    /// Keys of appends in that order, with the position of the first record.
    keys: Vec<(u64, u64)>,
}

impl Model {
    fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    fn hash(&self) -> u64 {
        self.hashes.last().copied().unwrap_or(0)
    }

    fn version(&self, subject: u16) -> u64 {
        let last = self.entries.iter().rposition(|entry| entry.subject == subject);
        last.map_or(0, |at| at as u64 + 1)
    }

    /// What an append is told in this state.
    fn answer(&self, condition: Option<Condition>, key: Option<u64>) -> Told {
        if let Some((_, first)) = self.keys.iter().find(|(other, _)| Some(*other) == key) {
            return Told::Appended {
                first: *first,
                repeated: true,
            };
        }
        let stands = match condition {
            None => None,
            Some(Condition::Position(expected)) => Some((self.last(), expected)),
            Some(Condition::Version(subject, expected)) => Some((self.version(subject), expected)),
        };
        match stands {
            Some((actual, expected)) if actual != expected => Told::Refused(actual),
            _ => Told::Appended {
                first: self.last() + 1,
                repeated: false,
            },
        }
    }

    /// Takes the operation in, if what was told can be told in this state. Returns how many entries and keys that added.
    fn step(&mut self, operation: &Operation) -> Option<(usize, usize)> {
        match (&operation.asked, &operation.told) {
            (
                Asked::Append {
                    entries,
                    condition,
                    key,
                },
                told,
            ) => {
                let answer = self.answer(*condition, *key);
                let takes_effect = matches!(answer, Told::Appended { repeated: false, .. });
                let explained = match told {
                    // One without effect need not be placed.
                    Told::Unknown => takes_effect,
                    told => *told == answer,
                };
                if !explained || !takes_effect {
                    return explained.then_some((0, 0));
                }
                self.keys.extend(key.map(|key| (key, self.last() + 1)));
                for entry in entries {
                    let mut hasher = DefaultHasher::new();
                    (self.hash(), entry).hash(&mut hasher);
                    self.hashes.push(hasher.finish());
                    self.entries.push(*entry);
                }
                Some((entries.len(), usize::from(key.is_some())))
            }
            (Asked::Read { from, limit }, Told::Read(read)) => {
                let rest = self.entries.get(*from as usize - 1..).unwrap_or_default();
                let explained = rest.starts_with(read) && read.len() <= *limit && (!read.is_empty() || rest.is_empty());
                explained.then_some((0, 0))
            }
            (Asked::Bounds, Told::Bounds(first, last)) => ((*first, *last) == (1, self.last())).then_some((0, 0)),
            _ => None,
        }
    }

    fn undo(&mut self, (entries, keys): (usize, usize)) {
        self.entries.truncate(self.entries.len() - entries);
        self.hashes.truncate(self.hashes.len() - entries);
        self.keys.truncate(self.keys.len() - keys);
    }
}

/// Calls and returns in the order of time, as a list that operations are taken out of and put back into.
struct Events {
    /// The operation of each event and whether it is the call. The first is no event.
    of: Vec<(usize, bool)>,
    next: Vec<usize>,
    before: Vec<usize>,
    /// Places of each operation's call and return.
    places: Vec<(usize, Option<usize>)>,
}

impl Events {
    fn new(history: &[Operation]) -> Self {
        let mut times = Vec::new();
        for (at, operation) in history.iter().enumerate() {
            times.push((operation.call, at, true));
            if operation.told != Told::Unknown {
                times.push((operation.back, at, false));
            }
        }
        times.sort_unstable();
        let mut places = vec![(0, None); history.len()];
        let mut of = vec![(usize::MAX, false)];
        for (_, at, call) in times {
            match call {
                true => places[at].0 = of.len(),
                false => places[at].1 = Some(of.len()),
            }
            of.push((at, call));
        }
        let count = of.len();
        Self {
            of,
            next: (1..=count).map(|next| next % count).collect(),
            before: (0..count).map(|at| (at + count - 1) % count).collect(),
            places,
        }
    }

    fn take(&mut self, operation: usize) {
        let (call, back) = self.places[operation];
        for at in std::iter::once(call).chain(back) {
            let (before, next) = (self.before[at], self.next[at]);
            (self.next[before], self.before[next]) = (next, before);
        }
    }

    fn put_back(&mut self, operation: usize) {
        let (call, back) = self.places[operation];
        for at in back.into_iter().chain(std::iter::once(call)) {
            let (before, next) = (self.before[at], self.next[at]);
            (self.next[before], self.before[next]) = (at, at);
        }
    }
}

/// Where reads show each value.
struct Shown {
    positions: HashMap<u64, u64>,
    /// The last operation of all found the end, and reads show everything before it.
    whole: bool,
}

impl Shown {
    fn by(history: &[Operation]) -> Self {
        let mut positions = HashMap::new();
        let mut shown = HashSet::new();
        for operation in history {
            if let (Asked::Read { from, .. }, Told::Read(read)) = (&operation.asked, &operation.told) {
                for (position, entry) in (*from..).zip(read) {
                    positions.entry(entry.value).or_insert(position);
                    shown.insert(position);
                }
            }
        }
        let last = history.iter().max_by_key(|operation| operation.call);
        let end = last.and_then(|last| match (&last.asked, &last.told) {
            (Asked::Read { from, .. }, Told::Read(read)) if read.is_empty() => Some(*from),
            _ => None,
        });
        let whole = end.is_some_and(|end| (1..end).all(|position| shown.contains(&position)));
        Self { positions, whole }
    }

    /// Whether an append of unknown outcome may take effect with its first record at this position.
    fn allows(&self, operation: &Operation, first: u64) -> bool {
        let Asked::Append { entries, .. } = &operation.asked else {
            return true;
        };
        let at = entries.first().and_then(|entry| self.positions.get(&entry.value));
        at.map_or(!self.whole, |at| *at == first)
    }
}

/// Whether the operations on one stream can be explained; if not, the most of them that can, of those whose outcome is known.
pub fn check(history: &[Operation]) -> Result<(), String> {
    let mut events = Events::new(history);
    let mut model = Model::default();
    let mut placed = vec![0_u64; history.len().div_ceil(64)];
    let mut seen = HashSet::new();
    let shown = Shown::by(history);
    let mut stack: Vec<(usize, (usize, usize))> = Vec::new();
    let known = |operation: usize| usize::from(history[operation].told != Told::Unknown);
    let mut left: usize = (0..history.len()).map(known).sum();
    let (mut fewest, mut stuck) = (left, None);
    let mut at = events.next[0];
    while left > 0 {
        let (operation, call) = events.of[at];
        // At the end of the list, too, nothing more can be placed.
        if at == 0 || !call {
            if left < fewest || stuck.is_none() {
                (fewest, stuck) = (left, history.get(operation));
            }
            // Back to the last append that could stand elsewhere.
            loop {
                let Some((last, added)) = stack.pop() else {
                    return Err(format!(
                        "{fewest} operations can't be explained; at best the order ends before {stuck:?}"
                    ));
                };
                model.undo(added);
                placed[last / 64] &= !(1 << (last % 64));
                events.put_back(last);
                left += known(last);
                at = events.next[events.places[last].0];
                if added != (0, 0) {
                    break;
                }
            }
            continue;
        }
        if history[operation].told == Told::Unknown && !shown.allows(&history[operation], model.last() + 1) {
            at = events.next[at];
            continue;
        }
        let Some(added) = model.step(&history[operation]) else {
            at = events.next[at];
            continue;
        };
        placed[operation / 64] |= 1 << (operation % 64);
        if seen.insert((placed.clone(), model.hash())) {
            stack.push((operation, added));
            events.take(operation);
            left -= known(operation);
            at = events.next[0];
        } else {
            placed[operation / 64] &= !(1 << (operation % 64));
            model.undo(added);
            at = events.next[at];
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: u64) -> Entry {
        Entry { value, subject: 0 }
    }

    fn operation(call: u64, back: u64, asked: Asked, told: Told) -> Operation {
        Operation {
            call,
            back,
            asked,
            told,
        }
    }

    fn append(call: u64, back: u64, value: u64, told: Told) -> Operation {
        let asked = Asked::Append {
            entries: vec![entry(value)],
            condition: None,
            key: None,
        };
        operation(call, back, asked, told)
    }

    fn appended(first: u64) -> Told {
        Told::Appended { first, repeated: false }
    }

    fn read(call: u64, back: u64, values: &[u64]) -> Operation {
        let asked = Asked::Read { from: 1, limit: 100 };
        operation(
            call,
            back,
            asked,
            Told::Read(values.iter().copied().map(entry).collect()),
        )
    }

    #[test]
    fn operations_at_the_same_time_may_come_in_any_order() {
        let history = [
            append(1, 6, 10, appended(2)),
            append(2, 5, 11, appended(1)),
            read(3, 4, &[11]),
            read(7, 8, &[11, 10]),
            operation(9, 10, Asked::Bounds, Told::Bounds(1, 2)),
        ];
        assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn what_has_returned_comes_before_what_is_called_later() {
        let (one, two) = (append(1, 2, 10, appended(1)), append(3, 4, 11, appended(2)));
        assert_eq!(check(&[one.clone(), two.clone(), read(5, 6, &[10, 11])]), Ok(()));
        assert!(check(&[one.clone(), two.clone(), read(5, 6, &[])]).is_err(), "stale");
        assert!(
            check(&[one.clone(), two.clone(), read(5, 6, &[11, 10])]).is_err(),
            "swapped"
        );
        assert!(
            check(&[one.clone(), append(3, 4, 11, appended(1))]).is_err(),
            "one place, twice"
        );
        assert!(check(&[one, two, operation(5, 6, Asked::Bounds, Told::Bounds(1, 3))]).is_err());
    }

    #[test]
    fn an_unknown_append_takes_effect_once_at_any_time_or_never() {
        let unknown = append(1, 0, 10, Told::Unknown);
        assert_eq!(check(&[unknown.clone(), read(2, 3, &[])]), Ok(()));
        assert_eq!(check(&[unknown.clone(), read(2, 3, &[]), read(4, 5, &[10])]), Ok(()));
        assert!(check(&[unknown.clone(), read(2, 3, &[10]), read(4, 5, &[])]).is_err());
        assert!(check(&[unknown.clone(), read(2, 3, &[10, 10])]).is_err());
        assert!(
            check(&[read(1, 2, &[10]), append(3, 0, 10, Told::Unknown)]).is_err(),
            "not before its call"
        );
    }

    #[test]
    fn conditions_and_keys_are_decided_where_the_append_stands() {
        let conditional = |call, back, condition, key, told| {
            let asked = Asked::Append {
                entries: vec![Entry {
                    value: call,
                    subject: 3,
                }],
                condition: Some(condition),
                key,
            };
            operation(call, back, asked, told)
        };
        let first = conditional(1, 2, Condition::Position(0), Some(7), appended(1));
        let again = |told| conditional(3, 4, Condition::Position(0), Some(7), told);
        let repeated = Told::Appended {
            first: 1,
            repeated: true,
        };
        assert_eq!(check(&[first.clone(), again(repeated)]), Ok(()));
        assert!(check(&[first.clone(), again(appended(2))]).is_err());
        let version = |expected, told| conditional(3, 4, Condition::Version(3, expected), None, told);
        assert_eq!(check(&[first.clone(), version(1, appended(2))]), Ok(()));
        assert_eq!(check(&[first.clone(), version(0, Told::Refused(1))]), Ok(()));
        assert!(
            check(&[first.clone(), version(0, appended(2))]).is_err(),
            "refused, and told otherwise"
        );
        assert!(check(&[first, version(1, Told::Refused(0))]).is_err());
    }
}
