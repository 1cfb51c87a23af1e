//! An engine that fits together and is not open yet. Opening it can fail, and be tried again.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use flowstate_log::Storage;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Engine, EngineBuilder};
use crate::error::EngineOpenError;
use crate::exec::{Core, Running, recover, resume};
use crate::flow::Flow;
use crate::flow::registry::Registry;
use crate::host::Host;
use crate::model::{Models, Resolver};
use crate::projection;
use crate::settings::{Settings, SettingsMissing};
use crate::timer::{Timer, TokioTimer};
use crate::voice::Voices;

/// How long closing waits for runs to write their last record.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Flows, models, voices and settings that fit together; see [`EngineBuilder::assemble`].
pub struct Assembly {
    registry: Arc<Registry>,
    voices: Arc<Voices>,
    settings: Settings,
    host: Host,
    resumes: bool,
    leaves: bool,
    timer: Arc<dyn Timer>,
    close_within: Duration,
}

/// See [`EngineBuilder::assemble`].
pub(super) fn assemble(builder: EngineBuilder) -> Result<Assembly, Vec<String>> {
    let models = builder.own.into_iter().fold(builder.models, Models::model);
    let voices = Voices::find(&builder.flows, builder.voice);
    let registry = Registry::new(builder.flows, models);
    let (registry, voices, settings) = match (registry, voices, builder.settings.build()) {
        (Ok(registry), Ok(voices), Ok(settings)) => (registry, voices, settings),
        (registry, voices, settings) => {
            let problems = [registry.err(), voices.err(), settings.err()];
            return Err(problems.into_iter().flatten().flatten().collect());
        }
    };
    for warning in registry.models().warnings() {
        tracing::warn!("{warning}");
    }
    Ok(Assembly {
        registry: Arc::new(registry),
        voices: Arc::new(voices),
        settings,
        host: builder.host,
        resumes: builder.resumes,
        leaves: builder.leaves,
        close_within: builder.close_within.unwrap_or(CLOSE_WITHIN),
        timer: builder.timer.unwrap_or_else(|| Arc::new(TokioTimer)),
    })
}

impl Assembly {
    /// The flows, by kind.
    pub fn flows(&self) -> &[Arc<Flow>] {
        self.registry.flows()
    }

    /// The models that flows may name.
    pub fn models(&self) -> &Resolver {
        self.registry.models()
    }

    /// The settings of this type that it was given.
    pub fn settings<S: Any>(&self) -> Result<&S, SettingsMissing> {
        self.settings.get()
    }

    /// Opens the log with the engine's views, closes what was open when it was last stopped, and is ready. What was opened is closed
    /// again if that fails.
    pub async fn open(&self, storage: impl Into<Storage>) -> Result<Engine, EngineOpenError> {
        let mut storage = storage.into();
        storage.views().extend(projection::views());
        let payload_bytes_max = storage.limits().payload_bytes_max;
        let log = match tokio::task::spawn_blocking(move || storage.open()).await {
            Ok(opened) => opened?,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Err(_) => return Err(EngineOpenError::Stopped),
        };
        let core = Core {
            log,
            registry: self.registry.clone(),
            resumes: self.resumes,
            tasks: Mutex::new(JoinSet::new()),
            closing: CancellationToken::new(),
            payload_bytes_max,
            running: Running::default(),
            describing: Default::default(),
            latest: Default::default(),
            timer: self.timer.clone(),
            voices: self.voices.clone(),
            settings: self.settings.clone(),
            host: self.host.clone(),
            stats: Default::default(),
            close_within: self.close_within,
        };
        let engine = Engine { core: Arc::new(core) };
        if self.leaves {
            return Ok(engine);
        }
        match close_or_resume(&engine.core).await {
            Ok(()) => Ok(engine),
            Err(error) => {
                engine.close().await;
                Err(error)
            }
        }
    }
}

/// What becomes of the requests that were open when the process last ended.
async fn close_or_resume(core: &Arc<Core>) -> Result<(), EngineOpenError> {
    let closed = match core.resumes {
        false => recover::close_open_requests(&core.log).await?,
        true => {
            let reopened = resume::resume_open_requests(core).await?;
            if reopened.resumed > 0 {
                tracing::info!(requests = reopened.resumed, "going on with requests that were open");
            }
            reopened.closed
        }
    };
    if closed > 0 {
        tracing::warn!(
            requests = closed,
            "closed requests that were open when the process last ended"
        );
    }
    Ok(())
}
