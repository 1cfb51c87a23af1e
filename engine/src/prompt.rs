//! Text for prompts: headings, lists, facts, code.
//!
//! All of them leave out what is empty, so that what may be missing needs no `if`: an item of text is a `String`, a `&str`, or an `Option` of one,
//! and counts as empty if it is `None` or has no characters. Nothing ends with a newline, and nothing is escaped.
//!
//! ```
//! use flowstate_engine::prompt::{join, list, section, when};
//!
//! let open = ["oil the hinges", ""];
//! let text = join([
//!     section("Tasks", [list(open)]),
//!     when(open.len() > 5, "Be quick."),
//!     "Do the first one.".to_owned(),
//! ]);
//! assert_eq!(text, "## Tasks\n- oil the hinges\n\nDo the first one.");
//! ```
//!
//! Parts of a prompt are set apart by a blank line ([`join`]), lines in a part are not. A [`section`] without content is its heading, which
//! [`when`] leaves out.

#[cfg(test)]
mod tests;
mod text;

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use text::Pairs;
pub use text::{Content, Text};

/// `## ` and the title, then each piece of content on a line of its own.
///
/// ```
/// # use flowstate_engine::prompt::section;
/// assert_eq!(section("Fleet", ["3 boats", "", "1 ferry"]), "## Fleet\n3 boats\n1 ferry");
/// assert_eq!(section("Fleet", None::<&str>), "## Fleet");
/// ```
pub fn section(title: impl AsRef<str>, content: impl IntoIterator<Item = impl Text>) -> String {
    let mut section = format!("## {}", title.as_ref());
    for content in content {
        if let Some(content) = full(&content) {
            section.push('\n');
            section.push_str(content);
        }
    }
    section
}

/// What stands before the items of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListStyle<'a> {
    /// This, and a space.
    Prefix(&'a str),
    /// `1. `, `2. ` and so on. What is left out is not counted.
    Ordered,
}

impl Default for ListStyle<'_> {
    fn default() -> Self {
        Self::Prefix("-")
    }
}

/// One item a line, each behind `- `. No items are no text.
///
/// ```
/// # use flowstate_engine::prompt::list;
/// assert_eq!(list(["oak", "", "fir"]), "- oak\n- fir");
/// ```
pub fn list(items: impl IntoIterator<Item = impl Text>) -> String {
    list_with(items, ListStyle::default())
}

/// A [`list`] in another style.
///
/// ```
/// # use flowstate_engine::prompt::{ListStyle, list_with};
/// assert_eq!(list_with(["oak", "", "fir"], ListStyle::Ordered), "1. oak\n2. fir");
/// assert_eq!(list_with(["oak", "fir"], ListStyle::Prefix("*")), "* oak\n* fir");
/// ```
pub fn list_with(items: impl IntoIterator<Item = impl Text>, style: ListStyle<'_>) -> String {
    let mut number = 0;
    lines(items, "\n", |list| {
        number += 1;
        // Writing to a string does not fail.
        let _ = match style {
            ListStyle::Prefix(prefix) => write!(list, "{prefix} "),
            ListStyle::Ordered => write!(list, "{number}. "),
        };
    })
}

/// One `key: value` a line, in the order of the data: a struct, a map, a JSON object, or pairs. What is `None` or `null` is left out; `false`,
/// 0 and empty text are not. Text is written as it is, any other value as its JSON. Data that has no keys is its value.
///
/// ```
/// # use flowstate_engine::prompt::key_values;
/// # use serde_json::json;
/// assert_eq!(key_values(json!({"port": 80, "tls": false, "note": null})), "port: 80\ntls: false");
/// assert_eq!(key_values((("port", 80), ("host", "here"))), "port: 80\nhost: here");
///
/// #[derive(serde::Serialize)]
/// struct Server { port: u16, host: Option<String> }
/// assert_eq!(key_values(Server { port: 80, host: None }), "port: 80");
/// ```
///
/// # Panics
///
/// If the data can't be JSON: a map whose keys are neither text nor numbers.
pub fn key_values(data: impl Serialize) -> String {
    let json = serde_json::to_string(&data).unwrap_or_else(|error| panic!("what has no JSON has no keys: {error}"));
    let Ok(Pairs(pairs)) = serde_json::from_str(&json) else {
        return match serde_json::from_str(&json) {
            Ok(value) => shown(&value).unwrap_or_default(),
            Err(_) => json,
        };
    };
    let line = |(key, value): &(String, Value)| shown(value).map(|value| format!("{key}: {value}"));
    lines(pairs.iter().map(line), "\n", |_| ())
}

/// One line for each entry, made by `format` of its key and its value. Empty lines are left out.
///
/// ```
/// # use flowstate_engine::prompt::entries;
/// # use std::collections::BTreeMap;
/// let counts = BTreeMap::from([("a", 1), ("b", 0)]);
/// assert_eq!(entries(&counts, |key, n| format!("{key}={n}")), "a=1\nb=0");
/// assert_eq!(entries(&counts, |key, n| (*n > 0).then(|| format!("{key}={n}"))), "a=1");
/// ```
pub fn entries<K, V, T: Text>(record: impl IntoIterator<Item = (K, V)>, mut format: impl FnMut(K, V) -> T) -> String {
    let made = record.into_iter().map(|(key, value)| format(key, value));
    lines(made, "\n", |_| ())
}

/// The code between fences. It is not escaped: a fence in it ends the block.
///
/// ```
/// # use flowstate_engine::prompt::code_block;
/// assert_eq!(code_block("select 1", "sql"), "```sql\nselect 1\n```");
/// assert_eq!(code_block("select 1", None), "```\nselect 1\n```");
/// ```
pub fn code_block<'a>(code: impl AsRef<str>, language: impl Into<Option<&'a str>>) -> String {
    let (code, language) = (code.as_ref(), language.into().unwrap_or_default());
    format!("```{language}\n{code}\n```")
}

/// The parts with a blank line between them.
///
/// ```
/// # use flowstate_engine::prompt::join;
/// assert_eq!(join(["A", "", "B"]), "A\n\nB");
/// ```
pub fn join(parts: impl IntoIterator<Item = impl Text>) -> String {
    lines(parts, "\n\n", |_| ())
}

/// The content if the condition holds, else no text. Content that takes work may be a function, which is then not called.
///
/// ```
/// # use flowstate_engine::prompt::{section, when};
/// let boats: [&str; 0] = [];
/// assert_eq!(when(!boats.is_empty(), || section("Fleet", boats)), "");
/// assert_eq!(when(true, "x"), "x");
/// ```
pub fn when<M>(condition: bool, content: impl Content<M>) -> String {
    match condition {
        true => content.content(),
        false => String::new(),
    }
}

fn full(text: &impl Text) -> Option<&str> {
    text.as_text().filter(|text| !text.is_empty())
}

/// The texts that are not empty, each behind what `before` writes.
fn lines(texts: impl IntoIterator<Item = impl Text>, between: &str, mut before: impl FnMut(&mut String)) -> String {
    let mut lines = String::new();
    for text in texts {
        if let Some(text) = full(&text) {
            if !lines.is_empty() {
                lines.push_str(between);
            }
            before(&mut lines);
            lines.push_str(text);
        }
    }
    lines
}

/// A value as a reader wants it; `None` if it is none.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    }
}
