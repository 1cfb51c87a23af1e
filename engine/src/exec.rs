//! From a submission to the last record of its request: submit -> run -> blocks -> recorder -> log, and recover at start.
//! Only `submit`, `cancel`, `recorder` and `recover` append to the log; a test holds them to it. What clients do to resources outside of
//! any request goes through `submit/resource`.

pub(crate) mod cancel;
mod ctx;
pub(crate) mod delete;
pub(crate) mod hooks;
mod left;
mod live;
mod recall;
mod recorder;
pub(crate) mod recover;
pub(crate) mod replay;
mod resources;
pub(crate) mod resume;
mod run;
mod scopes;
mod speech;
pub(crate) mod submit;
mod turns;
mod work;

use std::sync::Arc;
use std::time::Duration;

use flowstate_log::Log;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::flow::registry::Registry;
use crate::host::Host;
use crate::settings::Settings;
use crate::stats::Stats;
use crate::timer::Timer;
use crate::voice::Voices;

pub(crate) use cancel::Running;
pub(crate) use live::{ATTEMPTS_MAX as LIVE_ATTEMPTS_MAX, LiveBasis};
pub(crate) use recall::{RecalledEnd, RecalledItem, RecordedLoop};
pub(crate) use recorder::{Begun, ResourceFact};
pub(crate) use resources::RunResource;
pub(crate) use scopes::RunScope;
use turns::Turns;

pub use ctx::Ctx;
pub use replay::Replay;
pub use submit::{Accepted, NewSession, Submission};

/// What all runs of an engine share.
pub(crate) struct Core {
    pub(crate) log: Log,
    pub(crate) registry: Arc<Registry>,
    /// Requests that are being accepted or run.
    pub(crate) tasks: Mutex<JoinSet<()>>,
    /// Set when the engine closes: runs stop, nothing more is accepted.
    pub(crate) closing: CancellationToken,
    /// Most bytes of one record's payload.
    pub(crate) payload_bytes_max: usize,
    /// The requests that run here, to be stopped when someone asks.
    pub(crate) running: Running,
    /// Whose turn it is to change what a session is called.
    pub(crate) describing: Turns,
    /// Versions that runs were told of.
    pub(crate) latest: scopes::Latest,
    /// Whether requests that are open when the engine stops are gone on with at the next start.
    pub(crate) resumes: bool,
    /// What runs wait on.
    pub(crate) timer: Arc<dyn Timer>,
    /// Who speaks for flows, and who writes down.
    pub(crate) voices: Arc<Voices>,
    /// What the application hands to blocks.
    pub(crate) settings: Settings,
    /// How long closing waits for runs.
    pub(crate) close_within: Duration,
    /// How runs ended.
    pub(crate) stats: Stats,
    /// Who is told of what fails and what goes on.
    pub(crate) host: Host,
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return text;
    }
    panic.downcast_ref::<String>().map_or("no message", String::as_str)
}
