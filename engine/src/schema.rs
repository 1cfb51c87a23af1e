//! JSON schemas of Rust types, and values checked against them. The only module that names `jsonschema`.

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Problem;

/// A schema (draft 2020-12), ready to check values.
pub(crate) struct Schema {
    json: Value,
    validator: jsonschema::Validator,
}

impl Schema {
    /// The schema of what deserialises into a `T`. `Err` says why the type's schema is no usable one.
    pub(crate) fn of<T: JsonSchema>() -> Result<Self, String> {
        let settings = SchemaSettings::draft2020_12().for_deserialize();
        let json = settings.into_generator().into_root_schema_for::<T>().to_value();
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

    /// Names of the declared fields, and whether others are allowed besides.
    pub(crate) fn fields(&self) -> (Vec<String>, bool) {
        let known = match self.json.get("properties") {
            Some(Value::Object(properties)) => properties.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let open = match self.json.get("additionalProperties") {
            None | Some(Value::Bool(false)) => self.json == Value::Bool(true),
            Some(_) => true,
        };
        (known, open)
    }
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
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    struct Order {
        #[garde(length(min = 1))]
        #[allow(dead_code)]
        name: String,
        #[serde(default)]
        count: u8,
        #[serde(default)]
        #[allow(dead_code)]
        lines: Vec<u8>,
    }

    #[test]
    fn every_problem_is_named_by_its_path() {
        let schema = Schema::of::<Order>().expect("a schema");
        let problems = schema.problems("input", &json!({"count": "two", "lines": [1, "x"]}));
        let mut paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["input.count", "input.lines[1]", "input.name"]);
        let problems = schema.problems("input", &json!({"name": ""}));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].path, "input.name");
    }

    #[test]
    fn what_serde_alone_refuses_has_its_path_too() {
        let problem = deserialize::<Order>("input", &json!({"name": "a", "count": 300})).expect_err("over u8");
        assert_eq!(problem.path, "input.count");
        assert_eq!(
            deserialize::<Order>("input", &json!({"name": "a"})).map(|order| order.count),
            Ok(0)
        );
    }

    #[test]
    fn declared_fields_are_known() {
        let (known, open) = Schema::of::<Order>().expect("a schema").fields();
        assert_eq!((known.len(), open), (3, false));
        let map = Schema::of::<std::collections::BTreeMap<String, u8>>().expect("a schema");
        assert_eq!(map.fields(), (Vec::new(), true));
    }
}
