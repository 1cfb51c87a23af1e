//! Declarations of many blocks under one key each, merged into what the flow has. Equal ones are one; all that differ are reported.

use std::collections::BTreeMap;

/// What may be declared more than once.
pub(super) trait Declaration {
    /// What both declare differently; `None` if they can be one.
    fn conflict(&self, other: &Self) -> Option<String>;
}

/// The declarations so far: the first of each key counts.
pub(super) struct Merged<K, D> {
    first: BTreeMap<K, (String, D)>,
    conflicts: Vec<Conflict<K>>,
}

/// Two declarations of one key that can't be one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict<K> {
    pub(super) key: K,
    pub(super) first: String,
    pub(super) other: String,
    pub(super) what: String,
}

impl<K: Ord + Clone, D: Declaration> Merged<K, D> {
    pub(super) fn new() -> Self {
        Self {
            first: BTreeMap::new(),
            conflicts: Vec::new(),
        }
    }

    /// Takes in what `who` declares.
    pub(super) fn declare(&mut self, who: &str, key: K, declaration: D) {
        let Some((first, known)) = self.first.get(&key) else {
            self.first.insert(key, (who.to_owned(), declaration));
            return;
        };
        if let Some(what) = known.conflict(&declaration) {
            let (first, other) = (first.clone(), who.to_owned());
            let conflict = Conflict {
                key,
                first,
                other,
                what,
            };
            // A block may be in a flow several times.
            if !self.conflicts.contains(&conflict) {
                self.conflicts.push(conflict);
            }
        }
    }

    /// What is declared, and what can't be one.
    pub(super) fn finish(self) -> (impl Iterator<Item = (K, D)>, Vec<Conflict<K>>) {
        let declared = self.first.into_iter().map(|(key, (_, declaration))| (key, declaration));
        (declared, self.conflicts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Declaration for u32 {
        fn conflict(&self, other: &Self) -> Option<String> {
            (self != other).then(|| format!("{self} and {other}"))
        }
    }

    #[test]
    fn equal_declarations_are_one_and_all_others_are_reported_against_the_first() {
        let mut merged = Merged::new();
        for (who, key, value) in [
            ("a", "x", 1),
            ("b", "x", 1),
            ("c", "x", 2),
            ("c", "x", 2),
            ("d", "x", 3),
            ("d", "y", 3),
        ] {
            merged.declare(who, key, value);
        }
        let (declared, conflicts) = merged.finish();
        assert_eq!(declared.collect::<Vec<_>>(), [("x", 1), ("y", 3)]);
        let said = conflicts.iter().map(|conflict| {
            format!(
                "{} {} {} {}",
                conflict.key, conflict.first, conflict.other, conflict.what
            )
        });
        assert_eq!(said.collect::<Vec<_>>(), ["x a c 1 and 2", "x a d 1 and 3"]);
    }
}
