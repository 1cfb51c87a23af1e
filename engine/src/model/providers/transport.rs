//! Sends calls over HTTP: adds the key and the route's headers, waits as long as the route says, reads no more than it may.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::header::{HeaderMap, HeaderValue};
use rig_core::http_client::{
    BoxedStream, Error, HttpClientExt, LazyBody, MultipartForm, Request, Response, Result, StreamingResponse,
};
use tokio::time::{Sleep, sleep, timeout};

use super::super::{ModelError, ModelErrorKind, Route, Timeouts};
use super::client;
use super::failure::{Failure, Failures};
use super::headers::headers;

/// Most bytes of an answer: what is collected of it in memory has this bound.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// Most bytes of a refusal that are read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// Anthropic's headers of this name add up.
const BETA: &str = "anthropic-beta";

/// The transport of one route.
#[derive(Clone)]
pub(super) struct Http {
    /// Whether the server is on this machine.
    here: bool,
    /// The key's header and the route's own.
    headers: HeaderMap,
    timeouts: Timeouts,
    failures: Failures,
}

impl Http {
    pub(super) fn new(route: &Route, failures: &Failures) -> std::result::Result<Self, ModelError> {
        Ok(Self {
            here: route.base_url.as_deref().is_some_and(client::is_loopback),
            headers: headers(route).map_err(|problem| failures.error(ModelErrorKind::Unavailable, problem))?,
            timeouts: route.timeouts,
            failures: failures.clone(),
        })
    }

    /// The call as it is sent. The protocol's own idea of a key is left out: it was told none.
    fn call(&self, request: Request<Bytes>) -> std::result::Result<reqwest::RequestBuilder, String> {
        let client = client::client(self.timeouts.connect, self.here)?;
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string();
        let url = url
            .strip_suffix("key=")
            .map_or(url.as_str(), |url| url.trim_end_matches(['?', '&']));
        let mut headers = parts.headers;
        for name in ["authorization", "x-api-key"] {
            headers.remove(name);
        }
        for (name, value) in &self.headers {
            let both = headers.get(name).filter(|_| name == BETA);
            let both =
                both.and_then(|own| HeaderValue::from_bytes(&[own.as_bytes(), b",", value.as_bytes()].concat()).ok());
            headers.insert(name, both.unwrap_or_else(|| value.clone()));
        }
        Ok(client.request(parts.method, url).headers(headers).body(body))
    }

