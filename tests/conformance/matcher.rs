//! Matchers as they are written: what is selected of the results, and one thing that must hold of it.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

/// One thing that must hold.
#[derive(Debug, Clone)]
pub(crate) enum Matcher {
    Of(Box<Selection>, Op),
    /// All of one of these.
    Either(Vec<Vec<Matcher>>),
}

/// What is looked at.
///
/// `of` names results; `in` is an array in each, whose elements are meant (without it the result itself); `where` is what an element must
/// have at least; `after` leaves out frames up to that number; `at` is a place in each element. Places are JSON pointers in which `*` is every element.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    pub(crate) of: Names,
    #[serde(rename = "in")]
    pub(crate) within: Option<String>,
    #[serde(rename = "where")]
    pub(crate) pattern: Option<Value>,
    pub(crate) after: Option<Value>,
    #[serde(default)]
    pub(crate) at: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Names {
    One(String),
    Several(Vec<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Names {
    pub(crate) fn list(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

/// What must hold. Of values, it must hold of each that is selected, and something must be selected.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Op {
    Equals(Value),
    Differs(Value),
    OneOf(Vec<Value>),
    Type(Type),
    /// A regular expression.
    Matches(String),
    /// A text with this in it.
    Contains(String),
    /// A text without this in it.
    Without(String),
    /// An object with at least this.
    Superset(Value),
    /// An array with an element that has at least this.
    Has(Value),
    /// An array without one.
    Lacks(Value),
    /// There is no such place in any of the elements, of which there is one at least.
    Absent(True),
    /// Of a text, an array or an object.
    Length(Size),
    AtLeast(Value),
    AtMost(Value),
    /// A text that is made of others in the element: `{/data/requestId}:{/data/sequence_number}`.
    Template(String),
    /// So many values.
    Count(Size),
    /// No two values are equal.
    Distinct(True),
    /// Each number is greater than the one before.
    Increasing(True),
    /// No number is less than the one before.
    Rising(True),
    /// The texts, one after the other, are this.
    Joined(String),
    /// The texts are these; `+`, `*` or `?` behind one says how often, and `...` is anything.
    Order(Vec<String>),
    /// The values are those of another selection.
    SameAs(Box<Selection>),
}

/// `true`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct True;

impl<'de> Deserialize<'de> for True {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match bool::deserialize(from)? {
            true => Ok(Self),
            false => Err(D::Error::custom("only true can be said here")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Type {
    String,
    Integer,
    Number,
    Boolean,
    Array,
    Object,
    Null,
}

/// Exactly so many, or between these.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
pub(crate) enum Size {
    Exactly(usize),
    Between(Bounds),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bounds {
    min: Option<usize>,
    max: Option<usize>,
}

impl Size {
    pub(crate) fn holds(self, size: usize) -> bool {
        match self {
            Self::Exactly(exact) => size == exact,
            Self::Between(Bounds { min, max }) => {
                min.is_none_or(|min| size >= min) && max.is_none_or(|max| size <= max)
            }
        }
    }
}

const SELECTION: [&str; 5] = ["of", "in", "where", "after", "at"];

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let fields = Map::deserialize(from)?;
        matcher(fields).map_err(D::Error::custom)
    }
}

fn matcher(mut fields: Map<String, Value>) -> Result<Matcher, String> {
    if let Some(either) = fields.remove("either") {
        let sides: Vec<Vec<Matcher>> = serde_json::from_value(either).map_err(|error| error.to_string())?;
        return match fields.is_empty() && sides.len() > 1 && sides.iter().all(|side| !side.is_empty()) {
            true => Ok(Matcher::Either(sides)),
            false => Err("either has two sides or more, none of them empty, and nothing beside it".into()),
        };
    }
    short_forms(&mut fields);
    let mut selection = Map::new();
    for name in SELECTION {
        selection.extend(fields.remove_entry(name));
    }
    let unread = Value::Object(fields.clone());
    if fields.len() != 1 {
        return Err(format!("a matcher says one thing: {unread}"));
    }
    let selection: Selection =
        serde_json::from_value(selection.into()).map_err(|error| format!("{error}: {unread}"))?;
    if selection.of.list().is_empty() {
        return Err(format!("a matcher is of a result: {unread}"));
    }
    let op: Op = serde_json::from_value(unread.clone()).map_err(|error| format!("{error}: {unread}"))?;
    if let Op::Matches(pattern) = &op {
        regex::Regex::new(pattern).map_err(|error| error.to_string())?;
    }
    Ok(Matcher::Of(Box::new(selection), op))
}

/// `status` is the answer's; `header` and `json` are places in its head and body; `events` are the names of a stream's frames.
fn short_forms(fields: &mut Map<String, Value>) {
    if let Some(status) = fields.remove("status") {
        fields.insert("at".into(), "/status".into());
        fields.insert("equals".into(), status);
    }
    if let Some(Value::String(name)) = fields.remove("header") {
        fields.insert("at".into(), format!("/headers/{name}").into());
    }
    if let Some(Value::String(place)) = fields.remove("json") {
        fields.insert("at".into(), format!("/body{place}").into());
    }
    if let Some(events) = fields.remove("events") {
        fields.insert("in".into(), json!("/frames"));
        fields.insert("at".into(), json!("/event"));
        fields.insert("order".into(), events);
    }
}
