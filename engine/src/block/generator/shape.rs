//! The shape that an answer must have: told to the model, checked when the answer is there, mended as far as that is allowed.

use serde_json::Value;

use super::repair;
use crate::block::Edge;
use crate::error::{OutputValidationError, Problem};
use crate::model::OutputSchema;
use crate::schema::Schema;
use crate::value::Val;

/// The only field of an answer whose shape is no object, and one that models like to add.
const OUTPUT: &str = "output";

/// What is done about an answer that has not the shape that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair {
    mode: Mode,
    attempts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Auto,
    Rescue,
    Fail,
}

/// Once, without asking the model again.
impl Default for Repair {
    fn default() -> Self {
        Self::auto(1)
    }
}

impl Repair {
    /// The first attempt mends the answer itself: fences, prose around it, trailing commas, what was never closed. Each further one
    /// shows the model what is wrong and asks it again, as one more step; that answer is mended too. 0 attempts mend nothing.
    pub fn auto(attempts: u32) -> Self {
        Self {
            mode: Mode::Auto,
            attempts,
        }
    }

    /// Nothing: the generator fails at once, so that a `rescue` around it can take over.
    pub fn rescue() -> Self {
        Self {
            mode: Mode::Rescue,
            attempts: 0,
        }
    }

    /// Nothing: the generator fails at once. The same as [`Repair::rescue`], for where nothing is meant to take over.
    pub fn fail() -> Self {
        Self {
            mode: Mode::Fail,
            attempts: 0,
        }
    }

    fn mends(self) -> bool {
        self.mode == Mode::Auto && self.attempts > 0
    }

    /// How often the model may be asked again.
    pub(super) fn corrections(self) -> u32 {
        match self.mode {
            Mode::Auto => self.attempts.saturating_sub(1),
            Mode::Rescue | Mode::Fail => 0,
        }
    }
}

/// The shape of a generator's output.
pub(super) struct Shape {
    schema: Schema,
    told: OutputSchema,
    edge: Edge,
    repair: Repair,
    /// The schema is no object: models are asked for one whose field `output` is it.
    wrapped: bool,
}

impl Shape {
    /// Of this type's answers; `Err` says why it has no schema.
    pub(super) fn new(name: &str, edge: Edge, repair: Repair) -> Result<Self, String> {
        let schema = edge.schema()?;
        let wrapped = schema.json().get("type") != Some(&Value::from("object"));
        let told = match wrapped {
            false => schema.json().clone(),
            true => wrap(schema.json()),
        };
        Ok(Self {
            told: OutputSchema {
                name: super::tools::alias(name),
                schema: told,
            },
            schema,
            edge,
            repair,
            wrapped,
        })
    }

    pub(super) fn told(&self) -> OutputSchema {
        self.told.clone()
    }

    pub(super) fn corrections(&self) -> u32 {
        self.repair.corrections()
    }

    /// The output that an answer is, or why it is none.
    /// One that was cut off (`is_whole` is false) is not mended.
    pub(super) fn read(&self, text: &str, is_whole: bool) -> Result<Val, OutputValidationError> {
        let mut first = None;
        let candidates = match (serde_json::from_str(text.trim()), is_whole && self.repair.mends()) {
            (Ok(value), _) => vec![value],
            (Err(_), true) => repair::values(text),
            (Err(_), false) if !is_whole => return Err(not_json(text, "the model was cut off before its end")),
            (Err(error), false) => return Err(not_json(text, &error.to_string())),
        };
        for candidate in candidates {
            match self.check(candidate) {
                Ok(output) => return Ok(output),
                Err(problems) => drop(first.get_or_insert(problems)),
            }
        }
        Err(match first {
            Some(problems) => invalid(text, &problems),
            None => not_json(text, "there is no object or array in it"),
        })
    }

    fn check(&self, value: Value) -> Result<Val, Vec<Problem>> {
        let as_it_is = |value: &Value| {
            let problems = self.schema.problems("", value);
            if !problems.is_empty() {
                return Err(problems);
            }
            self.edge.parse("", value).map_err(|problem| vec![problem])
        };
        let inner = match &value {
            Value::Object(fields) if fields.len() == 1 => fields.get(OUTPUT),
            _ => None,
        };
        match inner {
            Some(inner) if self.wrapped => as_it_is(inner),
            Some(inner) if self.repair.mends() => {
                as_it_is(&value).or_else(|problems| as_it_is(inner).map_err(|_| problems))
            }
            _ => as_it_is(&value),
        }
    }

    /// What a model is told about an answer that was wrong.
    pub(super) fn correction(&self, error: &OutputValidationError) -> String {
        let issues: Vec<String> = error.issues.iter().map(ToString::to_string).collect();
        format!(
            "That answer does not have the shape that was asked for: {}. Answer again, with nothing but JSON that matches this schema: {}",
            issues.join("; "),
            self.told.schema
        )
    }
}

fn not_json(raw: &str, why: &str) -> OutputValidationError {
    invalid(raw, &[Problem::new("", format!("is not JSON: {why}"))])
}

fn invalid(raw: &str, problems: &[Problem]) -> OutputValidationError {
    OutputValidationError {
        raw_output: raw.to_owned(),
        issues: problems.to_vec(),
    }
}

/// An object schema with this schema for its only field. Definitions move up, so that references to them still hold.
fn wrap(schema: &Value) -> Value {
    crate::block::tool::wrap(OUTPUT, schema)
}
