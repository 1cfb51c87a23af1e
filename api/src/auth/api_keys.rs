//! API keys: long random texts of which the server knows SHA-256 digests only.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::api_key::ApiKey;
use super::key_file::{self, Found, Stamp};
use super::{AuthError, Authenticate, Identity, bearer_token};

/// Most keys.
pub(super) const KEYS_MAX: usize = 10_000;
/// How old what is known of the file may be when a call comes.
const FILE_AGE_MAX: Duration = Duration::from_secs(5);

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

pub(super) struct Known {
    pub(super) key: ApiKey,
    pub(super) digest: [u8; 32],
}

/// The file that the keys come from, and how it looked when it was last read.
struct Watched {
    path: PathBuf,
    seen: tokio::sync::Mutex<(Instant, Stamp)>,
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
        let Found { keys, stamp } = key_file::read(&path)?;
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
        let read = move || match key_file::read_if_changed(&path, stamp)? {
            Some(Found { keys, stamp }) => Ok(Some((known(keys)?, stamp))),
            None => Ok::<_, ApiKeyError>(None),
        };
        let Ok(read) = tokio::task::spawn_blocking(read).await else {
            return; // the runtime ends
        };
        let stamp = match read {
            Ok(None) => stamp,
            Ok(Some((keys, stamp))) => {
                tracing::info!(keys = keys.len(), "the file of API keys was read again");
                *self.set.write() = keys;
                stamp
            }
            Err(error) => {
                tracing::error!(%error, "the API keys are those of before");
                stamp
            }
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

pub(super) fn known(keys: Vec<ApiKey>) -> Result<Vec<Known>, ApiKeyError> {
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

pub(super) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
