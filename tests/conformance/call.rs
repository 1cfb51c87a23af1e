//! Calls, with what they refer to filled in, and their answers as JSON.

use std::collections::BTreeMap;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::case::{Http, Open};
use super::perform::Place;
use super::stream::{Reading, headers};
use super::values::{encoded, substituted, text_of};

impl Place<'_> {
    /// With what it refers to percent-encoded.
    pub(crate) fn path(&self, path: &str) -> Result<String, String> {
        text_of(path, &self.results.lock(), encoded)
    }

    pub(crate) fn body(&self, http: &Http) -> Result<Option<String>, String> {
        let results = self.results.lock();
        Ok(match (&http.body, &http.text) {
            (Some(body), None) => Some(substituted(body, &results)?.to_string()),
            (None, Some(text)) => Some(text_of(text, &results, str::to_owned)?),
            (None, None) => None,
            (Some(_), Some(_)) => return Err("a call has one body".into()),
        })
    }

    pub(crate) async fn open(&self, open: &Open) -> Result<Reading, String> {
        let url = format!("{}{}", self.servers.whole.url(), self.path(&open.path)?);
        let request = self.http.get(url).header("accept", "text/event-stream");
        let answer = self.send(self.with_headers(request, &open.headers)?).await?;
        Ok(Reading::of(answer))
    }

    pub(crate) async fn answer(&self, http: &Http) -> Result<Value, String> {
        let server = match http.bare {
            true => &self.servers.bare,
            false => &self.servers.whole,
        };
        let method = Method::from_bytes(http.method.as_bytes()).map_err(|error| error.to_string())?;
        let request = self
            .http
            .request(method, format!("{}{}", server.url(), self.path(&http.path)?));
        let request = match self.body(http)? {
            Some(body) if http.headers.contains_key("content-type") => request.body(body),
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        };
        let begun = Instant::now();
        let answer = self.send(self.with_headers(request, &http.headers)?).await?;
        let (status, headers) = (answer.status().as_u16(), headers(&answer));
        let text = tokio::time::timeout(self.patience, answer.text());
        let text = text
            .await
            .map_err(|_| "the body never ends")?
            .map_err(|error| error.to_string())?;
        let body: Option<Value> = serde_json::from_str(&text).ok();
        let answer = json!({
            "status": status,
            "headers": headers,
            "text": text,
            "ms": begun.elapsed().as_millis() as u64,
        });
        let Value::Object(mut answer) = answer else {
            unreachable!("an object was made")
        };
        answer.extend(body.map(|body| ("body".to_owned(), body)));
        Ok(answer.into())
    }

    fn with_headers(
        &self,
        request: RequestBuilder,
        headers: &BTreeMap<String, String>,
    ) -> Result<RequestBuilder, String> {
        let results = self.results.lock();
        headers.iter().try_fold(request, |request, (name, value)| {
            Ok(request.header(name, text_of(value, &results, str::to_owned)?))
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, String> {
        let answer = tokio::time::timeout(self.patience, request.send());
        let answer = answer.await.map_err(|_| "no answer")?;
        answer.map_err(|error| format!("{error:?}"))
    }
}
