//! What a server is built from. Building checks all of it at once and opens nothing.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::model::{Model, Models};
use flowstate_engine::voice::VoiceProviders;
use flowstate_engine::{EngineBuilder, ErrorSink, Flow};
use futures_util::future::BoxFuture;

use super::lifecycle::Lifecycle;
use super::{BuildError, FlowState, Meta};
use crate::server::connection;
use crate::server::gate::{Defences, Gate};
use crate::server::guard::Guard;
use crate::server::observe::{CallError, CallInfo, Observer, OnError};
use crate::server::settings::Settings;
use crate::store::{DEFAULT, Profile, Profiles, Store, VARIABLE, choose};
use crate::wire::event::StopNames;

type ReadVariable = dyn Fn(&str) -> Option<String> + Send;

/// What a [`FlowState`] is built from.
#[must_use = "nothing happens before build()"]
#[derive(Default)]
pub struct FlowStateBuilder {
    pub(super) engine: EngineBuilder,
    pub(super) flow_keys: Vec<String>,
    pub(super) models: Option<Models>,
    pub(super) profiles: Profiles,
    pub(super) env: Option<Box<ReadVariable>>,
    pub(super) on_error: Option<Box<OnError>>,
    pub(super) drain_within: Option<Duration>,
    pub(super) hosts: Vec<String>,
    pub(super) origins: Vec<String>,
    pub(super) settings: Settings,
    pub(super) defences: Defences,
}

impl FlowStateBuilder {
    /// Adds a flow, under its kind and its instance id: `hello-chat/default`.
    pub fn flow(self, flow: Flow) -> Self {
        let key = format!("{}/{}", flow.kind(), flow.id());
        self.flow_as(key, flow)
    }

    /// Adds a flow under another key, which is what [`FlowState::meta`] calls it. Its address is its kind all the same.
    pub fn flow_as(mut self, key: impl Into<String>, flow: Flow) -> Self {
        self.flow_keys.push(key.into());
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

    /// Where everything is kept: [`crate::lsm`], [`crate::memory`], or, to compare, [`crate::fjall`]. Short for a profile `default` with
    /// this primary store; where no other is declared there is nothing to choose, and `FSD_ENV` is not asked. The last one that is named counts.
    pub fn store(mut self, store: Store) -> Self {
        let profile = (DEFAULT.to_owned(), Profile::primary(store));
        match self.profiles.declared.iter_mut().find(|(name, _)| name == DEFAULT) {
            Some(earlier) if !self.profiles.named => *earlier = profile,
            _ => self.profiles.declared.push(profile),
        }
        self
    }

    /// Declares a profile. The active one is that which the variable `FSD_ENV` names; if that is not set or empty, the one of
    /// [`FlowStateBuilder::default_profile`]; or else the first. Nothing else is asked: no other variable, and not how the program was built.
    pub fn profile(mut self, name: impl Into<String>, profile: Profile) -> Self {
        self.profiles.declared.push((name.into(), profile));
        self.profiles.named = true;
        self
    }

    /// The profile that is active if `FSD_ENV` names none.
    pub fn default_profile(mut self, name: impl Into<String>) -> Self {
        self.profiles.default = Some(name.into());
        self
    }

    /// Reads variables here instead of from the process's environment. Models have [`Models::env`] for the same.
    pub fn env(mut self, read: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        self.env = Some(Box::new(read));
        self
    }

    /// What blocks find as `ctx.settings::<S>()`, and [`FlowState::settings`] gives: one value of each type.
    pub fn settings<S: Any + Send + Sync>(mut self, settings: S) -> Self {
        self.engine = self.engine.settings(settings);
        self
    }

    /// Told of every call that is answered with a status of 500 or more, and of every stream that breaks off; not of probes. What it is
    /// told is for the operator: it may say more than the caller was told.
    pub fn on_error(mut self, told: impl Fn(&CallError, &CallInfo) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Box::new(told));
        self
    }

    /// Who is told of every attempt of a block that fails; see [`ErrorSink`].
    pub fn error_capture(mut self, sink: impl ErrorSink) -> Self {
        self.engine = self.engine.error_capture(sink);
        self
    }

    /// Called for every request that is accepted, before its caller is answered, with a future that ends when the request has, its background
    /// work included: for hosts that would stop the process once it has answered.
    pub fn on_background_work(mut self, told: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        self.engine = self.engine.on_background_work(told);
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

    /// How long calls that are being answered are given at a stop, before their connections are cut; 4 s without this. Event streams end at
    /// once, behind a whole event, and are gone on with elsewhere or later.
    pub fn drain_within(mut self, time: Duration) -> Self {
        self.drain_within = Some(time);
        self
    }

    /// How long runs are given to write their last record when the server is disposed of; 5 s without this. What is open then is closed, or
    /// gone on with, by the next start.
    pub fn close_within(mut self, time: Duration) -> Self {
        self.engine = self.engine.close_within(time);
        self
    }

    /// Checks everything, and opens nothing: that is left to [`FlowState::ready`], or to the first call. The error lists all that is wrong.
    pub fn build(self) -> Result<FlowState, BuildError> {
        let mut problems = Vec::new();
        let mut keys = BTreeSet::new();
        let twice = self.flow_keys.iter().filter(|key| !keys.insert(key.as_str()));
        problems.extend(twice.map(|key| format!("two flows have the key {key:?}")));
        let variable = match self.env {
            Some(read) => read(VARIABLE),
            None => std::env::var(VARIABLE).ok(),
        };
        let active = choose(&self.profiles, variable).map_err(|wrong| problems.extend(wrong));
        let guard = Guard {
            hosts: parsed("allow_host", &self.hosts, &mut problems),
            origins: parsed("allow_origin", &self.origins, &mut problems),
            gate: Gate::new(self.defences),
        };
        let engine = self.engine.models(self.models.unwrap_or_else(Models::from_env));
        let assembly = engine.assemble().map_err(|wrong| problems.extend(wrong));
        let (Ok(active), Ok(assembly), true) = (active, assembly, problems.is_empty()) else {
            return Err(BuildError { problems });
        };
        let profiles = self.profiles.declared;
        let slots = |profile: &Profile| profile.slots().map(|(slot, _)| slot).collect();
        let meta = Meta {
            flow_keys: self.flow_keys,
            profile_keys: profiles.iter().map(|(name, _)| name.clone()).collect(),
            declared_slots: profiles
                .iter()
                .map(|(name, profile)| (name.clone(), slots(profile)))
                .collect(),
        };
        Ok(FlowState {
            life: Lifecycle::new(
                assembly,
                profiles,
                active,
                guard,
                self.settings,
                Observer::new(self.on_error),
            ),
            meta: Arc::new(meta),
            drain_within: self.drain_within.unwrap_or(connection::DRAIN_WITHIN),
        })
    }
}

fn parsed<T: std::str::FromStr<Err = String>>(what: &str, texts: &[String], problems: &mut Vec<String>) -> Vec<T> {
    let mut values = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(value) => values.push(value),
            Err(wrong) => problems.push(format!("{what}: {wrong}")),
        }
    }
    values
}
