//! The command `flowstate`: what its first words mean, and how the process starts. Each command is a file; what they share is in `settings`
//! (flags, variables and the file), `start` (a server from settings), `client` (asking one), `output` and `failure`.
//!
//! An application has the whole command for flows of its own with [`main_with`].

mod args;
mod client;
mod completions;
mod config;
mod credentials;
mod events;
mod failure;
mod file;
mod hello_chat;
mod input;
mod keys;
mod log;
mod output;
mod run;
mod serve;
mod sessions;
mod settings;
mod shown;
mod start;
mod tail;
mod terminal;
mod time;

pub use hello_chat::hello_chat;

use std::error::Error;
use std::ffi::OsString;
use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use clap::FromArgMatches;
use flowstate_engine::FlowError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::FlowStateBuilder;
use args::{Args, Command};
use failure::Failure;
use output::Output;
use settings::{File, Given, Resolved, Settings};
use start::Application;

/// Runs the command with the arguments and variables of this process, until it is done, or told to stop. Its flow is [`hello_chat`].
pub fn main() -> ExitCode {
    main_with(|builder| Ok::<_, FlowError>(builder.flow(hello_chat()?)))
}

/// The same for flows of one's own: whatever serves, runs, lists or follows does so with what `application` adds to the builder. The
/// builder has what flags, variables and the file say; what is said again counts. Unless it declares a store or profiles, everything is kept where
/// `--store` and `--data-dir` say. Called once, inside of a tokio runtime, and only if it is needed.
///
/// ```no_run
/// use flowstate::prelude::*;
///
/// fn echo() -> Result<Flow, FlowError> {
///     let say = handler("say").run(|input: String, _ctx: Ctx| async move { Ok(input) });
///     flow("echo").action("say", action(say)).instance("default")
/// }
///
/// fn main() -> std::process::ExitCode {
///     flowstate::cli::main_with(|builder| Ok::<_, FlowError>(builder.flow(echo()?)))
/// }
/// ```
pub fn main_with<E>(application: impl FnOnce(FlowStateBuilder) -> Result<FlowStateBuilder, E>) -> ExitCode
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let matches = args::command().try_get_matches_from(&arguments);
    let parsed = matches.and_then(|matches| Ok((Args::from_arg_matches(&matches)?, matches)));
    let (args, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return args::refused(&error, &arguments),
    };
    let out = Output::new(args.json);
    let application: Application<'_> = Box::new(|builder| application(builder).map_err(Into::into));
    let runtime = tokio::runtime::Runtime::new();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("the runtime could not be started: {error}")));
    let done = runtime.and_then(|runtime| {
        let done = runtime.block_on(async {
            let told = diagnostics(std::env::var_os("RUST_LOG")).map_err(Failure::Usage)?;
            let done = match prepared(args, &matches) {
                Ok(call) => dispatch(call, application, &out).await,
                Err(failure) => Err(failure),
            };
            told.close().await;
            done
        });
        // A read that hangs in the disk must not hold up the end of the process.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(exit) => exit,
        Err(failure) => {
            out.fail(&failure);
            failure.exit_code()
        }
    }
}

/// A command with everything that was said.
struct Call {
    command: Command,
    settings: Settings,
    resolved: Vec<Resolved>,
}

/// Reads what was said besides the command itself.
fn prepared(args: Args, matches: &clap::ArgMatches) -> Result<Call, Failure> {
    let command = args.command.unwrap_or(Command::Serve);
    let mut levels = vec![matches];
    while let Some((_, inner)) = levels.last().and_then(|matches| matches.subcommand()) {
        levels.push(inner);
    }
    let given = Given::of(&levels);
    if let Some(flag) = given.beyond(command.who()) {
        let name = command.name();
        return Err(Failure::Usage(format!("{flag} means nothing to `flowstate {name}`")));
    }
    let file = match command.reads_settings() {
        true => File::read(args.config.as_deref())?,
        false => None,
    };
    let (settings, resolved) = match command.reads_settings() {
        true => settings::resolve(&given, file.as_ref(), |name| {
            std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        })?,
        false => Default::default(),
    };
    Ok(Call {
        command,
        settings,
        resolved,
    })
}

async fn dispatch(call: Call, application: Application<'_>, out: &Output) -> Result<ExitCode, Failure> {
    let Call {
        command,
        settings,
        resolved,
    } = call;
    match command {
        Command::Serve => return Ok(serve::run(&settings, application, out).await?),
        Command::Run(args) => return run::run(settings, *args, application, out).await,
        Command::Sessions(args) => sessions::run(settings, args, application, out).await,
        Command::Tail(args) => tail::run(settings, args, application, out).await,
        Command::Config(args) => config::run(&settings, &resolved, args, application, out),
        Command::Keys(args) => keys::run(&settings, args, out),
        Command::Log(args) => log::run(&settings.data_dir, args, out).await,
        Command::Completions(args) => completions::run(&args),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Where spans go besides stderr, if they go anywhere.
#[derive(Default)]
struct Told {
    #[cfg(feature = "otel")]
    spans: Option<crate::otel::Spans>,
}

impl Told {
    /// Sends what is left.
    async fn close(self) {
        #[cfg(feature = "otel")]
        if let Some(spans) = self.spans {
            spans.close().await;
        }
    }
}

/// Sends diagnostics to stderr; warnings and errors unless RUST_LOG says otherwise. Built with the feature `otel`, also spans to the collector that
/// `OTEL_EXPORTER_OTLP_ENDPOINT` names, if it names one. Where an application has said already where they go, that counts.
fn diagnostics(rust_log: Option<OsString>) -> Result<Told, String> {
    let directives = rust_log.filter(|value| !value.is_empty());
    let directives = directives.as_ref().map_or(Some("warn"), |value| value.to_str());
    let filter = directives
        .and_then(|directives| EnvFilter::try_new(directives).ok())
        .ok_or("RUST_LOG is not a filter such as \"info\" or \"flowstate=debug,warn\"")?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .with_filter(filter);
    let subscriber = tracing_subscriber::registry().with(lines);
    #[cfg(feature = "otel")]
    if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some_and(|endpoint| !endpoint.is_empty()) {
        let spans = crate::otel::Spans::to(None).map_err(|error| error.to_string())?;
        let is_ours = subscriber.with(spans.layer()).try_init().is_ok();
        return Ok(Told {
            spans: is_ours.then_some(spans),
        });
    }
    // An application's own subscriber stays.
    let _ = subscriber.try_init();
    Ok(Told::default())
}
