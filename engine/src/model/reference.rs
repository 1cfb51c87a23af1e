//! Names of models: `provider/model`, `gateway/provider/model`, `preset/<name>`, `intent/<name>`, and well-known ids by themselves.

use std::fmt;
use std::str::FromStr;

use super::Protocol;

/// Longest name.
const CHARS_MAX: usize = 256;
const PRESET: &str = "preset";
const INTENT: &str = "intent";

/// Who makes models, and how it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Provider {
    /// `openai`: OpenAI's Responses API.
    OpenAi,
    /// `openai-chat`: OpenAI's Chat Completions API, and the many servers that speak it.
    OpenAiChat,
    /// `anthropic`: the Messages API.
    Anthropic,
    /// `google`: the Gemini API.
    Google,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OpenAi, Self::OpenAiChat, Self::Anthropic, Self::Google];

    /// Its name, as names of models begin with it; options of a call are meant for it under this name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::OpenAiChat => "openai-chat",
            Self::Anthropic => "anthropic",
            Self::Google => "google",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == name)
    }

    /// How it is spoken to.
    pub fn protocol(self) -> Protocol {
        match self {
            Self::OpenAi => Protocol::OpenAiResponses,
            Self::OpenAiChat => Protocol::OpenAiChat,
            Self::Anthropic => Protocol::Anthropic,
            Self::Google => Protocol::Google,
        }
    }

    /// What gateways call it.
    pub(super) fn at_gateways(self) -> &'static str {
        match self {
            Self::OpenAiChat => Self::OpenAi.as_str(),
            other => other.as_str(),
        }
    }

    /// Whose ids begin like this one.
    fn of_id(id: &str) -> Option<Self> {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| id.starts_with(prefix));
        let numbered = id
            .strip_prefix('o')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        match () {
            () if numbered || begins(&["gpt-", "chatgpt-", "codex-"]) => Some(Self::OpenAi),
            () if begins(&["claude-"]) => Some(Self::Anthropic),
            () if begins(&["gemini-"]) => Some(Self::Google),
            () => None,
        }
    }
}

/// Who passes calls on to many providers, with one key. Gateways are spoken to in OpenAI's Chat Completions API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Gateway {
    /// `vercel`: Vercel's AI Gateway.
    Vercel,
    /// `openrouter`: OpenRouter.
    OpenRouter,
}

impl Gateway {
    /// All of them, in the order in which they are looked at for a provider without a key.
    pub const ALL: [Self; 2] = [Self::Vercel, Self::OpenRouter];

    /// Its name, as names of models begin with it; options of a call are meant for it under this name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vercel => "vercel",
            Self::OpenRouter => "openrouter",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|gateway| gateway.as_str() == name)
    }

    /// Its own address.
    pub fn base_url(self) -> &'static str {
        match self {
            Self::Vercel => "https://ai-gateway.vercel.sh/v1",
            Self::OpenRouter => "https://openrouter.ai/api/v1",
        }
    }
}

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
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_read_and_ids_are_kept_as_typed() {
        for (text, shown) in [
            ("openai/gpt-5", "openai/gpt-5"),
            ("openai-chat//models/My-Llama:Q4", "openai-chat//models/My-Llama:Q4"),
            ("anthropic/claude-opus-5-5", "anthropic/claude-opus-5-5"),
            ("google/models/gemini-3.8-flash", "google/models/gemini-3.8-flash"),
            ("vercel/openai/gpt-5", "vercel/openai/gpt-5"),
            ("openrouter/openrouter/auto", "openrouter/openrouter/auto"),
            ("preset/fast", "preset/fast"),
            ("intent/chat", "intent/chat"),
            ("intent/", "intent/"),
            ("gpt-5-mini", "openai/gpt-5-mini"),
            ("chatgpt-4o-latest", "openai/chatgpt-4o-latest"),
            ("codex-mini-latest", "openai/codex-mini-latest"),
            ("o1", "openai/o1"),
            ("o4-mini", "openai/o4-mini"),
            ("claude-sonnet-5-5", "anthropic/claude-sonnet-5-5"),
            ("gemini-3.8-flash", "google/gemini-3.8-flash"),
        ] {
            let read: ModelRef = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(read.to_string(), shown);
        }
    }

    #[test]
    fn what_names_no_model_is_told_what_does() {
        let long = format!("openai/{}", "x".repeat(250));
        for text in [
            "",
            "/",
            "gpt",
            "openai",
            "openai/",
            "OpenAI/gpt-5",
            "opnai/gpt-5",
            "mistral-large",
            "ollama",
            "vercel",
            "vercel/",
            "vercel/gpt-5",
            "vercel//gpt-5",
            "openrouter/openai/",
            "preset",
            "preset/",
            "intent",
            "open ai/x",
            "openai/x\n",
            "google/../x",
            "google/a/./b",
            "google/x?key=1",
            "google/x#y",
            "google/%2e%2e",
            "google/x\\y",
            &long,
        ] {
            let error = text.parse::<ModelRef>().expect_err(text).to_string();
            for part in [
                "provider/model",
                "openai-chat, anthropic",
                "vercel, openrouter",
                "preset/<name>",
                "intent/<name>",
            ] {
                assert!(error.contains(part), "{error}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_name_that_is_shown_is_read_as_the_same(text in "(openai/|google/|vercel/|preset/|intent/|o|gpt-|)[a-z0-9./:-]{0,12}") {
            if let Ok(read) = text.parse::<ModelRef>() {
                let shown = read.to_string();
                prop_assert!(shown.ends_with(&text), "{} -> {}", text, shown);
                prop_assert_eq!(shown.parse::<ModelRef>(), Ok(read));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,300}") {
            let _ = text.parse::<ModelRef>();
        }
    }
}
