//! What is seen to be blind, and what is not.

use super::*;

fn blind_ones(matchers: Value) -> usize {
    let matchers: Vec<Matcher> = serde_json::from_value(matchers).expect("matchers");
    let results = json!({"a": {"status": 200, "body": {"n": 1, "list": [{"id": 1}, {"id": 2}]}}});
    let Value::Object(results) = results else {
        panic!("an object")
    };
    for matcher in &matchers {
        judge(matcher, &results).expect("it holds");
    }
    blind(&matchers, &results).len()
}

#[test]
fn a_matcher_that_can_not_fail_is_found() {
    assert_eq!(
        blind_ones(json!([{"of": "a", "status": 200}, {"of": "a", "json": "/n", "equals": 1}])),
        0
    );
    assert_eq!(
        blind_ones(json!([{"of": "a", "json": "/n", "at_least": 1}, {"of": "a", "json": "/m", "absent": true}])),
        0
    );
    assert_eq!(
        blind_ones(json!([{"of": "a", "in": "/body/list", "at": "/id", "increasing": true}])),
        0
    );
    assert_eq!(
        blind_ones(
            json!([{"of": "a", "in": "/body/list", "where": {"id": 9}, "count": 0}, {"of": "a", "json": "/n", "equals": 1}])
        ),
        0
    );
    assert_eq!(blind_ones(json!([{"of": "a", "json": "/list", "lacks": {"id": 3}}])), 0);
    // Whatever there is of the body, there is so much of it.
    assert_eq!(
        blind_ones(
            json!([{"of": "a", "json": "/list/*", "count": {"min": 0}}, {"of": "a", "json": "/n", "equals": 1}])
        ),
        1
    );
    // Any answer is no error.
    assert_eq!(blind_ones(json!([{"of": "a", "status": 200}])), 1);
}
