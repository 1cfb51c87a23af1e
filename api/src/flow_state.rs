//! A Flowstate server as a value: built from flows, models and stores; served on a socket, or used as a router.
//! Routes are in `server`; running flows is the engine's.

mod builder;
mod command;
pub(crate) mod defences;
mod error;
mod lifecycle;

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use flowstate_engine::{Engine, SettingsMissing};
use serde::Serialize;
use tokio::net::{TcpListener, ToSocketAddrs};

use self::lifecycle::Lifecycle;
use crate::server::observe::Observer;
use crate::server::{connection, front};
use crate::signals::Signals;
use crate::store::Slot;

pub use builder::FlowStateBuilder;
pub use error::{BuildError, ReadyError, ServeError};
pub(crate) use lifecycle::Health;

/// A server of flows. Cheap to clone; all clones are one server.
#[derive(Clone)]
pub struct FlowState {
    life: Arc<Lifecycle>,
    meta: Arc<Meta>,
    drain_within: Duration,
}

/// What a server was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// The keys of its flows, in the order in which they were added.
    pub flow_keys: Vec<String>,
    /// The names of its profiles, in the order in which they were declared.
    pub profile_keys: Vec<String>,
    /// The slots that each profile has a store for, those without effect included.
    pub declared_slots: BTreeMap<String, Vec<Slot>>,
}

impl FlowState {
    /// Begins a server. It needs a store; without a flow it serves nothing but an empty list.
    pub fn builder() -> FlowStateBuilder {
        FlowStateBuilder::default()
    }

    /// Opens the active profile's store and what it holds, if that was not done yet, and gives the engine behind the server, for callers
    /// in the same process. Requests that were open when the store was last closed are closed as interrupted, unless
    /// [`FlowStateBuilder::resume_open_requests`] says otherwise. Callers at the same time share one attempt; after one that failed, the
    /// next call tries again.
    pub async fn ready(&self) -> Result<Engine, ReadyError> {
        Ok(self.life.ready().await?.engine.clone())
    }

    /// All routes as a service: for tests without a socket, or to be mounted in any axum or tower application, under any prefix
    /// (`nest_service("/ai", server.router()?)`). The first call opens what is not open yet; one that needs it meanwhile waits, and if it
    /// can't be opened is answered 503. It checks `Host` and `Origin` itself. An error after [`FlowState::dispose`].
    pub fn router(&self) -> Result<Router, ReadyError> {
        match self.life.is_disposed() {
            true => Err(ReadyError::Disposed),
            false => Ok(front::router(self.clone())),
        }
    }

    /// The name of the profile that is used.
    pub fn active_profile(&self) -> &str {
        self.life.active()
    }

    /// What it was built from.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The settings of this type that it was given.
    pub fn settings<S: Any>(&self) -> Result<&S, SettingsMissing> {
        self.life.assembly.settings()
    }

    /// Listens on `address` and serves until Ctrl-C, SIGTERM or a log that can store nothing more; then disposes of everything.
    pub async fn serve(self, address: impl ToSocketAddrs) -> Result<(), ServeError> {
        let listener = TcpListener::bind(address).await.map_err(ServeError::Listen)?;
        let mut signals = Signals::receive().map_err(ServeError::Signals)?;
        let mut ended = Ok(());
        let stop = async {
            tokio::select! {
                _ = signals.next() => {}
                error = self.fails() => ended = Err(error),
            }
        };
        let served = self.serve_on(listener, stop).await;
        self.dispose().await;
        served.and(ended)
    }

    /// Opens, and waits until it can't go on.
    async fn fails(&self) -> ServeError {
        match self.ready().await {
            Ok(engine) => ServeError::Poisoned(engine.log().poisoned().await),
            Err(error) => error.into(),
        }
    }

    /// Serves connections of `listener` until `stop`. Then no further one is accepted, open streams end, calls that are
    /// being answered are finished within [`FlowStateBuilder::drain_within`]; what runs is stopped by [`FlowState::dispose`] only.
    ///
    /// Without authentication it serves on loopback only, unless [`FlowStateBuilder::allow_unauthenticated_public`] insists.
    pub async fn serve_on(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        self.check_exposure(&listener)?;
        let stopping = &self.life.stopping;
        let limits = Arc::clone(&self.life.guard.gate.limits);
        let metrics = &self.observer().metrics;
        let serving = connection::serve(
            listener,
            front::router(self.clone()),
            limits,
            metrics,
            stopping.clone(),
            self.drain_within,
        );
        tokio::join!(serving, async {
            stopping.run_until_cancelled(stop).await;
            stopping.cancel();
        });
        Ok(())
    }

    /// Ends open streams, stops what runs, closes the log, and has the stores of all declared profiles dispose of what they hold, each
    /// once. Waits for an opening that runs. Later calls are answered 503; disposing twice is disposing once.
    pub async fn dispose(&self) {
        self.life.dispose().await;
    }

    /// The routes behind the guard, opened if they were not.
    pub(crate) async fn routes(&self) -> Result<Router, ReadyError> {
        Ok(self.life.ready().await?.router.clone())
    }

    pub(crate) fn observer(&self) -> &Arc<Observer> {
        &self.life.observer
    }

    /// How far it is. What is not open begins to be opened.
    pub(crate) fn health_now(&self) -> Health {
        let health = self.life.health();
        if matches!(health, Health::Initialising | Health::Failed) {
            self.life.begin();
        }
        health
    }
}
