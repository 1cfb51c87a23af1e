//! The instances of one collection, or the one of a resource, in the three orders that are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::scope::Fields;

/// A resource, or an instance of a collection.
#[derive(Default)]
pub(crate) struct Instance {
    /// Its state.
    pub(crate) fields: Fields,
    /// How many records its state is made of.
    pub(crate) changes: u64,
    /// Position of the record that made it; of what is no collection's, of its first.
    pub(crate) created: u64,
    /// Position of the last record about it.
    pub(crate) accessed: u64,
    /// Positions of the records that have its bodies, in order: the last one counts.
    pub(crate) bodies: Vec<u64>,
    /// Length of the last one.
    pub(crate) body_bytes: u64,
}

/// See the module. What is no collection's has the key `""`.
#[derive(Default)]
pub(crate) struct Family {
    instances: BTreeMap<Arc<str>, Instance>,
    by_access: BTreeSet<(u64, Arc<str>)>,
    by_age: BTreeSet<(u64, Arc<str>)>,
}

/// Who makes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Whoever was not asked for longest.
    Access,
    /// Whoever was made first.
    Age,
}

impl Family {
    pub(crate) fn get(&self, key: &str) -> Option<&Instance> {
        self.instances.get(key)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.instances.len()
    }

    /// Those whose keys begin with `prefix` and come after `after`, in the order of their keys.
    pub(crate) fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Instance)> {
        let from = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        let range = self.instances.range::<str, _>((from, Bound::Unbounded));
        range.take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// The first ones in this order, with the position of the record that made each.
    pub(crate) fn first(&self, order: Order) -> impl Iterator<Item = (&Arc<str>, u64)> {
        let ordered = match order {
            Order::Access => &self.by_access,
            Order::Age => &self.by_age,
        };
        let created = |key: &Arc<str>| self.instances.get(key).map_or(0, |instance| instance.created);
        ordered.iter().map(move |(_, key)| (key, created(key)))
    }

    /// Takes in that the record at `position` is about an instance, which it makes if there is none.
    pub(super) fn touch<R>(&mut self, key: &str, position: u64, change: impl FnOnce(&mut Instance) -> R) -> R {
        if let Some(instance) = self.instances.get_mut(key) {
            if let Some((_, key)) = self.by_access.take(&(instance.accessed, key.into())) {
                self.by_access.insert((position, key));
            }
            instance.accessed = position;
            return change(instance);
        }
        let mut instance = Instance {
            created: position,
            accessed: position,
            ..Instance::default()
        };
        let given = change(&mut instance);
        self.put(key.into(), instance);
        given
    }

    pub(super) fn put(&mut self, key: Arc<str>, instance: Instance) {
        self.by_access.insert((instance.accessed, key.clone()));
        self.by_age.insert((instance.created, key.clone()));
        self.instances.insert(key, instance);
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Instance> {
        let (key, instance) = self.instances.remove_entry(key)?;
        self.by_access.remove(&(instance.accessed, key.clone()));
        self.by_age.remove(&(instance.created, key));
        Some(instance)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Instance)> {
        self.instances.iter()
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Instance> {
        self.instances.get_mut(key)
    }
}
