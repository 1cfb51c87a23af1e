//! JSON Web Tokens: signatures by keys that were given as text, claims that were asked for. Nothing is fetched.

mod keys;
mod verify;

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use axum::http::request::Parts;
use futures_util::future::{BoxFuture, ready};
use jsonwebtoken::{Validation, decode_header};
use serde_json::{Map, Value};

use self::keys::Key;
use super::{AuthError, Authenticate, Identity, bearer_token};

/// Most keys: a token that names none is tried with all keys of its algorithm.
const KEYS_MAX: usize = 32;

/// How a token is signed. A key is for one of them: a token that says another is not tried with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names of RFC 7518 and RFC 8037
pub enum JwtAlgorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// Why a [`Jwt`] can't be set up so.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// A key is not what it should be.
    #[error("the key for {algorithm:?}: {reason}")]
    Key {
        /// What it was given for.
        algorithm: JwtAlgorithm,
        /// What is wrong with it.
        reason: String,
    },
    /// A key set is none, or has no key that is for signatures by an algorithm that was named.
    #[error("the key set: {0}")]
    KeySet(String),
    /// There are too many.
    #[error("there are more than {KEYS_MAX} keys")]
    TooMany,
}

/// Calls with a JSON Web Token: `authorization: Bearer eyJ…`. The user is the claim `sub`. Tokens need `exp`; `nbf` counts if there is one.
/// A token that is for an audience needs [`Jwt::audience`] to name it.
#[derive(Clone)]
pub struct Jwt {
    keys: Vec<Key>,
    audiences: Vec<String>,
    issuers: Vec<String>,
    tenant: String,
    projects: String,
    operator: Option<(String, String)>,
    leeway: Duration,
}

impl Default for Jwt {
    fn default() -> Self {
        Self::new()
    }
}

impl Jwt {
    /// No keys: nobody is let in.
    pub fn new() -> Self {
        Self {
            keys: Vec::new(),
            audiences: Vec::new(),
            issuers: Vec::new(),
            tenant: "tenant".to_owned(),
            projects: "projects".to_owned(),
            operator: None,
            leeway: Duration::from_secs(30),
        }
    }

    /// A secret that is shared with who signs: for `HS256`, `HS384`, `HS512`, of at least as many bytes as the hash has.
    pub fn secret(self, algorithm: JwtAlgorithm, secret: &[u8]) -> Result<Self, JwtError> {
        let key = Key::secret(algorithm, secret)?;
        self.with([key])
    }

    /// The public key of who signs, in PEM.
    pub fn pem(self, algorithm: JwtAlgorithm, pem: &str) -> Result<Self, JwtError> {
        let key = Key::pem(algorithm, pem)?;
        self.with([key])
    }

    /// A JSON Web Key Set, as text: its public keys for signatures by these algorithms. Others in it are left alone.
    pub fn jwks(self, algorithms: &[JwtAlgorithm], jwks: &str) -> Result<Self, JwtError> {
        let keys = keys::set(algorithms, jwks)?;
        self.with(keys)
    }

    /// Tokens must have been made for this audience, or for another that is named so.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Tokens must come from this issuer, or from another that is named so.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuers.push(issuer.into());
        self
    }

    /// The claim that names the tenant; `tenant` without this. A token without it is of the tenant "".
    #[must_use]
    pub fn tenant_claim(mut self, name: impl Into<String>) -> Self {
        self.tenant = name.into();
        self
    }

    /// The claim that lists the projects; `projects` without this. A token without it has none.
    #[must_use]
    pub fn projects_claim(mut self, name: impl Into<String>) -> Self {
        self.projects = name.into();
        self
    }

    /// Who runs the server has this value in this claim, alone or in a list. Without this, no token is theirs.
    #[must_use]
    pub fn operator_claim(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.operator = Some((name.into(), value.into()));
        self
    }

    /// How far the clock of who signs may be off; 30 s without this.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    fn with(mut self, keys: impl IntoIterator<Item = Key>) -> Result<Self, JwtError> {
        verify::install();
        self.keys.extend(keys);
        match self.keys.len() {
            ..=KEYS_MAX => Ok(self),
            _ => Err(JwtError::TooMany),
        }
    }

    fn identity(&self, token: &str) -> Option<Identity> {
        let header = decode_header(token).ok()?;
        // Extensions that must be understood are not.
        if header.crit.is_some() {
            return None;
        }
        let fits = |key: &&Key| {
            let named = key.id.is_none() || header.kid.is_none() || key.id == header.kid;
            key.algorithm == header.alg && named
        };
        let claims = self.keys.iter().filter(fits).find_map(|key| {
            let token = jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &self.validation(key));
            token.ok().map(|token| token.claims)
        })?;
        let text = |name: &str| match claims.get(name) {
            None | Some(Value::Null) => Some(""),
            Some(value) => value.as_str(),
        };
        let seconds = Duration::try_from_secs_f64(claims.get("exp")?.as_f64()?).ok()?;
        let projects = match claims.get(&self.projects) {
            None | Some(Value::Null) => BTreeSet::new(),
            Some(Value::Array(projects)) => projects
                .iter()
                .map(|project| project.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
            Some(_) => return None,
        };
        let is_operator = self
            .operator
            .as_ref()
            .is_some_and(|(name, value)| match claims.get(name) {
                Some(Value::String(text)) => text == value,
                Some(Value::Array(texts)) => texts.iter().any(|text| text == value),
                _ => false,
            });
        Some(Identity {
            projects,
            is_operator,
            expires: Some(UNIX_EPOCH.checked_add(seconds.checked_add(self.leeway)?)?),
            ..Identity::new(text(&self.tenant)?, text("sub")?)
        })
    }

    fn validation(&self, key: &Key) -> Validation {
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if !self.audiences.is_empty() {
            validation.set_audience(&self.audiences);
            required.push("aud");
        }
        if !self.issuers.is_empty() {
            validation.set_issuer(&self.issuers);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

impl Authenticate for Jwt {
    fn authenticate<'a>(&'a self, call: &'a Parts) -> BoxFuture<'a, Result<Identity, AuthError>> {
        let identity = bearer_token(call).and_then(|token| self.identity(token));
        Box::pin(ready(identity.ok_or(AuthError::Refused)))
    }
}
