//! Changes of resources: several of one resource or collection may be one append, taken whole or not at all.

use bytes::Bytes;
use flowstate_log::append::{Expect, NewRecord, Part, Target};
use flowstate_log::record::Subject;
use serde_json::Value;

use super::Recorder;
use super::changes::{Queued, Turn};
use crate::error::RecordError;
use crate::exec::ctx::Place;
use crate::item::ChangeType;
use crate::record::{
    ChangeItem, Fact, ResourceAccessed, ResourceAt, ResourceChanged, ResourceCreated, ResourceDeleted, ResourceNoted,
    ResourceWritten, StateChanged, resource_subject,
};
use crate::resource::ResourceDef;
use crate::scope::Fields;

/// A fact about a resource, without what clients are told of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ResourceFact {
    at: ResourceAt,
    /// What became of it; `None` if nothing did.
    change: Option<ChangeType>,
    /// What clients see of a live one then.
    left: Option<Value>,
    fact: Fact,
}

impl ResourceFact {
    pub(crate) fn created(at: ResourceAt, state: Fields) -> Self {
        let state = Value::Object(state);
        let fact = ResourceCreated {
            at: at.clone(),
            state,
            item: None,
        };
        Self::of(at, Some(ChangeType::Created), fact)
    }

    pub(super) fn changed(at: ResourceAt, change: &StateChanged) -> Self {
        let fact = ResourceChanged::new(at.clone(), change.clone(), None);
        Self::of(at, Some(ChangeType::Updated), fact)
    }

    pub(crate) fn written(at: ResourceAt, text: Bytes) -> Self {
        let fact = ResourceWritten {
            at: at.clone(),
            text,
            ..ResourceWritten::default()
        };
        Self::of(at, Some(ChangeType::Updated), fact)
    }

    pub(crate) fn deleted(at: ResourceAt, evicted: bool) -> Self {
        let fact = ResourceDeleted {
            at: at.clone(),
            evicted,
            item: None,
        };
        Self::of(at, Some(ChangeType::Deleted), fact)
    }

    pub(crate) fn accessed(at: ResourceAt) -> Self {
        let fact = ResourceAccessed { at: at.clone() };
        Self::of(at, None, fact)
    }

    fn of(at: ResourceAt, change: Option<ChangeType>, fact: impl Into<Fact>) -> Self {
        Self {
            at,
            change,
            left: None,
            fact: fact.into(),
        }
    }

    /// The same, with what clients see of it then.
    pub(crate) fn left(mut self, left: Option<Value>) -> Self {
        self.left = left;
        self
    }

    /// The same; if it makes an instance that is live, with what clients see of it.
    pub(crate) fn begins_live(self, def: &ResourceDef) -> Self {
        let left = match &self.fact {
            Fact::ResourceCreated(ResourceCreated {
                state: Value::Object(state),
                ..
            }) => def.live_data(state),
            _ => None,
        };
        self.left(left)
    }

    /// The fact with how clients are told of it.
    fn told(mut self, told: Option<ChangeItem>) -> Fact {
        match &mut self.fact {
            Fact::ResourceCreated(ResourceCreated { item, .. })
            | Fact::ResourceChanged(ResourceChanged { item, .. })
            | Fact::ResourceWritten(ResourceWritten { item, .. })
            | Fact::ResourceDeleted(ResourceDeleted { item, .. }) => *item = told,
            _ => {}
        }
        self.fact
    }

    /// What it is a version of: what makes and deletes instances, and what changes states, count each for itself. Nothing counts on bodies and accesses.
    pub(crate) fn subject(&self, def: &ResourceDef) -> Subject {
        match &self.fact {
            Fact::ResourceCreated(_) | Fact::ResourceDeleted(_) => def.instances_subject(&self.at),
            Fact::ResourceChanged(_) => resource_subject(&self.at),
            _ => Subject::NONE,
        }
    }

    /// The fact as it is recorded where clients are not told of it.
    pub(crate) fn into_fact(self) -> Fact {
        self.fact
    }
}

