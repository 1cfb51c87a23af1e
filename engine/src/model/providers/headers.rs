//! Headers that each call of a route has.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::super::{Protocol, Route};
use super::secrets::is_secret;

/// The key's, as the protocol has it, and the route's own, which win. Or why they can't be sent, without their values.
pub(super) fn headers(route: &Route) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    if let Some(key) = &route.key {
        let (name, value) = match route.protocol {
            Protocol::OpenAiResponses | Protocol::OpenAiChat => (AUTHORIZATION, format!("Bearer {}", key.expose())),
            Protocol::Anthropic => (HeaderName::from_static("x-api-key"), key.expose().to_owned()),
            Protocol::Google => (HeaderName::from_static("x-goog-api-key"), key.expose().to_owned()),
        };
        let value = HeaderValue::try_from(value).map_err(|_| "the key has characters that no header may have")?;
        headers.insert(name, value);
    }
    for (name, value) in &route.headers {
        let bad = || format!("the header {name:?} can't be sent");
        let parsed = HeaderName::try_from(name.as_str()).map_err(|_| bad())?;
        headers.insert(parsed, HeaderValue::try_from(value.as_str()).map_err(|_| bad())?);
    }
    for (name, value) in &mut headers {
        value.set_sensitive(is_secret(name.as_str()));
    }
    Ok(headers)
}
