//! Who can be asked, as [`Resolver::resolve`](super::Resolver::resolve) gives it.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::{Model, ModelAttempt, ModelRequest};

/// Models for one call, in the order in which they are asked.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What was asked for: a name, or several separated by commas. For the default model, its name.
    pub requested: String,
    /// Who can be asked; never empty when it comes from a [`Resolver`](super::Resolver).
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
