//! From a name to models that can be asked.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::chain::unreachable;
use super::choice::Asked;
use super::models::{Access, Via};
use super::{
    Gateway, Model, ModelAttempt, ModelChoice, ModelError, ModelErrorKind, ModelRef, ModelRefError, ModelRequest,
    Preset, Protocol, Provider, Route, Timeouts,
};

/// Most connections that are kept; names beyond are connected to anew each time.
const CONNECTIONS_MAX: usize = 256;

/// Makes the model at the end of a way.
pub type Connect = Arc<dyn Fn(&Route) -> Result<Arc<dyn Model>, ModelError> + Send + Sync>;

/// What connects unless told otherwise.
pub(super) fn no_adapters() -> Connect {
    Arc::new(|route| {
        let message = "no provider adapters are built in";
        Err(ModelError::new(&route.name, ModelErrorKind::Unavailable, message))
    })
}

/// The models of an engine: what names mean. Made by [`Models::build`](super::Models::build).
pub struct Resolver {
    pub(super) own: Vec<Arc<dyn Model>>,
    pub(super) default: String,
    pub(super) intents: BTreeMap<String, Vec<String>>,
    pub(super) presets: BTreeMap<String, Preset>,
    pub(super) access: Vec<(Via, Access)>,
    pub(super) timeouts: Timeouts,
    pub(super) connect: Connect,
    pub(super) reads_env: bool,
    pub(super) connections: Mutex<HashMap<String, Arc<dyn Model>>>,
}

/// Models for one call, in the order in which they are asked.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What was asked for: a name, or several separated by commas. For the default model, its name.
    pub requested: String,
    /// Who can be asked; never empty when it comes from a [`Resolver`].
    pub candidates: Vec<Candidate>,
    /// Who can't, and why.
    pub unreachable: Vec<ModelAttempt>,
}

/// A model that can be asked.
#[derive(Clone)]
pub struct Candidate {
    /// The model.
    pub model: Arc<dyn Model>,
    /// Most tokens of an answer, unless the caller says otherwise.
    pub tokens_max: Option<u32>,
    /// Options for its provider, by the provider's name, unless the caller says otherwise.
    pub provider_options: Map<String, Value>,
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("model", &self.model.name())
            .field("tokens_max", &self.tokens_max)
            .field("provider_options", &self.provider_options)
            .finish()
    }
}

impl Candidate {
    /// The request with this candidate's settings where the caller has said nothing.
    pub fn settle(&self, mut request: ModelRequest) -> ModelRequest {
        request.tokens_max = request.tokens_max.or(self.tokens_max);
        for (provider, options) in &self.provider_options {
            match (request.provider_options.get_mut(provider), options) {
                (None, options) => {
                    request.provider_options.insert(provider.clone(), options.clone());
                }
                (Some(Value::Object(said)), Value::Object(options)) => {
                    for (name, option) in options {
                        said.entry(name.as_str()).or_insert_with(|| option.clone());
                    }
                }
                (Some(_), _) => {}
            }
        }
        request
    }
}

/// What a name leads to, before anything is connected.
#[derive(Default)]
struct Found {
    ways: Vec<Way>,
    unreachable: Vec<ModelAttempt>,
}

struct Way {
    to: To,
    tokens_max: Option<u32>,
    provider_options: Map<String, Value>,
}

#[derive(Clone)]
enum To {
    Own(Arc<dyn Model>),
    Route(Box<Route>),
}

impl To {
    fn name(&self) -> &str {
        match self {
            Self::Own(model) => model.name(),
            Self::Route(route) => &route.name,
        }
    }
}

impl Way {
    fn plain(to: To) -> Self {
        Self {
            to,
            tokens_max: None,
            provider_options: Map::new(),
        }
    }

    /// With the settings of a preset; options of other providers are left out.
    fn of_preset(to: To, preset: &Preset) -> Self {
        let mut provider_options = preset.provider_options.as_object().cloned().unwrap_or_default();
        if let To::Route(route) = &to {
            provider_options.retain(|provider, _| *provider == route.provider);
        }
        Self {
            to,
            tokens_max: preset.tokens_max,
            provider_options,
        }
    }
}

