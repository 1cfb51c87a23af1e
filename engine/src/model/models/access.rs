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

/// What is declared of keys and addresses, and where variables are read.
pub(super) struct Declared<'m> {
    pub(super) keys: &'m [(String, Secret)],
    pub(super) base_urls: &'m [(String, String)],
    pub(super) env: Option<&'m Env>,
}

/// What is wrong with what was declared, and what is unwise.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Declared<'_> {
    /// Who can be reached.
    pub(super) fn access(&self, findings: &mut Findings) -> Vec<(Via, Access)> {
        let given = self
            .keys
            .iter()
            .map(|(of, _)| of)
            .chain(self.base_urls.iter().map(|(of, _)| of));
        for of in given.filter(|of| !Via::ALL.iter().any(|via| via.as_str() == of.as_str())) {
            let known = Via::ALL.map(Via::as_str).join(", ");
            findings.problems.push(format!(
                "a key or an address is given for {of:?}, which is no provider or gateway: {known}"
            ));
        }
        let empty = self.keys.iter().filter(|(_, key)| key.expose().trim().is_empty());
        findings
            .problems
            .extend(empty.map(|(of, _)| format!("the key of {of:?} is empty")));
        let mut found: Vec<(Via, Access)> = Vec::new();
        for via in Via::ALL {
            let chat = via == Via::Provider(Provider::OpenAiChat);
            let is_apart = last(self.base_urls, via.as_str()).is_some();
            let access = match chat && !is_apart {
                true => self.shared(
                    via,
                    found
                        .iter()
                        .find(|(known, _)| *known == Via::Provider(Provider::OpenAi)),
                ),
                // With an address of its own it is another server, which is told nothing that is OpenAI's.
                false => self.own(via, self.env.filter(|_| !chat), findings),
            };
            found.extend(access.map(|access| (via, access)));
        }
        found
    }

    /// What another one has, but for the key if it has its own.
    fn shared(&self, via: Via, other: Option<&(Via, Access)>) -> Option<Access> {
        match (other, last(self.keys, via.as_str())) {
            (Some((_, access)), key) => Some(Access {
                key: key.or_else(|| access.key.clone()),
                ..access.clone()
            }),
            (None, Some(key)) => Some(Access {
                key: Some(key),
                base_url: None,
                headers: Vec::new(),
            }),
            (None, None) => None,
        }
    }

    fn own(&self, via: Via, env: Option<&Env>, findings: &mut Findings) -> Option<Access> {
        let variables = via.variables();
        let read_key = || variables.keys.iter().find_map(|name| read(env, name)).map(Secret::new);
        let key = last(self.keys, via.as_str()).or_else(read_key);
        let named = |name: &'static str| Some((read(env, name)?, name.to_owned()));
        let declared =
            last(self.base_urls, via.as_str()).map(|url| (url, format!("the address of {:?}", via.as_str())));
        let url = declared.or_else(|| variables.base_url.and_then(named));
        let base_url = url.and_then(|(url, from)| match base_url::check(&url) {
            Ok((url, is_readable)) => {
                let warning = format!("{from}: keys and messages are sent to {url} unencrypted");
                findings.warnings.extend(is_readable.then_some(warning));
                Some(url)
            }
            Err(what) => {
                findings
                    .problems
                    .push(format!("{from} is no address of a provider: {what}"));
                None
            }
        });
        let set = variables
            .headers
            .iter()
            .filter_map(|(name, header)| Some(((*header).to_owned(), read(env, name)?)));
        let mut headers: Vec<(String, String)> = set.collect();
        let token = variables
            .token
            .filter(|_| key.is_none())
            .and_then(|name| read(env, name));
        let is_known = key.is_some() || token.is_some();
        headers.extend(token.map(|token| ("authorization".to_owned(), format!("Bearer {token}"))));
        let needs_no_key = base_url.is_some() && via.may_need_no_key();
        (is_known || needs_no_key).then_some(Access { key, base_url, headers })
    }
}

/// What was declared last wins.
fn last<T: Clone>(given: &[(String, T)], of: &str) -> Option<T> {
    let last = given.iter().rev().find(|(name, _)| name == of);
    last.map(|(_, value)| value.clone())
}
