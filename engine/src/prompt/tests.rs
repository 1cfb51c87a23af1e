//! Every rule of the formatters, with what it makes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::*;

const NONE: [&str; 0] = [];

#[test]
fn a_section_is_its_heading_and_what_is_not_empty_below_it() {
    assert_eq!(
        section("Fleet", ["3 boats", "", "1 ferry"]),
        "## Fleet\n3 boats\n1 ferry"
    );
    assert_eq!(section("Fleet", NONE), "## Fleet");
    assert_eq!(section("Fleet", [""]), "## Fleet");
    assert_eq!(
        section(String::from("Fleet"), [None, Some("1 ferry")]),
        "## Fleet\n1 ferry"
    );
    assert_eq!(
        section("Fleet", ["a\nb\n", "c"]),
        "## Fleet\na\nb\n\nc",
        "content is as it is"
    );
}

#[test]
fn a_list_drops_what_is_empty_before_it_counts() {
    assert_eq!(list(["oak", "", "fir"]), "- oak\n- fir");
    assert_eq!(list_with(["oak", "", "fir"], ListStyle::Ordered), "1. oak\n2. fir");
    assert_eq!(list_with(["oak", "", "fir"], ListStyle::Prefix("*")), "* oak\n* fir");
    assert_eq!(list(vec![Some("oak".to_owned()), None]), "- oak");
    assert_eq!(list([Cow::from("oak"), Cow::from("")]), "- oak");
    assert_eq!(list(["", ""]), "");
    assert_eq!(list_with(NONE, ListStyle::Ordered), "");
    assert_eq!(list([" "]), "-  ", "space is not nothing");
}

#[test]
fn keys_and_values_keep_everything_but_null_and_their_order() {
    assert_eq!(
        key_values(json!({"port": 80, "tls": false, "note": null})),
        "port: 80\ntls: false"
    );
    assert_eq!(
        key_values((("zero", 0), ("empty", ""), ("none", None::<u8>))),
        "zero: 0\nempty: "
    );
    assert_eq!(key_values([("port", "80")]), "port: 80");
    assert_eq!(key_values(vec![("b", 1), ("a", 2)]), "b: 1\na: 2");
    assert_eq!(key_values(BTreeMap::from([(2, "two"), (1, "one")])), "1: one\n2: two");
    assert_eq!(
        key_values(json!({"list": [1, "a"], "object": {"k": null}})),
        "list: [1,\"a\"]\nobject: {\"k\":null}"
    );
    assert_eq!(key_values(json!({})), "");
    assert_eq!(key_values(json!({"text": "a\n\"b\""})), "text: a\n\"b\"");
}

#[test]
fn a_struct_shows_its_fields_as_they_are_declared() {
    #[derive(Serialize)]
    struct Boat {
        sails: u8,
        name: &'static str,
        harbour: Option<&'static str>,
        #[serde(rename = "builtIn")]
        built: u16,
    }
    let boat = Boat {
        sails: 2,
        name: "Ida",
        harbour: None,
        built: 1910,
    };
    assert_eq!(key_values(&boat), "sails: 2\nname: Ida\nbuiltIn: 1910");
    assert_eq!(key_values(Some(&boat)), key_values(&boat));
}

#[test]
fn what_has_no_keys_is_its_value() {
    assert_eq!(key_values("text"), "text");
    assert_eq!(key_values(3), "3");
    assert_eq!(key_values(None::<Vec<u8>>), "");
    assert_eq!(key_values(["a", "b", "c"]), "[\"a\",\"b\",\"c\"]");
}

#[test]
#[should_panic(expected = "what has no JSON has no keys")]
fn what_has_no_json_panics() {
    key_values(BTreeMap::from([(vec![1], 1)]));
}

#[test]
fn entries_are_lines_and_empty_ones_are_dropped() {
    let record = json!({"b": {"n": 1}, "a": {"n": 2}, "c": {"n": 0}});
    let record = record.as_object().expect("an object");
    let lines = entries(record, |key, value| {
        when(value["n"] != 0, || format!("{key}={}", value["n"]))
    });
    assert_eq!(lines, "b=1\na=2");
    assert_eq!(entries([("a", 1)], |_, _| None::<&str>), "");
    assert_eq!(entries([("a", 1), ("b", 2)], |key, _| Some(key)), "a\nb");
}

#[test]
fn code_stands_between_fences_as_it_is() {
    assert_eq!(code_block("select 1", "sql"), "```sql\nselect 1\n```");
    assert_eq!(code_block("a\n```\n", None), "```\na\n```\n\n```");
    assert_eq!(code_block(String::new(), Some("rust")), "```rust\n\n```");
}

#[test]
fn parts_are_joined_by_a_blank_line() {
    assert_eq!(join(["A", "", "B"]), "A\n\nB");
    assert_eq!(join([None, Some("A")]), "A");
    assert_eq!(join(NONE), "");
}

#[test]
fn content_under_a_condition_is_made_only_if_it_holds() {
    assert_eq!(when(false, "x"), "");
    assert_eq!(when(true, "x"), "x");
    assert_eq!(when(true, String::from("x")), "x");
    assert_eq!(when(true, None::<String>), "");
    assert_eq!(when(true, || Some("x")), "x");
    assert_eq!(when(true, || format!("{}", 1)), "1");
    assert_eq!(when(false, || -> String { panic!("not asked for") }), "");
}
