//! What must hold before an operation is appended. Checks look at the fields that it names, never at a whole state, but for the rules
//! that are about a whole state.

use serde_json::{Map, Value};

use super::fit::check_fit;
use super::op::{Difference, Fields, StateOp};
use super::{ScopeDef, StateProblem};
use crate::error::Problem;

impl ScopeDef {
    /// Refuses what names an undeclared field, does not fit the field as it is in `stored`, or leaves a value that the field can't have.
    pub(super) fn check(&self, stored: &Fields, op: &StateOp) -> Result<(), StateProblem> {
        for field in op.fields() {
            if !self.open && !self.fields.contains_key(field) {
                let known = self.fields.keys().cloned().collect();
                let field = field.to_owned();
                return Err(StateProblem::UnknownField { field, known });
            }
            if op.commutes() && self.is_ruled(field) {
                let field = field.to_owned();
                return Err(StateProblem::Ruled { field });
            }
        }
        let left = check_fit(op, |field| stored.get(field).or_else(|| self.initial.get(field)))?;
        let mut problems: Vec<Problem> = Vec::new();
        for (field, value) in left.iter() {
            if let Some(schema) = self.fields.get(*field)
                && !schema.allows(value)
            {
                problems.extend(schema.problems(field, value));
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(StateProblem::Invalid(problems)),
        }
    }

    /// Refuses a whole state that is not of the declared type, or breaks the rules.
    pub(crate) fn check_whole(&self, state: &Fields) -> Result<(), StateProblem> {
        if !self.open
            && let Some(field) = state.keys().find(|field| !self.fields.contains_key(*field))
        {
            let known = self.fields.keys().cloned().collect();
            let field = field.clone();
            return Err(StateProblem::UnknownField { field, known });
        }
        let all = Difference {
            fields: state.clone(),
            removed: Vec::new(),
        };
        self.check(&Fields::new(), &StateOp::Set(all.clone()))?;
        self.check_rules(&Fields::new(), &all)
    }

    /// Refuses a whole state that breaks the declared rules, if there are any.
    pub(super) fn check_rules(&self, stored: &Fields, difference: &Difference) -> Result<(), StateProblem> {
        let Some(rules) = &self.rules else {
            return Ok(());
        };
        let mut state = stored.clone();
        state.extend(difference.fields.clone());
        let mut state = self.filled(&state);
        if let Value::Object(state) = &mut state {
            difference.removed.iter().for_each(|field| drop(state.remove(field)));
        }
        let problems = rules(&state);
        match problems.is_empty() {
            true => Ok(()),
            false => Err(StateProblem::Invalid(problems)),
        }
    }

    /// What clients are told of an operation beside its name: path and delta, of exposed fields only.
    pub(super) fn shown(&self, op: &StateOp) -> (Option<String>, Option<Value>) {
        let exposed = |field: &str| self.exposes(field);
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