impl Resolver {
    /// The models that what is asked for means, as far as they can be reached now. Nothing is asked of them, and nothing is sent.
    pub fn resolve(&self, asked: impl Into<ModelChoice>) -> Result<Resolved, ModelError> {
        let asked = asked.into();
        let requested = self.requested(&asked);
        let found = self.find(&asked)?;
        let (mut candidates, mut failed) = (Vec::new(), found.unreachable);
        for way in found.ways {
            match self.connected(&way.to) {
                Ok(model) => candidates.push(Candidate {
                    model,
                    tokens_max: way.tokens_max,
                    provider_options: way.provider_options,
                }),
                Err(error) => failed.push(ModelAttempt {
                    model: way.to.name().to_owned(),
                    message: error.message,
                }),
            }
        }
        if candidates.is_empty() {
            return Err(unreachable(requested, failed));
        }
        Ok(Resolved {
            requested,
            candidates,
            unreachable: failed,
        })
    }

    /// The names of the models that would be asked, in order. Nothing is connected.
    pub fn names(&self, asked: impl Into<ModelChoice>) -> Result<Vec<String>, ModelError> {
        let asked = asked.into();
        let found = self.find(&asked)?;
        if found.ways.is_empty() {
            return Err(unreachable(self.requested(&asked), found.unreachable));
        }
        Ok(found.ways.iter().map(|way| way.to.name().to_owned()).collect())
    }

    /// Whether a name has a meaning here, be it reachable or not.
    pub fn check(&self, name: &str) -> Result<(), ModelRefError> {
        if self.own(name).is_some() {
            return Ok(());
        }
        match name.parse::<ModelRef>()? {
            ModelRef::Preset(preset) if !self.presets.contains_key(&preset) => Err(unknown_preset(name)),
            _ => Ok(()),
        }
    }

    /// The name of the default model.
    pub fn default_model(&self) -> &str {
        &self.default
    }

    /// The models that were added by name, the scripted one included.
    pub fn own_models(&self) -> impl Iterator<Item = &str> {
        self.own.iter().map(|model| model.name())
    }

    /// The presets, each with its models.
    pub fn presets(&self) -> impl Iterator<Item = (&str, &[String])> {
        let presets = self.presets.iter();
        presets.map(|(name, preset)| (name.as_str(), preset.models.as_slice()))
    }

    /// The intents, each with its candidates.
    pub fn intents(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.intents
            .iter()
            .map(|(name, models)| (name.as_str(), models.as_slice()))
    }

    fn own(&self, name: &str) -> Option<To> {
        let own = self.own.iter().find(|model| model.name() == name);
        own.map(|model| To::Own(Arc::clone(model)))
    }

    fn requested(&self, asked: &ModelChoice) -> String {
        match asked.is_default() {
            true => self.default.clone(),
            false => asked.to_string(),
        }
    }

    fn find(&self, asked: &ModelChoice) -> Result<Found, ModelError> {
        let mut found = Found::default();
        match &asked.0 {
            None => self.expand(&self.default, &mut found)?,
            Some(list) if list.is_empty() => {
                let message = "an empty list of models was named: name at least one";
                return Err(ModelError::new("(none)", ModelErrorKind::Unavailable, message));
            }
            Some(list) => {
                for asked in list {
                    match asked {
                        Asked::Name(name) => self.expand(name, &mut found)?,
                        Asked::Model(model) => found.ways.push(Way::plain(To::Own(Arc::clone(model)))),
                    }
                }
            }
        }
        Ok(found)
    }

    fn expand(&self, name: &str, found: &mut Found) -> Result<(), ModelError> {
        let unavailable = |error: ModelRefError| ModelError::new(name, ModelErrorKind::Unavailable, error.to_string());
        if let Some(own) = self.own(name) {
            found.ways.push(Way::plain(own));
            return Ok(());
        }
        match name.parse::<ModelRef>().map_err(unavailable)? {
            ModelRef::Preset(preset) => {
                let preset = self
                    .presets
                    .get(&preset)
                    .ok_or_else(|| unavailable(unknown_preset(name)))?;
                for model in &preset.models {
                    match self.one(model) {
                        Ok(to) => found.ways.push(Way::of_preset(to, preset)),
                        Err(attempt) => found.unreachable.push(attempt),
                    }
                }
            }
            ModelRef::Intent(intent) => {
                let Some(models) = self.intents.get(&intent) else {
                    tracing::warn!(
                        intent,
                        default = self.default,
                        "an unknown intent is named: the default model answers"
                    );
                    return self.expand(&self.default, found);
                };
                for model in models {
                    match self.one(model) {
                        Ok(to) => {
                            found.ways.push(Way::plain(to));
                            return Ok(());
                        }
                        Err(attempt) => found.unreachable.push(attempt),
                    }
                }
                self.expand(&self.default, found)?;
            }
            one => match self.route(&one) {
                Ok(to) => found.ways.push(Way::plain(to)),
                Err(attempt) => found.unreachable.push(attempt),
            },
        }
        Ok(())
    }

