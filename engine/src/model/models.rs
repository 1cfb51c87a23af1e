//! The models of an engine as they are declared: a default, intents, presets, keys and addresses. What names then mean is in `resolver`;
//! what the environment says in `models/access`.

mod access;
mod base_url;
mod preset;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::resolver::{Connect, Resolver, providers};
use super::{Model, ModelChoice, ModelRef, ScriptedModel, Secret, Timeouts};
pub(super) use access::{Access, Via};
use access::{Declared, Findings};
pub use preset::Preset;

/// The variable that sets the default model of a deployment.
const DEFAULT_VARIABLE: &str = "FLOWSTATE_MODEL";

/// Gives the value of an environment variable.
pub(super) type Env = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The models that flows may name, and how they are reached.
///
/// ```
/// use flowstate_engine::model::{Models, Preset};
/// use serde_json::json;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let models = Models::new()
///     .default("openai/gpt-5-mini")
///     .intent("code", ["anthropic/claude-sonnet-5-5", "openai/gpt-5.6"])
///     .preset("short", Preset::new(["openai/gpt-5-mini"]).tokens_max(200))
///     .key("openai", "sk-..");
/// let resolver = models.build()?;
/// assert_eq!(resolver.default_model(), "openai/gpt-5-mini");
/// assert_eq!(resolver.names("intent/code")?, ["openai/gpt-5.6"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Models {
    default: Option<String>,
    default_override: Option<String>,
    intents: BTreeMap<String, Vec<String>>,
    presets: BTreeMap<String, Preset>,
    keys: Vec<(String, Secret)>,
    base_urls: Vec<(String, String)>,
    timeouts: Timeouts,
    own: Vec<Arc<dyn Model>>,
    env: Option<Env>,
    connect: Option<Connect>,
}

/// Everything that is wrong with the declared models.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the models can't be used: {}", crate::error::list(.problems))]
pub struct ModelsError {
    /// All of it.
    pub problems: Vec<String>,
}

impl Models {
    /// The scripted model only: no environment is read.
    pub fn new() -> Self {
        <Self as Default>::default()
    }

    /// With the keys and addresses that the environment of this process has when the engine is opened.
    pub fn from_env() -> Self {
        Self::new().env(|name| std::env::var(name).ok())
    }

    /// Where variables are read instead, once, when the engine is opened.
    pub fn env(mut self, env: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.env = Some(Arc::new(env));
        self
    }

    /// The model of generators that name none, and of intents that nobody can serve: one model, no preset and no intent. Without this it is
    /// the first one added with [`Models::model`], else the scripted one. The variable `FLOWSTATE_MODEL` wins over it.
    pub fn default(mut self, name: impl Into<String>) -> Self {
        self.default = Some(name.into());
        self
    }

    /// The default model that a deployment decides on, as a flag of a command: it wins over `FLOWSTATE_MODEL`.
    pub fn default_override(mut self, name: impl Into<String>) -> Self {
        self.default_override = Some(name.into());
        self
    }

    /// What `intent/<name>` means: the first of these models that can be reached, else the default model. Needs a default.
    pub fn intent<S: Into<String>>(mut self, name: impl Into<String>, models: impl IntoIterator<Item = S>) -> Self {
        let models = models.into_iter().map(Into::into).collect();
        self.intents.insert(name.into(), models);
        self
    }

    /// What `preset/<name>` means; it replaces a built-in one of that name.
    pub fn preset(mut self, name: impl Into<String>, preset: Preset) -> Self {
        self.presets.insert(name.into(), preset);
        self
    }

    /// The key of a provider or gateway, instead of the one that the environment has.
    pub fn key(mut self, of: impl Into<String>, key: impl Into<String>) -> Self {
        self.keys.push((of.into(), Secret::new(key)));
        self
    }

    /// The address of a provider or gateway, instead of its own or the one that the environment has. `openai-chat` with an address of its
    /// own is another server than `openai`: it is not told the key of that one.
    pub fn base_url(mut self, of: impl Into<String>, url: impl Into<String>) -> Self {
        self.base_urls.push((of.into(), url.into()));
        self
    }

