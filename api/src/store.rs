//! Where a server keeps everything. What is kept is the engine's and the log's; a store says what it can keep, and opens it.

mod local;
mod profile;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use flowstate_engine::EngineOpenError;
use flowstate_log::Storage;
use futures_util::future::BoxFuture;

pub use local::{fjall, lsm, memory};
pub(crate) use profile::{DEFAULT, Profiles, VARIABLE, choose};
pub use profile::{Profile, Slot};

/// Something that can keep what slots of a profile keep. It may be anywhere: nothing assumes a folder on this machine.
pub trait StoreAdapter: Send + Sync + 'static {
    /// What it is called in diagnostics.
    fn name(&self) -> &str;

    /// The slots that it can back.
    fn slots(&self) -> &[Slot];

    /// What the log of the `primary` slot is opened with. Called when the server is first needed, and again if opening failed. It is
    /// called for the active profile only.
    fn realise(&self) -> BoxFuture<'_, Result<Storage, EngineOpenError>>;

    /// Gives back what it holds. Called once when the server is disposed of, whether or not it was ever realised.
    fn dispose(&self) -> BoxFuture<'_, Result<(), Box<dyn Error + Send + Sync>>> {
        Box::pin(async { Ok(()) })
    }
}

/// A place to keep everything in. Clones are the same place.
#[derive(Clone)]
pub struct Store(Arc<dyn StoreAdapter>);

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.0.name())
    }
}

impl Store {
    /// The store that an adapter gives.
    pub fn new(adapter: impl StoreAdapter) -> Self {
        Self(Arc::new(adapter))
    }

    /// The log with options of the caller's own: another disk, other bounds.
    pub fn with(storage: impl Into<Storage>) -> Self {
        local::with(storage.into())
    }

    pub(crate) fn adapter(&self) -> &dyn StoreAdapter {
        &*self.0
    }

    pub(crate) fn backs(&self, slot: Slot) -> bool {
        self.0.slots().contains(&slot)
    }

    /// Whether both are the same place, not only alike.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
