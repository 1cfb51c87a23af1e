//! The file of settings, in TOML: which keys it has, in which lines, and what it says. What is not a setting is refused.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Kind, all, named};
use crate::cli::failure::Failure;

/// The file that counts if none is named.
pub(in crate::cli) const NAME: &str = "flowstate.toml";

/// What a file says.
#[derive(Debug, Default)]
pub(in crate::cli) struct File {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<Entry>,
}

/// One key.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) values: Vec<String>,
}

impl File {
    /// The file of this name, or the one in the present folder if there is one.
    pub(in crate::cli) fn read(named: Option<&Path>) -> Result<Option<Self>, Failure> {
        let path = match named {
            Some(path) => path,
            None if Path::new(NAME).exists() => Path::new(NAME),
            None => return Ok(None),
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::Usage(format!(
                "the file of settings {} can't be read: {error}",
                path.display()
            ))
        })?;
        Self::parse(path, &text).map(Some).map_err(Failure::Usage)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let shown = path.display();
        let line = |span: Range<usize>| 1 + text[..span.start.min(text.len())].matches('\n').count();
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, line);
            format!("{shown}:{line}: this is no TOML: {}", error.message())
        })?;
        let mut entries = Vec::new();
        let mut problems = Vec::new();
        let mut take = |prefix: &str, table: &DeTable<'_>| {
            for (name, value) in table {
                let (at, key) = (line(name.span()), format!("{prefix}{}", name.get_ref()));
                match (prefix, value.get_ref()) {
                    ("", DeValue::Table(_)) if key == "limits" => {}
                    (_, value) => match entry(&key, value) {
                        Ok(values) => entries.push(Entry { key, line: at, values }),
                        Err(problem) => problems.push((at, problem)),
                    },
                }
            }
        };
        take("", table.get_ref());
        if let Some(DeValue::Table(limits)) = table.get_ref().get("limits").map(|value| value.get_ref()) {
            take("limits.", limits);
        }
        problems.sort();
        entries.sort_by_key(|entry| entry.line);
        match problems.is_empty() {
            true => Ok(Self {
                path: path.to_owned(),
                entries,
            }),
            false => {
                let lines = problems
                    .iter()
                    .map(|(line, problem)| format!("{shown}:{line}: {problem}"));
                Err(lines.collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

fn entry(key: &str, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let setting = named(key).ok_or_else(|| unknown(key))?;
    let text = |value: &DeValue<'_>| value.as_str().map(str::to_owned);
    let read = match setting.kind {
        Kind::Switch => value.as_bool().map(|value| vec![value.to_string()]),
        Kind::Number => number(value).map(|value| vec![value]),
        // Sizes are numbers as well.
        Kind::Text("BYTES") => text(value).or_else(|| number(value)).map(|value| vec![value]),
        Kind::Text(_) => text(value).map(|value| vec![value]),
        Kind::List(_) => match value {
            DeValue::Array(values) => values.iter().map(|value| text(value.get_ref())).collect(),
            one => text(one).map(|value| vec![value]),
        },
    };
    read.ok_or_else(|| {
        let wanted = match setting.kind {
            Kind::Switch => "true or false",
            Kind::Number => "a whole number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "an array of texts",
        };
        format!("`{key}` has to be {wanted}")
    })
}

fn number(value: &DeValue<'_>) -> Option<String> {
    let number = value.as_integer().filter(|number| number.radix() == 10)?;
    Some(number.as_str().replace('_', ""))
}

fn unknown(key: &str) -> String {
    match nearest(key, all().map(|setting| setting.key)) {
        Some(known) => format!("there is no setting `{key}`; did you mean `{known}`?"),
        None => format!("there is no setting `{key}`; `flowstate config show` lists them all"),
    }
}

/// The name that was probably meant.
pub(super) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|name| (strsim::jaro_winkler(key, name), name));
    let best = near.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness > 0.8).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(String, usize, Vec<String>)>, String> {
        let file = File::parse(Path::new("f.toml"), text)?;
        let entries = file.entries.into_iter();
        Ok(entries.map(|entry| (entry.key, entry.line, entry.values)).collect())
    }

    #[test]
    fn keys_are_read_with_their_lines() {
        let text = "# a comment\nlisten = \"127.0.0.1:1\"\nallow_host = [\"a\", \"b\"]\nresume = true\n\n\
                    [limits]\nbody_bytes = 1_000\nbody_time = \"1s\"\ncalls = 7\n";
        let entry = |key: &str, line, values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            (key.to_owned(), line, values)
        };
        let expected = [
            entry("listen", 2, &["127.0.0.1:1"]),
            entry("allow_host", 3, &["a", "b"]),
            entry("resume", 4, &["true"]),
            entry("limits.body_bytes", 7, &["1000"]),
            entry("limits.body_time", 8, &["1s"]),
            entry("limits.calls", 9, &["7"]),
        ];
        assert_eq!(parse(text).as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_line_and_what_was_meant() {
        let said =
            parse("listn = \"x\"\nresume = \"yes\"\nzzz = 1\n[limits]\nbody_byte = 1\ncalls = 1.5\n").unwrap_err();
        let expected = "f.toml:1: there is no setting `listn`; did you mean `listen`?\n\
                        f.toml:2: `resume` has to be true or false\n\
                        f.toml:3: there is no setting `zzz`; `flowstate config show` lists them all\n\
                        f.toml:5: there is no setting `limits.body_byte`; did you mean `limits.body_bytes`?\n\
                        f.toml:6: `limits.calls` has to be a whole number";
        assert_eq!(said, expected);
        let said = parse("listen = 1\n\nlisten = ").unwrap_err();
        assert!(said.starts_with("f.toml:3: this is no TOML: "), "{said}");
        assert!(parse("[server]\nlisten = \"a:1\"\n").is_err());
    }
}
