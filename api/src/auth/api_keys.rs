//! API keys: long random texts of which the server knows SHA-256 digests only.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::key_file::{self, Stamp};
use super::{AuthError, Authenticate, Identity, bearer_token};

/// What keys begin with, so that a scanner for leaked secrets knows one when it sees it.
const PREFIX: &str = "fsk_";
/// Random bytes of a key.
const KEY_BYTES: usize = 32;
/// Most keys.
pub(super) const KEYS_MAX: usize = 10_000;
/// How old what is known of the file may be when a call comes.
const FILE_AGE_MAX: Duration = Duration::from_secs(5);

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

/// Why there are no such keys.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// A key is none.
    #[error("the key {name:?}: {reason}")]
    Key {
        /// What it is called.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There are too many.
    #[error("there are more than {KEYS_MAX} keys")]
    TooMany,
    /// The file can't be used.
    #[error("the file of keys {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Calls with an API key: `authorization: Bearer fsk_…`. Cheap to clone; all clones are one set, in which keys can be added and removed while
/// the server runs.
#[derive(Clone, Default)]
pub struct ApiKeys {
    set: Arc<RwLock<Vec<Known>>>,
    file: Option<Arc<Watched>>,
}

struct Known {
    key: ApiKey,
    digest: [u8; 32],
}

/// The file that the keys come from, and how it looked when it was last read.
struct Watched {
    path: PathBuf,
    seen: tokio::sync::Mutex<(Instant, Option<Stamp>)>,
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

    fn identity(&self) -> Identity {
        Identity {
            projects: self.projects.clone(),
            is_operator: self.operator,
            ..Identity::new(&*self.tenant, &*self.user)
        }
    }

    fn known(self) -> Result<Known, ApiKeyError> {
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

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.set.read().iter().map(|known| &known.key))
            .finish()
    }
}

impl ApiKeys {
    /// No keys: nobody is let in.
    pub fn new() -> Self {
        Self::default()
    }

    /// The keys of a JSON file: `{"keys": [{"name", "hash", "tenant", "user", "projects", "operator"}]}`. It may be readable by its owner
    /// only. It is looked at again while the server runs, so that a key that is added or removed there is known within 5 seconds; a file
    /// that has become unusable changes nothing but the server's diagnostics.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, ApiKeyError> {
        let path = path.into();
        let (keys, stamp) = key_file::read(&path, None)?.unwrap_or_default();
        let watched = Watched {
            path,
            seen: tokio::sync::Mutex::new((Instant::now(), stamp)),
        };
        Ok(Self {
            set: Arc::new(RwLock::new(known(keys)?)),
            file: Some(Arc::new(watched)),
        })
    }

    /// Adds a key. Its name and its hash must be new.
    pub fn add(&self, key: ApiKey) -> Result<(), ApiKeyError> {
        let mut set = self.set.write();
        let keys = set.iter().map(|known| known.key.clone()).chain([key]).collect();
        *set = known(keys)?;
        Ok(())
    }

    /// Removes the key that is called so; what it opened ends within half a minute. Whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        let mut set = self.set.write();
        let before = set.len();
        set.retain(|known| known.key.name != name);
        set.len() < before
    }

    /// Whose text this is. Every key is compared, and each in full, so that how long it takes says nothing about any of them.
    fn find(&self, text: &str) -> Option<Identity> {
        let given = digest(text);
        let set = self.set.read();
        let mut found = None;
        for known in set.iter() {
            if bool::from(known.digest.ct_eq(&given)) {
                found = Some(known);
            }
        }
        found.map(|known| known.key.identity())
    }

    /// Reads the file again if it may have changed.
    async fn refresh(&self, watched: &Arc<Watched>) {
        // Whoever comes while it is read waits: a key that was removed is not let in by an accident of order.
        let mut seen = watched.seen.lock().await;
        let (at, stamp) = *seen;
        if at.elapsed() < FILE_AGE_MAX {
            return;
        }
        let path = watched.path.clone();
        let read = tokio::task::spawn_blocking(move || key_file::read(&path, stamp)).await;
        let stamp = match read {
            Ok(Ok(None)) => stamp,
            Ok(Ok(Some((keys, stamp)))) => match known(keys) {
                Ok(keys) => {
                    tracing::info!(keys = keys.len(), "the file of API keys was read again");
                    *self.set.write() = keys;
                    stamp
                }
                Err(error) => {
                    tracing::error!(%error, "the API keys are those of before");
                    stamp
                }
            },
            Ok(Err(error)) => {
                tracing::error!(%error, "the API keys are those of before");
                stamp
            }
            Err(_) => return, // the runtime ends
        };
        *seen = (Instant::now(), stamp);
    }
}

impl Authenticate for ApiKeys {
    fn authenticate<'a>(&'a self, call: &'a Parts) -> BoxFuture<'a, Result<Identity, AuthError>> {
        async move {
            if let Some(watched) = &self.file {
                self.refresh(watched).await;
            }
            bearer_token(call)
                .and_then(|text| self.find(text))
                .ok_or(AuthError::Refused)
        }
        .boxed()
    }
}

fn known(keys: Vec<ApiKey>) -> Result<Vec<Known>, ApiKeyError> {
    if keys.len() > KEYS_MAX {
        return Err(ApiKeyError::TooMany);
    }
    let (mut names, mut digests) = (BTreeSet::new(), BTreeSet::new());
    let mut set = Vec::with_capacity(keys.len());
    for key in keys {
        let known = key.known()?;
        if !names.insert(known.key.name.clone()) || !digests.insert(known.digest) {
            return Err(ApiKeyError::Key {
                name: known.key.name,
                reason: "its name or its hash is another key's too".to_owned(),
            });
        }
        set.push(known);
    }
    Ok(set)
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
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
