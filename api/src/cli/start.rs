//! From settings to a server: what the command and the application say together, and why that could not start. Its errors name the flag that
//! helps.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use flowstate_engine::EngineOpenError;
use flowstate_engine::model::{ModelChoice, ModelError, Models, Resolver, ScriptedModel};
use flowstate_log::error::OpenError;

use super::credentials;
use super::settings::{Origin, Settings, StoreKind};
use crate::auth::ApiKeyError;
use crate::flow_state::defences::is_exposed;
use crate::{BuildError, FlowState, FlowStateBuilder, ReadyError, ServeError, fjall, lsm, memory};

/// Speed of the scripted model that needs none of ours.
const TOKENS_PER_SECOND: u32 = 50;

/// What an application adds to the command: flows, models, whatever else a builder takes.
pub(super) type Application<'a> =
    Box<dyn FnOnce(FlowStateBuilder) -> Result<FlowStateBuilder, Box<dyn Error + Send + Sync>> + 'a>;

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
    #[error("the application can't be built: {0}")]
    Application(Box<dyn Error + Send + Sync>),
    #[error("the application declares profiles of its own: {0} says nothing to them")]
    OwnProfiles(String),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(
        "{0} can be reached from other machines, and nobody is asked for a credential: name a file of keys with --api-keys or \
         FLOWSTATE_API_KEYS, or insist with --allow-unauthenticated-public or FLOWSTATE_ALLOW_UNAUTHENTICATED_PUBLIC"
    )]
    Exposed(SocketAddr),
    #[error("{0}; name another file with --api-keys or FLOWSTATE_API_KEYS")]
    ApiKeys(#[from] ApiKeyError),
    #[error("JSON Web Tokens can't be checked: {0}")]
    Jwt(String),
    #[error(transparent)]
    Serve(ServeError),
    #[error(transparent)]
    Ready(ReadyError),
    #[error("signals can't be received: {0}")]
    Signals(io::Error),
}

/// A server of the application's flows, as the settings have it. Opens nothing.
pub(super) fn build(settings: &Settings, application: Application<'_>) -> Result<FlowState, StartError> {
    let builder = FlowState::builder()
        .models(Models::from_env())
        .limits(settings.limits.clone())
        .drain_within(settings.drain_within)
        .close_within(settings.close_within);
    let builder = match settings.allow_unauthenticated_public {
        true => builder.allow_unauthenticated_public(),
        false => builder,
    };
    let builder = match settings.trace_access {
        true => builder.trace_access(),
        false => builder,
    };
    let builder = match settings.later_stop_names {
        true => builder.later_stop_names(),
        false => builder,
    };
    let builder = match settings.resume {
        true => builder.resume_open_requests(),
        false => builder,
    };
    let builder = credentials::authenticated(builder, settings)?;
    let builder = settings.allow_host.iter().fold(builder, FlowStateBuilder::allow_host);
    let builder = settings
        .allow_origin
        .iter()
        .fold(builder, FlowStateBuilder::allow_origin);
    let mut builder = application(builder).map_err(StartError::Application)?;
    if let Some(name) = settings.model.as_deref() {
        builder = builder.default_model(name);
    }
    if settings.tokens_per_second != TOKENS_PER_SECOND {
        builder = builder.model(ScriptedModel::new(settings.tokens_per_second));
    }
    if builder.has_store() {
        let of_place = |(key, _): &&(&str, Origin)| ["data_dir", "store"].contains(key);
        if let Some((_, origin)) = settings.said.iter().find(of_place) {
            return Err(StartError::OwnProfiles(origin.to_string()));
        }
    } else {
        builder = builder.store(match settings.store {
            StoreKind::Lsm => lsm(&settings.data_dir),
            StoreKind::Fjall => fjall(&settings.data_dir),
            StoreKind::Memory => memory(),
        });
    }
    Ok(builder.build()?)
}

/// Refuses an address that strangers can reach if everybody may do everything, as far as that can be told without listening.
pub(super) fn check_exposure(settings: &Settings, app: &FlowState) -> Result<(), StartError> {
    match settings.listen.parse() {
        Ok(address) if is_exposed(address) && !app.may_be_public() => Err(StartError::Exposed(address)),
        _ => Ok(()),
    }
}

/// Who answers where a flow names no model, in words. That nobody can is told before anything is opened.
pub(super) fn answering(settings: &Settings, models: &Resolver) -> Result<String, StartError> {
    let resolved = models.resolve(ModelChoice::default()).map_err(StartError::Model)?;
    let name = resolved.candidates.first().map(|candidate| candidate.model.name());
    Ok(match name {
        Some(name) if name != ScriptedModel::NAME => name.to_owned(),
        _ => {
            let pace = match settings.tokens_per_second {
                0 => "without pause".to_owned(),
                tokens => format!("at {tokens} tokens a second"),
            };
            format!("the built-in scripted model, {pace}; it needs no key and no network")
        }
    })
}

/// What could not be opened, in words that say what to do.
pub(super) fn explained(error: ReadyError, folder: &Path) -> StartError {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flowstate_engine::model::Model;

    use super::*;

    /// What the command says with this flag and these variables; what is connected is a scripted model under the name of the way.
    fn said(flag: Option<&str>, variables: &[(&'static str, &'static str)]) -> Result<String, String> {
        let settings = Settings {
            store: StoreKind::Memory,
            model: flag.map(str::to_owned),
            tokens_per_second: 50,
            ..Settings::default()
        };
        let variables = variables.to_vec();
        let read = move |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let environment = Models::new().env(read).connect(Arc::new(|route| {
            Ok(Arc::new(ScriptedModel::new(0).named(&route.name)) as Arc<dyn Model>)
        }));
        let app = build(&settings, Box::new(|builder| Ok(builder.models(environment))));
        let app = app.map_err(|error| error.to_string())?;
        answering(&settings, app.models()).map_err(|error| error.to_string())
    }

    #[test]
    fn who_answers_is_told_before_anything_is_opened() {
        let scripted = "the built-in scripted model, at 50 tokens a second; it needs no key and no network";
        let key = ("OPENAI_API_KEY", "k");
        for (flag, variables, expected) in [
            (None, &[][..], scripted),
            (None, &[key], scripted),
            (Some("scripted"), &[key], scripted),
            (Some("gpt-5-mini"), &[key], "openai/gpt-5-mini"),
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

    #[test]
    fn an_application_with_a_store_of_its_own_is_not_told_another() {
        let own = || -> Application<'static> { Box::new(|builder| Ok(builder.store(memory()))) };
        let settings = Settings::default();
        assert!(build(&settings, own()).is_ok());
        let said = Settings {
            said: vec![("store", Origin::Flag("--store".to_owned()))],
            ..settings
        };
        let refused = build(&said, own()).map(|_| ()).expect_err("it has one");
        assert!(refused.to_string().contains("--store"), "{refused}");
    }
}
