//! What must not be told: keys, and the values of headers that hold one.

use super::super::Route;

/// Shorter texts are no secrets: taking them out would only garble what is told.
const SECRET_CHARS_MIN: usize = 6;

/// What stands where a secret stood.
const REDACTED: &str = "[redacted]";

/// The secrets of a route.
#[derive(Clone)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn of(route: &Route) -> Self {
        let key = route.key.iter().map(|key| key.expose());
        let headers = route.headers.iter();
        let headers = headers.filter(|(name, _)| is_secret(name)).map(|(_, value)| {
            let value = value.trim();
            value.split_once(' ').map_or(value, |(_, credentials)| credentials)
        });
        let base = route
            .base_url
            .iter()
            .filter_map(|url| userinfo(url))
            .flat_map(|user| user.split(':'));
        let mut secrets: Vec<String> = key
            .chain(headers)
            .chain(base)
            .filter(|secret| secret.len() >= SECRET_CHARS_MIN)
            .flat_map(|secret| [secret.to_owned(), escaped(secret)])
            .collect();
        // A longer one first: it may contain a shorter one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets)
    }

    /// Whether the text has one.
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.0.iter().any(|secret| text.contains(secret))
    }

    /// The text without them.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret) {
                text = text.replace(secret, REDACTED);
            }
        }
        text
    }
}

/// As it stands in JSON.
fn escaped(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Whether a header of this name holds a credential.
pub(super) fn is_secret(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    ["auth", "key", "token", "secret", "cookie", "password"]
        .iter()
        .any(|word| header.contains(word))
}

fn userinfo(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(user, _)| user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Protocol, Secret, Timeouts};

    #[test]
    fn keys_credentials_in_headers_and_in_urls_are_taken_out_and_nothing_else() {
        let secrets = Secrets::of(&Route {
            name: "a/b".into(),
            provider: "a".into(),
            protocol: Protocol::OpenAiChat,
            model: "b".into(),
            key: Some(Secret::new("sk-\"quoted\"")),
            base_url: Some("http://someone:hidden-word@host:1/v1".into()),
            headers: vec![
                ("Authorization".into(), "Bearer credential-1".into()),
                ("x-title".into(), "harmless".into()),
                ("x-api-key".into(), "short".into()),
            ],
            timeouts: Timeouts::default(),
        });
        let told = secrets.redact(r#"sk-"quoted" sk-\"quoted\" someone hidden-word credential-1 harmless short host"#);
        assert_eq!(
            told,
            "[redacted] [redacted] [redacted] [redacted] [redacted] harmless short host"
        );
    }
}
