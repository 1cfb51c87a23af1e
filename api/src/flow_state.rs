//! A Flowstate server as a value: built from flows, a model and a store; served on a socket, or used as a router.
//! Routes are in `server`; running flows is the engine's.

mod defences;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use flowstate_engine::model::{Model, Models};
use flowstate_engine::voice::VoiceProviders;
use flowstate_engine::{Engine, EngineBuilder, EngineOpenError, Flow};
use flowstate_log::PoisonReason;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::CancellationToken;

use crate::server::gate::{Defences, Gate};
use crate::server::guard::Guard;
use crate::server::settings::Settings;
use crate::server::{Api, connection, router};
use crate::signals::Signals;
use crate::store::Store;
use crate::wire::event::StopNames;

/// A server of flows. Cheap to clone; all clones are one server.
#[derive(Clone)]
pub struct FlowState {
    api: Api,
    guard: Arc<Guard>,
}

/// What a [`FlowState`] is built from.
#[must_use = "nothing happens before build()"]
pub struct FlowStateBuilder {
    engine: EngineBuilder,
    models: Option<Models>,
    store: Option<Store>,
    hosts: Vec<String>,
    origins: Vec<String>,
    settings: Settings,
    defences: Defences,
}

/// Why a [`FlowState`] could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No store was named.
    #[error("no store is named: call store(lsm(\"./data\")), or store(memory()) to keep nothing")]
    StoreMissing,
    /// An allowed host is none.
    #[error("allow_host: {0}")]
    Host(String),
    /// An allowed origin is none.
    #[error("allow_origin: {0}")]
    Origin(String),
    /// The engine or its log could not be opened.
    #[error(transparent)]
    Open(#[from] EngineOpenError),
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
    /// The log failed.
    #[error("nothing more can be stored: {0}")]
    Poisoned(PoisonReason),
}

impl FlowState {
    /// Begins a server. It needs a store; without a flow it serves nothing but an empty list.
    pub fn builder() -> FlowStateBuilder {
        FlowStateBuilder {
            engine: Engine::builder(),
            models: None,
            store: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            settings: Settings::default(),
            defences: Defences::default(),
        }
    }

    /// The engine behind it, for callers in the same process.
    pub fn engine(&self) -> &Engine {
        &self.api.engine
    }

    /// All routes as a service, for tests without a socket or inside another axum application. It checks `Host` and `Origin` itself.
    pub fn router(&self) -> Router {
        router(self.api.clone(), Arc::clone(&self.guard))
    }

    /// Listens on `address` and serves until Ctrl-C, SIGTERM or a log that can store nothing more; then closes.
    pub async fn serve(self, address: impl ToSocketAddrs) -> Result<(), ServeError> {
        let listener = TcpListener::bind(address).await.map_err(ServeError::Listen)?;
        let mut signals = Signals::receive().map_err(ServeError::Signals)?;
        let mut poison = None;
        let stop = async {
            tokio::select! {
                _ = signals.next() => {}
                reason = self.engine().log().poisoned() => poison = Some(reason),
            }
        };
        let served = self.serve_on(listener, stop).await;
        self.close().await;
        served?;
        poison.map_or(Ok(()), |reason| Err(ServeError::Poisoned(reason)))
    }

    /// Serves connections of `listener` until `stop`. Then no further one is accepted, open streams end, calls that are
    /// being answered are finished within seconds; what runs is stopped by [`FlowState::close`] only.
    ///
    /// Without authentication it serves on loopback only, unless [`FlowStateBuilder::allow_unauthenticated_public`] insists.
    pub async fn serve_on(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        self.check_exposure(&listener)?;
        let stopping = &self.api.stopping;
        let limits = Arc::clone(&self.guard.gate.limits);
        let serving = connection::serve(listener, self.router(), limits, stopping.clone());
        tokio::join!(serving, async {
            stopping.run_until_cancelled(stop).await;
            stopping.cancel();
        });
        Ok(())
    }

    /// Ends open streams, stops what runs, and closes the log. Later calls are answered 503.
    pub async fn close(&self) {
        self.api.stopping.cancel();
        self.api.engine.close().await;
    }
}

impl FlowStateBuilder {
    /// Adds a flow.
    pub fn flow(mut self, flow: Flow) -> Self {
        self.engine = self.engine.flow(flow);
        self
    }

    /// The models that flows may name, and how they are reached. Without this they are those of the environment ([`Models::from_env`]), whose
    /// variables are read by [`FlowStateBuilder::build`]; `Models::new()` reads none.
    pub fn models(mut self, models: Models) -> Self {
        self.models = Some(models);
        self
    }

    /// Adds a model under its name. The first one answers generators that name none, unless another default is declared or set by
    /// `FLOWSTATE_MODEL`. Without any, the built-in scripted one does.
    pub fn model(mut self, model: impl Model) -> Self {
        self.engine = self.engine.model(Arc::new(model));
        self
    }

    /// Who can speak, and who can write down what was spoken: for flows that name such a model by its id.
    pub fn voice(mut self, providers: VoiceProviders) -> Self {
        self.engine = self.engine.voice(providers);
        self
    }

    /// Where everything is kept: [`crate::lsm`], [`crate::memory`], or, to compare, [`crate::fjall`].
    pub fn store(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// A host name that clients use for this server, with a port or for every port. Loopback names always work.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// The origin of another site whose pages may call this server, such as `https://app.example.org`.
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Lets callers see what clients don't: hidden items in streams, polls and snapshots that ask for them (`include=trace`). For developer tools;
    /// without it such calls are answered 403.
    pub fn trace_access(mut self) -> Self {
        self.settings.trace_access = true;
        self
    }

    /// Calls the end of a request that was stopped `request.aborted` if somebody asked for that and `request.interrupted` if nobody did, as later
    /// clients know it. Without this both are `request.incomplete`, which every client ends on.
    pub fn later_stop_names(mut self) -> Self {
        self.settings.stop_names = StopNames::Two;
        self
    }

    /// The model that writes down what was spoken if a caller names none.
    pub fn transcription_model(mut self, model: impl Into<String>) -> Self {
        self.settings.transcription_model = Some(model.into());
        self
    }

    /// Goes on with the requests that were open when the server last stopped; see [`EngineBuilder::resume_open_requests`].
    pub fn resume_open_requests(mut self) -> Self {
        self.engine = self.engine.resume_open_requests();
        self
    }

    /// Opens the store and what it holds. Requests that were open when it was last closed are closed as interrupted, unless
    /// [`FlowStateBuilder::resume_open_requests`] says otherwise.
    pub async fn build(self) -> Result<FlowState, BuildError> {
        let store = self.store.ok_or(BuildError::StoreMissing)?;
        let hosts = self.hosts.iter().map(|host| host.parse());
        let origins = self.origins.iter().map(|origin| origin.parse());
        let guard = Guard {
            hosts: hosts.collect::<Result<_, _>>().map_err(BuildError::Host)?,
            origins: origins.collect::<Result<_, _>>().map_err(BuildError::Origin)?,
            gate: Gate::new(self.defences),
        };
        let engine = self.engine.models(self.models.unwrap_or_else(Models::from_env));
        let storage = tokio::task::spawn_blocking(move || store.storage())
            .await
            .map_err(|_| EngineOpenError::Stopped)?
            .map_err(EngineOpenError::Log)?;
        Ok(FlowState {
            api: Api {
                engine: engine.open(storage).await?,
                settings: Arc::new(self.settings),
                stopping: CancellationToken::new(),
            },
            guard: Arc::new(guard),
        })
    }
}
