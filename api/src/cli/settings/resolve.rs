//! Which value counts: a flag's before a variable's, that before the file's, and that before the default. The one that counts is read; what
//! another says is not looked at.

use std::path::PathBuf;

use super::file::{Entry, File, nearest};
use super::{Given, Kind, LIMIT, Setting, Settings, all};
use crate::cli::failure::Failure;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Origin {
    /// Nobody said it.
    Default,
    /// A line of the file.
    File(PathBuf, usize),
    /// This variable.
    Variable(String),
    /// This flag.
    Flag(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A setting, what it is, and why.
pub(in crate::cli) struct Resolved {
    pub(in crate::cli) setting: &'static Setting,
    /// As it was said; nothing if it is not set.
    pub(in crate::cli) values: Vec<String>,
    pub(in crate::cli) origin: Origin,
}

/// All settings, read and as they were said. `variable` reads one of the environment.
pub(in crate::cli) fn resolve(
    given: &Given,
    file: Option<&File>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(Settings, Vec<Resolved>), Failure> {
    let limits = limits(given)?;
    let (mut settings, mut resolved, mut problems) = (Settings::default(), Vec::new(), Vec::new());
    for setting in all() {
        let flag = given.get(setting.key).map(<[String]>::to_vec);
        let limit = limits.iter().rev().find(|(key, _)| key == setting.key);
        let flag = flag.or(limit.map(|(_, value)| vec![value.clone()]));
        let line = file.and_then(|file| {
            let said = file.entries.iter().find(|entry| entry.key == setting.key)?;
            Some((file, said))
        });
        let (values, origin) = if let Some(values) = flag {
            (values, Origin::Flag(of_flag(setting)))
        } else if let Some(value) = variable(&setting.variable()) {
            (split(setting, &value), Origin::Variable(setting.variable()))
        } else if let Some((file, Entry { line, values, .. })) = line {
            (values.clone(), Origin::File(file.path.clone(), *line))
        } else {
            ((setting.default)().into_iter().collect(), Origin::Default)
        };
        for value in &values {
            if let Err(reason) = (setting.set)(&mut settings, value) {
                problems.push(refusal(setting, value, &origin, &reason));
            }
        }
        if origin != Origin::Default {
            settings.said.push((setting.key, origin.clone()));
        }
        resolved.push(Resolved {
            setting,
            values,
            origin,
        });
    }
    match problems.is_empty() {
        true => Ok((settings, resolved)),
        false => Err(Failure::Usage(problems.join("\n"))),
    }
}

/// What `--limit` says, by the keys of settings.
fn limits(given: &Given) -> Result<Vec<(String, String)>, Failure> {
    let said = given.get(LIMIT).unwrap_or_default().iter();
    let said = said.map(|said| {
        let (name, value) = said.split_once('=').ok_or_else(|| {
            Failure::Usage(format!(
                "--limit {said:?}: give a name and a value, such as body_bytes=2MiB"
            ))
        })?;
        let key = format!("limits.{name}");
        match super::named(&key) {
            Some(_) => Ok((key, value.to_owned())),
            None => {
                let known = nearest(&key, all().map(|setting| setting.key)).and_then(|key| key.strip_prefix("limits."));
                let meant = known.map_or(String::new(), |known| format!("; did you mean {known}?"));
                Err(Failure::Usage(format!(
                    "--limit {said:?}: there is no such limit{meant}"
                )))
            }
        }
    });
    said.collect()
}

fn of_flag(setting: &Setting) -> String {
    match setting.key.contains('.') {
        true => format!("--{LIMIT}"),
        false => setting.flag(),
    }
}

/// A variable has one text: the values of a list are separated by commas.
fn split(setting: &Setting, value: &str) -> Vec<String> {
    match setting.kind {
        Kind::List(_) => value.split(',').map(str::to_owned).collect(),
        _ => vec![value.to_owned()],
    }
}

fn refusal(setting: &Setting, value: &str, origin: &Origin, reason: &str) -> String {
    let (flag, variable, key) = (setting.flag(), setting.variable(), setting.key);
    format!("{origin}: {value:?} can't be `{key}`: {reason}; it is set with {flag}, {variable}, or `{key}` in the file")
}

#[cfg(test)]
mod tests {
    use super::super::For;
    use super::super::flags::{global, with};
    use super::*;

    fn given(arguments: &[&str]) -> Given {
        let command = global(with(clap::Command::new("flowstate"), For::Serving));
        let arguments = ["flowstate"].iter().chain(arguments);
        Given::of(&[&command.try_get_matches_from(arguments).expect("flags")])
    }

    fn file(entries: &[(&str, &str)]) -> File {
        let entry = |(index, (key, value)): (usize, &(&str, &str))| Entry {
            key: (*key).to_owned(),
            line: index + 1,
            values: vec![(*value).to_owned()],
        };
        File {
            path: PathBuf::from("f.toml"),
            entries: entries.iter().enumerate().map(entry).collect(),
        }
    }

    /// Each setting with a value of its kind that is not its default.
    fn other(setting: &Setting) -> &'static str {
        match setting.key {
            "store" => "memory",
            "model" => "scripted",
            "listen" => "127.0.0.1:9",
            "allow_host" => "example.org",
            "allow_origin" => "https://example.org",
            "jwt_algorithm" => "ES256",
            "jwt_operator_claim" => "role=operator",
            _ => match setting.kind {
                Kind::Switch => "true",
                Kind::Number | Kind::Text("BYTES") => "77",
                Kind::Text("TIME") => "77s",
                Kind::Text(_) | Kind::List(_) => "other",
            },
        }
    }

    #[test]
    fn every_setting_is_taken_from_flag_variable_and_file_in_this_order() {
        for setting in all() {
            let value = other(setting);
            let flag = match setting.key.strip_prefix("limits.") {
                Some(limit) => format!("--limit={limit}={value}"),
                None => format!("{}={value}", setting.flag()),
            };
            let (given, none) = (given(&[&flag]), Given::default());
            let file = file(&[(setting.key, value)]);
            let variable = |name: &str| (name == setting.variable()).then(|| value.to_owned());
            let nothing = |_: &str| None;
            let of = |given: &Given, file: Option<&File>, variable: &dyn Fn(&str) -> Option<String>| {
                let (settings, all) = resolve(given, file, variable).unwrap_or_else(|error| panic!("{error}"));
                let this = all.into_iter().find(|this| this.setting.key == setting.key);
                let this = this.expect("the setting");
                (format!("{settings:?}"), this.values, this.origin)
            };
            let (unset, _, origin) = of(&none, None, &nothing);
            assert_eq!(origin, Origin::Default);
            let by_flag = of(&given, Some(&file), &variable);
            let by_variable = of(&none, Some(&file), &variable);
            let by_file = of(&none, Some(&file), &nothing);
            assert_eq!(by_flag.2, Origin::Flag(of_flag(setting)), "{}", setting.key);
            assert_eq!(by_variable.2, Origin::Variable(setting.variable()), "{}", setting.key);
            assert_eq!(by_file.2, Origin::File(PathBuf::from("f.toml"), 1), "{}", setting.key);
            for (settings, values, _) in [by_flag, by_variable, by_file] {
                assert_eq!(values, [value], "{}", setting.key);
                assert_ne!(settings, unset, "{} changes nothing", setting.key);
            }
        }
    }

    #[test]
    fn a_wrong_value_is_refused_naming_where_it_was_said_and_where_it_can_be() {
        for (key, value) in [
            ("data_dir", ""),
            ("store", "postgres"),
            ("listen", "4400"),
            ("listen", "127.0.0.1:65536"),
            ("model", "gtp-5"),
            ("model", "preset/fast"),
            ("allow_host", "a,http://b"),
            ("allow_origin", "example.org"),
            ("api_keys", ""),
            ("jwt_algorithm", "none"),
            ("limits.body_time", "15"),
            ("resume", "maybe"),
            ("scripted_tokens_per_second", "-1"),
        ] {
            let setting = super::super::named(key).expect("a setting");
            let variable = |name: &str| (name == setting.variable()).then(|| value.to_owned());
            let Err(error) = resolve(&Given::default(), None, variable) else {
                panic!("{key}: {value:?} is taken");
            };
            let error = error.to_string();
            assert!(error.starts_with(&setting.variable()), "{error}");
            assert!(error.contains(&setting.flag()) && error.contains(key), "{error}");
        }
        let said = resolve(&given(&["--limit", "body_byte=1"]), None, |_| None).map(|_| ());
        let said = said.expect_err("no such limit").to_string();
        assert!(said.contains("did you mean body_bytes?"), "{said}");
    }
}