    /// How long calls wait.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Adds a model under its own name, which wins over anything else that this name could mean.
    pub fn model(mut self, model: Arc<dyn Model>) -> Self {
        self.own.push(model);
        self
    }

    /// What makes a model from the way to it, instead of the built-in adapters.
    pub fn connect(mut self, connect: Connect) -> Self {
        self.connect = Some(connect);
        self
    }

    /// Reads the environment and checks all of it. An engine does this when it is opened.
    pub fn build(self) -> Result<Resolver, ModelsError> {
        let (resolver, problems) = self.assemble();
        match problems.is_empty() {
            true => Ok(resolver),
            false => Err(ModelsError { problems }),
        }
    }

    /// What names mean as far as it can be told, and everything that is wrong.
    pub(crate) fn assemble(self) -> (Resolver, Vec<String>) {
        let mut problems = Vec::new();
        for (index, model) in self.own.iter().enumerate() {
            if self.own[..index].iter().any(|earlier| earlier.name() == model.name()) {
                problems.push(format!("two models have the name {:?}", model.name()));
            }
        }
        let read = |name: &str| access::read(self.env.as_ref(), name);
        let deployed = self.default_override.clone().or_else(|| read(DEFAULT_VARIABLE));
        let first = self.own.first().map(|model| model.name().to_owned());
        let default = deployed.or_else(|| self.default.clone()).or(first);
        if default.is_none() && !self.intents.is_empty() {
            problems.push(format!(
                "there are intents and no default model: call Models::default, or set {DEFAULT_VARIABLE}"
            ));
        }
        let mut own = self.own.clone();
        if !own.iter().any(|model| model.name() == ScriptedModel::NAME) {
            own.push(Arc::new(ScriptedModel::default()));
        }
        let mut presets = preset::built_in();
        presets.extend(self.presets.clone());
        let mut check = |place: String, name: &str| {
            if own.iter().any(|model| model.name() == name) {
                return;
            }
            match name.parse::<ModelRef>() {
                Ok(read) if read.is_concrete() => {}
                Ok(_) => problems.push(format!(
                    "{place}: {name:?} is not one model: name a provider's or a gateway's"
                )),
                Err(error) => problems.push(format!("{place}: {error}")),
            }
        };
        if let Some(name) = &default {
            check("the default model".to_owned(), name);
        }
        for (name, models) in &self.intents {
            models.iter().for_each(|model| check(format!("intent {name:?}"), model));
        }
        for (name, preset) in &presets {
            preset
                .models
                .iter()
                .for_each(|model| check(format!("preset {name:?}"), model));
        }
        let nameless = self.intents.contains_key("") || presets.contains_key("");
        problems.extend(nameless.then(|| "an intent or a preset has no name".to_owned()));
        let empty = presets.iter().filter(|(_, preset)| preset.models.is_empty());
        problems.extend(empty.map(|(name, _)| format!("preset {name:?} has no models")));
        let unlike = presets
            .iter()
            .filter(|(_, preset)| !(preset.provider_options.is_object() || preset.provider_options.is_null()));
        problems.extend(unlike.map(|(name, _)| format!("preset {name:?}: the options of providers are no object")));
        let declared = Declared {
            keys: &self.keys,
            base_urls: &self.base_urls,
            env: self.env.as_ref(),
        };
        let mut findings = Findings::default();
        let access = declared.access(&mut findings);
        problems.append(&mut findings.problems);
        let mut resolver = Resolver {
            own,
            default: default.unwrap_or_else(|| ScriptedModel::NAME.to_owned()),
            intents: self.intents,
            presets,
            access,
            timeouts: self.timeouts,
            connect: self.connect.unwrap_or_else(providers),
            reads_env: self.env.is_some(),
            warnings: findings.warnings,
            connections: Mutex::default(),
        };
        if let (true, Err(error)) = (problems.is_empty(), resolver.names(ModelChoice::default())) {
            resolver
                .warnings
                .push(format!("the default model can't be reached now: {error}"));
        }
        (resolver, problems)
    }
}

#[cfg(test)]
mod tests;
