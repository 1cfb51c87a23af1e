//! The command `flowstate`: its flags and how the process starts. What it does then is in `cli/serve`, or in `cli/log` for tools on a folder;
//! the flow that it brings along in `cli/hello_chat`.

mod hello_chat;
mod log;
mod serve;

pub use hello_chat::hello_chat;

use std::ffi::OsString;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use flowstate_engine::model::{ModelRef, ScriptedModel};
use tracing_subscriber::EnvFilter;

use crate::server::guard::{Host, Origin};

/// Serves AI flows whose every token is durable before it is shown.
#[derive(Debug, Parser)]
#[command(name = "flowstate", version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Folder that everything is kept in; a server makes it if there is none.
    #[arg(long, global = true, value_name = "FOLDER", env = "FLOWSTATE_DATA_DIR", default_value = "./flowstate-data", value_parser = folder)]
    data_dir: PathBuf,

    /// What keeps the records in that folder: the log's own segments, or a fjall tree, to compare.
    #[arg(long, value_name = "STORE", env = "FLOWSTATE_STORE", default_value = "lsm", value_parser = store)]
    store: StoreKind,

    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", env = "FLOWSTATE_LISTEN", default_value = "127.0.0.1:4400", value_parser = listen)]
    listen: String,

    /// Host name that clients reach the server under, with or without port. Loopback names always work. Repeatable, or separated by commas.
    #[arg(long, value_name = "HOST", env = "FLOWSTATE_ALLOW_HOST", value_delimiter = ',', value_parser = host)]
    allow_host: Vec<String>,

    /// Origin of another site whose pages may call the server. Repeatable, or separated by commas.
    #[arg(long, value_name = "ORIGIN", env = "FLOWSTATE_ALLOW_ORIGIN", value_delimiter = ',', value_parser = origin)]
    allow_origin: Vec<String>,

    /// File of API keys: calls need one of them then. Its owner alone may read it.
    #[arg(long, value_name = "FILE", env = "FLOWSTATE_API_KEYS")]
    api_keys: Option<PathBuf>,

    /// Serve an address that other machines can reach although nobody is asked for a credential.
    #[arg(long, env = "FLOWSTATE_ALLOW_UNAUTHENTICATED_PUBLIC")]
    allow_unauthenticated_public: bool,

    /// Model that answers where flows name none, such as openai/gpt-5-mini; without it, the built-in scripted model. Keys are read from the
    /// variables of the providers, such as OPENAI_API_KEY.
    #[arg(long, value_name = "MODEL", env = "FLOWSTATE_MODEL", value_parser = model)]
    model: Option<String>,

    /// Go on with the requests that were open when the server last stopped, instead of closing them as interrupted. No answer of a model and
    /// no result of a tool that is recorded is asked for again.
    #[arg(long, env = "FLOWSTATE_RESUME")]
    resume: bool,

    /// Speed of the built-in scripted model; 0 is without pause.
    #[arg(long, value_name = "NUMBER", env = "FLOWSTATE_SCRIPTED_TOKENS_PER_SECOND", default_value = "50", value_parser = tokens_per_second)]
    scripted_tokens_per_second: u32,
}

/// A kind of store.
#[derive(Debug, Clone, Copy)]
enum StoreKind {
    /// The log: segments and sorted runs of its own.
    Lsm,
    /// The control, to compare: records in a fjall tree.
    Fjall,
}

/// What to do instead of serving.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Looks at, checks, copies and changes what a folder holds.
    Log(log::LogArgs),
}

/// Runs the command with the arguments and variables of this process, until it is told to stop.
pub fn main() -> ExitCode {
    let matches = Args::command().get_matches();
    let args = match Args::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    if let Err(message) = diagnostics(std::env::var_os("RUST_LOG")) {
        return fail(&message);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the runtime could not be started: {error}")),
    };
    if let Some(Command::Log(command)) = args.command {
        if let Some(flag) = server_flag(&matches) {
            Args::command()
                .error(
                    ErrorKind::ArgumentConflict,
                    format!("--{flag} is for the server: `flowstate log` does not serve"),
                )
                .exit();
        }
        let exit = runtime.block_on(log::run(&args.data_dir, command));
        runtime.shutdown_background();
        return exit;
    }
    let exit = runtime.block_on(serve::run(args));
    // A read that hangs in the disk must not hold up the end of the process.
    runtime.shutdown_background();
    exit.unwrap_or_else(|error| fail(&error.to_string()))
}

