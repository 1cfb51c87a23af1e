//! Resources: folds of their records, in the stream of their scope. A row for each resource or instance of a collection says what its
//! state is and where its bodies lie; the bodies themselves are read from their records. In memory the instances are in the order
//! of their keys, of their creation and of their last access, so that a list costs what it gives and whoever makes room is known.

mod family;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use flowstate_log::Log;
use flowstate_log::error::ViewError;
use flowstate_log::record::{Kind, Name, Record, StreamId, Subject};
use flowstate_log::view::{Fold, IndexRows, Row, View, ViewId};
use serde::Deserialize;
use serde_json::Value;

use super::state::Shown;
use crate::record::{
    ResourceAccessed, ResourceAt, ResourceChanged, ResourceCreated, ResourceDeleted, ResourceWritten, StateChanged,
    framed,
};
use crate::scope::{Fields, StateOp};
use rows::RowId;

pub(crate) use family::{Family, Instance, Order};

/// Its view.
pub(crate) const ID: ViewId = ViewId(5);

/// See the module.
pub(crate) struct ResourceView;

impl View for ResourceView {
    fn id(&self) -> ViewId {
        ID
    }

    fn name(&self) -> &'static str {
        "resource"
    }

    fn version(&self) -> u32 {
        1
    }

    fn folds(&self, kind: Kind) -> bool {
        [
            ResourceCreated::KIND,
            ResourceChanged::KIND,
            ResourceWritten::KIND,
            ResourceDeleted::KIND,
            ResourceAccessed::KIND,
        ]
        .contains(&kind)
    }

    fn empty(&self, _stream: StreamId, _name: &Name) -> Box<dyn Fold> {
        Box::<ResourceFold>::default()
    }

    /// What is older has no resources.
    fn unkept(&self, stream: StreamId, name: &Name) -> Result<Box<dyn Fold>, String> {
        Ok(self.empty(stream, name))
    }

    fn load(&self, _stream: StreamId, _name: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        Ok(Box::new(rows::load(rows)?))
    }
}

/// Kind of flow (empty for what all share) and name.
type FamilyId = (String, String);

/// The resources in one stream.
#[derive(Default)]
pub(crate) struct ResourceFold {
    families: BTreeMap<FamilyId, Family>,
    /// Position of each subject's last record.
    versions: BTreeMap<Subject, u64>,
    changed: BTreeSet<RowId>,
}

impl ResourceFold {
    /// The resource or collection of this name, of a kind of flow or shared; `None` if nothing of it was ever recorded.
    pub(crate) fn family(&self, flow: Option<&str>, resource: &str) -> Option<&Family> {
        // A key of two texts can't be borrowed from two.
        self.families
            .get(&(flow.unwrap_or_default().to_owned(), resource.to_owned()))
    }

    /// A resource, or the instance of a collection that there is now, whichever `at.of` says.
    pub(crate) fn instance(&self, at: &ResourceAt) -> Option<&Instance> {
        let family = self.family(at.flow.as_deref(), &at.resource)?;
        family.get(at.key.as_deref().unwrap_or_default())
    }

    /// The same, if it is the one that `at.of` says.
    pub(crate) fn of(&self, at: &ResourceAt) -> Option<&Instance> {
        self.instance(at)
            .filter(|instance| at.of == 0 || instance.created == at.of)
    }

    /// Where the last body of each resource lies that has one.
    pub(crate) fn last_bodies(&self) -> impl Iterator<Item = u64> {
        let instances = self.families.values().flat_map(Family::all);
        instances.filter_map(|(_, instance)| instance.bodies.last().copied())
    }

    /// Its state, as far as it is visible.
    pub(crate) fn shown(&self, at: &ResourceAt, subject: Subject) -> Shown<'_> {
        let instance = self.of(at);
        Shown {
            fields: instance.map(|instance| &instance.fields),
            version: self.version(subject),
            count: instance.map_or(0, |instance| instance.changes),
        }
    }

    /// Position of a subject's last record.
    pub(crate) fn version(&self, subject: Subject) -> u64 {
        self.versions.get(&subject).copied().unwrap_or_default()
    }
}

/// What a record does; nothing of the item that clients are shown is read.
struct Change {
    at: ResourceAt,
    what: What,
}

enum What {
    Created(Fields),
    Changed(Box<StateChanged>),
    Written { bytes: u64, carried: bool },
    Deleted,
    Accessed,
}

