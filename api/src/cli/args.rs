//! The words of the command line.

use std::ffi::OsString;
use std::io::{Write, stderr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use serde_json::json;

use super::settings::{For, global, with};
use super::{completions, config, keys, log, run, sessions, tail};

/// Serves AI flows whose every token is durable before it is shown.
#[derive(Debug, Parser)]
#[command(name = "flowstate", version)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// File of settings, in TOML; without it, flowstate.toml in the present folder if there is one.
    #[arg(long, global = true, value_name = "FILE", env = "FLOWSTATE_CONFIG")]
    pub(super) config: Option<PathBuf>,

    /// Answer in JSON: one value on a line; errors, too.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serves the flows over HTTP until it is told to stop. The same as no command.
    Serve,
    /// Runs an action once and shows what it says.
    Run(Box<run::RunArgs>),
    /// Lists sessions, shows one, or deletes one.
    Sessions(sessions::SessionsArgs),
    /// Shows the events of a session or of a request.
    Tail(tail::TailArgs),
    /// Shows or checks the settings, and where each was said.
    Config(config::ConfigArgs),
    /// Makes, lists and removes API keys.
    Keys(keys::KeysArgs),
    /// Looks at, checks, copies and changes what a folder holds.
    Log(log::LogArgs),
    /// Prints a script that completes the command's words in a shell.
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// The settings that mean something to it.
    pub(super) fn who(&self) -> For {
        match self {
            Self::Serve | Self::Config(_) => For::Serving,
            Self::Run(_) => For::Running,
            Self::Sessions(_) | Self::Tail(_) => For::Opening,
            Self::Log(_) | Self::Keys(_) | Self::Completions(_) => For::All,
        }
    }

    pub(super) fn reads_settings(&self) -> bool {
        !matches!(self, Self::Completions(_))
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Run(_) => "run",
            Self::Sessions(_) => "sessions",
            Self::Tail(_) => "tail",
            Self::Config(_) => "config",
            Self::Keys(_) => "keys",
            Self::Log(_) => "log",
            Self::Completions(_) => "completions",
        }
    }
}

/// All of it, with the flags of settings.
pub(super) fn command() -> clap::Command {
    let command = with(global(Args::command()), For::Serving);
    let inner = |command: clap::Command, names: &[&'static str], who| {
        let add = |command: clap::Command, name: &&'static str| command.mut_subcommand(*name, |inner| with(inner, who));
        names.iter().fold(command, add)
    };
    let command = inner(command, &["serve"], For::Serving)
        .mut_subcommand("config", |command| inner(command, &["show", "check"], For::Serving));
    let command = inner(command, &["run"], For::Running);
    inner(command, &["sessions", "tail"], For::Opening)
}

/// What is said of arguments that mean nothing; or the help, or the version, that they ask for.
pub(super) fn refused(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let is_json = arguments
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| word == "--json");
    if is_json && !is_answer {
        let said = error.to_string();
        let said = said.trim().strip_prefix("error: ").unwrap_or(said.trim());
        let _ = writeln!(stderr(), "{}", json!({ "error": said }));
    } else {
        let _ = error.print();
    }
    match is_answer {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        command().debug_assert();
    }
}
