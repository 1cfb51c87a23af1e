//! Each operation, on what fits and on what does not.

use serde_json::json;

use super::*;

fn holds(matcher: Value) -> bool {
    let results = json!({
        "a": {
            "status": 200,
            "headers": {"content-type": "application/json"},
            "body": {"n": 3, "list": [{"id": "x", "v": 1}, {"id": "y", "v": 2}], "none": null, "text": "hello"},
            "frames": [
                {"id": "r:1", "event": "a", "data": {"requestId": "r", "sequence_number": 1, "delta": "he"}},
                {"id": "r:3", "event": "b", "data": {"requestId": "r", "sequence_number": 3, "delta": "llo"}},
            ],
        },
        "five": 5,
    });
    let Value::Object(results) = results else {
        panic!("an object")
    };
    let matcher: Matcher = serde_json::from_value(matcher).expect("a matcher");
    judge(&matcher, &results).is_ok()
}

#[test]
fn each_operation_holds_of_what_fits_and_of_nothing_else() {
    for (fits, fails) in [
        (json!({"of": "a", "status": 200}), json!({"of": "a", "status": 201})),
        (
            json!({"of": "a", "header": "content-type", "contains": "json"}),
            json!({"of": "a", "header": "content-type", "contains": "xml"}),
        ),
        (
            json!({"of": "a", "json": "/text", "without": "x"}),
            json!({"of": "a", "json": "/text", "without": "ell"}),
        ),
        (
            json!({"of": "a", "json": "/n", "differs": 4}),
            json!({"of": "a", "json": "/n", "differs": 3}),
        ),
        (
            json!({"of": "a", "json": "/n", "one_of": [2, 3]}),
            json!({"of": "a", "json": "/n", "one_of": []}),
        ),
        (
            json!({"of": "a", "json": "/n", "type": "integer"}),
            json!({"of": "a", "json": "/n", "type": "string"}),
        ),
        (
            json!({"of": "a", "json": "/none", "type": "null"}),
            json!({"of": "a", "json": "/none", "absent": true}),
        ),
        (
            json!({"of": "a", "json": "/nil", "absent": true}),
            json!({"of": "a", "json": "/nil", "differs": 1}),
        ),
        (
            json!({"of": "a", "json": "/text", "matches": "^h.*o$"}),
            json!({"of": "a", "json": "/text", "matches": "^e"}),
        ),
        (
            json!({"of": "a", "json": "/text", "length": 5}),
            json!({"of": "a", "json": "/text", "length": {"min": 6}}),
        ),
        (
            json!({"of": "a", "json": "/n", "at_least": 3}),
            json!({"of": "a", "json": "/n", "at_least": "${five}"}),
        ),
        (
            json!({"of": "a", "json": "/n", "at_most": "${five}"}),
            json!({"of": "a", "json": "/n", "at_most": 2}),
        ),
        (
            json!({"of": "a", "json": "", "superset": {"n": 3}}),
            json!({"of": "a", "json": "", "superset": {"n": 3, "m": 1}}),
        ),
        (
            json!({"of": "a", "json": "/list", "has": {"v": 2}}),
            json!({"of": "a", "json": "/list", "has": {"v": 3}}),
        ),
        (
            json!({"of": "a", "json": "/list", "lacks": {"v": 3}}),
            json!({"of": "a", "json": "/list", "lacks": {"v": 1}}),
        ),
        (
            json!({"of": "a", "json": "/list/*/v", "count": 2}),
            json!({"of": "a", "json": "/list/*/v", "count": {"max": 1}}),
        ),
        (
            json!({"of": "a", "json": "/list/*/v", "increasing": true}),
            json!({"of": ["a", "a"], "json": "/list/*/v", "rising": true}),
        ),
        (
            json!({"of": "a", "json": "/list/*/id", "distinct": true}),
            json!({"of": ["a", "a"], "json": "/list/*/id", "distinct": true}),
        ),
        (
            json!({"of": "a", "in": "/body/list", "where": {"v": 2}, "at": "/id", "equals": "y"}),
            json!({"of": "a", "in": "/body/list", "where": {"v": 9}, "at": "/id", "equals": "y"}),
        ),
        (
            json!({"of": "a", "events": ["a", "b"]}),
            json!({"of": "a", "events": ["b", "a"]}),
        ),
        (
            json!({"of": "a", "events": ["...", "b+"]}),
            json!({"of": "a", "events": ["b*"]}),
        ),
        (
            json!({"of": "a", "in": "/frames", "at": "/data/delta", "joined": "hello"}),
            json!({"of": "a", "in": "/frames", "at": "/data/delta", "joined": "hell"}),
        ),
        (
            json!({"of": "a", "in": "/frames", "after": 1, "at": "/event", "equals": "b"}),
            json!({"of": "a", "in": "/frames", "after": 3, "at": "/event", "equals": "b"}),
        ),
        (
            json!({"of": "a", "in": "/frames", "at": "/id", "template": "{/data/requestId}:{/data/sequence_number}"}),
            json!({"of": "a", "in": "/frames", "at": "/id", "template": "{/data/requestId}"}),
        ),
        (
            json!({"of": "a", "json": "/list/*/v", "same_as": {"of": "a", "at": "/body/list/*/v"}}),
            json!({"of": "a", "json": "/list/*/v", "same_as": {"of": "a", "at": "/body/list/*/id"}}),
        ),
        (
            json!({"either": [[{"of": "a", "status": 1}], [{"of": "a", "status": 200}]]}),
            json!({"either": [[{"of": "a", "status": 1}], [{"of": "a", "status": 2}]]}),
        ),
        (
            json!({"of": "a", "json": "/n", "equals": 3}),
            json!({"of": "none", "json": "/n", "equals": 3}),
        ),
        (
            json!({"of": "a", "json": "/list/*", "count": 2}),
            json!({"of": "a", "json": "/list/*/nil", "type": "null"}),
        ),
    ] {
        assert!(holds(fits.clone()), "{fits}");
        assert!(!holds(fails.clone()), "{fails}");
    }
    assert!(!Size::Exactly(1).holds(2));
}
