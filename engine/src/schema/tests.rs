//! Schemas of types and of their fields, and what they say against values.

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
fn a_field_has_a_schema_and_rules_of_its_own() {
    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Bounded {
        natural: u8,
        signed: i32,
        #[garde(range(max = 9))]
        narrow: u8,
        #[garde(length(max = 2))]
        list: Vec<Order>,
    }
    let schema = Schema::of::<Bounded>().expect("a schema");
    let field = |name: &str| schema.field(name).expect("usable").expect("declared");
    assert_eq!(field("natural").rule(), None);
    assert_eq!(field("signed").rule(), None);
    assert_eq!(field("narrow").rule(), Some("maximum"));
    assert_eq!(field("list").rule(), Some("maxItems"));
    assert!(schema.field("other").expect("usable").is_none());
    let problems = field("list").problems("list", &json!([{"name": 7}]));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].path, "list[0].name");
}

#[test]
fn declared_fields_are_known() {
    let (known, open) = Schema::of::<Order>().expect("a schema").fields();
    assert_eq!((known.len(), open), (3, false));
    let map = Schema::of::<std::collections::BTreeMap<String, u8>>().expect("a schema");
    assert_eq!(map.fields(), (Vec::new(), true));
}
