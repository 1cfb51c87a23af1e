//! Why a server could not be built, opened or served.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use flowstate_engine::EngineOpenError;
use flowstate_log::PoisonReason;

/// What is wrong with how a server is put together: all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server can't be built: {}", problems.join("; "))]
pub struct BuildError {
    /// Everything that is wrong.
    pub problems: Vec<String>,
}

/// Why a server is not ready. What could not be opened is opened anew by the next call that needs it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadyError {
    /// The store, or what it holds, could not be opened.
    #[error(transparent)]
    Open(Arc<EngineOpenError>),
    /// The server was disposed of: it is not opened again.
    #[error("the server was disposed of")]
    Disposed,
}

impl From<EngineOpenError> for ReadyError {
    fn from(error: EngineOpenError) -> Self {
        Self::Open(Arc::new(error))
    }
}

/// Why a server ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can't be listened on.
    #[error("can't listen: {0}")]
    Listen(io::Error),
    /// The address can be reached from elsewhere, and nobody is asked for a credential.
    #[error(
        "{0} can be reached from other machines, and nobody is asked for a credential: call authenticate(), or allow_unauthenticated_public() \
         if something in front of it keeps strangers out"
    )]
    Exposed(SocketAddr),
    /// Signals can't be received.
    #[error("signals can't be received: {0}")]
    Signals(io::Error),
    /// It could not be opened.
    #[error(transparent)]
    Ready(#[from] ReadyError),
    /// The log failed.
    #[error("nothing more can be stored: {0}")]
    Poisoned(PoisonReason),
}
