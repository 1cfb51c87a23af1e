//! A scope's declaration without its type, and what it allows. Checks look at the fields that an operation names, never at a whole
//! state, but for the rules that are about a whole state.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::op::{Difference, Fields, StateOp, check_fit};
use super::{Rules, StateProblem};
use crate::error::Problem;
use crate::flow::client_data::ClientData;
use crate::schema::Schema;
use crate::value::Val;

type Decode = Arc<dyn Fn(&Value) -> Result<Val, String> + Send + Sync>;

/// A scope's declaration without its type. The default declares no state at all.
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
    pub(super) rules: Option<Rules>,
    pub(super) decode: Option<Decode>,
    pub(super) schema: Option<Schema>,
    pub(super) fields: BTreeMap<String, Schema>,
}

impl ScopeDef {
    pub(super) fn take_schema(&mut self, schema: Schema, what: &str, problems: &mut Vec<String>) {
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
        let named = self.exposed.iter().chain(&self.commuting);
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
        self.schema = Some(schema);
    }

    pub(super) fn check_client_data(&self, what: &str, problems: &mut Vec<String>) {
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

    /// Whether a flow declares it.
    pub(crate) fn is_declared(&self) -> bool {
        self.schema.is_some()
    }

    /// Whether it declares the same state as another flow.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let schema = |def: &Self| def.schema.as_ref().map(|schema| schema.json().clone());
        self.initial == other.initial && schema(self) == schema(other)
    }

    /// A stored state with the fields that it does not have yet as a new session would have them,
    /// so that a field may be added to a flow whose sessions live on.
    pub(crate) fn filled(&self, stored: &Fields) -> Value {
        let mut state = self.initial.clone();
        state.extend(stored.iter().map(|(field, value)| (field.clone(), value.clone())));
        Value::Object(state)
    }

    /// The typed state; `Err` says why the stored one is not of the declared type.
    pub(crate) fn typed(&self, stored: &Fields) -> Option<Result<Val, String>> {
        self.decode.as_ref().map(|decode| decode(&self.filled(stored)))
    }

    /// Refuses what names an undeclared field, does not fit the field as it is in `stored`, or leaves a value that the field can't have.
    pub(super) fn check(&self, stored: &Fields, op: &StateOp) -> Result<(), StateProblem> {
        let (known, open) = self.schema.as_ref().map(Schema::fields).unwrap_or_default();
        for field in op.fields() {
            if !open && !self.fields.contains_key(field) {
                let field = field.to_owned();
                return Err(StateProblem::UnknownField { field, known });
            }
            let whole = matches!(op, StateOp::Set(_) | StateOp::Atomic(_));
            if self.rules.is_some() && !whole && !self.commuting.iter().any(|free| free == field) {
                let field = field.to_owned();
                return Err(StateProblem::Ruled { field });
            }
        }
        let left = check_fit(op, |field| stored.get(field).or_else(|| self.initial.get(field)))?;
        let mut problems: Vec<Problem> = Vec::new();
        for (field, value) in left.iter() {
            if let Some(schema) = self.fields.get(*field) {
                problems.extend(schema.problems(field, value));
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(StateProblem::Invalid(problems)),
        }
    }

    /// Refuses a whole state that breaks the declared rules, if there are any.
    pub(super) fn check_rules(&self, stored: &Fields, difference: &Difference) -> Result<(), StateProblem> {
        let Some(rules) = &self.rules else {
            return Ok(());
        };
        let mut state = match self.filled(stored) {
            Value::Object(state) => state,
            _ => Map::new(),
        };
        state.extend(difference.fields.clone());
        difference.removed.iter().for_each(|field| drop(state.remove(field)));
        let problems = rules(&Value::Object(state));
        match problems.is_empty() {
            true => Ok(()),
            false => Err(StateProblem::Invalid(problems)),
        }
    }

    /// What the fields of `op` begin as that `stored` does not have yet. What is replaced begins as nothing.
    pub(super) fn base(&self, stored: &Fields, op: &StateOp) -> Fields {
        if matches!(op, StateOp::Patch(_) | StateOp::Set(_) | StateOp::Atomic(_)) {
            return Map::new();
        }
        let fields = op.fields().into_iter();
        let missing = fields.filter(|field| !stored.contains_key(*field));
        missing
            .filter_map(|field| Some((field.to_owned(), self.initial.get(field)?.clone())))
            .collect()
    }

    /// What clients are told of an operation beside its name: path and delta, of exposed fields only.
    pub(super) fn shown(&self, op: &StateOp) -> (Option<String>, Option<Value>) {
        let exposed = |field: &str| self.exposed.iter().any(|known| known == field);
        let some = |fields: &Fields| -> Option<Value> {
            let fields = fields.iter().filter(|(field, _)| exposed(field));
            let shown: Fields = fields.map(|(field, value)| (field.clone(), value.clone())).collect();
            (!shown.is_empty()).then_some(Value::Object(shown))
        };
        let one = |field: &str, value: Value| Value::Object(Map::from_iter([(field.to_owned(), value)]));
        match op {
            StateOp::Inc(fields) | StateOp::Patch(fields) => (None, some(fields)),
            StateOp::Push { field, value } if exposed(field) => (Some(field.clone()), Some(value.clone())),
            StateOp::RecordSet { field, key, value } if exposed(field) => {
                let entry = one(key, value.clone());
                (Some(format!("{field}.{key}")), Some(one(field, entry)))
            }
            StateOp::RecordDelete { field, key } if exposed(field) => (
                Some(format!("{field}.{key}")),
                Some(one(field, Value::String(key.clone()))),
            ),
            StateOp::Set(Difference { fields, .. }) => (None, some(fields)),
            StateOp::Push { .. } | StateOp::RecordSet { .. } | StateOp::RecordDelete { .. } | StateOp::Atomic(_) => {
                (None, None)
            }
        }
    }
}
