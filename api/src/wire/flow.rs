//! Flows as they are listed, with each action's input schema cut down to the fields that developer tools show.
//! The full JSON Schema, which inputs are checked against, stays in the engine.

use std::collections::BTreeMap;

use flowstate_engine::FlowDescription;
use serde::Serialize;
use serde_json::{Number, Value};

/// The answer to GET /api/flows.
#[derive(Debug, Serialize)]
pub(crate) struct FlowsBody {
    pub(crate) flows: Vec<FlowSummary>,
}

/// The answer to GET /api/flows/capabilities.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CapabilitiesBody {
    pub(crate) user_stream: bool,
}

/// One flow.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FlowSummary {
    id: String,
    kind: String,
    require_user: bool,
    require_session: bool,
    requires_org: bool,
    cardinality: &'static str,
    /// In the order of declaration.
    actions: Vec<String>,
    action_schemas: BTreeMap<String, InputSchema>,
}

impl From<FlowDescription> for FlowSummary {
    fn from(flow: FlowDescription) -> Self {
        Self {
            id: flow.id,
            kind: flow.kind,
            require_user: flow.require_user,
            require_session: false,
            requires_org: false,
            cardinality: "singleton",
            actions: flow.actions.iter().map(|action| action.name.clone()).collect(),
            action_schemas: flow
                .actions
                .into_iter()
                .map(|action| (action.name, InputSchema::of(&action.input_schema)))
                .collect(),
        }
    }
}

/// What an action takes.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum InputSchema {
    /// An object with these fields.
    Object { fields: BTreeMap<String, Field> },
    /// Anything that a list of fields can't tell.
    Unsupported,
}

/// One field of an input.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Field {
    r#type: &'static str,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enum_values: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_type: Option<&'static str>,
    /// Of a nested object, one level deep.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<BTreeMap<String, Field>>,
}

impl InputSchema {
    /// The fields of a JSON Schema.
    pub(crate) fn of(schema: &Value) -> Self {
        match fields(resolve(schema, schema), schema, 1) {
            Some(fields) => Self::Object { fields },
            None => Self::Unsupported,
        }
    }
}

/// The fields of an object schema, those of nested objects down to `levels` more; `None` if it is no object schema.
fn fields(schema: &Value, root: &Value, levels: usize) -> Option<BTreeMap<String, Field>> {
    if type_of(schema) != "object" {
        return None;
    }
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    Some(
        properties
            .map(|(name, outer)| {
                let inner = resolve(outer, root);
                let value = |key: &str| [outer, inner].into_iter().find_map(|schema| schema.get(key));
                let r#type = type_of(inner);
                let field = Field {
                    r#type,
                    required: required.contains(&name.as_str()),
                    default: value("default").cloned(),
                    description: value("description").and_then(Value::as_str).map(str::to_owned),
                    min_length: value("minLength").and_then(Value::as_u64),
                    max_length: value("maxLength").and_then(Value::as_u64),
                    min: value("minimum").and_then(Value::as_number).cloned(),
                    max: value("maximum").and_then(Value::as_number).cloned(),
                    enum_values: (r#type == "enum").then(|| choices(inner)),
                    item_type: (r#type == "array").then(|| {
                        inner
                            .get("items")
                            .map_or("unknown", |items| type_of(resolve(items, root)))
                    }),
                    fields: if levels == 0 {
                        None
                    } else {
                        fields(inner, root, levels - 1)
                    },
                };
                (name.clone(), field)
            })
            .collect(),
    )
}

/// The schema that a reference, or a choice between one schema and null, stands for.
fn resolve<'a>(mut schema: &'a Value, root: &'a Value) -> &'a Value {
    const STEPS_MAX: usize = 16; // a schema may refer to itself
    for _ in 0..STEPS_MAX {
        let next = if let Some(path) = schema["$ref"].as_str() {
            path.strip_prefix('#').and_then(|pointer| root.pointer(pointer))
        } else {
            let options = ["anyOf", "oneOf", "allOf"]
                .into_iter()
                .find_map(|key| schema[key].as_array());
            let mut real = options.into_iter().flatten().filter(|option| option["type"] != "null");
            real.next().filter(|_| real.next().is_none())
        };
        match next {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

fn type_of(schema: &Value) -> &'static str {
    if !choices(schema).is_empty() {
        return "enum";
    }
    let named = match &schema["type"] {
        Value::Array(types) => types.iter().find(|name| *name != "null").and_then(Value::as_str),
        name => name.as_str(),
    };
    match named {
        Some("string") => "string",
        Some("number" | "integer") => "number",
        Some("boolean") => "boolean",
        Some("array") => "array",
        Some("object") => "object",
        _ => "unknown",
    }
}

/// The texts that a schema lets choose from: `enum`, or a `oneOf` of constants.
fn choices(schema: &Value) -> Vec<String> {
    let all = |values: Vec<Option<&str>>| {
        values
            .into_iter()
            .map(|text| text.map(str::to_owned))
            .collect::<Option<Vec<_>>>()
    };
    let listed = schema["enum"].as_array().map(|values| {
        values
            .iter()
            .filter(|value| !value.is_null())
            .map(Value::as_str)
            .collect()
    });
    let constants = || {
        schema["oneOf"]
            .as_array()
            .map(|options| options.iter().map(|option| option["const"].as_str()).collect())
    };
    listed.or_else(constants).and_then(all).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_told_with_type_and_whether_they_are_required() {
        let schema = json!({
            "type": "object",
            "required": ["message", "style"],
            "properties": {
                "message": {"type": "string", "minLength": 1, "description": "What to answer"},
                "count": {"type": ["integer", "null"], "minimum": 0, "maximum": 9, "default": 3},
                "style": {"$ref": "#/$defs/Style"},
                "mood": {"anyOf": [{"$ref": "#/$defs/Mood"}, {"type": "null"}]},
                "tags": {"type": "array", "items": {"type": "string"}},
                "place": {"type": "object", "required": ["city"], "properties": {
                    "city": {"type": "string"}, "geo": {"type": "object", "properties": {"lat": {"type": "number"}}}}},
                "any": true
            },
            "$defs": {
                "Style": {"type": "string", "enum": ["short", "long"]},
                "Mood": {"oneOf": [{"const": "glad", "type": "string"}, {"const": "sad", "type": "string"}]}
            }
        });
        let expected = json!({"type": "object", "fields": {
            "message": {"type": "string", "required": true, "minLength": 1, "description": "What to answer"},
            "count": {"type": "number", "required": false, "min": 0, "max": 9, "default": 3},
            "style": {"type": "enum", "required": true, "enumValues": ["short", "long"]},
            "mood": {"type": "enum", "required": false, "enumValues": ["glad", "sad"]},
            "tags": {"type": "array", "required": false, "itemType": "string"},
            "place": {"type": "object", "required": false, "fields": {
                "city": {"type": "string", "required": true}, "geo": {"type": "object", "required": false}}},
            "any": {"type": "unknown", "required": false}
        }});
        assert_eq!(serde_json::to_value(InputSchema::of(&schema)).unwrap(), expected);
    }

    #[test]
    fn what_is_no_object_or_never_resolves_is_unsupported() {
        for schema in [
            json!({"type": "string"}),
            json!(true),
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}),
        ] {
            assert_eq!(
                serde_json::to_value(InputSchema::of(&schema)).unwrap(),
                json!({"type": "unsupported"})
            );
        }
    }
}