/// A flag on the command line that means something to a server only.
fn server_flag(matches: &ArgMatches) -> Option<String> {
    let command = Args::command();
    let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let flag = command
        .get_arguments()
        .find(|flag| !flag.is_global_set() && given(flag.get_id().as_str()));
    flag.and_then(|flag| flag.get_long()).map(str::to_owned)
}

fn fail(message: &str) -> ExitCode {
    eprintln!("flowstate: {message}");
    ExitCode::FAILURE
}

/// Sends diagnostics to stderr; warnings and errors unless RUST_LOG says otherwise.
fn diagnostics(rust_log: Option<OsString>) -> Result<(), String> {
    let directives = rust_log.filter(|value| !value.is_empty());
    let directives = directives.as_ref().map_or(Some("warn"), |value| value.to_str());
    let filter = directives
        .and_then(|directives| EnvFilter::try_new(directives).ok())
        .ok_or("RUST_LOG is not a filter such as \"info\" or \"flowstate=debug,warn\"")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .init();
    Ok(())
}

fn folder(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("name a folder with --data-dir or FLOWSTATE_DATA_DIR".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

fn store(text: &str) -> Result<StoreKind, String> {
    match text {
        "lsm" => Ok(StoreKind::Lsm),
        "fjall" => Ok(StoreKind::Fjall),
        _ => Err("name lsm or fjall with --store or FLOWSTATE_STORE".to_owned()),
    }
}

fn listen(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("give an address and a port, such as 127.0.0.1:4400, with --listen or FLOWSTATE_LISTEN".to_owned()),
    }
}

fn host(text: &str) -> Result<String, String> {
    match text.parse::<Host>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; set it with --allow-host or FLOWSTATE_ALLOW_HOST")),
    }
}

fn origin(text: &str) -> Result<String, String> {
    match text.parse::<Origin>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; set it with --allow-origin or FLOWSTATE_ALLOW_ORIGIN")),
    }
}

/// The name of one model; blank is none, as with a variable that is set to nothing.
fn model(text: &str) -> Result<String, String> {
    let text = text.trim();
    let help = "set it with --model or FLOWSTATE_MODEL";
    match text.parse::<ModelRef>() {
        _ if text.is_empty() || text == ScriptedModel::NAME => Ok(text.to_owned()),
        Ok(name) if name.is_concrete() => Ok(text.to_owned()),
        Ok(_) => Err(format!("it has to be one model: {help}")),
        Err(error) => Err(format!("{error}; {help}")),
    }
}

fn tokens_per_second(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| {
        "give a whole number with --scripted-tokens-per-second or FLOWSTATE_SCRIPTED_TOKENS_PER_SECOND".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn a_wrong_value_is_refused_naming_flag_and_variable() {
        for (flag, variable, value) in [
            ("--data-dir", "FLOWSTATE_DATA_DIR", ""),
            ("--store", "FLOWSTATE_STORE", "postgres"),
            ("--listen", "FLOWSTATE_LISTEN", "4400"),
            ("--listen", "FLOWSTATE_LISTEN", "127.0.0.1:65536"),
            ("--model", "FLOWSTATE_MODEL", "gtp-5"),
            ("--model", "FLOWSTATE_MODEL", "preset/fast"),
            ("--allow-host", "FLOWSTATE_ALLOW_HOST", "a,http://b"),
            ("--allow-origin", "FLOWSTATE_ALLOW_ORIGIN", "example.org"),
            (
                "--scripted-tokens-per-second",
                "FLOWSTATE_SCRIPTED_TOKENS_PER_SECOND",
                "-1",
            ),
        ] {
            let message = Args::try_parse_from(["flowstate", &format!("{flag}={value}")])
                .unwrap_err()
                .to_string();
            assert!(message.contains(flag) && message.contains(variable), "{message}");
        }
    }

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }
}
