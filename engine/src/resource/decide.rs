//! What a change of a collection would append, worked out from what is visible of it: pure, and appended under the version that it was
//! worked out from, so that validation, eviction and creation are one step.

use std::sync::Arc;

use bytes::Bytes;
use flowstate_log::record::Subject;

use super::def::ResourceDef;
use super::define::Eviction;
use super::error::ResourceProblem;
use crate::exec::ResourceFact;
use crate::projection::resource::{Order, ResourceFold};
use crate::record::ResourceAt;
use crate::scope::Fields;

/// Most instances that make room at once, if a cap was lowered.
const EVICTIONS_MAX: usize = 1_000;

/// Facts, and the version that they hold under.
pub(crate) struct Decided {
    pub(crate) facts: Vec<ResourceFact>,
    pub(crate) under: (Subject, u64),
    /// Keys of those that make room.
    pub(crate) evicted: Vec<Arc<str>>,
}

impl Decided {
    /// The same, and the instance that is made begins with this body.
    pub(crate) fn with_body(mut self, at: &ResourceAt, text: Bytes) -> Self {
        self.facts.push(ResourceFact::written(at.clone(), text));
        self
    }
}

/// The version of what it was worked out from.
fn under(resources: &ResourceFold, def: &ResourceDef, at: &ResourceAt) -> (Subject, u64) {
    let subject = def.instances_subject(at);
    (subject, resources.version(subject))
}

/// Makes an instance with this state, which was checked. `Err` if it exists, or if the collection is full.
pub(crate) fn create(
    resources: &ResourceFold,
    def: &ResourceDef,
    at: &ResourceAt,
    state: Fields,
) -> Result<Decided, ResourceProblem> {
    if resources.instance(at).is_some() {
        return Err(ResourceProblem::Exists);
    }
    let family = resources.family(at.flow.as_deref(), &at.resource);
    let count = family.map_or(0, |family| family.count());
    let mut evicted = Vec::new();
    if let Some(max) = def.max().filter(|max| count >= max.get()) {
        let order = match def.eviction() {
            Eviction::None => return Err(ResourceProblem::Full { max }),
            Eviction::Lru => Order::Access,
            Eviction::Oldest => Order::Age,
        };
        let excess = (count + 1 - max.get()).min(EVICTIONS_MAX);
        let first = family.into_iter().flat_map(|family| family.first(order));
        evicted.extend(first.take(excess).map(|(key, created)| (key.clone(), created)));
    }
    let gone = evicted.iter().map(|(key, created)| {
        let at = ResourceAt {
            key: Some(key.to_string()),
            of: *created,
            ..at.clone()
        };
        ResourceFact::deleted(at, true)
    });
    let made = ResourceFact::created(at.clone(), state);
    Ok(Decided {
        facts: gone.chain([made]).collect(),
        under: under(resources, def, at),
        evicted: evicted.into_iter().map(|(key, _)| key).collect(),
    })
}

/// Deletes an instance; `None` if there is none.
pub(crate) fn delete(resources: &ResourceFold, def: &ResourceDef, at: &ResourceAt) -> Option<Decided> {
    let instance = resources.instance(at)?;
    let of = instance.created;
    Some(Decided {
        facts: vec![ResourceFact::deleted(ResourceAt { of, ..at.clone() }, false)],
        under: under(resources, def, at),
        evicted: Vec::new(),
    })
}

/// Replaces the body of an instance; `None` if there is none.
pub(crate) fn write(resources: &ResourceFold, def: &ResourceDef, at: &ResourceAt, text: Bytes) -> Option<Decided> {
    let of = resources.instance(at)?.created;
    Some(Decided {
        facts: vec![ResourceFact::written(ResourceAt { of, ..at.clone() }, text)],
        under: under(resources, def, at),
        evicted: Vec::new(),
    })
}
