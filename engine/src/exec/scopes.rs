//! The four states that a run sees: where each lies, and what the run knows of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use flowstate_log::append::Target;
use flowstate_log::error::ReadError;
use flowstate_log::record::{Name, StreamId, Subject};
use parking_lot::{Mutex, MutexGuard};

use super::Ctx;
use crate::flow::Flow;
use crate::projection::resource;
use crate::projection::state;
use crate::record::{ResourceAt, ScopeKind, StateChanged};
use crate::scope::StateProblem;
use crate::scope::overlay::Overlay;

/// One state.
pub(crate) struct RunScope {
    pub(crate) kind: ScopeKind,
    pub(crate) subject: Subject,
    /// The kind of flow whose state it is, of a user or project.
    pub(crate) flow: Option<String>,
    pub(crate) overlay: Mutex<Overlay>,
    /// The user's or project's stream; the others lie in the session's.
    stream: Option<Name>,
    /// What all runs of this engine know of it.
    latest: Arc<Told>,
    /// The resource whose state it is, if it is one's.
    resource: Option<ResourceAt>,
}

/// The states of one run.
pub(super) struct Scopes {
    request: RunScope,
    session: RunScope,
    user: RunScope,
    /// `None` if the session has no project.
    project: Option<RunScope>,
}

impl Scopes {
    /// Of a request in the session's stream, whose user and project have these streams.
    pub(super) fn new(flow: &Flow, latest: &Latest, session: StreamId, user: Name, project: Option<Name>) -> Self {
        let scope = |kind, name: Option<Name>| {
            let (own, subject) = state::place(kind, flow.scope(kind).shared, flow.kind());
            let place = name.clone().map_or(Place::Session(session), Place::Other);
            RunScope {
                kind,
                subject,
                flow: own.map(str::to_owned),
                overlay: Mutex::default(),
                stream: name,
                latest: latest.of(place, subject),
                resource: None,
            }
        };
        Self {
            request: scope(ScopeKind::Request, None),
            session: scope(ScopeKind::Session, None),
            user: scope(ScopeKind::User, Some(user)),
            project: project.map(|name| scope(ScopeKind::Project, Some(name))),
        }
    }

    /// Takes in what another process did to the request's own state, by position: no view keeps that.
    pub(super) fn restore_request(&self, changes: &[(u64, StateChanged)]) {
        let mut overlay = self.request.overlay.lock();
        for (position, change) in changes {
            overlay.queued(change);
            overlay.sequenced(*position);
        }
    }

    pub(super) fn get(&self, kind: ScopeKind) -> Option<&RunScope> {
        match kind {
            ScopeKind::Request => Some(&self.request),
            ScopeKind::Session => Some(&self.session),
            ScopeKind::User => Some(&self.user),
            ScopeKind::Project => self.project.as_ref(),
        }
    }
}

impl RunScope {
    /// The state of a resource in this scope, whose session has this stream.
    pub(super) fn of_resource(&self, at: ResourceAt, subject: Subject, latest: &Latest, session: StreamId) -> Self {
        let place = self.place(session);
        Self {
            kind: self.kind,
            subject,
            flow: at.flow.clone(),
            overlay: Mutex::default(),
            stream: self.stream.clone(),
            latest: latest.of(place, subject),
            resource: Some(at),
        }
    }

    /// What all runs know of another subject of its stream.
    pub(super) fn told(&self, subject: Subject, latest: &Latest, session: StreamId) -> Arc<Told> {
        latest.of(self.place(session), subject)
    }

    fn place(&self, session: StreamId) -> Place {
        self.stream.clone().map_or(Place::Session(session), Place::Other)
    }

    /// Where its records lie; `None` if there are none yet.
    pub(crate) async fn stream(&self, ctx: &Ctx) -> Result<Option<StreamId>, ReadError> {
        match &self.stream {
            None => Ok(Some(ctx.recorder().stream())),
            Some(name) => ctx.log().stream(name).await,
        }
    }

    /// Whether only this run has it.
    pub(crate) fn is_the_runs(&self) -> bool {
        self.kind == ScopeKind::Request
    }

    /// Where its records go, if that is not the session's stream.
    pub(crate) fn target(&self) -> Option<Target> {
        self.stream.clone().map(Target::Name)
    }

