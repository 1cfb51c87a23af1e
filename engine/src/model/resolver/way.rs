//! The ways that a name leads to, before anything is connected.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{NO_NAME, Resolver};
use crate::model::choice::Asked;
use crate::model::models::{Access, Via};
use crate::model::{
    Gateway, Model, ModelAttempt, ModelChoice, ModelError, ModelErrorKind, ModelRef, ModelRefError, Preset, Protocol,
    Provider, Route,
};

/// What a name leads to, before anything is connected.
#[derive(Default)]
pub(super) struct Found {
    pub(super) ways: Vec<Way>,
    pub(super) unreachable: Vec<ModelAttempt>,
}

pub(super) struct Way {
    pub(super) to: To,
    pub(super) tokens_max: Option<u32>,
    pub(super) provider_options: Map<String, Value>,
}

/// What a name means.
pub(super) enum Meaning<'r> {
    /// One model, or why it can't be reached.
    One(Result<To, ModelAttempt>),
    Preset(&'r Preset),
    Intent(String),
}

#[derive(Clone)]
pub(super) enum To {
    Own(Arc<dyn Model>),
    Route(Box<Route>),
}

impl To {
    pub(super) fn name(&self) -> &str {
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
    pub(super) fn own(&self, name: &str) -> Option<To> {
        let own = self.own.iter().find(|model| model.name() == name);
        own.map(|model| To::Own(Arc::clone(model)))
    }

    pub(super) fn requested(&self, asked: &ModelChoice) -> String {
        match asked.is_default() {
            true => self.default.clone(),
            false => asked.to_string(),
        }
    }

    pub(super) fn find(&self, asked: &ModelChoice) -> Result<Found, ModelError> {
        let mut found = Found::default();
        match &asked.0 {
            None => self.expand(&self.default, &mut found)?,
            Some(list) if list.is_empty() => {
                return Err(ModelError::new("(none)", ModelErrorKind::Unavailable, NO_NAME));
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

    /// What a name means; for a preset, one that is there.
    pub(super) fn meaning(&self, name: &str) -> Result<Meaning<'_>, ModelRefError> {
        if let Some(own) = self.own(name) {
            return Ok(Meaning::One(Ok(own)));
        }
        Ok(match name.parse::<ModelRef>()? {
            ModelRef::Preset(preset) => Meaning::Preset(self.presets.get(&preset).ok_or_else(|| ModelRefError {
                name: name.to_owned(),
                problem: "there is no such preset",
            })?),
            ModelRef::Intent(intent) => Meaning::Intent(intent),
            one => Meaning::One(self.route(&one)),
        })
    }

    fn expand(&self, name: &str, found: &mut Found) -> Result<(), ModelError> {
        let unavailable = |error: ModelRefError| ModelError::new(name, ModelErrorKind::Unavailable, error.to_string());
        match self.meaning(name).map_err(unavailable)? {
            Meaning::One(Ok(to)) => found.ways.push(Way::plain(to)),
            Meaning::One(Err(attempt)) => found.unreachable.push(attempt),
            Meaning::Preset(preset) => {
                for model in &preset.models {
                    match self.one(model) {
                        Ok(to) => found.ways.push(Way::of_preset(to, preset)),
                        Err(attempt) => found.unreachable.push(attempt),
                    }
                }
            }
            Meaning::Intent(intent) => {
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
        }
        Ok(())
    }

    /// The way to one model of a preset or intent, whose names were checked when they were declared.
    fn one(&self, name: &str) -> Result<To, ModelAttempt> {
        let nothing = |message: String| ModelAttempt {
            model: name.to_owned(),
            message,
        };
        match self.meaning(name).map_err(|error| nothing(error.to_string()))? {
            Meaning::One(way) => way,
            Meaning::Preset(_) | Meaning::Intent(_) => Err(nothing("it is not one model".to_owned())),
        }
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

    /// The way to a model of this provider at the provider itself.
    pub(crate) fn direct_route(&self, provider: Provider, model: &str) -> Option<Route> {
        match self.direct(provider, model)? {
            To::Route(route) => Some(*route),
            _ => None,
        }
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
}
