//! Whom names of models begin with: providers and gateways.

use crate::model::Protocol;

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
    pub(in crate::model) fn at_gateways(self) -> &'static str {
        match self {
            Self::OpenAiChat => Self::OpenAi.as_str(),
            other => other.as_str(),
        }
    }

    /// Whose ids begin like this one.
    pub(super) fn of_id(id: &str) -> Option<Self> {
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
