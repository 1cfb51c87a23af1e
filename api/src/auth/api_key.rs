//! One API key: a long random text for its owner, and what the server keeps of it.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Identity;
use super::api_keys::{ApiKeyError, Known, digest};

/// What keys begin with, so that a scanner for leaked secrets knows one when it sees it.
const PREFIX: &str = "fsk_";
/// Random bytes of a key.
const KEY_BYTES: usize = 32;

/// What the server knows of a key: whose it is, and its digest.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// What operators call it. Different for each key.
    pub name: String,
    /// SHA-256 of the key's text, in 64 hexadecimal digits.
    pub hash: String,
    /// The tenant; empty if there is one only.
    #[serde(default)]
    pub tenant: String,
    /// Whose key it is.
    pub user: String,
    /// The projects that the user may name.
    #[serde(default)]
    pub projects: BTreeSet<String>,
    /// Whether it is for who runs the server.
    #[serde(default)]
    pub operator: bool,
}

impl ApiKey {
    /// A new key of `identity`, and its text, which is nowhere else: give it away and forget it.
    pub fn generate(name: impl Into<String>, identity: &Identity) -> Result<(Self, String), ApiKeyError> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(|_| ApiKeyError::Random)?;
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let key = Self {
            name: name.into(),
            hash: hex(&digest(&text)),
            tenant: identity.tenant.clone(),
            user: identity.user.clone(),
            projects: identity.projects.clone(),
            operator: identity.is_operator,
        };
        Ok((key, text))
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            projects: self.projects.clone(),
            is_operator: self.operator,
            ..Identity::new(&*self.tenant, &*self.user)
        }
    }

    pub(super) fn known(self) -> Result<Known, ApiKeyError> {
        let wrong = |reason: &str| ApiKeyError::Key {
            name: self.name.clone(),
            reason: reason.to_owned(),
        };
        if self.name.is_empty() {
            return Err(wrong("it has no name"));
        }
        if let Some(problem) = self.identity().problem() {
            return Err(wrong(problem));
        }
        let digest = unhex(&self.hash).ok_or_else(|| wrong("its hash is not 64 hexadecimal digits"))?;
        Ok(Known { digest, key: self })
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("name", &self.name)
            .field("tenant", &self.tenant)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}