    pub(super) async fn open(self, request: Request<Bytes>) -> Result<StreamingResponse> {
        let Timeouts { first_byte, idle, .. } = self.timeouts;
        let call = self.call(request);
        let call = call.map_err(|problem| failed(ModelErrorKind::Unavailable, problem))?;
        let mut first = Box::pin(sleep(first_byte));
        let response = tokio::select! {
            biased;
            response = call.send() => response.map_err(|error| self.unsent(error))?,
            () = &mut first => return Err(late("no answer", first_byte)),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        if !status.is_success() {
            let body = self.failures.redact(&refusal(response, first, idle).await);
            return Err(Error::non_success_with_details(status, headers, body));
        }
        let mut answer = Response::new(body(response, first, self.timeouts, ANSWER_BYTES_MAX));
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    fn unsent(&self, error: reqwest::Error) -> Error {
        if error.is_connect() && error.is_timeout() {
            return late("no connection", self.timeouts.connect);
        }
        let what = match () {
            () if error.is_builder() => (ModelErrorKind::BadRequest, "the call can't be sent"),
            () if error.is_connect() => (ModelErrorKind::Network, "no connection"),
            () => (ModelErrorKind::Network, "the connection broke before an answer"),
        };
        failed(what.0, format!("{}: {}", what.1, causes(error)))
    }
}

/// What the provider said instead of an answer, as far as it comes.
async fn refusal(response: reqwest::Response, mut first: Pin<Box<Sleep>>, idle: Duration) -> String {
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while body.len() < REFUSAL_BYTES_MAX {
        let chunk = tokio::select! {
            chunk = timeout(idle, chunks.next()) => chunk,
            () = &mut first => break,
        };
        let Ok(Some(Ok(chunk))) = chunk else { break };
        body.extend_from_slice(&chunk[..chunk.len().min(REFUSAL_BYTES_MAX - body.len())]);
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// The answer's bytes. The wait for the first ones began with the call.
fn body(response: reqwest::Response, first: Pin<Box<Sleep>>, timeouts: Timeouts, bytes_max: usize) -> BoxedStream {
    let Timeouts { first_byte, idle, .. } = timeouts;
    let mut chunks = response.bytes_stream();
    Box::pin(async_stream::stream! {
        let mut first = Some(first);
        let mut read = 0;
        loop {
            let chunk = match &mut first {
                Some(first) => tokio::select! {
                    biased;
                    chunk = chunks.next() => Ok(chunk),
                    () = first => Err(late("no answer", first_byte)),
                },
                None => timeout(idle, chunks.next()).await.map_err(|_| late("nothing more of the answer", idle)),
            };
            match chunk {
                Ok(None) => return,
                Ok(Some(Ok(chunk))) => {
                    read += chunk.len();
                    if read > bytes_max {
                        let problem = format!("the answer has more than {bytes_max} bytes");
                        yield Err(failed(ModelErrorKind::Malformed, problem));
                        return;
                    }
                    if !chunk.is_empty() {
                        first = None;
                        yield Ok(chunk);
                    }
                }
                Ok(Some(Err(error))) => {
                    let (kind, what) = match read {
                        0 => (ModelErrorKind::Network, "the connection broke before an answer"),
                        _ => (ModelErrorKind::Cut, "the answer ended before its end"),
                    };
                    yield Err(failed(kind, format!("{what}: {}", causes(error))));
                    return;
                }
                Err(late) => {
                    yield Err(late);
                    return;
                }
            }
        }
    })
}

impl HttpClientExt for Http {
    fn send<T, U>(&self, request: Request<T>) -> impl Future<Output = Result<Response<LazyBody<U>>>> + Send + 'static
    where
        T: Into<Bytes> + Send,
        U: From<Bytes> + Send + 'static,
    {
        let opened = self.clone().open(request.map(Into::into));
        async move {
            Ok(opened.await?.map(|mut chunks| -> LazyBody<U> {
                Box::pin(async move {
                    let mut whole = Vec::new();
                    while let Some(chunk) = chunks.next().await {
                        whole.extend_from_slice(&chunk?);
                    }
                    Ok(U::from(Bytes::from(whole)))
                })
            }))
        }
    }

    /// No model is sent forms.
    fn send_multipart<U>(
        &self,
        _: Request<MultipartForm>,
    ) -> impl Future<Output = Result<Response<LazyBody<U>>>> + Send + 'static
    where
        U: From<Bytes> + Send + 'static,
    {
        std::future::ready(Err(failed(ModelErrorKind::BadRequest, "forms are not sent".to_owned())))
    }

    fn send_streaming<T>(&self, request: Request<T>) -> impl Future<Output = Result<StreamingResponse>> + Send
    where
        T: Into<Bytes> + Send,
    {
        self.clone().open(request.map(Into::into))
    }
}

fn late(what: &str, limit: Duration) -> Error {
    failed(ModelErrorKind::Timeout, format!("{what} within {limit:?}"))
}

fn failed(kind: ModelErrorKind, message: String) -> Error {
    Error::instance(Failure { kind, message })
}

/// What happened, down to the system's word for it. The address is left out: it may hold credentials.
fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_has_no_more_bytes_than_it_may() {
        for (bytes, whole) in [(10, true), (11, false)] {
            let response = reqwest::Response::from(Response::new("x".repeat(bytes)));
            let timeouts = Timeouts::default();
            let chunks: Vec<_> = body(response, Box::pin(sleep(timeouts.first_byte)), timeouts, 10)
                .collect()
                .await;
            assert_eq!(chunks.iter().all(|chunk| chunk.is_ok()), whole, "{bytes}");
            assert_eq!(chunks.len(), 1);
        }
    }
}
