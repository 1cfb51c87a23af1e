//! Presets: models with settings under a name. The built-in ones are a table.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What `preset/<name>` means: models in order, of which those that can be reached are asked until one answers, and settings of the call,
/// which lose to what the caller says.
///
/// ```
/// use flowstate_engine::model::Preset;
/// use serde_json::json;
///
/// let preset = Preset::new(["openai/gpt-5-mini", "anthropic/claude-haiku-4-5"])
///     .tokens_max(500)
///     .provider_options(json!({"openai": {"reasoning": {"effort": "low"}}}));
/// # drop(preset);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Preset {
    pub(in crate::model) models: Vec<String>,
    pub(in crate::model) tokens_max: Option<u32>,
    pub(in crate::model) provider_options: Value,
}

impl Preset {
    /// These models, in this order.
    pub fn new<S: Into<String>>(models: impl IntoIterator<Item = S>) -> Self {
        Self {
            models: models.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Most tokens of an answer.
    pub fn tokens_max(mut self, tokens: u32) -> Self {
        self.tokens_max = Some(tokens);
        self
    }

    /// Options by the provider's name, an object: `{"openai": {..}}`. Each model gets its provider's.
    pub fn provider_options(mut self, options: Value) -> Self {
        self.provider_options = options;
        self
    }
}

/// The presets that are there without being declared. OpenAI's ids come first because gateways know them under the same names.
pub(super) fn built_in() -> BTreeMap<String, Preset> {
    let table = [
        (
            "fast",
            Preset::new([
                "openai/gpt-5.4-mini",
                "anthropic/claude-haiku-4-5",
                "google/gemini-3.5-flash-lite",
            ])
            .tokens_max(1024),
        ),
        (
            "balanced",
            Preset::new([
                "openai/gpt-5.6",
                "anthropic/claude-sonnet-5-5",
                "google/gemini-3.8-flash",
            ]),
        ),
        (
            "thinking",
            // The other two think as much without being told.
            Preset::new([
                "openai/gpt-5.6",
                "anthropic/claude-opus-5-5",
                "google/gemini-3.1-pro-preview",
            ])
            .provider_options(json!({"openai": {"reasoning": {"effort": "high"}}})),
        ),
    ];
    table.map(|(name, preset)| (name.to_owned(), preset)).into()
}
