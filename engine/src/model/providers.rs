//! Models of providers, behind the port: OpenAI's two APIs, Anthropic's, Google's, and whatever speaks one of them. The protocols are
//! those of `rig-core`; only this folder knows it, and nothing of it leaves but opaque JSON ([`Native`](super::Native)).
//!
//! `audio` speaks and writes down. `messages` and `request` say what is asked, `transport` sends it, `watch` and `answer` tell what comes, `failure` what went wrong.

mod answer;
mod audio;
mod client;
mod ending;
mod failure;
mod form;
mod headers;
mod messages;
mod native;
mod request;
mod retry_after;
mod search;
mod secrets;
mod transport;
mod watch;

#[cfg(feature = "otel")]
pub use client::http_client;

use std::sync::Arc;

pub(crate) use audio::Audio;

use futures_util::stream::{self, BoxStream, StreamExt};
use rig_core::Model as Rig;
use rig_core::completion::CompletionRequest;
use rig_core::error::ProviderError;
use rig_core::http_client::DynHttpClient;
use rig_core::providers::anthropic::{AnthropicConfig, ToolInputStreaming};
use rig_core::providers::gemini::GeminiConfig;
use rig_core::providers::openai::OpenAIConfig;
use rig_core::providers::openai::wire::{Dialect, OPENAI};
use rig_core::streaming::CompletionStream;

use self::failure::Failures;
use self::native::Format;
use self::secrets::Secrets;
use self::transport::Http;
use self::watch::{Seen, Watched};
use super::{Model, ModelError, ModelErrorKind, ModelEvent, ModelRequest, Protocol, Route};

/// Most tokens of an answer of a model of Anthropic's protocol that nobody knows, if the request does not say.
const TOKENS_MAX_UNKNOWN: u64 = 8_192;

/// The model at the end of this way. Nothing is sent before it is asked.
pub fn connect(route: &Route) -> Result<Arc<dyn Model>, ModelError> {
    let failures = Failures::new(route);
    let http = Http::new(route, &failures)?;
    Ok(Arc::new(Provider {
        open: opener(route, DynHttpClient::new(http)),
        format: Format::of(route.protocol),
        route: route.clone(),
        failures,
    }))
}

/// Opens an answer; what is seen of it on the way goes to the second.
type Open = Box<dyn Fn(CompletionRequest, Arc<Seen>) -> Result<CompletionStream, ProviderError> + Send + Sync>;

/// A model of a provider.
struct Provider {
    route: Route,
    format: Format,
    failures: Failures,
    open: Open,
}

impl Model for Provider {
    fn name(&self) -> &str {
        &self.route.name
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        let seen = Arc::new(Seen::new(self.route.protocol, request.trace));
        let failures = self.failures.clone();
        let opened = request::encode(&self.route, self.format, request)
            .map_err(|problem| failures.error(ModelErrorKind::BadRequest, problem))
            .and_then(|request| (self.open)(request, seen.clone()).map_err(|error| failures.of(error)));
        match opened {
            Ok(answer) => answer::events(answer, self.format, seen, failures),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }
}

/// Who speaks the route's protocol. It is told no key: the transport adds it.
fn opener(route: &Route, http: DynHttpClient) -> Open {
    let model = route.model.clone();
    let base = route.base_url.as_deref();
    let secrets = Secrets::of(route);
    match route.protocol {
        Protocol::OpenAiResponses => {
            let config = at(OpenAIConfig::new(""), base, OpenAIConfig::with_base_url);
            opens(config.connect(http.clone()).responses(model).wire, http, secrets)
        }
        Protocol::OpenAiChat => {
            let config = at(
                OpenAIConfig::with_key(&dialect(route), ""),
                base,
                OpenAIConfig::with_base_url,
            );
            opens(config.chat(model), http, secrets)
        }
        Protocol::Anthropic => {
            let config = at(AnthropicConfig::new(""), base, AnthropicConfig::with_base_url);
            let mut wire = config.connect(http.clone()).completion(model).wire;
            wire.default_max_tokens.get_or_insert(TOKENS_MAX_UNKNOWN);
            // Only Anthropic itself is known to take the field that this adds to each tool.
            if base.is_some() {
                wire.tool_input_streaming = ToolInputStreaming::Off;
            }
            opens(wire, http, secrets)
        }
        Protocol::Google => {
            let config = at(GeminiConfig::new(""), base, |config, base| {
                let base = base.trim_end_matches('/');
                config.with_base_url(base.strip_suffix("/v1beta").unwrap_or(base))
            });
            opens(config.connect(http.clone()).completion(model).wire, http, secrets)
        }
    }
}

fn at<'a, C>(config: C, base: Option<&'a str>, with: impl FnOnce(C, &'a str) -> C) -> C {
    match base {
        Some(base) => with(config, base),
        None => config,
    }
}

/// Chat Completions as OpenAI speaks it, but for what other providers leave out. A shape of the answer is asked for beside tools too.
fn dialect(route: &Route) -> Dialect {
    let mut dialect = OPENAI;
    // OpenAI itself, by either of its APIs.
    let is_openai = route.provider == OPENAI.name || route.provider == "openai-chat" && route.base_url.is_none();
    if !is_openai {
        dialect = Dialect::gateway("openai-compatible", OPENAI.base_url, OPENAI.api_key_env);
        dialect.quirks.done_without_finish_reason = true;
    }
    dialect.quirks.response_format_with_tools = true;
    dialect
}

#[allow(clippy::result_large_err, reason = "the error is the adapter's")]
fn opens<W>(wire: W, http: DynHttpClient, secrets: Secrets) -> Open
where
    W: rig_core::wire::Wire<
            Op = rig_core::operation::Completion,
            Payload = rig_core::wire::Encoded,
            Frame = rig_core::wire::WireFrame,
        >,
{
    Box::new(move |request, seen| {
        Rig::new(wire.clone(), Watched::new(http.clone(), seen, secrets.clone())).stream(request)
    })
}