    fn is_instance(&self) -> bool {
        self.resource.as_ref().is_some_and(|at| at.key.is_some())
    }

    /// Takes in what is visible.
    pub(crate) async fn catch_up(&self, ctx: &Ctx) -> Result<(), StateProblem> {
        if self.is_the_runs() {
            return Ok(());
        }
        let log = ctx.log();
        let is_instance = self.is_instance();
        let Some(stream) = self.stream(ctx).await? else {
            self.overlay.lock().begin();
            return if is_instance { Err(StateProblem::Gone) } else { Ok(()) };
        };
        if let Some(at) = &self.resource {
            let is_there = resource::read(log, stream, |resources| {
                let shown = resources.shown(at, self.subject);
                self.overlay.lock().catch_up(shown);
                shown.fields.is_some()
            });
            let is_there = is_there.await?;
            return if is_instance && !is_there {
                Err(StateProblem::Gone)
            } else {
                Ok(())
            };
        }
        state::read(log, stream, |states| {
            let shown = states.shown(self.flow.as_deref(), self.subject);
            self.overlay.lock().catch_up(shown);
        })
        .await?;
        Ok(())
    }

    /// The same for an operation that commutes, which may go on from what is known while others of the run are on their way.
    pub(crate) async fn be_close(&self, ctx: &Ctx) -> Result<(), StateProblem> {
        // Of an instance, it has to be there.
        let is_close = !self.is_instance() && self.overlay.lock().is_close();
        match is_close {
            true => Ok(()),
            false => self.catch_up(ctx).await,
        }
    }

    /// An operation is on its way, until what this gives is dropped.
    pub(crate) fn departs(&self) -> OnItsWay<'_> {
        self.overlay.lock().departs();
        OnItsWay(self)
    }

    /// Takes in a record of this run that has its position, appended `under` a version or not. Gives what the run knows then.
    pub(crate) fn sequenced(&self, position: u64, change: Arc<StateChanged>, under: bool) -> MutexGuard<'_, Overlay> {
        self.latest.version.fetch_max(position, Ordering::AcqRel);
        let mut overlay = self.overlay.lock();
        match self.is_the_runs() {
            true => overlay.sequenced(position),
            false => overlay.wrote(position, change, under),
        }
        overlay
    }

    /// Whether no run was told of a later version: what looked at this one missed nothing that had returned to anybody.
    pub(crate) fn is_latest(&self, version: u64) -> bool {
        self.latest.version.load(Ordering::Acquire) <= version
    }
}

/// See [`RunScope::departs`].
pub(crate) struct OnItsWay<'a>(&'a RunScope);

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.overlay.lock().arrives();
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Place {
    Session(StreamId),
    Other(Name),
}

/// The highest version of each state that a run of this engine was told of, which may not be visible yet. A state is in it
/// as long as a run has it: when the last one has ended, everything that it was told of is visible.
#[derive(Default)]
pub(crate) struct Latest(Mutex<Known>);

/// What the runs of an engine know of one subject.
#[derive(Default)]
pub(crate) struct Told {
    /// The highest version that one of them was told of.
    version: AtomicU64,
    /// Held by whoever works out what it becomes, until that is visible: what others would work out meanwhile would be refused.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Known {
    states: HashMap<(Place, Subject), Weak<Told>>,
    /// At so many those that no run has are let go.
    sweep_at: usize,
}

/// Fewest states at which those that no run has are let go.
const SWEEP_MIN: usize = 1_024;

impl Latest {
    /// Of a subject in a session's stream.
    pub(crate) fn of_session(&self, session: StreamId, subject: Subject) -> Arc<Told> {
        self.of(Place::Session(session), subject)
    }

    fn of(&self, place: Place, subject: Subject) -> Arc<Told> {
        let mut known = self.0.lock();
        if known.states.len() >= known.sweep_at {
            known.states.retain(|_, latest| latest.strong_count() > 0);
            known.sweep_at = SWEEP_MIN.max(2 * known.states.len());
        }
        let state = known.states.entry((place, subject)).or_default();
        state.upgrade().unwrap_or_else(|| {
            let latest = Arc::default();
            *state = Arc::downgrade(&latest);
            latest
        })
    }
}
