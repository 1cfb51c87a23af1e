//! What is refused when cases are read.

use serde_json::{Value, json};

use super::*;

const CASE: &str =
    r#"{"check": 1, "title": "t", "when": [{"http": {"path": "/", "as": "a"}}], "then": [{"of": "a", "status": 200}]}"#;

fn problems(cases: &[Value], checks: u32) -> String {
    let file = json!({"section": "s", "cases": cases}).to_string();
    match Suite::parse([("s.json".to_owned(), file)], checks) {
        Ok(_) => String::new(),
        Err(problems) => problems.join("\n"),
    }
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut case = serde_json::from_str(CASE).expect("a case");
    change(&mut case);
    case
}

#[test]
fn a_whole_suite_is_taken() {
    assert_eq!(problems(&[changed(|_| {})], 1), "");
}

#[test]
fn what_is_not_understood_is_refused() {
    for (case, expected) in [
        (
            changed(|case| case["when"][0] = json!({"jump": {}})),
            "unknown variant `jump`",
        ),
        (
            changed(|case| case["when"][0]["http"]["hurry"] = true.into()),
            "unknown field `hurry`",
        ),
        (changed(|case| case["when"][0]["stream"] = json!({})), ""),
        (
            changed(|case| case["then"][0] = json!({"of": "a", "glows": true})),
            "unknown variant `glows`",
        ),
        (
            changed(|case| case["then"][0]["count"] = 1.into()),
            "a matcher says one thing",
        ),
        (
            changed(|case| case["then"][0] = json!({"of": "a"})),
            "a matcher says one thing",
        ),
        (
            changed(|case| case["then"][0] = json!({"status": 200})),
            "missing field `of`",
        ),
        (
            changed(|case| case["then"][0] = json!({"of": "a", "at": "/x", "absent": false})),
            "only true",
        ),
        (
            changed(|case| case["then"][0] = json!({"of": "a", "at": "/x", "matches": "("})),
            "unclosed group",
        ),
        (
            changed(|case| case["then"][0] = json!({"either": [[]]})),
            "two sides or more",
        ),
        (
            changed(|case| case["then"][0]["of"] = "b".into()),
            "check 1: no step gives b",
        ),
        (changed(|case| case["hope"] = true.into()), "unknown field `hope`"),
        (
            changed(|case| case["given"] = json!([{"setup": "none"}])),
            "check 1: there is no setup none",
        ),
        (
            changed(|case| case["given"] = json!([{"restart": "kill"}])),
            "check 1: only a server of one's own",
        ),
    ] {
        let problems = problems(std::slice::from_ref(&case), 1);
        assert!(
            !problems.is_empty() && problems.contains(expected),
            "{case}: {problems}"
        );
    }
}

#[test]
fn a_case_that_does_or_expects_nothing_is_refused() {
    assert!(problems(&[changed(|case| case["when"] = json!([]))], 1).contains("check 1: it does nothing"));
    assert!(problems(&[changed(|case| case["then"] = json!([]))], 1).contains("check 1: it expects nothing"));
    assert!(problems(&[changed(|case| case["title"] = " ".into())], 1).contains("check 1: it has no title"));
    assert!(problems(&[json!({})], 0).contains("missing field"));
}

#[test]
fn each_check_is_there_once_with_its_number() {
    let unnumbered = changed(|case| drop(case.as_object_mut().expect("a case").remove("check")));
    assert!(problems(&[unnumbered], 0).contains("missing field `check`"));
    let twice = [changed(|_| {}), changed(|_| {})];
    assert_eq!(problems(&twice, 1), "check 1 is there twice");
    assert_eq!(problems(&[changed(|_| {})], 2), "check 2 is missing");
    assert_eq!(
        problems(&[changed(|case| case["check"] = 2.into()), changed(|_| {})], 1),
        "there is no check 2"
    );
}
