//! A scope's declaration without its type: what the flow says of it, and what its blocks need of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::op::Fields;
use super::view::FieldNeed;
use super::{Rules, Scope};
use crate::flow::client_data::ClientData;
use crate::resource::ResourceDef;
use crate::schema::{Schema, Shape, deserialize};
use crate::value::{Data, Val};

type Decode = Arc<dyn Fn(&Value) -> Result<Val, String> + Send + Sync>;

/// See the module. The default declares no state at all.
#[derive(Default)]
pub(crate) struct ScopeDef {
    /// The state before anything changed it.
    pub(crate) initial: Fields,
    /// What clients see.
    pub(crate) client_data: Vec<ClientData>,
    /// All flows that declare it have one state.
    pub(crate) shared: bool,
    pub(super) exposed: Vec<String>,
    pub(super) commuting: Vec<String>,
    set_by_clients: Vec<String>,
    pub(super) rules: Option<Rules>,
    pub(super) fields: BTreeMap<String, Schema>,
    /// The schema of the flow's own type, if it declares one.
    own: Option<Schema>,
    decode: Option<Decode>,
    /// Any other fields are allowed besides.
    pub(super) open: bool,
    declared: bool,
    /// The resources that the flow declares itself.
    pub(crate) own_resources: Vec<Arc<ResourceDef>>,
    /// Those and what its blocks need, by name.
    resources: BTreeMap<String, Arc<ResourceDef>>,
}

impl<S: Data + Default> Scope<S> {
    /// The declaration without its type; problems go to `problems`.
    pub(crate) fn erase(self, what: &str, problems: &mut Vec<String>) -> ScopeDef {
        let mut def = ScopeDef {
            client_data: self.client_data,
            exposed: self.exposed,
            commuting: self.commuting,
            set_by_clients: self.set_by_clients,
            shared: self.shared,
            rules: self.rules,
            own_resources: self.resources,
            ..ScopeDef::default()
        };
        match serde_json::to_value(self.initial.unwrap_or_default()) {
            Ok(Value::Object(initial)) => def.initial = initial,
            Ok(other) => problems.push(format!("the {what} state must be an object, not {other}")),
            Err(error) => problems.push(format!("the {what} state has no JSON form: {error}")),
        }
        match Schema::of::<S>() {
            Ok(schema) => def.take_schema(schema, what, problems),
            Err(problem) => problems.push(format!("the {what} state: {problem}")),
        }
        def.decode = Some(Arc::new(|state: &Value| {
            deserialize::<S>("", state)
                .map(Val::new)
                .map_err(|problem| problem.to_string())
        }));
        def.check_client_data(what, problems);
        def
    }
}

impl ScopeDef {
    fn take_schema(&mut self, schema: Schema, what: &str, problems: &mut Vec<String>) {
        for problem in schema.problems("", &Value::Object(self.initial.clone())) {
            problems.push(format!("the default {what} state is not valid: {problem}"));
        }
        let (known, open) = schema.fields();
        for name in &known {
            match schema.field(name) {
                Ok(Some(field)) => drop(self.fields.insert(name.clone(), field)),
                Ok(None) => {}
                Err(problem) => problems.push(format!("the {what} state: {problem}")),
            }
        }
        let named = self.exposed.iter().chain(&self.commuting).chain(&self.set_by_clients);
        for field in named.filter(|field| !open && !known.contains(field)) {
            problems.push(format!(
                "the {what} state has no field {field:?}; it has {}",
                known.join(", ")
            ));
        }
        for field in &self.commuting {
            if let Some(rule) = self.fields.get(field).and_then(Schema::rule) {
                problems.push(format!(
                    "the field {field:?} of the {what} state can't be declared as commuting: it has the rule {rule}, which only set \
                     and atomic can hold"
                ));
            }
        }
        (self.own, self.open, self.declared) = (Some(schema), open, true);
    }

    fn check_client_data(&self, what: &str, problems: &mut Vec<String>) {
        for (index, entry) in self.client_data.iter().enumerate() {
            if entry.name.is_empty() {
                problems.push(format!("a client data entry of the {what} has no name"));
            }
            if self.client_data[..index]
                .iter()
                .any(|earlier| earlier.name == entry.name)
            {
                let name = &entry.name;
                problems.push(format!(
                    "the client data entry {name:?} of the {what} is declared twice"
                ));
            }
        }
    }

