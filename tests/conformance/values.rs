//! Results under their names, places in them, and texts that refer to them.

use serde_json::{Map, Value};

/// What has come of the steps so far, under their names.
pub(crate) type Results = Map<String, Value>;

/// A text or a value in which `${case}`, `${n}` and `${name/place}` stand for what they name. A text that is nothing else becomes the value itself.
pub(crate) fn substituted(value: &Value, results: &Results) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !name.contains("${") => lookup(name, results)?.clone(),
            _ => text_of(text, results, str::to_owned)?.into(),
        },
        Value::Array(values) => {
            let values = values.iter().map(|value| substituted(value, results));
            values.collect::<Result<Vec<_>, _>>()?.into()
        }
        Value::Object(fields) => match fields.get("$repeat") {
            Some(repeat) => {
                let count = repeat["count"].as_u64().ok_or("$repeat has a count")? as usize;
                repeat["text"]
                    .as_str()
                    .ok_or("$repeat has a text")?
                    .repeat(count)
                    .into()
            }
            None => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), substituted(value, results)?)));
                Value::Object(fields.collect::<Result<_, String>>()?)
            }
        },
        other => other.clone(),
    })
}

/// The same of a text, with each thing that is referred to as `written` makes it.
pub(crate) fn text_of(text: &str, results: &Results, written: impl Fn(&str) -> String) -> Result<String, String> {
    let mut parts = text.split("${");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part
            .split_once('}')
            .ok_or_else(|| format!("{text} has no end of a name"))?;
        whole += &written(&plain(lookup(name, results)?));
        whole += rest;
    }
    Ok(whole)
}

/// A text as it is, anything else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn lookup<'a>(name: &str, results: &'a Results) -> Result<&'a Value, String> {
    let (result, place) = match name.find('/') {
        Some(at) => name.split_at(at),
        None => (name, ""),
    };
    let found = results.get(result).and_then(|result| result.pointer(place));
    found.ok_or_else(|| format!("there is no {name}"))
}

/// The places that a pointer with `*` in it stands for, where there is something; and whether each step but the last is there.
pub(crate) fn places(value: &Value, pointer: &str) -> Vec<String> {
    let Some((before, after)) = pointer.split_once("/*") else {
        return value.pointer(pointer).map(|_| pointer.to_owned()).into_iter().collect();
    };
    let names: Vec<String> = match value.pointer(before) {
        Some(Value::Array(values)) => (0..values.len()).map(|at| at.to_string()).collect(),
        Some(Value::Object(fields)) => fields.keys().map(|name| escaped(name)).collect(),
        _ => Vec::new(),
    };
    let each = names.into_iter().flat_map(|name| {
        let one = format!("{before}/{name}");
        let Some(inside) = value.pointer(&one) else {
            return Vec::new();
        };
        let found = places(inside, after).into_iter();
        found.map(|place| format!("{one}{place}")).collect()
    });
    each.collect()
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Whether a value has at least what a pattern has: of objects the fields, of anything else all of it.
pub(crate) fn has_at_least(value: &Value, pattern: &Value) -> bool {
    match (value, pattern) {
        (Value::Object(fields), Value::Object(wanted)) => wanted
            .iter()
            .all(|(name, pattern)| fields.get(name).is_some_and(|field| has_at_least(field, pattern))),
        (value, pattern) => value == pattern,
    }
}

/// What is percent-encoded in one segment of a path, or a value of a query.
pub(crate) fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results() -> Results {
        match json!({"case": "c7", "n": 3, "a": {"id": "x/y", "list": [{"v": 1}, {"v": 2}, {}]}}) {
            Value::Object(results) => results,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn a_text_that_is_a_reference_becomes_what_it_names() {
        let given = json!({"all": "${a/list/0}", "some": "${case}-${n}", "none": "$5", "long": {"$repeat": {"text": "ab", "count": 2}}});
        let expected = json!({"all": {"v": 1}, "some": "c7-3", "none": "$5", "long": "abab"});
        assert_eq!(substituted(&given, &results()), Ok(expected));
        assert_eq!(
            text_of("/s/${a/id}?n=${n}", &results(), encoded).as_deref(),
            Ok("/s/x%2Fy?n=3")
        );
        for unknown in ["${b}", "${a/none}", "x${case"] {
            assert!(substituted(&json!(unknown), &results()).is_err(), "{unknown}");
        }
    }

    #[test]
    fn a_star_is_every_element_that_has_the_rest() {
        let value = json!({"list": [{"v": 1}, {}, {"v": null}], "map": {"a/b": 1}});
        assert_eq!(places(&value, "/list/*/v"), ["/list/0/v", "/list/2/v"]);
        assert_eq!(places(&value, "/map/*"), ["/map/a~1b"]);
        assert_eq!(places(&value, "/none/*"), [""; 0]);
        assert_eq!(places(&value, ""), [""]);
    }

    #[test]
    fn more_fields_than_asked_for_are_no_matter_and_other_values_are() {
        let value = json!({"a": {"b": 1, "c": 2}, "d": [1, 2]});
        assert!(has_at_least(&value, &json!({"a": {"b": 1}})));
        assert!(!has_at_least(&value, &json!({"a": {"b": 2}})));
        assert!(!has_at_least(&value, &json!({"d": [1]})));
        assert!(!has_at_least(&value, &json!({"e": null})));
    }
}
