//! Which providers and gateways can be reached, and with what: from what is declared, then from the variables that their vendors' own
//! libraries read.

use super::Env;
use super::base_url;
use crate::model::{Gateway, Provider, Secret};

/// Whom a call is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Via {
    Provider(Provider),
    Gateway(Gateway),
}

/// What a call to one of them needs.
#[derive(Debug, Clone)]
pub(in crate::model) struct Access {
    pub(in crate::model) key: Option<Secret>,
    pub(in crate::model) base_url: Option<String>,
    pub(in crate::model) headers: Vec<(String, String)>,
}

/// The variables of one of them.
struct Variables {
    /// The first one that is set is the key.
    keys: &'static [&'static str],
    /// Stands for a key, in a header of its own.
    token: Option<&'static str>,
    base_url: Option<&'static str>,
    /// Headers that are set from variables.
    headers: &'static [(&'static str, &'static str)],
}

const OPENAI: Variables = Variables {
    keys: &["OPENAI_API_KEY"],
    token: None,
    base_url: Some("OPENAI_BASE_URL"),
    headers: &[
        ("OPENAI_ORG_ID", "openai-organization"),
        ("OPENAI_PROJECT_ID", "openai-project"),
    ],
};
const ANTHROPIC: Variables = Variables {
    keys: &["ANTHROPIC_API_KEY"],
    token: Some("ANTHROPIC_AUTH_TOKEN"),
    base_url: Some("ANTHROPIC_BASE_URL"),
    headers: &[],
};
const GOOGLE: Variables = Variables {
    keys: &["GOOGLE_GENERATIVE_AI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY"],
    token: None,
    base_url: Some("GOOGLE_GEMINI_BASE_URL"),
    headers: &[],
};

const fn gateway(keys: &'static [&'static str]) -> Variables {
    Variables {
        keys,
        token: None,
        base_url: None,
        headers: &[],
    }
}

const VERCEL: Variables = gateway(&["AI_GATEWAY_API_KEY"]);
const OPENROUTER: Variables = gateway(&["OPENROUTER_API_KEY"]);

impl Via {
    const ALL: [Self; 6] = [
        Self::Provider(Provider::OpenAi),
        Self::Provider(Provider::OpenAiChat),
        Self::Provider(Provider::Anthropic),
        Self::Provider(Provider::Google),
        Self::Gateway(Gateway::Vercel),
        Self::Gateway(Gateway::OpenRouter),
    ];

    pub(in crate::model) fn as_str(self) -> &'static str {
        match self {
            Self::Provider(provider) => provider.as_str(),
            Self::Gateway(gateway) => gateway.as_str(),
        }
    }

    fn variables(self) -> Variables {
        match self {
            Self::Provider(Provider::OpenAi | Provider::OpenAiChat) => OPENAI,
            Self::Provider(Provider::Anthropic) => ANTHROPIC,
            Self::Provider(Provider::Google) => GOOGLE,
            Self::Gateway(Gateway::Vercel) => VERCEL,
            Self::Gateway(Gateway::OpenRouter) => OPENROUTER,
        }
    }

    /// Servers that speak OpenAI's protocols often need no key.
    fn may_need_no_key(self) -> bool {
        matches!(self, Self::Provider(Provider::OpenAi | Provider::OpenAiChat))
    }

    /// The variables of which one is missing.
    pub(in crate::model) fn key_variables(self) -> Vec<&'static str> {
        let Variables { keys, token, .. } = self.variables();
        keys.iter().copied().chain(token).collect()
    }
}

/// A variable's value; blanks around it are left out, and a variable without a value is none.
pub(super) fn read(env: Option<&Env>, name: &str) -> Option<String> {
    let value = env?(name)?;
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Who can be reached. What is wrong with what was declared is added to the problems, what is unwise to the warnings.
pub(super) fn all(
    keys: &[(String, Secret)],
    base_urls: &[(String, String)],
    env: Option<&Env>,
    problems: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Vec<(Via, Access)> {
    let given = keys.iter().map(|(of, _)| of).chain(base_urls.iter().map(|(of, _)| of));
    for of in given.filter(|of| !Via::ALL.iter().any(|via| via.as_str() == of.as_str())) {
        let known = Via::ALL.map(Via::as_str).join(", ");
        problems.push(format!(
            "a key or an address is given for {of:?}, which is no provider or gateway: {known}"
        ));
    }
    let empty = keys.iter().filter(|(_, key)| key.expose().trim().is_empty());
    problems.extend(empty.map(|(of, _)| format!("the key of {of:?} is empty")));
    let mut found = Vec::new();
    for via in Via::ALL {
        let variables = via.variables();
        let key = last(keys, via.as_str());
        let declared_url = last(base_urls, via.as_str());
        // `openai-chat` goes where `openai` goes, unless it has an address of its own: then it shares nothing with that one.
        let chat = via == Via::Provider(Provider::OpenAiChat);
        let is_apart = chat && declared_url.is_some();
        let shared =
            |own: Option<Secret>| own.or_else(|| (chat && !is_apart).then(|| last(keys, Provider::OpenAi.as_str()))?);
        let declared_key = shared(key);
        let env = env.filter(|_| !is_apart);
        let read_key = || variables.keys.iter().find_map(|name| read(env, name)).map(Secret::new);
        let key = declared_key.or_else(read_key);
        let (url, from) = match declared_url {
            Some(url) => (Some(url), format!("the address of {:?}", via.as_str())),
            None => {
                let shared = chat.then(|| last(base_urls, Provider::OpenAi.as_str())).flatten();
                let name = variables.base_url.unwrap_or_default();
                (shared.or_else(|| read(env, name)), name.to_owned())
            }
        };
        // What `openai-chat` shares with `openai` was checked and told there.
        let is_told = chat && !is_apart;
        let base_url = url.and_then(|url| match base_url::check(&url) {
            Ok((url, is_readable)) => {
                let warning = format!("{from}: keys and messages are sent to {url} unencrypted");
                warnings.extend((is_readable && !is_told).then_some(warning));
                Some(url)
            }
            Err(what) => {
                let problem = format!("{from} is no address of a provider: {what}");
                problems.extend((!is_told).then_some(problem));
                None
            }
        });
        let mut headers: Vec<(String, String)> = Vec::new();
        let named = variables.headers.iter();
        headers.extend(named.filter_map(|(name, header)| Some(((*header).to_owned(), read(env, name)?))));
        let token = variables
            .token
            .filter(|_| key.is_none())
            .and_then(|name| read(env, name));
        let has_token = token.is_some();
        headers.extend(token.map(|token| ("authorization".to_owned(), format!("Bearer {token}"))));
        if key.is_some() || has_token || (base_url.is_some() && via.may_need_no_key()) {
            found.push((via, Access { key, base_url, headers }));
        }
    }
    found
}

/// What was declared last wins.
fn last<T: Clone>(given: &[(String, T)], of: &str) -> Option<T> {
    given
        .iter()
        .rev()
        .find(|(name, _)| name == of)
        .map(|(_, value)| value.clone())
}
