//! Changes of live resources, whose clients are told what each left: they are appended under the versions that they were worked out from, so
//! that what is told is the state at that change and nobody else's, whoever writes beside it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flowstate_log::error::AppendError;
use flowstate_log::record::Subject;
use tokio::sync::OwnedMutexGuard;

use super::Ctx;
use super::recorder::ResourceFact;
use super::resources::RunResource;
use super::scopes::Told;
use crate::error::RecordError;
use crate::projection::resource;
use crate::record::resource_subject;
use crate::resource::ResourceProblem;
use crate::scope::StateProblem;

/// How often a change is worked out again because others were first.
pub(crate) const ATTEMPTS_MAX: u32 = 64;
/// How often a run waits for its own records to be visible while its other blocks append more.
const SETTLES_MAX: u32 = 64;
/// The pause while the stream of a user or project begins, which others have just made.
const BEGIN_PAUSE: Duration = Duration::from_millis(10);

/// The right to change a live resource next; others of this process wait for it.
pub(crate) struct LiveTurn {
    _turn: OwnedMutexGuard<()>,
    /// Whoever comes next looks for the turn where this one found it.
    _told: Arc<Told>,
}

/// What a change of a live resource is worked out from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LiveBasis {
    /// The version of its state.
    pub(crate) version: u64,
    /// Of an instance: what makes and deletes it, so that it is still there.
    pub(crate) there: Option<(Subject, u64)>,
}

impl RunResource {
    /// Waits for the turn.
    pub(crate) async fn live_turn(&self, ctx: &Ctx) -> LiveTurn {
        let subject = match self.is_instance() {
            true => self.def().instances_subject(self.at()),
            false => resource_subject(self.at()),
        };
        let told = ctx.told(self.scope(), subject);
        let turn = told.turn.clone().lock_owned().await;
        LiveTurn {
            _turn: turn,
            _told: told,
        }
    }

    fn is_instance(&self) -> bool {
        self.at().key.is_some()
    }

    /// Catches up until nothing of this run is between what is known and its version.
    pub(crate) async fn live_basis(&self, ctx: &Ctx) -> Result<LiveBasis, StateProblem> {
        let there = self.there(ctx).await?;
        for _ in 0..SETTLES_MAX {
            self.scope().catch_up(ctx).await?;
            let exact = self.scope().overlay.lock().exact();
            if let Some(version) = exact {
                return Ok(LiveBasis { version, there });
            }
            ctx.durable().await?;
        }
        Err(StateProblem::ConcurrentModification { attempts: SETTLES_MAX })
    }

    async fn there(&self, ctx: &Ctx) -> Result<Option<(Subject, u64)>, StateProblem> {
        if !self.is_instance() {
            return Ok(None);
        }
        let stream = self.scope().stream(ctx).await?.ok_or(StateProblem::Gone)?;
        let subject = self.def().instances_subject(self.at());
        let version = resource::read(ctx.log(), stream, |resources| {
            resources.of(self.at()).map(|_| resources.version(subject))
        });
        let version = version.await?.ok_or(StateProblem::Gone)?;
        Ok(Some((subject, version)))
    }

    /// Waits until the record that was first is visible.
    pub(crate) async fn see(&self, ctx: &Ctx, position: u64) -> Result<(), StateProblem> {
        match self.scope().stream(ctx).await? {
            Some(stream) => drop(ctx.log().follow(stream, position).await?.page().await?),
            None => ctx.wait(BEGIN_PAUSE).await,
        }
        Ok(())
    }

    /// Appends a body, with what clients see of the state beside it; gives its version.
    pub(super) async fn write_live_body(&self, ctx: &Ctx, text: &Bytes) -> Result<u64, ResourceProblem> {
        let turn = self.live_turn(ctx).await;
        for _ in 0..ATTEMPTS_MAX {
            let LiveBasis { version, there } = self.live_basis(ctx).await?;
            let fields = {
                let overlay = self.scope().overlay.lock();
                (overlay.exact() == Some(version)).then(|| overlay.fields().clone())
            };
            let Some(fields) = fields else { continue };
            let fact = ResourceFact::written(self.at().clone(), text.clone()).left(self.def().live_data(&fields));
            let state = (self.scope().subject, version);
            let write = self.write(vec![fact], there.into_iter().chain([state]).collect());
            match ctx.recorder().turn().await?.decide_resource(ctx.place(), write).await {
                Err(RecordError::Append(AppendError::VersionMismatch { actual, .. })) => self.see(ctx, actual).await?,
                written => return Ok(written?),
            }
        }
        drop(turn);
        let attempts = ATTEMPTS_MAX;
        Err(ResourceProblem::Contended { attempts })
    }
}
