//! What `flowstate` does: bind, open, announce, serve, stop. Its errors name the flag that helps.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::model::{ModelChoice, ModelError, Models, ModelsError, ScriptedModel};
use flowstate_engine::{EngineOpenError, FlowError};
use flowstate_log::error::OpenError;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::hello_chat::hello_chat;
use super::{Args, StoreKind};
use crate::auth::{ApiKeyError, ApiKeys};
use crate::flow_state::defences::is_exposed;
use crate::signals::Signals;
use crate::{BuildError, FlowState, FlowStateBuilder, ReadyError, ServeError, fjall, lsm};

/// Longest time from the first signal to the end of the process.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// Exit code after the log failed (`EX_IOERR`).
const EXIT_POISONED: u8 = 74;

/// Why the command could not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("{0} is in use: choose another with --listen or FLOWSTATE_LISTEN")]
    AddressInUse(String),
    #[error("can't listen on {address}: {source}; choose another address with --listen or FLOWSTATE_LISTEN")]
    Listen { address: String, source: io::Error },
    #[error(
        "the folder {0} is in use by another process: stop it, or choose another with --data-dir or FLOWSTATE_DATA_DIR"
    )]
    FolderInUse(String),
    #[error("the folder {folder} can't be used: {reason}; change it with --data-dir or FLOWSTATE_DATA_DIR")]
    FolderUnusable { folder: String, reason: ReadyError },
    #[error(
        "what the folder {folder} holds can't be opened: {reason}; another folder can be named with --data-dir or FLOWSTATE_DATA_DIR"
    )]
    FolderUnreadable { folder: String, reason: ReadyError },
    #[error("{0}; name another model with --model or FLOWSTATE_MODEL")]
    Model(ModelError),
    #[error(transparent)]
    Models(#[from] ModelsError),
    #[error(transparent)]
    Flow(#[from] FlowError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(
        "{0} can be reached from other machines, and nobody is asked for a credential: name a file of keys with --api-keys or \
         FLOWSTATE_API_KEYS, or insist with --allow-unauthenticated-public or FLOWSTATE_ALLOW_UNAUTHENTICATED_PUBLIC"
    )]
    Exposed(SocketAddr),
    #[error("{0}; name another file with --api-keys or FLOWSTATE_API_KEYS")]
    ApiKeys(#[from] ApiKeyError),
    #[error(transparent)]
    Serve(ServeError),
    #[error(transparent)]
    Ready(ReadyError),
    #[error("signals can't be received: {0}")]
    Signals(io::Error),
}

/// Serves until a signal, or a log that failed, says to stop.
pub(super) async fn run(args: Args) -> Result<ExitCode, StartError> {
    let mut signals = Signals::receive().map_err(StartError::Signals)?;
    let models = models(&args, Models::from_env());
    let who = answering(&args, models.clone())?;
    let (listener, address) = bind(&args.listen).await?;
    if is_exposed(address) && args.api_keys.is_none() && !args.allow_unauthenticated_public {
        return Err(StartError::Exposed(address));
    }
    let app = build(&args, models, address)?;
    let stop = CancellationToken::new();
    let work = async {
        let served = app.serve_on(listener, stop.cancelled()).await;
        app.dispose().await;
        served
    };
    tokio::pin!(work);
    // Probes are answered meanwhile; other calls wait.
    let engine = tokio::select! {
        served = &mut work => return served.map(|()| ExitCode::SUCCESS).map_err(StartError::Serve),
        opened = app.ready() => opened.map_err(|error| explained(error, &args.data_dir))?,
        signal = signals.next() => return Ok(ExitCode::from(signal)),
    };

    announce(address, &args, &who);
    let exit = tokio::select! {
        served = &mut work => return served.map(|()| ExitCode::SUCCESS).map_err(StartError::Serve),
        _signal = signals.next() => ExitCode::SUCCESS,
        reason = engine.log().poisoned() => {
            eprintln!("flowstate: stopping, because nothing more can be stored: {reason}");
            ExitCode::from(EXIT_POISONED)
        }
    };
    stop.cancel();
    // What does not end by itself is not waited for, nor is what would end when it is dropped.
    tokio::select! {
        ended = timeout(STOP_TIME_MAX, &mut work) => {
            if ended.is_err() {
                eprintln!("flowstate: not everything was closed in time; the next start puts it in order");
                std::process::exit(1);
            }
            Ok(exit)
        }
        signal = signals.next() => std::process::exit(signal.into()),
    }
}

async fn bind(listen: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = async {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|source: io::Error| {
        let address = listen.to_owned();
        match source.kind() {
            ErrorKind::AddrInUse => StartError::AddressInUse(address),
            _ => StartError::Listen { address, source },
        }
    })
}

/// The models of the environment, with the flag's as the default one.
fn models(args: &Args, models: Models) -> Models {
    let models = models.model(Arc::new(ScriptedModel::new(args.scripted_tokens_per_second)));
    match args.model.as_deref() {
        Some(name) if !name.is_empty() => models.default_override(name),
        _ => models,
    }
}

