//! JSON out of what a model wrote where JSON was asked for: fences and prose around it, trailing commas, comments, brackets and
//! strings that were never closed. What is valid JSON stays as it is.

use serde_json::{Map, Number, Value};

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 100;
/// Most values that are looked for in one text.
const VALUES_MAX: usize = 8;

/// The JSON values in a text, in order: the text itself if it is one, else the objects and arrays in it.
pub(super) fn values(text: &str) -> Vec<Value> {
    if let Ok(value) = serde_json::from_str(text.trim()) {
        return vec![value];
    }
    let (mut values, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(['{', '[']).filter(|_| values.len() < VALUES_MAX) {
        let mut reader = Reader { rest: &rest[at..] };
        match reader.value(0) {
            Some(value) => {
                values.push(value);
                rest = reader.rest;
            }
            None => rest = &rest[at + 1..],
        }
    }
    values
}

/// Reads one value and forgives.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip(&[]);
        match self.rest.chars().next()? {
            '{' | '[' if depth == DEPTH_MAX => None,
            '{' => Some(self.object(depth)),
            '[' => Some(self.array(depth)),
            '"' => Some(Value::String(self.string())),
            _ => literal(self.word()),
        }
    }

    /// Ends at its bracket, at one of something around it, or where the text ends.
    fn object(&mut self, depth: usize) -> Value {
        let mut fields = Map::new();
        self.rest = &self.rest[1..];
        loop {
            self.skip(&[',']);
            let key = match self.rest.chars().next() {
                Some('"') => self.string(),
                Some('}') => {
                    self.rest = &self.rest[1..];
                    break;
                }
                Some(']') | None => break,
                Some(_) => self.word().to_owned(),
            };
            self.skip(&[]);
            let Some(after) = self.rest.strip_prefix(':') else {
                break;
            };
            self.rest = after;
            let Some(value) = self.value(depth + 1) else { break };
            fields.insert(key, value);
        }
        Value::Object(fields)
    }

    fn array(&mut self, depth: usize) -> Value {
        let mut items = Vec::new();
        self.rest = &self.rest[1..];
        loop {
            self.skip(&[',']);
            match self.rest.chars().next() {
                Some(']') => {
                    self.rest = &self.rest[1..];
                    break;
                }
                Some('}') | None => break,
                Some(_) => match self.value(depth + 1) {
                    Some(item) => items.push(item),
                    None => break,
                },
            }
        }
        Value::Array(items)
    }

    /// Line breaks and tabs may stand in it as they are; one that is never closed ends with the text.
    fn string(&mut self) -> String {
        let (mut json, mut escaped) = (String::from("\""), false);
        let inside = &self.rest[1..];
        let mut end = None;
        for (at, c) in inside.char_indices() {
            match c {
                '"' if !escaped => {
                    end = Some(at);
                    break;
                }
                c if c < ' ' && !escaped => json.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => json.push(c),
            }
            escaped = c == '\\' && !escaped;
        }
        self.rest = end.map_or("", |at| &inside[at + 1..]);
        // The text may have ended within an escape.
        for cut in 0..=6 {
            let Some(json) = json.len().checked_sub(cut).and_then(|length| json.get(..length)) else {
                continue;
            };
            if let Ok(text) = serde_json::from_str(&format!("{json}\"")) {
                return text;
            }
        }
        json.split_off(1)
    }

    /// Up to what can't be part of a number, a literal or a bare key.
    fn word(&mut self) -> &'a str {
        let ends = |c: char| c.is_whitespace() || ",:{}[]\"".contains(c);
        let (word, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// Skips white space, comments and these.
    fn skip(&mut self, also: &[char]) {
        loop {
            self.rest = self
                .rest
                .trim_start_matches(|c: char| c.is_whitespace() || also.contains(&c));
            let end = match self.rest.get(..2) {
                Some("//") => self.rest.find('\n'),
                Some("/*") => self.rest.find("*/").map(|at| at + 2),
                _ => return,
            };
            self.rest = end.map_or("", |end| &self.rest[end..]);
        }
    }
}

fn literal(word: &str) -> Option<Value> {
    match word {
        "true" | "True" => Some(Value::Bool(true)),
        "false" | "False" => Some(Value::Bool(false)),
        "null" | "None" => Some(Value::Null),
        // A number that was cut ends with its last digit.
        word => {
            let digits = word
                .trim_end_matches(|c: char| !c.is_ascii_digit())
                .trim_start_matches('+');
            serde_json::from_str::<Number>(digits).ok().map(Value::Number)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_models_write_becomes_what_they_mean() {
        let plan = json!({"title": "Tea", "steps": ["boil", "pour"], "minutes": 4.5, "done": false});
        for text in [
            r#"{"title":"Tea","steps":["boil","pour"],"minutes":4.5,"done":false}"#,
            "```json\n{\"title\": \"Tea\", \"steps\": [\"boil\", \"pour\"], \"minutes\": 4.5, \"done\": false}\n```",
            "Sure! Here it is [as asked]:\n{\"title\": \"Tea\", \"steps\": [\"boil\", \"pour\",], \"minutes\": 4.5, \"done\": false,}\nAnything else?",
            "{title: \"Tea\", // a name\n \"steps\": [\"boil\" /* first */, \"pour\"], \"minutes\": 4.5, \"done\": False",
            "{\"title\": \"Tea\", \"steps\": [\"boil\", \"pour\", \"minutes\": 4.5",
        ] {
            let found = values(text);
            let meant = found.iter().any(|value| {
                *value == plan || (value["title"] == "Tea" && value["steps"][1] == "pour" && text.ends_with("4.5"))
            });
            assert!(meant, "{text}: {found:?}");
        }
    }

    #[test]
    fn what_was_cut_keeps_what_is_whole() {
        for (text, value) in [
            (r#"{"a": 1, "b": "two wor"#, json!({"a": 1, "b": "two wor"})),
            (r#"{"a": 1, "b": "x\u00"#, json!({"a": 1, "b": "x"})),
            (r#"{"a": [1, {"b": tru"#, json!({"a": [1, {}]})),
            (r#"{"a": 1, "b"#, json!({"a": 1})),
            (r#"{"a": 12."#, json!({"a": 12})),
            ("[1, 2", json!([1, 2])),
            ("{\"a\": \"line\nbreak\"", json!({"a": "line\nbreak"})),
        ] {
            assert_eq!(values(text), [value], "{text}");
        }
        assert!(values("no json at all").is_empty() && values("").is_empty());
        assert_eq!(values(r#" "a string" "#), [json!("a string")]);
    }

    #[test]
    fn nesting_has_a_bound() {
        let deep = "[".repeat(100_000);
        assert!(values(&deep).len() <= VALUES_MAX);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in r#"[\[\]{}",:\\ua0/*.\n\-ét ]{0,60}"#) {
            let _ = values(&text);
        }

        #[test]
        fn every_prefix_of_json_gives_what_it_has(number in any::<i32>(), text in ".{0,12}", cut in 1usize..60) {
            let whole = json!({"n": number, "list": [text, null, true], "o": {"k": text}});
            let json = whole.to_string();
            prop_assert_eq!(values(&json), vec![whole]);
            let cut = (1..=cut.min(json.len())).rev().find(|cut| json.is_char_boundary(*cut)).unwrap_or(1);
            let found = values(&json[..cut]);
            prop_assert!(matches!(found.as_slice(), [Value::Object(_)]), "{:?}", found);
        }
    }
}
