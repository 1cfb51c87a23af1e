//! What the application around an engine is told: of blocks that fail, and of runs that go on behind an answer. It observes; what it does
//! wrong is logged and changes nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::error::BlockError;
use crate::exec::panic_message;
use crate::item::Phase;
use crate::record::BlockKind;

/// Is told of every attempt of a block that fails.
pub trait ErrorSink: Send + Sync + 'static {
    /// Called once for each failing attempt, with the block in which the error came up and not again for those around it; also if the
    /// attempt is repeated or the error rescued. Not called for input that is not valid, nor for what is run again from records. It is called
    /// where the block runs: what takes long belongs in a task.
    fn capture(&self, failure: &CapturedError<'_>);
}

impl<F: Fn(&CapturedError<'_>) + Send + Sync + 'static> ErrorSink for F {
    fn capture(&self, failure: &CapturedError<'_>) {
        self(failure);
    }
}

/// An attempt of a block that failed, and whose it was.
#[derive(Debug, Clone)]
pub struct CapturedError<'a> {
    /// What it failed with.
    pub error: &'a BlockError,
    /// The request's id.
    pub request: &'a str,
    /// Kind of the flow.
    pub flow: &'a str,
    /// The action.
    pub action: &'a str,
    /// Who asked.
    pub user: &'a str,
    /// The session's id.
    pub session: &'a str,
    /// The session's project.
    pub project: Option<&'a str>,
    /// Name of the block.
    pub block: &'a str,
    /// What it is.
    pub kind: BlockKind,
    /// Id of the block instance.
    pub instance: String,
    /// Where it stands: `root/then[0]`.
    pub path: &'a str,
    /// How often it was tried before, from 0.
    pub attempt: u32,
    /// Whether it is part of the chain or runs beside it.
    pub scope: Phase,
    /// Whether the same may succeed later.
    pub transient: bool,
}

/// Is given a future that ends when a run has.
pub(crate) type OnBackgroundWork = dyn Fn(BoxFuture<'static, ()>) + Send + Sync;

/// Who is told.
#[derive(Default, Clone)]
pub(crate) struct Host {
    pub(crate) errors: Option<Arc<dyn ErrorSink>>,
    pub(crate) background: Option<Arc<OnBackgroundWork>>,
}

/// A run goes on for as long as this is there.
pub(crate) struct KeptAlive {
    _ends: Option<oneshot::Sender<()>>,
}

impl Host {
    pub(crate) fn capture<'a>(&self, failure: impl FnOnce() -> CapturedError<'a>) {
        let Some(errors) = &self.errors else { return };
        let captured = catch_unwind(AssertUnwindSafe(|| errors.capture(&failure())));
        swallow("an error sink panicked", captured);
    }

    /// Tells of a run that goes on until what is returned is dropped.
    pub(crate) fn keep_alive(&self) -> KeptAlive {
        let ends = self.background.as_ref().map(|background| {
            let (ends, ended) = oneshot::channel();
            let told = catch_unwind(AssertUnwindSafe(|| background(ended.map(|_| ()).boxed())));
            swallow("what is told of background work panicked", told);
            ends
        });
        KeptAlive { _ends: ends }
    }
}

fn swallow(what: &str, result: std::thread::Result<()>) {
    if let Err(panic) = result {
        tracing::error!(said = panic_message(&*panic), "{what}");
    }
}
