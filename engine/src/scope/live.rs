//! Operations that commute on the state of a live resource: as others they never conflict, and are done again where they would be of another
//! state than clients are told.

use std::sync::Arc;

use flowstate_log::error::AppendError;

use super::op::{Fields, StateOp};
use super::{ScopeWrite, StateProblem, StateRef, Written};
use crate::error::RecordError;
use crate::exec::{LIVE_ATTEMPTS_MAX, LiveBasis, RunResource};

impl<S> StateRef<S> {
    /// The resource whose state it is, if it is a live one.
    pub(super) fn live(&self) -> Option<&Arc<RunResource>> {
        self.of.as_ref().filter(|resource| resource.def().is_live())
    }

    /// Appends an operation that commutes under the version that it meets.
    pub(super) async fn append_live<T>(
        &self,
        resource: &RunResource,
        op: StateOp,
        value: impl FnOnce(&Fields) -> T,
    ) -> Result<Written<T>, StateProblem> {
        let (def, scope) = self.parts()?;
        let turn = resource.live_turn(&self.ctx).await;
        for _ in 0..LIVE_ATTEMPTS_MAX {
            let basis = resource.live_basis(&self.ctx).await?;
            let (write, fields) = {
                let overlay = scope.overlay.lock();
                if overlay.exact() != Some(basis.version) {
                    continue;
                }
                def.check(overlay.fields(), &op)?;
                let base = def.base(overlay.fields(), &op);
                let write = self.to_write(op.clone(), base, Some(basis.version))?;
                (write, overlay.fields().clone())
            };
            let write = tell_live(resource, write, &fields, &basis);
            let decided = self.ctx.recorder().turn().await?.decide(self.ctx.place(), write);
            let (version, change) = match decided.await {
                Ok(decided) => decided,
                Err(RecordError::Append(AppendError::VersionMismatch { actual, .. })) => {
                    resource.see(&self.ctx, actual).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let told = self.is_watched().then(|| (fields, change.clone()));
            let value = value(scope.sequenced(version, change, true).fields());
            drop(turn);
            self.wrote().await?;
            self.tell(told).await?;
            return Ok(Written::Changed { value, version });
        }
        let attempts = LIVE_ATTEMPTS_MAX;
        Err(StateProblem::ConcurrentModification { attempts })
    }
}

/// The write with what clients are told that it leaves of `fields`.
pub(super) fn tell_live(
    resource: &RunResource,
    mut write: ScopeWrite,
    fields: &Fields,
    basis: &LiveBasis,
) -> ScopeWrite {
    let mut after = fields.clone();
    // It was checked.
    let _ = write.change.apply_to(&mut after);
    write.delta = resource.def().live_data(&after);
    if let Some(of) = &mut write.of {
        of.there = basis.there;
    }
    write
}
