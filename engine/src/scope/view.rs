//! What a block needs of a scope's state: a type with those fields, and which of them it changes by operations that commute.
//! A flow collects what its blocks need and merges it; a block with a view of a state sees and changes no more of it than that.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::{StateOp, StateProblem};
use crate::record::ScopeKind;
use crate::resource::ResourceDef;
use crate::schema::{Schema, Shape, fields_of};
use crate::value::Data;

/// Declares the part `S` of a state, for [`Block::session_state`](crate::Block::session_state) and the like. A field that the flow does not declare
/// itself begins as in `S::default()`.
pub fn view<S: Data + Default>() -> View<S> {
    View {
        commuting: Vec::new(),
        _state: PhantomData,
    }
}

/// A part of a state that a block needs; see [`view`].
pub struct View<S> {
    commuting: Vec<String>,
    _state: PhantomData<fn() -> S>,
}

impl<S: Data + Default> View<S> {
    /// The block changes this field by operations that commute: `inc`, `patch`, `push`, `record_set`, `record_delete`. Of a field
    /// that is not named here it may use `set` and `atomic` only. A flow whose rules keep such operations off the field can't be built.
    pub fn commuting(mut self, field: impl Into<String>) -> Self {
        self.commuting.push(field.into());
        self
    }

    /// The view without its type; problems go to `problems`.
    pub(crate) fn erase(self, scope: ScopeKind, problems: &mut Vec<String>) -> ViewDef {
        let what = scope.as_str();
        let mut fields = BTreeMap::new();
        let initial = match serde_json::to_value(S::default()) {
            Ok(Value::Object(initial)) => initial,
            _ => Map::new(),
        };
        match Schema::of::<S>() {
            Err(problem) => problems.push(format!("its view of the {what} state: {problem}")),
            Ok(schema) => {
                for problem in schema.problems("", &Value::Object(initial.clone())) {
                    problems.push(format!(
                        "the default of its view of the {what} state is not valid: {problem}"
                    ));
                }
                for name in schema.fields().0 {
                    match FieldNeed::of(&schema, &name, initial.get(&name)) {
                        Ok(need) => fields.extend(need.map(|need| (name, need))),
                        Err(problem) => problems.push(format!("its view of the {what} state: {problem}")),
                    }
                }
                if fields.is_empty() {
                    let type_name = std::any::type_name::<S>();
                    problems.push(format!("its view of the {what} state, {type_name}, names no fields"));
                }
            }
        }
        for field in self.commuting.iter().filter(|field| !fields.contains_key(*field)) {
            let known: Vec<&str> = fields.keys().map(String::as_str).collect();
            let known = known.join(", ");
            problems.push(format!(
                "its view of the {what} state has no field {field:?}; it has {known}"
            ));
        }
        ViewDef {
            scope,
            fields,
            commuting: self.commuting,
            read: Mutex::new(BTreeMap::from([(TypeId::of::<S>(), None)])),
        }
    }
}

/// What a block needs of one field.
pub(crate) struct FieldNeed {
    pub(crate) shape: Shape,
    pub(crate) schema: Schema,
    /// What it begins as, if the flow does not say.
    pub(crate) initial: Option<Value>,
}

impl FieldNeed {
    fn of(schema: &Schema, field: &str, initial: Option<&Value>) -> Result<Option<Self>, String> {
        let (shape, own) = (schema.shape(field), schema.field(field)?);
        Ok(shape.zip(own).map(|(shape, schema)| Self {
            shape,
            schema,
            initial: initial.cloned(),
        }))
    }
}

/// A view without its type.
pub(crate) struct ViewDef {
    pub(crate) scope: ScopeKind,
    pub(crate) fields: BTreeMap<String, FieldNeed>,
    pub(crate) commuting: Vec<String>,
    /// Types that were asked for, each with its first field that is not in the view.
    read: Mutex<BTreeMap<TypeId, Option<String>>>,
}

/// What a block needs of the states.
#[derive(Clone, Default)]
pub(crate) struct Views {
    states: Vec<Arc<ViewDef>>,
    resources: Vec<(ScopeKind, Arc<ResourceDef>)>,
}

impl Views {
    /// Adds a resource or collection.
    pub(crate) fn add_resource(&mut self, scope: ScopeKind, resource: Arc<ResourceDef>) {
        self.resources.push((scope, resource));
    }

    /// The resources and collections that it needs.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &(ScopeKind, Arc<ResourceDef>)> {
        self.resources.iter()
    }

    /// Adds a view; its problems are the block's.
    pub(crate) fn add<S: Data + Default>(&mut self, scope: ScopeKind, view: View<S>, problems: &mut Vec<String>) {
        self.states.push(view.erase(scope, problems).into());
    }

    /// Those of a scope.
    pub(crate) fn of(&self, scope: ScopeKind) -> impl Iterator<Item = &Arc<ViewDef>> + Clone {
        self.states.iter().filter(move |view| view.scope == scope)
    }

    /// Refuses an operation of `block` on what its views do not have. Without a view of the scope it may do anything.
    pub(super) fn check(&self, scope: ScopeKind, block: &str, op: &StateOp) -> Result<(), StateProblem> {
        let views = self.of(scope);
        if views.clone().next().is_none() {
            return Ok(());
        }
        for field in op.fields() {
            let (block, field_name) = (block.to_owned(), field.to_owned());
            if !views.clone().any(|view| view.fields.contains_key(field)) {
                return Err(StateProblem::Unseen {
                    block,
                    field: field_name,
                });
            }
            let mut commuting = views.clone().flat_map(|view| &view.commuting);
            if op.commutes() && !commuting.any(|known| known == field) {
                return Err(StateProblem::Unannounced {
                    block,
                    field: field_name,
                });
            }
        }
        Ok(())
    }

    /// Refuses to read a type that has fields which the views do not have.
    pub(super) fn check_read<S: Data>(&self, scope: ScopeKind, block: &str) -> Result<(), StateProblem> {
        let views = self.of(scope);
        let Some(first) = views.clone().next() else {
            return Ok(());
        };
        let asked = TypeId::of::<S>();
        if views.clone().any(|view| view.read.lock().get(&asked) == Some(&None)) {
            return Ok(());
        }
        let mut read = first.read.lock();
        let missing = read.entry(asked).or_insert_with(|| {
            let unseen = |field: &String| !views.clone().any(|view| view.fields.contains_key(field));
            let (fields, open) = fields_of::<S>();
            // A type that takes any field would see all of them.
            open.then(|| "*".to_owned()).or_else(|| fields.into_iter().find(unseen))
        });
        match missing {
            None => Ok(()),
            Some(field) => Err(StateProblem::Unseen {
                block: block.to_owned(),
                field: field.clone(),
            }),
        }
    }
}
