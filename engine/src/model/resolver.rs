//! From a name to models that can be asked.

mod candidate;
mod way;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use super::chain::unreachable;
use super::choice::Asked;
use super::models::{Access, Via};
use super::{Model, ModelAttempt, ModelChoice, ModelError, Preset, Route, Timeouts};
pub use candidate::{Candidate, Resolved};
use way::To;

/// Most connections that are kept; names beyond are connected to anew each time.
const CONNECTIONS_MAX: usize = 256;

/// What is said of an empty list.
const NO_NAME: &str = "an empty list of models was named: name at least one";

/// Makes the model at the end of a way.
pub type Connect = Arc<dyn Fn(&Route) -> Result<Arc<dyn Model>, ModelError> + Send + Sync>;

/// What connects unless told otherwise.
pub(super) fn providers() -> Connect {
    Arc::new(super::providers::connect)
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
    pub(super) warnings: Vec<String>,
    pub(super) connections: Mutex<HashMap<String, Arc<dyn Model>>>,
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

    /// What is wrong with what is asked for, whoever can be reached: names without a meaning, or a list of none.
    pub fn problems(&self, asked: &ModelChoice) -> Vec<String> {
        let Some(list) = &asked.0 else {
            return Vec::new();
        };
        if list.is_empty() {
            return vec![NO_NAME.to_owned()];
        }
        let names = list.iter().filter_map(|asked| match asked {
            Asked::Name(name) => Some(name.as_str()),
            Asked::Model(_) => None,
        });
        names
            .filter_map(|name| self.meaning(name).err())
            .map(|error| error.to_string())
            .collect()
    }

    /// The name of the default model.
    pub fn default_model(&self) -> &str {
        &self.default
    }

    /// What is unwise in how models are reached: an address to which keys go unencrypted, a default
    /// model that can't be reached. An engine logs it when it is opened.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
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

#[cfg(test)]
mod tests;
