//! Reading a JSON body strictly: what serde_json lets pass silently (a key given twice, deep nesting) is an error with its place.
//! What the fields mean is in `wire/action`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::problem::excerpt;

/// How deep and how wide a body may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Deepest nesting; no more than serde_json goes, which is 127 levels.
    pub(crate) depth: usize,
    /// Most keys in one object.
    pub(crate) keys: usize,
}

/// The object that `body` is. The error says what is wrong and at which line and column.
pub(crate) fn object(body: &[u8], bounds: Bounds) -> Result<Map<String, Value>, String> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Strict { depth: 0, bounds }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| format!("the body is not one valid JSON object: {error}"))?;
    if let Some(integer) = altered_integer(body) {
        return Err(format!(
            "the integer {:?} can't be kept as it is: send it as a string",
            excerpt(&String::from_utf8_lossy(integer))
        ));
    }
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(format!("the body must be a JSON object, not {}", type_name(&other))),
    }
}

/// An integer of valid JSON that has more than 64 bits: it would silently become the nearest float.
fn altered_integer(json: &[u8]) -> Option<&[u8]> {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'0'..=b'9' | b'-')) {
        rest = &rest[at..];
        let bytes = match rest[0] {
            b'"' => text_bytes(rest),
            _ => rest.iter().take_while(|byte| is_part(byte)).count(),
        };
        let (token, after) = rest.split_at(bytes);
        let is_integer = token[0] != b'"' && !token.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
        if is_integer && bytes > LONGEST_EXACT && !is_exact(token) {
            return Some(token);
        }
        rest = after;
    }
    None
}

/// So many digits always fit.
const LONGEST_EXACT: usize = 18;

fn is_exact(integer: &[u8]) -> bool {
    str::from_utf8(integer).is_ok_and(|text| text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok())
}

/// The length of the text that `json` begins with, its quotes included.
fn text_bytes(json: &[u8]) -> usize {
    let mut at = 1;
    while at < json.len() && json[at] != b'"' {
        at += 1 + usize::from(json[at] == b'\\');
    }
    (at + 1).min(json.len())
}

/// What a value is, in words that fit after "must be … , not".
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
    bounds: Bounds,
}

impl Strict {
    fn inside<E: Error>(self) -> Result<Self, E> {
        let max = self.bounds.depth;
        if self.depth >= max {
            return Err(E::custom(format_args!("more than {max} levels of nesting")));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut array = Vec::new();
        while let Some(element) = elements.next_element_seed(inside)? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key {:?} is given twice",
                    excerpt(&key)
                )));
            }
            let max = self.bounds.keys;
            if object.len() >= max {
                return Err(A::Error::custom(format_args!("more than {max} keys in one object")));
            }
            object.insert(key, entries.next_value_seed(inside)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPTH_MAX: usize = 64;
    const KEYS_MAX: usize = 10_000;

    fn object(body: &[u8]) -> Result<Map<String, Value>, String> {
        let bounds = Bounds {
            depth: DEPTH_MAX,
            keys: KEYS_MAX,
        };
        super::object(body, bounds)
    }

    #[test]
    fn a_plain_object_is_read_as_serde_json_reads_it() {
        let body = br#"{"a":[1,-2,2.5,"x\u00e9",null,true],"b":{"c":{}}}"#;
        let expected: Map<String, Value> = serde_json::from_slice(body).unwrap();
        assert_eq!(object(body).unwrap(), expected);
    }

    #[test]
    fn what_is_no_single_object_is_refused_with_its_place() {
        for (body, says) in [
            ("", "line 1 column 0"),
            ("{\"a\":1", "line 1 column 6"),
            ("{\"a\":\n tru}", "line 2"),
            ("{} {}", "trailing characters at line 1 column 4"),
            ("\u{feff}{}", "line 1 column 1"),
            (
                "{\"a\":1,\"b\":{\"c\":1,\"c\":2}}",
                "\"c\" is given twice at line 1 column",
            ),
            ("{\"a\":\"\\ud800\"}", "line 1"),
            ("{\"a\":1e400}", "line 1"),
            ("[]", "not an array"),
            ("3", "not a number"),
            ("null", "not null"),
            ("\"x\"", "not a string"),
        ] {
            let error = object(body.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{body:?}: {error}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn integers_are_kept_exactly_or_refused() {
        for body in [
            "{\"a\":18446744073709551615,\"b\":-9223372036854775808}",
            "{\"a\":1e30,\"b\":123456789012345678901234567890.5,\"c\":-1E+25}",
            "{\"18446744073709551616\":\"\\\"18446744073709551616\\\\\",\"b\":[0,-0]}",
        ] {
            assert!(object(body.as_bytes()).is_ok(), "{body}");
        }
        for integer in [
            "18446744073709551616",
            "-9223372036854775809",
            "123456789012345678901234567890",
        ] {
            for body in [format!("{{\"a\":{integer}}}"), format!("{{\"a\\\\\":[1,{integer} ]}}")] {
                let error = object(body.as_bytes()).unwrap_err();
                assert!(error.contains(integer) && error.contains("string"), "{body}: {error}");
            }
        }
        let long = format!("{{\"a\":{}}}", "9".repeat(300));
        assert!(object(long.as_bytes()).unwrap_err().len() < 400);
    }

    #[test]
    fn nesting_and_width_are_bounded_and_so_is_the_message() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(object(nested(DEPTH_MAX - 1).as_bytes()).is_ok());
        assert!(object(nested(DEPTH_MAX).as_bytes()).unwrap_err().contains("64 levels"));
        assert!(object("[".repeat(100_000).as_bytes()).unwrap_err().len() < 200);

        let wide = |keys: usize| {
            let fields: Vec<String> = (0..keys).map(|key| format!("\"k{key}\":0")).collect();
            format!("{{{}}}", fields.join(","))
        };
        assert!(object(wide(KEYS_MAX).as_bytes()).is_ok());
        assert!(object(wide(KEYS_MAX + 1).as_bytes()).is_err());

        let long = "k".repeat(100_000);
        assert!(
            object(format!("{{\"{long}\":1,\"{long}\":2}}").as_bytes())
                .unwrap_err()
                .len()
                < 400
        );
    }
}
