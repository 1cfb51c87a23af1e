//! A state operation on its way: what it gives, and the choice to wait for more than its place in the order.

use std::future::IntoFuture;

use flowstate_log::append::Target;
use flowstate_log::record::Subject;
use futures_util::future::BoxFuture;

use super::{StateError, StateProblem};
use crate::exec::Ctx;
use crate::record::{ResourceAt, ScopeKind, StateChanged};

/// What became of a state operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written<T> {
    /// It was appended.
    Changed {
        /// What it left, as this request sees it.
        value: T,
        /// The state's version: the position of the record.
        version: u64,
    },
    /// The result is what was there, and nothing was appended.
    Unchanged {
        /// What was there.
        value: T,
        /// The version that was looked at, which was the latest.
        version: u64,
    },
}

impl<T> Written<T> {
    /// What it left.
    pub fn value(&self) -> &T {
        match self {
            Self::Changed { value, .. } | Self::Unchanged { value, .. } => value,
        }
    }

    /// What it left, by itself.
    pub fn into_value(self) -> T {
        match self {
            Self::Changed { value, .. } | Self::Unchanged { value, .. } => value,
        }
    }

    /// The state's version.
    pub fn version(&self) -> u64 {
        match self {
            Self::Changed { version, .. } | Self::Unchanged { version, .. } => *version,
        }
    }

    /// Whether anything was appended.
    pub fn is_changed(&self) -> bool {
        matches!(self, Self::Changed { .. })
    }
}

/// A state operation. Awaited, it returns when its record has its place in the order of everything; after
/// [`Write::durable`], when it survives a power cut, too. Nothing happens before it is awaited.
#[must_use = "nothing happens before it is awaited"]
pub struct Write<'a, T> {
    ctx: &'a Ctx,
    scope: ScopeKind,
    resource: Option<&'a str>,
    write: BoxFuture<'a, Result<Written<T>, StateError>>,
}

impl<'a, T> Write<'a, T> {
    pub(super) fn new(
        ctx: &'a Ctx,
        scope: ScopeKind,
        resource: Option<&'a str>,
        write: impl Future<Output = Result<Written<T>, StateProblem>> + Send + 'a,
    ) -> Self {
        let failed = move |problem| StateError {
            scope,
            resource: resource.map(str::to_owned),
            problem,
        };
        let write = async move { write.await.map_err(failed) };
        Self {
            ctx,
            scope,
            resource,
            write: Box::pin(write),
        }
    }

    /// Waits until it, and everything that the request appended before, is durable and visible to every reader.
    pub async fn durable(self) -> Result<Written<T>, StateError> {
        let written = self.write.await?;
        self.ctx.durable().await.map_err(|error| StateError {
            scope: self.scope,
            resource: self.resource.map(str::to_owned),
            problem: error.into(),
        })?;
        Ok(written)
    }
}

impl<'a, T> IntoFuture for Write<'a, T> {
    type Output = Result<Written<T>, StateError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.write
    }
}

/// A change to append.
pub(crate) struct ScopeWrite {
    pub(crate) change: StateChanged,
    pub(crate) subject: Subject,
    /// What clients are told beside the operation's name; of a live resource, what they see of it then.
    pub(crate) path: Option<String>,
    pub(crate) delta: Option<serde_json::Value>,
    /// The user's or project's stream, if it is not the session's.
    pub(crate) stream: Option<Target>,
    /// The version that the state must have.
    pub(crate) under: Option<u64>,
    /// The resource whose state it is, if it is one's.
    pub(crate) of: Option<ResourceMark>,
}

/// Which resource a change is of.
pub(crate) struct ResourceMark {
    pub(crate) at: ResourceAt,
    /// Clients are told of it.
    pub(crate) is_shown: bool,
    /// Of an instance of a live collection: the version under which it is there.
    pub(crate) there: Option<(Subject, u64)>,
}
