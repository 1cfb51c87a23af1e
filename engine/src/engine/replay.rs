//! A recorded request, run again without a model: what `exec/replay` begins, read to its end.

use std::time::Duration;

use super::{Engine, RunResult};
use crate::error::ReplayError;
use crate::exec::replay::{self, Replay};
use crate::principal::Principal;
use crate::projection::RequestStatus;

impl Engine {
    /// Runs a request that has ended once more and gives what came of it, for debugging: with the flows as this engine has them now, from
    /// what its session, user and project were when it was accepted. No model is asked: answers come from the record, and so
    /// do the results of tools, unless `how` says that they run. The code of all other blocks runs, with whatever it does outside. It all
    /// happens in a log in memory; this one is only read. A flow that has changed so that it asks a model for something
    /// else fails there with `replay_diverged`.
    pub async fn replay(
        &self,
        principal: &Principal,
        flow: &str,
        request: &str,
        how: Replay,
    ) -> Result<RunResult, ReplayError> {
        let found = self.request(principal, flow, request, Duration::ZERO).await?;
        let found = found.ok_or_else(|| ReplayError::UnknownRequest(request.to_owned()))?;
        if found.row.status == RequestStatus::InProgress {
            return Err(ReplayError::Running(request.to_owned()));
        }
        let (core, submission) = replay::replay(&self.core, principal, &found.sub, how).await?;
        let scratch = Engine { core };
        let result = scratch.result_of(&submission).await;
        scratch.close().await;
        Ok(result?)
    }
}
