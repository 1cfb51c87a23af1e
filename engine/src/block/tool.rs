//! Any block as a tool: what a model is told about it, and a call with JSON that is checked before the block sees it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::def::{DEPTH_MAX, TOOLS_DEPTH_MAX};
use super::{Block, BlockDef};
use crate::error::{BlockError, Problem};
use crate::exec::Ctx;
use crate::schema::Schema;
use crate::value::{Data, Val};

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
            true => wrap(INPUT, schema.json()),
        };
        Ok(Tool {
            block,
            schema: Arc::new(schema),
            parameters,
            wrapped,
        })
    }
}

/// What the schema that is wrapped is called, if it refers to itself.
const WRAPPED: &str = "Wrapped";

/// An object schema with this schema for its only property, `field`. Definitions move up, so that references to them still hold; a
/// reference to the whole schema is to what it is now.
pub(super) fn wrap(field: &str, schema: &Value) -> Value {
    let mut inner = schema.clone();
    if refer(&mut inner) {
        let definitions = inner.as_object_mut().and_then(|fields| {
            fields.remove("$schema");
            fields.remove("$defs")
        });
        let mut definitions = definitions.unwrap_or_else(|| json!({}));
        definitions[WRAPPED] = inner;
        inner = json!({"$ref": format!("#/$defs/{WRAPPED}"), "$defs": definitions});
    }
    let definitions = inner.as_object_mut().and_then(|fields| {
        fields.remove("$schema");
        fields.remove("$defs")
    });
    let mut outer =
        json!({"type": "object", "properties": {field: inner}, "required": [field], "additionalProperties": false});
    if let Some(definitions) = definitions {
        outer["$defs"] = definitions;
    }
    outer
}

/// Makes references to the whole schema ones to the definition that it becomes; `false` if there are none.
fn refer(schema: &mut Value) -> bool {
    let mut found = false;
    match schema {
        Value::Object(fields) => {
            for (keyword, value) in fields {
                if keyword == "$ref" && *value == "#" {
                    *value = format!("#/$defs/{WRAPPED}").into();
                    found = true;
                } else {
                    found |= refer(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| found |= refer(item)),
        _ => {}
    }
    found
}

impl Tool {
    /// The block's name.
    pub fn name(&self) -> &str {
        self.block.name()
    }

    pub(super) fn block(&self) -> &Arc<BlockDef> {
        &self.block
    }

    /// Whether it is the same block.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.block, &other.block)
    }

    /// What it does; empty if the block doesn't say.
    pub fn description(&self) -> &str {
        self.block.description.as_deref().unwrap_or_default()
    }

    /// JSON schema (draft 2020-12) of its arguments.
    pub fn parameters(&self) -> &Value {
        &self.parameters
    }

    /// Runs the block below the caller's, as `id` in its path (`id]#2` the second time), with these arguments. They are checked against the schema first,
    /// every problem by its path; then the block runs as any block does, once everything that the request has recorded is durable.
    pub async fn call(&self, id: &str, arguments: Value, ctx: &Ctx) -> Result<Value, BlockError> {
        let segment = ctx.numbered_call(format!("tool.{}[{id}]", self.name()));
        self.run(&segment, 0, arguments, ctx).await?.json()
    }

    /// The same, as this part of the path and as step `index` of the caller.
    pub(super) async fn run(&self, segment: &str, index: u32, arguments: Value, ctx: &Ctx) -> Result<Val, BlockError> {
        if ctx.depth() + self.block.depth > DEPTH_MAX || ctx.tools_around() >= TOOLS_DEPTH_MAX {
            let what = format!(
                "the tool {:?} is called too deep: at most {TOOLS_DEPTH_MAX} tools may run in each other, and {DEPTH_MAX} blocks",
                self.name()
            );
            return Err(BlockError::new("too_deep", what));
        }
        let input = self.input(arguments)?;
        let place = ctx.step(segment, index, &self.block).synced();
        self.block.clone().run(input, place).await
    }

    /// The input that these arguments are.
    fn input(&self, arguments: Value) -> Result<Val, BlockError> {
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
        self.block
            .input
            .parse(root, &input)
            .or_else(|problem| refuse(&[problem]))
    }
}

fn unknown(fields: &Map<String, Value>) -> Vec<Problem> {
    fields
        .keys()
        .map(|field| Problem::new(field, "is no argument of this tool"))
        .collect()
}
