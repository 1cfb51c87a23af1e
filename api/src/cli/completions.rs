//! `flowstate completions <shell>`: what a shell completes words with.

use clap_complete::Shell;

use super::args;
use super::failure::Failure;
use super::terminal;

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut command = args::command();
    let name = own_name().unwrap_or_else(|| command.get_name().to_owned());
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    terminal::print(&script)
}

/// What the program is called: an application has another name.
fn own_name() -> Option<String> {
    let path = std::env::args_os().next()?;
    Some(std::path::Path::new(&path).file_name()?.to_str()?.to_owned())
}
