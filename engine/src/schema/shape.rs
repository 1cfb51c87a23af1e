//! What a schema allows, written in one way: without descriptions, names of types and references, so that two declarations of one
//! field can be compared.

use serde_json::{Map, Value};

use super::{RULES, is_of_type};

/// Keywords that only describe.
const DESCRIBE: [&str; 10] = [
    "$schema",
    "$defs",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
];

/// What a schema allows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    /// With its rules: bounds, lengths, patterns.
    strict: Value,
    /// Its types only.
    loose: Value,
}

impl Shape {
    /// Of a schema whose references are to the definitions of `root`.
    pub(super) fn of(schema: &Value, root: &Value) -> Self {
        let shape = |rules| {
            let mut shape = Writer { root, rules }.write(schema, &mut Vec::new());
            // Whether maps keep their order is a feature of `serde_json` that any crate of the program may turn on.
            shape.sort_all_objects();
            shape
        };
        Self {
            strict: shape(true),
            loose: shape(false),
        }
    }

    /// Whether it is the same as another one, or the same types with rules where the other one has none.
    pub(crate) fn narrows(&self, other: &Self) -> bool {
        self == other || (self.loose == other.loose && other.strict == other.loose)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.strict.fmt(f)
    }
}

struct Writer<'a> {
    root: &'a Value,
    rules: bool,
}

impl<'a> Writer<'a> {
    /// `inside` are the definitions that it is in: one that has itself in it is written as a reference there.
    fn write(&self, schema: &'a Value, inside: &mut Vec<&'a str>) -> Value {
        let Value::Object(keywords) = schema else {
            return schema.clone();
        };
        let mut written = Map::new();
        if let Some(target) = keywords.get("$ref").and_then(Value::as_str) {
            let definition = target.strip_prefix('#').and_then(|path| self.root.pointer(path));
            match definition {
                Some(definition) if !inside.contains(&target) => {
                    inside.push(target);
                    if let Value::Object(keywords) = self.write(definition, inside) {
                        written = keywords;
                    }
                    inside.pop();
                }
                _ => drop(written.insert("$ref".into(), target.into())),
            }
        }
        let format = keywords.get("format").and_then(Value::as_str).unwrap_or_default();
        for (keyword, value) in keywords {
            let natural = value.as_f64().is_some_and(|bound| is_of_type(format, keyword, bound));
            let is_rule = RULES.contains(&keyword.as_str());
            if keyword == "$ref" || DESCRIBE.contains(&keyword.as_str()) || (is_rule && (natural || !self.rules)) {
                continue;
            }
            written.insert(keyword.clone(), self.keyword(keyword, value, inside));
        }
        Value::Object(written)
    }

    fn keyword(&self, keyword: &str, value: &'a Value, inside: &mut Vec<&'a str>) -> Value {
        match (keyword, value) {
            ("properties" | "patternProperties" | "dependentSchemas", Value::Object(named)) => named
                .iter()
                .map(|(name, schema)| (name.clone(), self.write(schema, inside)))
                .collect(),
            ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter().map(|schema| self.write(schema, inside)).collect()
            }
            ("type" | "required", Value::Array(names)) => {
                let mut names = names.clone();
                names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
                Value::Array(names)
            }
            ("enum" | "const" | "required" | "type" | "format", _) => value.clone(),
            (_, Value::Object(_)) => self.write(value, inside),
            _ => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;

    use crate::schema::Schema;

    mod one {
        use super::*;

        /// A tree.
        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code)]
        pub struct Tree {
            /// Where it goes on.
            pub children: Vec<Tree>,
            pub title: Option<String>,
        }

        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code)]
        pub struct State {
            /// How many.
            #[serde(default)]
            pub count: u32,
            pub tree: Option<Tree>,
            pub id: String,
        }
    }

    mod other {
        use super::*;

        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code)]
        pub struct Tree {
            pub title: Option<String>,
            pub children: Vec<Tree>,
        }

        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code)]
        pub struct State {
            pub tree: Option<Tree>,
            #[garde(range(max = 9))]
            pub count: u32,
            pub id: u64,
        }
    }

    #[test]
    fn a_shape_is_what_a_field_may_be_and_nothing_else() {
        let one = Schema::of::<one::State>().expect("a schema");
        let other = Schema::of::<other::State>().expect("a schema");
        let shape = |schema: &Schema, field: &str| schema.shape(field).expect("declared");
        assert_eq!(
            shape(&one, "tree"),
            shape(&other, "tree"),
            "names, order and words do not matter"
        );
        let (free, ruled) = (shape(&one, "count"), shape(&other, "count"));
        assert_ne!(free, ruled);
        assert!(ruled.narrows(&free) && !free.narrows(&ruled));
        assert!(!shape(&one, "id").narrows(&shape(&other, "id")));
        assert_eq!(free.to_string(), r#"{"format":"uint32","type":"integer"}"#);
        assert!(one.shape("nothing").is_none());
    }
}
