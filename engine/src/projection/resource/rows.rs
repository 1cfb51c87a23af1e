//! The rows of resources: one for each instance, one for each so many of its bodies, one for each subject.

use std::sync::Arc;

use flowstate_log::record::Subject;
use flowstate_log::view::Row;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{FamilyId, Instance, ResourceFold};
use crate::projection::{from_json, json_bytes};
use crate::scope::Fields;

/// So many positions of bodies are in one row: a body that is written often does not rewrite where all of its history is.
pub(super) const CHUNK: usize = 128;

/// First bytes of the keys of each kind of row. An instance's row comes before those of its bodies.
const INSTANCE: u8 = b'a';
const BODIES: u8 = b'b';
const SUBJECT: u8 = b'v';

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RowId {
    Instance(String, String, String),
    Bodies(String, String, String, usize),
    Subject(u16),
}

impl RowId {
    /// Of an instance, or of a part of its bodies.
    pub(super) fn of((flow, resource): &FamilyId, key: &str, chunk: Option<usize>) -> Self {
        let (flow, resource, key) = (flow.clone(), resource.clone(), key.to_owned());
        match chunk {
            None => Self::Instance(flow, resource, key),
            Some(chunk) => Self::Bodies(flow, resource, key, chunk),
        }
    }

    /// None of the names has a zero byte.
    fn key(&self) -> Vec<u8> {
        match self {
            Self::Instance(flow, resource, key) => {
                [&[INSTANCE], format!("{flow}\0{resource}\0{key}").as_bytes()].concat()
            }
            Self::Bodies(flow, resource, key, chunk) => {
                let chunk = u32::try_from(*chunk).unwrap_or(u32::MAX).to_be_bytes();
                let name = format!("{flow}\0{resource}\0{key}\0");
                [&[BODIES], name.as_bytes(), &chunk].concat()
            }
            Self::Subject(subject) => [&[SUBJECT], &subject.to_be_bytes()[..]].concat(),
        }
    }
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct InstanceRow {
    state: Value,
    changes: u64,
    created: u64,
    accessed: u64,
    body_bytes: u64,
}

impl ResourceFold {
    /// A row as it is now; without a value if there is none any more.
    pub(super) fn row(&self, id: &RowId) -> Row {
        let instance = |flow: &String, resource: &String, key: &str| -> Option<&Instance> {
            self.families.get(&(flow.clone(), resource.clone()))?.get(key)
        };
        let value = match id {
            RowId::Instance(flow, resource, key) => instance(flow, resource, key).map(|instance| {
                json_bytes(&InstanceRowRef {
                    state: &instance.fields,
                    changes: instance.changes,
                    created: instance.created,
                    accessed: instance.accessed,
                    body_bytes: instance.body_bytes,
                })
            }),
            RowId::Bodies(flow, resource, key, chunk) => {
                let instance = instance(flow, resource, key);
                let bodies = instance.and_then(|instance| instance.bodies.chunks(CHUNK).nth(*chunk));
                bodies.map(|bodies| bodies.iter().flat_map(|position| position.to_be_bytes()).collect())
            }
            RowId::Subject(subject) => self
                .versions
                .get(&Subject(*subject))
                .map(|version| version.to_be_bytes().to_vec()),
        };
        Row { key: id.key(), value }
    }

    pub(super) fn row_ids(&self, ids: &mut dyn FnMut(RowId)) {
        for (family, instances) in &self.families {
            for (key, instance) in instances.all() {
                ids(RowId::of(family, key, None));
                for chunk in 0..instance.bodies.len().div_ceil(CHUNK) {
                    ids(RowId::of(family, key, Some(chunk)));
                }
            }
        }
        self.versions.keys().for_each(|subject| ids(RowId::Subject(subject.0)));
    }
}

/// The same as [`InstanceRow`], without a copy.
#[derive(Serialize)]
struct InstanceRowRef<'a> {
    state: &'a Fields,
    changes: u64,
    created: u64,
    accessed: u64,
    body_bytes: u64,
}

/// The fold that wrote these rows, which come in the order of their keys.
pub(super) fn load(rows: Vec<Row>) -> Result<ResourceFold, String> {
    let mut fold = ResourceFold::default();
    for Row { key, value } in rows {
        let Some(value) = value else { continue };
        let Some((kind, key)) = key.split_first() else {
            return Err("a row without a key".into());
        };
        match *kind {
            INSTANCE => {
                let (family, key) = names(key)?;
                let row: InstanceRow = from_json(&value)?;
                let Value::Object(fields) = row.state else {
                    return Err("a state is no object".into());
                };
                let instance = Instance {
                    fields,
                    changes: row.changes,
                    created: row.created,
                    accessed: row.accessed,
                    bodies: Vec::new(),
                    body_bytes: row.body_bytes,
                };
                let family = fold.families.entry(family).or_default();
                family.put(Arc::from(key), instance);
            }
            BODIES => {
                let Some((key, _)) = key.split_last_chunk::<4>() else {
                    return Err("a row of bodies without a number".into());
                };
                let (family, key) = names(key.strip_suffix(b"\0").unwrap_or(key))?;
                let family = fold.families.get_mut(&family);
                let Some(instance) = family.and_then(|family| family.get_mut(&key)) else {
                    return Err(format!("bodies of {key:?}, which there is not"));
                };
                let positions = value.as_chunks::<8>().0.iter();
                instance
                    .bodies
                    .extend(positions.map(|position| u64::from_be_bytes(*position)));
            }
            SUBJECT => match (<[u8; 2]>::try_from(key), <[u8; 8]>::try_from(&*value)) {
                (Ok(subject), Ok(version)) => {
                    let subject = Subject(u16::from_be_bytes(subject));
                    fold.versions.insert(subject, u64::from_be_bytes(version));
                }
                _ => return Err("a malformed row of a version".into()),
            },
            kind => return Err(format!("a row of the unknown kind {kind}")),
        }
    }
    Ok(fold)
}

fn names(key: &[u8]) -> Result<(FamilyId, String), String> {
    let text = std::str::from_utf8(key).map_err(|error| format!("a key is no text: {error}"))?;
    let mut names = text.splitn(3, '\0').map(str::to_owned);
    match (names.next(), names.next(), names.next()) {
        (Some(flow), Some(resource), Some(key)) => Ok(((flow, resource), key)),
        _ => Err(format!("a key without its names: {text:?}")),
    }
}
