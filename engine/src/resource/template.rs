//! Fills a text from a state: `{{ field }}`, `{% for .. %}`, `{% if .. %}`, in the notation of Jinja.
//!
//! ```text
//! # {{ title|upper }}
//! {% for step in steps %}
//! {{ loop.index }}. {{ step.name }}{% if step.done %} (done){% endif %}
//!
//! {% else %}
//! Nothing to do.
//! {% endfor %}
//! ```
//!
//! The fields of the state are the variables. One that is not there is an error that names it, unless it is asked for by `is defined` or `|default(..)`;
//! one that is `null` is no text; lists and objects are shown as JSON. A tag on a line of its own leaves no line, and the last newline stays.
//!
//! A template shows what is there and computes nothing, so that what it takes in memory and time follows from the state and the source, whoever wrote it: no
//! arithmetic, no variables of its own, no macros, no other templates, no functions but `{{ loop(..) }}` in a recursive loop. Lists in it have constants only.
//! The filters are `default`, `first`, `items`, `join`, `last`, `length`, `lower`, `trim` and `upper`, the tests `defined`, `none` and `undefined`.
//! `template/check` holds it to that before it runs; the bounds are the constants below. The same source and state give the same text.

mod check;
mod error;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, filters, tests as on};
use serde::Serialize;

pub use error::{TemplateError, TemplateProblem};

/// Longest source, in bytes.
const SOURCE_LEN_MAX: usize = 512 * 1024;
/// Longest text that is made of one, in bytes; filters may make as much on the way.
const OUTPUT_LEN_MAX: usize = 4 * 1024 * 1024;
/// Most instructions of one run: showing a value takes two or three, a round of a loop three more.
const FUEL: u64 = 200_000;
/// How deep loops may be in loops, those that a recursive one makes included.
const DEPTH_MAX: usize = 100;

/// Fills `source` with the fields of `state`.
///
/// Nothing here waits, but the worst of templates keep a processor busy for a while: call it where that is no harm.
pub fn render(source: &str, state: &impl Serialize) -> Result<String, TemplateError> {
    if source.len() > SOURCE_LEN_MAX {
        return Err(TemplateProblem::TooLong(source.len()).somewhere());
    }
    check::check(source, syntax())?;
    let state = serde_json::to_value(state).map_err(|error| TemplateProblem::State(error.to_string()).somewhere())?;
    let environment = environment();
    let template = environment.template_from_str(source).map_err(TemplateError::syntax)?;
    let mut output = Bounded(Vec::new());
    let ran = template
        .render_captured_to(Value::from(Serde(state)), &mut output)
        .map(drop);
    match ran {
        Ok(()) => String::from_utf8(output.0).map_err(|error| TemplateProblem::Failed(error.to_string()).somewhere()),
        Err(error) => Err(TemplateError::running(&error)),
    }
}

fn syntax() -> SyntaxConfig {
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    syntax.build().unwrap_or_default()
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_syntax(syntax());
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEPTH_MAX);
    environment.set_debug(true);
    environment.set_formatter(|out, _, value| Ok(out.write_str(&text(value)?)?));

    let made = Made::default();
    let (join, upper, lower, trim) = (made.clone(), made.clone(), made.clone(), made);
    environment.add_filter("join", move |list: Value, between: Option<String>| {
        join.joined(&list, &between.unwrap_or_default())
    });
    environment.add_filter("upper", move |value: &Value| upper.count(words(value)?.to_uppercase()));
    environment.add_filter("lower", move |value: &Value| lower.count(words(value)?.to_lowercase()));
    environment.add_filter("trim", move |value: &Value| trim.count(words(value)?.trim().to_owned()));
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("items", filters::items);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_test("defined", on::is_defined);
    environment.add_test("none", on::is_none);
    environment.add_test("undefined", on::is_undefined);
    environment
}

/// A value as it is shown: text as it is, nothing for `null`, lists and objects as JSON.
fn text(value: &Value) -> Result<Cow<'_, str>, Error> {
    Ok(match value.kind() {
        ValueKind::None | ValueKind::Undefined => Cow::Borrowed(""),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => match serde_json::to_string(value) {
            Ok(json) => Cow::Owned(json),
            Err(error) => return Err(Error::new(ErrorKind::BadSerialization, error.to_string())),
        },
        ValueKind::Bool if value.is_true() => Cow::Borrowed("true"),
        ValueKind::Bool => Cow::Borrowed("false"),
        _ => match value.as_str() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(value.to_string()),
        },
    })
}

/// A value that is text.
fn words(value: &Value) -> Result<&str, Error> {
    if value.is_undefined() {
        // Gives the error that names it.
        value.get_attr("")?;
    }
    let wrong = || {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("this filter takes text, and was given a {}", value.kind()),
        )
    };
    value.as_str().ok_or_else(wrong)
}

/// How much text filters have made.
#[derive(Clone, Default)]
struct Made(Arc<AtomicUsize>);

impl Made {
    fn count(&self, text: String) -> Result<String, Error> {
        self.more(text.len())?;
        Ok(text)
    }

    fn more(&self, len: usize) -> Result<(), Error> {
        match self.0.fetch_add(len, Ordering::Relaxed) + len {
            0..=OUTPUT_LEN_MAX => Ok(()),
            _ => Err(Error::new(ErrorKind::WriteFailure, "too much text")),
        }
    }

    fn joined(&self, list: &Value, between: &str) -> Result<String, Error> {
        let mut joined = String::new();
        for (at, item) in list.try_iter()?.enumerate() {
            let item = text(&item)?;
            let between = if at == 0 { "" } else { between };
            self.more(between.len() + item.len())?;
            joined.push_str(between);
            joined.push_str(&item);
        }
        Ok(joined)
    }
}

/// What is rendered so far.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_LEN_MAX {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
