//! The servers that cases call: real processes, each with a folder and a socket.

use std::sync::Arc;

use flowstate_tests::process::Server;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::case::Ending;

/// The server under test.
const BINARY: &str = env!("CARGO_BIN_EXE_conformance-server");

/// A process that may be started again on its folder.
pub(crate) struct Process {
    folder: TempDir,
    arguments: &'static [&'static str],
    server: Mutex<Server>,
}

impl Process {
    pub(crate) fn start(arguments: &'static [&'static str]) -> Arc<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start(BINARY, folder.path(), arguments);
        Arc::new(Self {
            folder,
            arguments,
            server: Mutex::new(server),
        })
    }

    /// Where it listens, after a restart somewhere else.
    pub(crate) fn url(&self) -> String {
        self.server.lock().url.clone()
    }

    pub(crate) fn restart(&self, ending: Ending) {
        let mut server = self.server.lock();
        match ending {
            Ending::Kill => server.kill(),
            Ending::Term => {
                server.signal("TERM");
                assert!(server.wait().success(), "it ends as it is told");
            }
        }
        *server = Server::start(BINARY, self.folder.path(), self.arguments);
    }
}

/// The two that cases share, and how one's own is made.
pub(crate) struct Servers {
    pub(crate) whole: Arc<Process>,
    pub(crate) bare: Arc<Process>,
}

impl Servers {
    pub(crate) fn start() -> Self {
        Self {
            whole: Process::start(&[]),
            bare: Process::start(&["--bare"]),
        }
    }

    /// Those of a case with a server of its own.
    pub(crate) fn own(&self) -> Self {
        Self {
            whole: Process::start(&[]),
            bare: Arc::clone(&self.bare),
        }
    }
}
