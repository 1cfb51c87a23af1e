//! What a model is asked.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ModelMessage;
use crate::trace::TraceParent;

/// What a model is asked.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ModelRequest {
    /// The conversation so far, the newest message last; never empty.
    pub messages: Vec<ModelMessage>,
    /// What it may call.
    pub tools: Vec<ToolSpec>,
    /// What its provider may run for it, passed on unchanged.
    pub provider_tools: Vec<ProviderTool>,
    /// Whether its provider may search the web for it. A provider without search leaves this out.
    pub search: Option<Search>,
    /// The shape that the answer must have.
    pub output: Option<OutputSchema>,
    /// Most tokens of the answer.
    pub tokens_max: Option<u32>,
    /// Options of providers by the provider's name (`{"openai": {..}}`), added to the call as they are.
    pub provider_options: Map<String, Value>,
    /// The trace that the call is part of, for the header `traceparent`.
    pub trace: Option<TraceParent>,
}

impl ModelRequest {
    /// A request with these messages.
    pub fn new(messages: Vec<ModelMessage>) -> Self {
        Self {
            messages,
            ..Self::default()
        }
    }
}

/// A tool as a model is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Letters, digits, `_` and `-`, at most 64; unique within a request.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON schema (draft 2020-12) of its arguments: an object.
    pub parameters: Value,
}

/// A tool that the provider runs, or that only the provider understands; see [`provider_tool`].
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderTool {
    /// Its name.
    pub name: String,
    /// Its definition in the provider's words, an object with `type`.
    pub tool: Value,
}

/// A tool of the provider, in the provider's words: `provider_tool("code", json!({"type": "code_interpreter", ..}))`.
pub fn provider_tool(name: impl Into<String>, tool: Value) -> ProviderTool {
    ProviderTool {
        name: name.into(),
        tool,
    }
}

/// Web search by the provider. What a provider does not know is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Search {
    /// Most searches of one answer.
    pub uses_max: Option<u32>,
    /// Only these domains.
    pub allowed_domains: Vec<String>,
    /// Not these domains.
    pub blocked_domains: Vec<String>,
    /// Where the user is.
    pub user_location: Option<UserLocation>,
    /// How much is read.
    pub depth: Option<SearchDepth>,
}

impl Search {
    /// With the provider's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// At most so many searches an answer.
    pub fn uses_max(mut self, uses: u32) -> Self {
        self.uses_max = Some(uses);
        self
    }

    /// Only in these domains.
    pub fn allowed_domains<D: Into<String>>(mut self, domains: impl IntoIterator<Item = D>) -> Self {
        self.allowed_domains = domains.into_iter().map(Into::into).collect();
        self
    }

    /// Not in these domains.
    pub fn blocked_domains<D: Into<String>>(mut self, domains: impl IntoIterator<Item = D>) -> Self {
        self.blocked_domains = domains.into_iter().map(Into::into).collect();
        self
    }

    /// For a user who is there.
    pub fn user_location(mut self, location: UserLocation) -> Self {
        self.user_location = Some(location);
        self
    }

    /// So thoroughly.
    pub fn depth(mut self, depth: SearchDepth) -> Self {
        self.depth = Some(depth);
        self
    }
}

/// About where a user is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UserLocation {
    /// The city.
    pub city: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Two letters (ISO 3166-1): `DE`.
    pub country: Option<String>,
    /// IANA name: `Europe/Berlin`.
    pub timezone: Option<String>,
}

/// How much a search reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchDepth {
    /// Little.
    Low,
    /// The usual.
    Medium,
    /// Much.
    High,
}

/// The shape that an answer must have.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputSchema {
    /// Letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// JSON schema (draft 2020-12).
    pub schema: Value,
}
