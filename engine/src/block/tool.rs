//! Any block as a tool: what a model is told about it, and a call with JSON that is checked before the block sees it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Block, BlockDef};
use crate::error::{BlockError, Problem};
use crate::exec::Ctx;
use crate::schema::Schema;
use crate::value::Data;

/// The only argument of a tool whose block takes no object.
const INPUT: &str = "input";

/// A block without its types, as a model may call it; see [`Block::tool`].
#[derive(Clone)]
pub struct Tool {
    block: Arc<BlockDef>,
    schema: Arc<Schema>,
    parameters: Value,
    /// The block takes no object: its input is in the argument `input`.
    wrapped: bool,
}

impl<I: Data, O: Data> Block<I, O> {
    /// The block as a tool. Its arguments are its input; an input that is no object is the only argument, `input`.
    /// `Err` says why its input can't be described.
    pub fn tool(&self) -> Result<Tool, String> {
        let block = self.def.clone();
        let schema = block.input.schema()?;
        let wrapped = schema.json().get("type") != Some(&Value::from("object"));
        let parameters = match wrapped {
            false => schema.json().clone(),
            true => wrap(schema.json()),
        };
        Ok(Tool {
            block,
            schema: Arc::new(schema),
            parameters,
            wrapped,
        })
    }
}

/// An object schema with this schema for its only property. Definitions move up, so that references to them still hold.
fn wrap(schema: &Value) -> Value {
    let mut inner = schema.clone();
    let definitions = inner.as_object_mut().and_then(|fields| {
        fields.remove("$schema");
        fields.remove("$defs")
    });
    let mut outer =
        json!({"type": "object", "properties": {INPUT: inner}, "required": [INPUT], "additionalProperties": false});
    if let Some(definitions) = definitions {
        outer["$defs"] = definitions;
    }
    outer
}

impl Tool {
    /// The block's name.
    pub fn name(&self) -> &str {
        self.block.name()
    }

    /// What it does; empty if the block doesn't say.
    pub fn description(&self) -> &str {
        self.block.description.as_deref().unwrap_or_default()
    }

    /// JSON schema (draft 2020-12) of its arguments.
    pub fn parameters(&self) -> &Value {
        &self.parameters
    }

    /// Runs the block below the caller's, as `id` in its path, with these arguments. They are checked against the schema first,
    /// every problem by its path; then the block runs as any block does, once everything that the request has recorded is durable.
    pub async fn call(&self, id: &str, arguments: Value, ctx: &Ctx) -> Result<Value, BlockError> {
        let refuse = |problems: &[Problem]| {
            let what = format!("the arguments of tool {:?} are not valid", self.name());
            Err(BlockError::invalid("validation_error", &what, problems))
        };
        let input = match (self.wrapped, arguments) {
            (true, Value::Object(mut fields)) => match fields.remove(INPUT) {
                Some(input) if fields.is_empty() => input,
                Some(_) => return refuse(&unknown(&fields)),
                None => return refuse(&[Problem::new(INPUT, "is required")]),
            },
            (true, other) => {
                return refuse(&[Problem::new(
                    "",
                    format!("must be an object with the field {INPUT:?}, not {other}"),
                )]);
            }
            (false, arguments) => arguments,
        };
        let root = if self.wrapped { INPUT } else { "" };
        let problems = self.schema.problems(root, &input);
        if !problems.is_empty() {
            return refuse(&problems);
        }
        let input = match self.block.input.parse(root, &input) {
            Ok(input) => input,
            Err(problem) => return refuse(&[problem]),
        };
        let place = ctx
            .step(&format!("tool.{}[{id}]", self.name()), 0, &self.block)
            .synced();
        self.block.clone().run(input, place).await?.json()
    }
}

fn unknown(fields: &Map<String, Value>) -> Vec<Problem> {
    fields
        .keys()
        .map(|field| Problem::new(field, "is no argument of this tool"))
        .collect()
}