/// Who answers where a flow names no model, in words. That nobody can is told before anything is opened.
fn answering(args: &Args, models: Models) -> Result<String, StartError> {
    let resolved = models
        .build()?
        .resolve(ModelChoice::default())
        .map_err(StartError::Model)?;
    let name = resolved.candidates.first().map(|candidate| candidate.model.name());
    Ok(match name {
        Some(name) if name != ScriptedModel::NAME => name.to_owned(),
        _ => {
            let pace = match args.scripted_tokens_per_second {
                0 => "without pause".to_owned(),
                tokens => format!("at {tokens} tokens a second"),
            };
            format!("the built-in scripted model, {pace}; it needs no key and no network")
        }
    })
}

fn build(args: &Args, models: Models, address: SocketAddr) -> Result<FlowState, StartError> {
    let store = match args.store {
        StoreKind::Lsm => lsm(&args.data_dir),
        StoreKind::Fjall => fjall(&args.data_dir),
    };
    let builder = FlowState::builder()
        .flow(hello_chat()?)
        .models(models)
        .store(store)
        .allow_host(address.to_string());
    let builder = match args.resume {
        true => builder.resume_open_requests(),
        false => builder,
    };
    let builder = match &args.api_keys {
        Some(file) => builder.authenticate(ApiKeys::from_file(file)?),
        None => builder,
    };
    let builder = match args.allow_unauthenticated_public {
        true => builder.allow_unauthenticated_public(),
        false => builder,
    };
    let builder = args.allow_host.iter().fold(builder, FlowStateBuilder::allow_host);
    let builder = args.allow_origin.iter().fold(builder, FlowStateBuilder::allow_origin);
    Ok(builder.build()?)
}

/// What could not be opened, in words that say what to do.
fn explained(error: ReadyError, folder: &Path) -> StartError {
    let folder = folder.display().to_string();
    let ReadyError::Open(reason) = &error else {
        return StartError::Ready(error);
    };
    match &**reason {
        EngineOpenError::Log(OpenError::Locked(_)) => StartError::FolderInUse(folder),
        EngineOpenError::Log(OpenError::Io { .. } | OpenError::ViewStore(_)) => {
            StartError::FolderUnusable { folder, reason: error }
        }
        EngineOpenError::Log(OpenError::Damaged(_) | OpenError::Format(_)) => {
            StartError::FolderUnreadable { folder, reason: error }
        }
        EngineOpenError::Log(OpenError::Invalid(_))
        | EngineOpenError::Store(_)
        | EngineOpenError::Assembly(_)
        | EngineOpenError::Recover(_)
        | EngineOpenError::Stopped => StartError::Ready(error),
    }
}

/// Tells where the server is, where it keeps everything, and who answers. Who reads the first line can connect.
fn announce(mut address: SocketAddr, args: &Args, who: &str) {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let folder = std::path::absolute(&args.data_dir).unwrap_or_else(|_| args.data_dir.clone());
    let lines = format!(
        "Flowstate is ready: http://{address}\n\
         Data is kept in {}\n\
         Answers come from {who}\n",
        folder.display()
    );
    // That nobody reads stdout is no reason not to serve.
    let _ = io::stdout().lock().write_all(lines.as_bytes());
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use flowstate_engine::model::Model;

    use super::*;

    /// What the command says with this flag and these variables; what is connected is a scripted model under the name of the way.
    fn said(flag: Option<&str>, variables: &[(&'static str, &'static str)]) -> Result<String, String> {
        let flags = [
            "flowstate",
            "--model",
            flag.unwrap_or_default(),
            "--scripted-tokens-per-second=50",
        ];
        let args = Args::try_parse_from(flags).expect("arguments");
        let variables = variables.to_vec();
        let read = move |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let environment = Models::new().env(read).connect(Arc::new(|route| {
            Ok(Arc::new(ScriptedModel::new(0).named(&route.name)) as Arc<dyn Model>)
        }));
        answering(&args, models(&args, environment)).map_err(|error| error.to_string())
    }

    #[test]
    fn who_answers_is_told_before_anything_is_opened() {
        let scripted = "the built-in scripted model, at 50 tokens a second; it needs no key and no network";
        let key = ("OPENAI_API_KEY", "k");
        for (flag, variables, expected) in [
            (None, &[][..], scripted),
            (None, &[key], scripted),
            (Some("scripted"), &[key], scripted),
            (Some(" gpt-5-mini "), &[key], "openai/gpt-5-mini"),
            (
                Some("openai/gpt-5"),
                &[("AI_GATEWAY_API_KEY", "k")],
                "vercel/openai/gpt-5",
            ),
            (
                Some("openai/flag"),
                &[key, ("FLOWSTATE_MODEL", "openai/variable")],
                "openai/flag",
            ),
            (None, &[key, ("FLOWSTATE_MODEL", "openai/variable")], "openai/variable"),
        ] {
            assert_eq!(said(flag, variables).as_deref(), Ok(expected), "{flag:?}");
        }
        let missing = said(Some("anthropic/claude-x"), &[key]).expect_err("no key");
        for part in ["anthropic/claude-x", "ANTHROPIC_API_KEY", "--model", "FLOWSTATE_MODEL"] {
            assert!(missing.contains(part), "{part}: {missing}");
        }
        let address = said(None, &[("OPENAI_BASE_URL", "example.org")]).expect_err("no address");
        assert!(address.contains("OPENAI_BASE_URL"), "{address}");
    }
}