    /// Whether a flow declares it, by itself or by what its blocks need of it.
    pub(crate) fn is_declared(&self) -> bool {
        self.declared
    }

    /// The fields of the flow's own type, and what each may be.
    pub(crate) fn own_fields(&self) -> impl Iterator<Item = (String, Shape)> + '_ {
        let (known, _) = self.own.as_ref().map(Schema::fields).unwrap_or_default();
        known
            .into_iter()
            .filter_map(|field| self.own.as_ref()?.shape(&field).map(|shape| (field, shape)))
    }

    /// Adds a field that only blocks need.
    pub(crate) fn add(&mut self, field: &str, need: &FieldNeed) {
        self.declared = true;
        if self.fields.contains_key(field) {
            return;
        }
        self.fields.insert(field.to_owned(), need.schema.clone());
        if let Some(initial) = &need.initial {
            self.initial.insert(field.to_owned(), initial.clone());
        }
    }

    /// Whether it has rules, and the fields that they leave alone.
    pub(crate) fn rules_of(&self) -> (bool, BTreeSet<String>) {
        (self.rules.is_some(), self.commuting.iter().cloned().collect())
    }

    /// Says which resources there are.
    pub(crate) fn set_resources(&mut self, resources: BTreeMap<String, Arc<ResourceDef>>) {
        self.resources = resources;
    }

    /// The resource or collection of this name.
    pub(crate) fn resource(&self, name: &str) -> Option<&Arc<ResourceDef>> {
        self.resources.get(name)
    }

    /// All of them, by name.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Arc<ResourceDef>> {
        self.resources.values()
    }

    /// Whether it declares the same state as another flow. What blocks need besides has to be the same where both have it.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let own = |def: &Self| def.own.as_ref().map(|schema| schema.json().clone());
        let same = |(field, schema): (&String, &Schema)| {
            let also = other.fields.get(field);
            also.is_none_or(|also| {
                also.own_shape() == schema.own_shape() && self.initial.get(field) == other.initial.get(field)
            })
        };
        self.rules_of() == other.rules_of() && own(self) == own(other) && self.fields.iter().all(same)
    }

    /// A stored state with the fields that it does not have yet as a new session would have them,
    /// so that a field may be added to a flow whose sessions live on. Only the fields of the flow's own type, if that names them.
    pub(crate) fn filled(&self, stored: &Fields) -> Value {
        let mut state = self.initial.clone();
        state.extend(stored.iter().map(|(field, value)| (field.clone(), value.clone())));
        if let Some(own) = self.own.as_ref().filter(|_| !self.open) {
            state.retain(|field, _| own.has_field(field));
        }
        Value::Object(state)
    }

    /// The typed state; `Err` says why the stored one is not of the declared type.
    pub(crate) fn typed(&self, stored: &Fields) -> Option<Result<Val, String>> {
        self.decode.as_ref().map(|decode| decode(&self.filled(stored)))
    }

    /// Whether rules over the whole state may depend on a field, so that operations that commute are kept off it.
    pub(crate) fn is_ruled(&self, field: &str) -> bool {
        let own = self.own.as_ref().is_some_and(|own| self.open || own.has_field(field));
        self.rules.is_some() && own && !self.commuting.iter().any(|free| free == field)
    }

    /// Whether whoever makes a session may say what a field begins as.
    pub(crate) fn is_set_by_clients(&self, field: &str) -> bool {
        self.set_by_clients.iter().any(|known| known == field)
    }

    /// What clients are told of a field.
    pub(super) fn exposes(&self, field: &str) -> bool {
        self.exposed.iter().any(|known| known == field)
    }

    /// What the fields of `op` begin as that `stored` does not have yet. What is replaced begins as nothing.
    pub(super) fn base(&self, stored: &Fields, op: &super::StateOp) -> Fields {
        if op.replaces() {
            return Map::new();
        }
        let missing = op.fields().filter(|field| !stored.contains_key(*field));
        missing
            .filter_map(|field| Some((field.to_owned(), self.initial.get(field)?.clone())))
            .collect()
    }
}