impl Change {
    fn of(record: &Record) -> Option<Self> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Head {
            at: ResourceAt,
            state: Value,
            op: StateOp,
            base: Fields,
            carried: bool,
        }
        let (head, bytes) = match record.kind == ResourceWritten::KIND {
            true => framed::decode::<Head>(&record.payload).map(|(head, text)| (head, text.len() as u64)),
            false => serde_json::from_slice::<Head>(&record.payload).map(|head| (head, 0)),
        }
        .ok()?;
        let what = match record.kind {
            ResourceCreated::KIND => match head.state {
                Value::Object(fields) => What::Created(fields),
                _ => return None,
            },
            ResourceChanged::KIND => What::Changed(Box::new(StateChanged {
                op: head.op,
                base: head.base,
                ..StateChanged::default()
            })),
            ResourceWritten::KIND => What::Written {
                bytes,
                carried: head.carried,
            },
            ResourceDeleted::KIND => What::Deleted,
            _ => What::Accessed,
        };
        Some(Self { at: head.at, what })
    }
}

impl ResourceFold {
    fn take_in(&mut self, change: Change, position: u64) {
        let Change { at, what } = change;
        let id = (at.flow.unwrap_or_default(), at.resource);
        let is_instance = at.key.is_some();
        let key = at.key.unwrap_or_default();
        let family = self.families.entry(id.clone()).or_default();
        let there = family.get(&key).map(|instance| instance.created);
        let fits = match (&what, there) {
            (What::Created(_), there) => is_instance && there.is_none(),
            // What is no collection's is there from the first record on.
            (What::Deleted, there) => is_instance && there.is_some_and(|created| at.of == 0 || at.of == created),
            (_, None) => !is_instance,
            (_, Some(created)) => at.of == 0 || at.of == created,
        };
        if !fits {
            return;
        }
        let row = |part| RowId::of(&id, &key, part);
        if let What::Deleted = what {
            let gone = family.remove(&key);
            let chunks = gone.map_or(0, |gone| gone.bodies.len().div_ceil(rows::CHUNK));
            self.changed.extend((0..chunks).map(|chunk| row(Some(chunk))));
            self.changed.insert(row(None));
            return;
        }
        if let What::Written { carried: true, .. } = what {
            let bodies = family.get_mut(&key).map(|instance| &mut instance.bodies);
            if let Some((last, before)) = bodies.and_then(|bodies| bodies.split_last_mut()) {
                *last = position;
                self.changed.insert(row(Some(before.len() / rows::CHUNK)));
            }
            return;
        }
        self.changed.insert(row(None));
        let bodies = family.touch(&key, position, |instance| {
            match what {
                What::Created(fields) => {
                    instance.fields = fields;
                    instance.changes = 1;
                }
                What::Changed(change) => {
                    instance.changes += 1;
                    // What can't be applied changes nothing.
                    let _ = change.apply_to(&mut instance.fields);
                }
                What::Written { bytes, .. } => {
                    instance.bodies.push(position);
                    instance.body_bytes = bytes;
                    return Some(instance.bodies.len());
                }
                What::Deleted | What::Accessed => {}
            }
            None
        });
        if let Some(bodies) = bodies {
            self.changed.insert(row(Some((bodies - 1) / rows::CHUNK)));
        }
    }
}

impl Fold for ResourceFold {
    fn apply(&mut self, record: &Record, _index: &mut dyn IndexRows) {
        if record.subject != Subject::NONE {
            self.versions.insert(record.subject, record.position);
            self.changed.insert(RowId::Subject(record.subject.0));
        }
        if let Some(change) = Change::of(record) {
            self.take_in(change, record.position);
        }
    }

    fn changed(&mut self, rows: &mut dyn FnMut(Row)) {
        for id in std::mem::take(&mut self.changed) {
            rows(self.row(&id));
        }
    }

    fn rows(&self, rows: &mut dyn FnMut(Row)) {
        self.row_ids(&mut |id| rows(self.row(&id)));
    }
}

/// Reads the fold of a stream's resources.
pub(crate) async fn read<R: Send>(
    log: &Log,
    stream: StreamId,
    read: impl FnOnce(&ResourceFold) -> R + Send,
) -> Result<R, ViewError> {
    log.view(stream, ID, read).await
}

#[cfg(test)]
mod tests;
