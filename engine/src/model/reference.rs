//! Names of models: `provider/model`, `gateway/provider/model`, `preset/<name>`, `intent/<name>`, and well-known ids by themselves.

mod provider;

use std::fmt;
use std::str::FromStr;

pub use provider::{Gateway, Provider};

/// Longest name.
const CHARS_MAX: usize = 256;
const PRESET: &str = "preset";
const INTENT: &str = "intent";

/// What a name of a model says. The id is kept as it was typed.
///
/// ```
/// use flowstate_engine::model::ModelRef;
///
/// let bare: ModelRef = "gpt-5-mini".parse()?;
/// assert_eq!(bare.to_string(), "openai/gpt-5-mini");
/// let gateway: ModelRef = "openrouter/meta-llama/llama-4:free".parse()?;
/// assert_eq!(gateway.to_string(), "openrouter/meta-llama/llama-4:free");
/// assert!("gtp-5".parse::<ModelRef>().is_err());
/// # Ok::<(), flowstate_engine::model::ModelRefError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModelRef {
    /// `provider/model`, or an id that tells its provider.
    Provider {
        /// Whose it is.
        provider: Provider,
        /// Its id, as the provider is told it. It may have slashes.
        model: String,
    },
    /// `gateway/provider/model`.
    Gateway {
        /// Through whom.
        gateway: Gateway,
        /// `provider/model`, as the gateway is told it.
        model: String,
    },
    /// `preset/<name>`: a list of models with settings.
    Preset(String),
    /// `intent/<name>`: what the model is for. The name may be empty, which is an unknown one.
    Intent(String),
}

impl ModelRef {
    /// Whether it names one model: no preset and no intent.
    pub fn is_concrete(&self) -> bool {
        matches!(self, Self::Provider { .. } | Self::Gateway { .. })
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, rest) = match self {
            Self::Provider { provider, model } => (provider.as_str(), model),
            Self::Gateway { gateway, model } => (gateway.as_str(), model),
            Self::Preset(name) => (PRESET, name),
            Self::Intent(name) => (INTENT, name),
        };
        write!(f, "{head}/{rest}")
    }
}

/// Why a text names no model. It tells what would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no model is named {name:?}: {problem}; {}", forms())]
pub struct ModelRefError {
    /// The text.
    pub name: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// The forms that names have, and whom they may name.
fn forms() -> String {
    let providers = Provider::ALL.map(Provider::as_str).join(", ");
    let gateways = Gateway::ALL.map(Gateway::as_str).join(", ");
    format!(
        "name provider/model (providers: {providers}), gateway/provider/model (gateways: {gateways}), preset/<name>, intent/<name>, \
         an id that begins with gpt-, o1 and the like, claude- or gemini-, or a model that was added by name"
    )
}

impl FromStr for ModelRef {
    type Err = ModelRefError;

    fn from_str(text: &str) -> Result<Self, ModelRefError> {
        let wrong = |problem| ModelRefError {
            name: text.chars().take(CHARS_MAX).collect(),
            problem,
        };
        if text.chars().nth(CHARS_MAX).is_some() {
            return Err(wrong("it is longer than 256 characters"));
        }
        // An id becomes a part of a URL with some providers: what would change the rest of the URL is in no id.
        if text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '%' | '\\'))
        {
            return Err(wrong("it has a character that no name has"));
        }
        if text.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(wrong("it has a part that no name has"));
        }
        let Some((head, rest)) = text.split_once('/') else {
            let provider = Provider::of_id(text).ok_or_else(|| wrong("the id alone does not tell its provider"))?;
            let model = text.to_owned();
            return Ok(Self::Provider { provider, model });
        };
        let model = rest.to_owned();
        if head == INTENT {
            return Ok(Self::Intent(model));
        }
        if rest.is_empty() {
            return Err(wrong("there is nothing behind the slash"));
        }
        if head == PRESET {
            return Ok(Self::Preset(model));
        }
        if let Some(gateway) = Gateway::named(head) {
            return match rest.split_once('/') {
                Some((provider, id)) if !provider.is_empty() && !id.is_empty() => Ok(Self::Gateway { gateway, model }),
                _ => Err(wrong("a gateway's model is named with its provider")),
            };
        }
        let provider = Provider::named(head).ok_or_else(|| wrong("there is no such provider"))?;
        Ok(Self::Provider { provider, model })
    }
}

#[cfg(test)]
mod tests;
