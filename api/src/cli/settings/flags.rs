//! The settings as flags of commands.

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{For, Kind, Setting, all};

/// The flag for all limits: `--limit NAME=VALUE`.
pub(in crate::cli) const LIMIT: &str = "limit";

/// The command with the flags that mean something to it. The folder's is everywhere.
pub(in crate::cli) fn with(mut command: Command, who: For) -> Command {
    for setting in all().filter(|setting| setting.who <= who && setting.who != For::All) {
        if !setting.key.contains('.') {
            command = command.arg(flag(setting));
        }
    }
    if who == For::Serving {
        let limit = Arg::new(LIMIT)
            .long(LIMIT)
            .value_name("NAME=VALUE")
            .action(ArgAction::Append)
            .help("How much the server takes on, such as body_bytes=2MiB; `flowstate config show` lists all limits. Repeatable");
        command = command.arg(limit);
    }
    command
}

/// The flag of a setting.
pub(super) fn flag(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.key)
        .long(setting.key.replace('_', "-"))
        .value_parser(ValueParser::string())
        .help(help(setting));
    match setting.kind {
        Kind::Text(name) => arg.value_name(name),
        Kind::Number => arg.value_name("NUMBER").allow_hyphen_values(true),
        Kind::List(name) => arg.value_name(name).action(ArgAction::Append).value_delimiter(','),
        Kind::Switch => arg
            .value_name("true|false")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
    }
}

/// The flag of the folder, for every command.
pub(in crate::cli) fn global(command: Command) -> Command {
    all()
        .filter(|setting| setting.who == For::All)
        .fold(command, |command, setting| command.arg(flag(setting).global(true)))
}

fn help(setting: &Setting) -> String {
    let many = match setting.kind {
        Kind::List(_) => ". Repeatable, or separated by commas",
        _ => "",
    };
    let variable = setting.variable();
    match (setting.default)() {
        Some(default) if setting.kind != Kind::Switch => {
            format!("{}{many} [env: {variable}] [default: {default}]", setting.help)
        }
        _ => format!("{}{many} [env: {variable}]", setting.help),
    }
}

/// What the command line says of settings, before or behind the name of the command.
#[derive(Debug, Default)]
pub(in crate::cli) struct Given(Vec<(String, Vec<String>)>);

impl Given {
    /// From the matches of the whole command line, outermost first: what is said further in counts.
    pub(in crate::cli) fn of(levels: &[&ArgMatches]) -> Self {
        let keys = all().map(|setting| setting.key).chain([LIMIT]);
        let said = keys.filter_map(|key| {
            let values = levels.iter().rev().find_map(|matches| said(matches, key))?;
            Some((key.to_owned(), values))
        });
        Self(said.collect())
    }

    pub(super) fn get(&self, key: &str) -> Option<&[String]> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, values)| values.as_slice())
    }

    /// The first flag that is not for commands of this kind, such as `--listen`.
    pub(in crate::cli) fn beyond(&self, who: For) -> Option<String> {
        let beyond = |key: &str| super::named(key).map_or(For::Serving, |setting| setting.who) > who;
        let found = self.0.iter().find(|(key, _)| beyond(key));
        found.map(|(key, _)| format!("--{}", key.replace('_', "-")))
    }
}

/// The values of a flag that is on the command line.
fn said(matches: &ArgMatches, key: &str) -> Option<Vec<String>> {
    // Commands that do not have it know nothing of it.
    let values = matches.try_get_many::<String>(key).ok().flatten()?;
    (matches.value_source(key) == Some(ValueSource::CommandLine)).then(|| values.cloned().collect())
}
