//! The way to a model: whose protocol, where, with which key. Made by what resolves names, used by what speaks to providers.

use std::fmt;
use std::time::Duration;

/// How a provider is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// OpenAI's Responses API.
    OpenAiResponses,
    /// OpenAI's Chat Completions API, which many other servers speak.
    OpenAiChat,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's Gemini API.
    Google,
}

/// The way to one model. `Debug` shows neither the key nor what the headers and the address may hold of one.
#[derive(Clone, PartialEq, Eq)]
pub struct Route {
    /// The model's whole name, as records and errors have it: `openai/gpt-5-mini`.
    pub name: String,
    /// Whose options of a call are meant for it: `openai`, `openai-chat`, `anthropic`, `google`; a gateway's, through a gateway.
    pub provider: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// The model's id, as the provider is told it.
    pub model: String,
    /// The key; `None` for a server that needs none.
    pub key: Option<Secret>,
    /// Where the provider is; `None` for its own address.
    pub base_url: Option<String>,
    /// Headers that each call has besides.
    pub headers: Vec<(String, String)>,
    /// How long is waited.
    pub timeouts: Timeouts,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self
            .base_url
            .as_deref()
            .map(|url| match (url.split_once("://"), url.rsplit_once('@')) {
                (Some((scheme, _)), Some((_, host))) => format!("{scheme}://..@{host}"),
                _ => url.to_owned(),
            });
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Route")
            .field("name", &self.name)
            .field("provider", &self.provider)
            .field("protocol", &self.protocol)
            .field("model", &self.model)
            .field("key", &self.key)
            .field("base_url", &address)
            .field("headers", &headers)
            .field("timeouts", &self.timeouts)
            .finish()
    }
}

/// How long a call of a model waits. A call as a whole has no limit: an answer may take long, as long as something comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// From the call to the first byte of the answer.
    pub first_byte: Duration,
    /// Between two pieces of the answer.
    pub idle: Duration,
}

/// 10 s, 5 min (a model may think before it says anything), 1 min.
impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(300),
            idle: Duration::from_secs(60),
        }
    }
}

/// A text that is shown to nobody: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps this.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