    /// The way to one model of a preset or intent, whose names were checked when they were declared.
    fn one(&self, name: &str) -> Result<To, ModelAttempt> {
        if let Some(own) = self.own(name) {
            return Ok(own);
        }
        let read = name.parse::<ModelRef>().map_err(|error| ModelAttempt {
            model: name.to_owned(),
            message: error.to_string(),
        })?;
        self.route(&read)
    }

    fn route(&self, name: &ModelRef) -> Result<To, ModelAttempt> {
        match name {
            ModelRef::Provider { provider, model } => self.direct(*provider, model).or_else(|| {
                // The id is passed on as it was typed, whatever the gateway calls that model.
                let model = format!("{}/{model}", provider.at_gateways());
                Gateway::ALL.iter().find_map(|gateway| self.through(*gateway, &model))
            }),
            ModelRef::Gateway { gateway, model } => self.through(*gateway, model),
            ModelRef::Preset(_) | ModelRef::Intent(_) => None,
        }
        .ok_or_else(|| ModelAttempt {
            model: name.to_string(),
            message: self.missing(name),
        })
    }

    fn direct(&self, provider: Provider, model: &str) -> Option<To> {
        let access = self.access(Via::Provider(provider))?;
        let base_url = access.base_url.clone();
        Some(self.to(provider.as_str(), provider.protocol(), model, access, base_url))
    }

    fn through(&self, gateway: Gateway, model: &str) -> Option<To> {
        let access = self.access(Via::Gateway(gateway))?;
        let base_url = access.base_url.clone().unwrap_or_else(|| gateway.base_url().to_owned());
        Some(self.to(gateway.as_str(), Protocol::OpenAiChat, model, access, Some(base_url)))
    }

    fn to(&self, via: &str, protocol: Protocol, model: &str, access: &Access, base_url: Option<String>) -> To {
        To::Route(Box::new(Route {
            name: format!("{via}/{model}"),
            provider: via.to_owned(),
            protocol,
            model: model.to_owned(),
            key: access.key.clone(),
            base_url,
            headers: access.headers.clone(),
            timeouts: self.timeouts,
        }))
    }

    fn access(&self, via: Via) -> Option<&Access> {
        self.access
            .iter()
            .find(|(known, _)| *known == via)
            .map(|(_, access)| access)
    }

    /// What would make it reachable.
    fn missing(&self, name: &ModelRef) -> String {
        let (via, gateways) = match name {
            ModelRef::Provider { provider, .. } => (Via::Provider(*provider), Gateway::ALL.as_slice()),
            ModelRef::Gateway { gateway, .. } => (Via::Gateway(*gateway), [].as_slice()),
            ModelRef::Preset(_) | ModelRef::Intent(_) => return "it is not one model".to_owned(),
        };
        let of = via.as_str();
        let mut message = format!("there is no key for {of}: set {}", via.key_variables().join(" or "));
        if !gateways.is_empty() {
            let keys: Vec<_> = gateways
                .iter()
                .flat_map(|gateway| Via::Gateway(*gateway).key_variables())
                .collect();
            message.push_str(&format!(", or {} to reach it through a gateway", keys.join(" or ")));
        }
        if !self.reads_env {
            message.push_str(&format!(
                " and read the environment with Models::from_env(), or give it with Models::key({of:?}, ..)"
            ));
        }
        message
    }

    fn connected(&self, to: &To) -> Result<Arc<dyn Model>, ModelError> {
        let route = match to {
            To::Own(model) => return Ok(Arc::clone(model)),
            To::Route(route) => route,
        };
        // Held while connecting, so that one way is connected once; nothing is sent then.
        let mut connections = self.connections.lock();
        if let Some(model) = connections.get(&route.name) {
            return Ok(Arc::clone(model));
        }
        let model = (self.connect)(route)?;
        if connections.len() < CONNECTIONS_MAX {
            connections.insert(route.name.clone(), Arc::clone(&model));
        }
        Ok(model)
    }
}

fn unknown_preset(name: &str) -> ModelRefError {
    ModelRefError {
        name: name.to_owned(),
        problem: "there is no such preset",
    }
}

#[cfg(test)]
mod tests;