/// Facts to append as one.
pub(crate) struct ResourceWrite {
    /// Each with its subject.
    pub(crate) facts: Vec<(Subject, ResourceFact)>,
    /// The user's or project's stream, if it is not the session's.
    pub(crate) stream: Option<Target>,
    /// The versions that subjects must have.
    pub(crate) under: Vec<(Subject, u64)>,
    /// Clients are told of what became of it.
    pub(crate) is_shown: bool,
}

impl Recorder {
    /// A record that tells clients of a change; without what they see of a live resource if that has no room in it.
    fn telling(
        &self,
        place: &Place,
        subject: Subject,
        item: Option<ChangeItem>,
        fact: impl Fn(Option<ChangeItem>) -> Fact,
    ) -> Result<NewRecord, RecordError> {
        let record = |item| self.next_record(place.origin(), subject, &fact(item));
        match (&item, record(item.clone())) {
            (Some(item), Err(RecordError::TooLarge { .. })) if item.delta.is_some() => {
                tracing::warn!(request = %self.request, "clients are not told what a resource became: it has no room");
                let delta = None;
                record(Some(ChangeItem { delta, ..item.clone() }))
            }
            (_, record) => record,
        }
    }
}

impl Turn<'_> {
    /// Queues facts about a resource.
    pub(crate) async fn resource(&mut self, place: &Place, write: ResourceWrite) -> Result<Queued, RecordError> {
        let (recorder, state) = (self.recorder, &mut *self.state);
        let under = write.under.into_iter();
        let expect: Vec<Expect> = under
            .map(|(subject, version)| Expect::Version(subject, version))
            .collect();
        let (mut theirs, mut own) = (Vec::<NewRecord>::new(), Vec::new());
        for (subject, fact) in write.facts {
            let change = fact.change.filter(|_| write.is_shown);
            let item = change.map(|_| ChangeItem {
                delta: fact.left.clone(),
                ..recorder.change_item(state, place)
            });
            if write.stream.is_none() {
                own.push(match fact.left {
                    None => recorder.next_record(place.origin(), subject, &fact.told(item))?,
                    Some(_) => recorder.telling(place, subject, item, |item| fact.clone().told(item))?,
                });
                continue;
            }
            if let (Some(change), Some(item)) = (change, item) {
                let noted = |item: Option<ChangeItem>| {
                    let noted = ResourceNoted {
                        scope: fact.at.scope,
                        path: fact.at.path().to_owned(),
                        change,
                        item: item.unwrap_or_default(),
                    };
                    noted.into()
                };
                own.push(recorder.telling(place, Subject::NONE, Some(item), noted)?);
            }
            theirs.push(NewRecord {
                sub: None,
                ..recorder.next_record(place.origin(), subject, &fact.into_fact())?
            });
        }
        let count = own.len() as u64;
        let parts = match write.stream {
            None => vec![recorder.part(state, expect, own)],
            Some(stream) => {
                let theirs = Part {
                    stream,
                    expect,
                    records: theirs,
                };
                let own = (count > 0).then(|| recorder.part(state, None, own));
                [theirs].into_iter().chain(own).collect()
            }
        };
        let appending = recorder.append(parts).await?;
        state.count += count;
        Ok(Queued { appending, count })
    }

    /// Appends facts that are taken only under their versions, and gives the position of the first.
    pub(crate) async fn decide_resource(mut self, place: &Place, write: ResourceWrite) -> Result<u64, RecordError> {
        let queued = self.resource(place, write).await?;
        self.decided(queued).await
    }

    /// Queues a fact that nobody waits for, and calls `queued` before anything else is.
    pub(crate) async fn pass_resource(
        mut self,
        place: &Place,
        write: ResourceWrite,
        queued: impl FnOnce(),
    ) -> Result<(), RecordError> {
        let passed = self.resource(place, write).await?;
        self.state.queued.push_back(passed.appending);
        queued();
        Ok(())
    }
}
