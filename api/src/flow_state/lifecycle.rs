//! From built to disposed of. What a server needs is opened once, by whoever needs it first, in a task of its own: a caller who goes
//! away does not stop it, and callers who come meanwhile wait for the same attempt.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use axum::Router;
use flowstate_engine::{Assembly, Engine, EngineOpenError};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::ReadyError;
use crate::server::guard::Guard;
use crate::server::observe::Observer;
use crate::server::settings::Settings;
use crate::server::{Api, router};
use crate::store::{Profile, Slot, Store};

type Attempt = Shared<BoxFuture<'static, Result<(), ReadyError>>>;
type Disposal = Shared<BoxFuture<'static, ()>>;

/// What all clones of a server share.
pub(super) struct Lifecycle {
    pub(super) assembly: Assembly,
    profiles: Vec<(String, Profile)>,
    active: usize,
    pub(super) guard: Arc<Guard>,
    settings: Arc<Settings>,
    pub(super) observer: Arc<Observer>,
    /// Set when the server stops: open streams end then.
    pub(super) stopping: CancellationToken,
    opened: OnceLock<Opened>,
    now: Mutex<Now>,
}

pub(super) struct Opened {
    pub(super) engine: Engine,
    pub(super) router: Router,
}

#[derive(Default)]
struct Now {
    /// The attempt to open that runs.
    attempt: Option<Attempt>,
    disposal: Option<Disposal>,
    /// Whether slots without effect were told.
    warned: bool,
    /// Whether the last attempt failed.
    failed: bool,
}

/// How far a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It is not open yet.
    Initialising,
    /// It could not be opened; the next call tries again.
    Failed,
    /// It answers.
    Ready,
    /// It is stopping, or was disposed of.
    Stopping,
}

impl Lifecycle {
    pub(super) fn new(
        assembly: Assembly,
        profiles: Vec<(String, Profile)>,
        active: usize,
        guard: Guard,
        settings: Settings,
        observer: Observer,
    ) -> Arc<Self> {
        Arc::new(Self {
            assembly,
            profiles,
            active,
            guard: Arc::new(guard),
            settings: Arc::new(settings),
            observer: Arc::new(observer),
            stopping: CancellationToken::new(),
            opened: OnceLock::new(),
            now: Mutex::default(),
        })
    }

    pub(super) fn active(&self) -> &str {
        &self.profiles[self.active].0
    }

    pub(super) fn is_disposed(&self) -> bool {
        self.now.lock().disposal.is_some()
    }

    pub(crate) fn health(&self) -> Health {
        let now = self.now.lock();
        if now.disposal.is_some() || self.stopping.is_cancelled() {
            return Health::Stopping;
        }
        match self.opened.get() {
            Some(_) => Health::Ready,
            None if now.failed => Health::Failed,
            None => Health::Initialising,
        }
    }

    /// Begins to open what is not open yet, and does not wait.
    pub(super) fn begin(self: &Arc<Self>) {
        let mut now = self.now.lock();
        if now.disposal.is_none() && self.opened.get().is_none() {
            now.attempt.get_or_insert_with(|| start(self));
        }
    }

    /// Opens what is not open yet.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<&Opened, ReadyError> {
        let attempt = {
            let mut now = self.now.lock();
            if now.disposal.is_some() {
                return Err(ReadyError::Disposed);
            }
            match self.opened.get() {
                Some(opened) => return Ok(opened),
                None => now.attempt.get_or_insert_with(|| start(self)).clone(),
            }
        };
        attempt.await?;
        match self.opened.get() {
            Some(opened) if !self.is_disposed() => Ok(opened),
            _ => Err(ReadyError::Disposed),
        }
    }

    /// Stops what runs, closes what is open, and has every store of every profile dispose of what it holds. Once, whoever asks.
    pub(super) async fn dispose(self: &Arc<Self>) {
        self.stopping.cancel();
        let disposal = {
            let mut now = self.now.lock();
            let attempt = now.attempt.clone();
            let life = Arc::clone(self);
            let disposal = now.disposal.get_or_insert_with(|| {
                let disposing = tokio::spawn(async move { life.dispose_of(attempt).await });
                disposing.map(|_| ()).boxed().shared()
            });
            disposal.clone()
        };
        disposal.await;
    }

    async fn dispose_of(&self, attempt: Option<Attempt>) {
        if let Some(attempt) = attempt {
            let _ = attempt.await;
        }
        if let Some(opened) = self.opened.get() {
            opened.engine.close().await;
        }
        let mut disposed: Vec<&Store> = Vec::new();
        for (slot, store) in self.profiles.iter().flat_map(|(_, profile)| profile.slots()) {
            if disposed.iter().any(|earlier| earlier.is(store)) {
                continue;
            }
            disposed.push(store);
            let name = store.adapter().name();
            let disposal = AssertUnwindSafe(async { store.adapter().dispose().await }).catch_unwind();
            match disposal.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(store = name, %slot, %error, "a store could not be disposed of"),
                Err(_) => tracing::error!(store = name, %slot, "a store panicked when it was disposed of"),
            }
        }
    }

    async fn open(&self) -> Result<Opened, EngineOpenError> {
        let (name, profile) = &self.profiles[self.active];
        if !std::mem::replace(&mut self.now.lock().warned, true) {
            for (slot, why) in profile.without_effect() {
                tracing::warn!(profile = name, %slot, "a store is declared for a slot and has no effect there: {why}");
            }
        }
        let Some(primary) = profile.store(Slot::Primary) else {
            return Err(EngineOpenError::Store("there is no primary store".to_owned()));
        };
        let engine = self.assembly.open(primary.adapter().realise().await?).await?;
        let api = Api {
            engine: engine.clone(),
            settings: Arc::clone(&self.settings),
            stopping: self.stopping.clone(),
            asks_who: self.guard.gate.asks_who(),
            observer: Arc::clone(&self.observer),
        };
        let router = router(api, Arc::clone(&self.guard));
        Ok(Opened { engine, router })
    }
}

/// Begins an attempt to open.
fn start(life: &Arc<Lifecycle>) -> Attempt {
    let life = Arc::clone(life);
    let attempt = tokio::spawn(async move {
        let opened = AssertUnwindSafe(life.open()).catch_unwind().await;
        let opened = opened.unwrap_or_else(|_| Err(EngineOpenError::Store("opening it panicked".to_owned())));
        let ended = match opened {
            Ok(opened) => {
                let _ = life.opened.set(opened);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the server could not be opened");
                Err(ReadyError::from(error))
            }
        };
        let mut now = life.now.lock();
        now.failed = ended.is_err();
        now.attempt = None;
        ended
    });
    let ended = attempt.map(|ended| ended.unwrap_or_else(|_| Err(EngineOpenError::Stopped.into())));
    ended.boxed().shared()
}
