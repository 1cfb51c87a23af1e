//! A declared resource or collection without its type.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use flowstate_log::record::Subject;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::client::ClientAccess;
use super::define::Eviction;
use super::hooks::Hooks;
use super::key::plain_prefix;
use super::pattern::Pattern;
use crate::error::BlockError;
use crate::exec::panic_message;
use crate::record::{ResourceAt, ScopeKind, collection_subject};
use crate::scope::{Fields, ScopeDef, StateProblem};
use crate::value::Val;

/// Longest name of a resource, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Most that clients are told of a live resource with each change, as JSON.
const LIVE_BYTES_MAX: usize = 256 << 10;
/// Largest file with a body.
const CONTENT_FILE_BYTES_MAX: u64 = 16 << 20;

/// Makes what readers get, of a body and the typed state.
pub(crate) type Render = Arc<dyn Fn(String, Val) -> BoxFuture<'static, Result<String, BlockError>> + Send + Sync>;

/// Makes what clients see of a typed state.
pub(crate) type Project = Arc<dyn Fn(Val) -> Result<Value, BlockError> + Send + Sync>;

/// See the module.
pub(crate) struct ResourceDef {
    pub(crate) name: String,
    pub(crate) state: ScopeDef,
    /// Its body until one is written.
    pub(crate) body: Option<Arc<str>>,
    pub(crate) render: Option<Render>,
    pub(crate) read_only: bool,
    pub(crate) llm_readable: bool,
    pub(crate) llm_writable: bool,
    pub(crate) client: Option<ClientAccess>,
    pub(crate) client_data: Option<Project>,
    pub(crate) is_collection: bool,
    /// `None` also for a collection with a pattern that is none, which no flow can have.
    pub(crate) collection: Option<CollectionDef>,
    pub(super) identity: Identity,
    /// What is wrong with it; reported when a flow with it is built.
    pub(super) problems: Vec<String>,
}

pub(crate) struct CollectionDef {
    pub(crate) pattern: Pattern,
    pub(crate) max: Option<NonZeroUsize>,
    pub(crate) eviction: Eviction,
    pub(crate) hooks: Hooks,
}

impl CollectionDef {
    /// Why a collection of this name can't be live. Clients find the collection of a key by its name, and what differs of the key behind that.
    pub(super) fn live_problem(&self, name: &str, client: ClientAccess) -> Option<&'static str> {
        if !client.read_state {
            return Some(
                "clients can't be told of instances that they may not list: a live collection needs `read_state`",
            );
        }
        let is_found = self.pattern.literal_prefix().strip_suffix('/') == Some(name);
        (!is_found).then_some("the keys of a live collection begin with its name: `files` has `files/*` or `files/**`")
    }
}

/// The body that a definition says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Initial {
    #[default]
    None,
    Text(Arc<str>),
    File(PathBuf),
}

impl Initial {
    pub(super) fn read(&self) -> Result<Option<Arc<str>>, String> {
        let path = match self {
            Self::None => return Ok(None),
            Self::Text(text) => return Ok(Some(text.clone())),
            Self::File(path) => path,
        };
        let unreadable = |why: String| format!("its content file {} can't be read: {why}", path.display());
        let bytes = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if bytes > CONTENT_FILE_BYTES_MAX {
            return Err(unreadable(format!(
                "it has {bytes} bytes, at most {CONTENT_FILE_BYTES_MAX} are allowed"
            )));
        }
        let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        Ok(Some(text.into()))
    }
}

/// What two declarations of one name must agree on. Functions are the same if they are the same code.
#[derive(PartialEq)]
pub(crate) struct Identity {
    pub(super) state_type: TypeId,
    pub(super) initial: Fields,
    /// Whether there are any, and the fields that they leave alone.
    pub(super) rules: (bool, BTreeSet<String>),
    pub(super) content: Initial,
    pub(super) render: Option<TypeId>,
    pub(super) flags: [bool; 3],
    pub(super) client: Option<ClientAccess>,
    pub(super) client_data: Option<TypeId>,
    #[allow(clippy::type_complexity)] // compared only
    pub(super) collection: Option<(String, Option<usize>, Eviction, [Option<TypeId>; 3])>,
}

