//! JSON schemas of Rust types, and values checked against them. The only module that names `jsonschema`.

mod shape;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Problem;

pub(crate) use shape::Shape;

/// A schema (draft 2020-12), ready to check values.
#[derive(Clone)]
pub(crate) struct Schema {
    json: Value,
    validator: jsonschema::Validator,
}

impl Schema {
    /// The schema of what deserialises into a `T`. `Err` says why the type's schema is no usable one.
    pub(crate) fn of<T: JsonSchema>() -> Result<Self, String> {
        let json = generator().into_root_schema_for::<T>().to_value();
        let validator = jsonschema::draft202012::new(&json)
            .map_err(|error| format!("the schema of {} is not usable: {error}", std::any::type_name::<T>()))?;
        Ok(Self { json, validator })
    }

    /// The schema itself.
    pub(crate) fn json(&self) -> &Value {
        &self.json
    }

    /// Everything about `value` that the schema does not allow; paths start with `root`.
    pub(crate) fn problems(&self, root: &str, value: &Value) -> Vec<Problem> {
        self.validator
            .iter_errors(value)
            .map(|error| {
                let mut path = dotted(root, error.instance_path());
                if let ValidationErrorKind::Required {
                    property: Value::String(missing),
                } = error.kind()
                {
                    push_field(&mut path, missing);
                    return Problem::new(path, "is required");
                }
                Problem::new(path, error.to_string())
            })
            .collect()
    }

    /// The schema of one declared field by itself. `Err` says why it is no usable one.
    pub(crate) fn field(&self, name: &str) -> Result<Option<Self>, String> {
        let Some(declared) = self.json.get("properties").and_then(|fields| fields.get(name)) else {
            return Ok(None);
        };
        let mut json = serde_json::json!({"allOf": [declared]});
        if let Some(types) = self.json.get("$defs") {
            json["$defs"] = types.clone();
        }
        let validator = jsonschema::draft202012::new(&json)
            .map_err(|error| format!("the schema of the field {name:?} is not usable: {error}"))?;
        Ok(Some(Self { json, validator }))
    }

    /// Whether it allows a value.
    pub(crate) fn allows(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// Whether it declares the field.
    pub(crate) fn has_field(&self, name: &str) -> bool {
        let fields = self.json.get("properties");
        fields.is_some_and(|fields| fields.get(name).is_some())
    }

    /// What it allows; of the schema of a field.
    pub(crate) fn own_shape(&self) -> Shape {
        Shape::of(self.json.pointer("/allOf/0").unwrap_or(&self.json), &self.json)
    }

    /// What one declared field may be.
    pub(crate) fn shape(&self, name: &str) -> Option<Shape> {
        let declared = self.json.get("properties")?.get(name)?;
        Some(Shape::of(declared, &self.json))
    }

    /// What the schema of a field rules beside its type, if anything: `maximum`, `minItems`, ...
    pub(crate) fn rule(&self) -> Option<&'static str> {
        let declared = self.json.pointer("/allOf/0")?;
        let format = declared.get("format").and_then(Value::as_str).unwrap_or_default();
        RULES.into_iter().find(|rule| match declared.get(*rule) {
            None => false,
            Some(bound) => bound.as_f64().is_none_or(|bound| !is_of_type(format, rule, bound)),
        })
    }

    /// Names of the declared fields, and whether others are allowed besides.
    pub(crate) fn fields(&self) -> (Vec<String>, bool) {
        declared(&self.json)
    }
}

/// Names of the fields that the schema of a `T` declares, and whether others are allowed besides.
pub(crate) fn fields_of<T: JsonSchema>() -> (Vec<String>, bool) {
    declared(&generator().into_root_schema_for::<T>().to_value())
}

fn declared(schema: &Value) -> (Vec<String>, bool) {
    let mut known: Vec<String> = match schema.get("properties") {
        Some(Value::Object(properties)) => properties.keys().cloned().collect(),
        _ => Vec::new(),
    };
    known.sort_unstable();
    let open = match schema.get("additionalProperties") {
        None | Some(Value::Bool(false)) => *schema == Value::Bool(true),
        Some(_) => true,
    };
    (known, open)
}

/// Makes schemas of what deserialises into a type.
fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_deserialize().into_generator()
}

/// Keywords that narrow a type.
const RULES: [&str; 13] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

/// Whether a number type of this format has the bound by nature.
fn is_of_type(format: &str, rule: &str, bound: f64) -> bool {
    let bits = format.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let bits: i32 = bits.parse().unwrap_or(64);
    let natural = match (format.starts_with("uint"), rule) {
        (true, "minimum") => 0.0,
        (true, "maximum") => 2.0_f64.powi(bits) - 1.0,
        (false, "minimum") => -2.0_f64.powi(bits - 1),
        (false, "maximum") => 2.0_f64.powi(bits - 1) - 1.0,
        _ => return false,
    };
    format.contains("int") && bound == natural
}

/// Turns JSON into a `T` (defaults are filled in here); problems have their path below `root`.
pub(crate) fn deserialize<T: DeserializeOwned>(root: &str, value: &Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => root.to_owned(),
            path => join(root, &path),
        };
        Problem::new(path, error.into_inner().to_string())
    })
}

/// A path that other validators print (`a.b[0]`), below `root`.
pub(crate) fn join(root: &str, path: &str) -> String {
    match (root, path) {
        (_, "") => root.to_owned(),
        ("", _) => path.to_owned(),
        _ if path.starts_with('[') => format!("{root}{path}"),
        _ => format!("{root}.{path}"),
    }
}

fn dotted(root: &str, location: &Location) -> String {
    let mut path = root.to_owned();
    for segment in location {
        match segment {
            LocationSegment::Property(field) => push_field(&mut path, &field),
            LocationSegment::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

fn push_field(path: &mut String, field: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(field);
}

#[cfg(test)]
mod tests;