impl ResourceDef {
    /// What this and another declaration of the name say differently; `None` if they are one.
    pub(crate) fn conflict(&self, other: &Self) -> Option<&'static str> {
        let (one, two) = (&self.identity, &other.identity);
        [
            (
                one.collection.is_some() == two.collection.is_some(),
                "one is a collection",
            ),
            (one.collection == two.collection, "its pattern, cap, eviction or hooks"),
            (one.state_type == two.state_type, "the type of its state"),
            (one.initial == two.initial, "what its state begins as"),
            (one.rules == two.rules, "the rules of its state"),
            (one.content == two.content, "its body to begin with"),
            (one.render == two.render, "how its body is rendered"),
            (one.flags == two.flags, "who may read and write it"),
            (one.client == two.client, "what clients may do with it"),
            (one.client_data == two.client_data, "what clients see of its state"),
        ]
        .into_iter()
        .find_map(|(same, what)| (!same).then_some(what))
    }

    /// Whether a state is of the declared type.
    pub(crate) fn is_of(&self, state: TypeId) -> bool {
        self.identity.state_type == state
    }

    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Which one it is, in a scope whose flows share it or not.
    pub(crate) fn at(&self, scope: ScopeKind, flow: Option<String>, key: Option<String>, of: u64) -> ResourceAt {
        ResourceAt {
            scope,
            flow,
            resource: self.family().to_owned(),
            key,
            of,
        }
    }

    /// What it is recorded as: a collection by its pattern, so that with another pattern it is another one.
    pub(crate) fn family(&self) -> &str {
        let pattern = self.collection.as_ref().map(|collection| collection.pattern.as_str());
        pattern.unwrap_or(&self.name)
    }

    /// What the keys of instances begin with that a caller asks for with `prefix`, written as keys are.
    pub(crate) fn list_prefix(&self, prefix: Option<&str>) -> String {
        let literal = self
            .collection
            .as_ref()
            .map_or("", |collection| collection.pattern.literal_prefix());
        [literal, &plain_prefix(prefix.unwrap_or_default())].concat()
    }

    /// Subject of what makes and deletes instances.
    pub(crate) fn instances_subject(&self, at: &ResourceAt) -> Subject {
        collection_subject(at, self.max().is_some())
    }

    pub(crate) fn max(&self) -> Option<NonZeroUsize> {
        self.collection.as_ref().and_then(|collection| collection.max)
    }

    pub(crate) fn eviction(&self) -> Eviction {
        self.collection
            .as_ref()
            .map_or(Eviction::None, |collection| collection.eviction)
    }

    pub(crate) fn hooks(&self) -> Option<&Hooks> {
        self.collection.as_ref().map(|collection| &collection.hooks)
    }

    /// What an instance begins as: valid, with every field.
    pub(crate) fn beginning(&self, initial: Option<Fields>) -> Result<Fields, StateProblem> {
        let state = match initial {
            None => self.state.initial.clone(),
            // A field that it leaves out is none, whatever the definition begins it as.
            Some(initial) => {
                let nothing = self.state.initial.keys().map(|field| (field.clone(), Value::Null));
                nothing.chain(initial).collect()
            }
        };
        self.state.check_whole(&state)?;
        Ok(state)
    }

    /// What clients see of a state; `None` if nothing. The function is not ours: it may fail, and panic.
    pub(crate) fn projected(&self, state: &Fields) -> Option<Result<Value, String>> {
        let project = self.client_data.as_ref()?;
        let state = match self.state.typed(state)? {
            Ok(state) => state,
            Err(message) => return Some(Err(message)),
        };
        let made = catch_unwind(AssertUnwindSafe(|| project(state)));
        Some(match made {
            Ok(made) => made.map_err(|error| error.to_string()),
            Err(panic) => Err(format!("it panicked: {}", panic_message(&*panic))),
        })
    }

    /// Whether clients are told what its state became.
    pub(crate) fn is_live(&self) -> bool {
        self.client.is_some_and(|client| client.live)
    }

    /// What clients are told that a state is; `None` if they are told nothing. What can't be told keeps no change from being made.
    pub(crate) fn live_data(&self, state: &Fields) -> Option<Value> {
        if !self.is_live() {
            return None;
        }
        let made = self.projected(state)?.and_then(|made| {
            let bytes = serde_json::to_vec(&made).map_err(|error| error.to_string())?.len();
            match bytes <= LIVE_BYTES_MAX {
                true => Ok(made),
                false => Err(format!("it has {bytes} bytes, more than {LIVE_BYTES_MAX}")),
            }
        });
        match made {
            Ok(made) => Some(made),
            Err(error) => {
                tracing::warn!(resource = self.name, error, "clients are not told what it became");
                None
            }
        }
    }

    /// What readers get of a body.
    pub(crate) async fn rendered(&self, body: String, state: &Fields) -> Result<String, BlockError> {
        let Some(render) = &self.render else { return Ok(body) };
        let state = match self.state.typed(state) {
            Some(Ok(state)) => state,
            Some(Err(message)) => {
                let what = format!(
                    "the stored state of {:?} is not of the declared type: {message}",
                    self.name
                );
                return Err(BlockError::new("state_type", what));
            }
            None => return Ok(body),
        };
        render(body, state).await
    }
}

/// What is wrong with a name: it has to do as the key of a resource.
pub(super) fn name_problems(what: &str, name: &str) -> Vec<String> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut problems = Vec::new();
    if name.is_empty() || !name.chars().all(allowed) || name.chars().all(|c| c == '.') {
        problems.push(format!("{what}: a name has letters, digits, `_`, `-` and `.`"));
    }
    if name.len() > NAME_BYTES_MAX {
        problems.push(format!(
            "{what}: its name is {} bytes long; at most {NAME_BYTES_MAX} are allowed",
            name.len()
        ));
    }
    problems
}
