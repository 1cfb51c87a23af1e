//! Goes on, at start, with the requests that were open when the process ended. What their records say has happened is not done again: blocks
//! that have ended give what they gave, loops of answers and tools go on behind their last record. A block that ran when the process
//! ended begins anew: what it had recorded stays, so it may do something twice.

use std::sync::Arc;

use flowstate_log::{Log, SubStreamInfo};
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::Value;

use super::Core;
use super::recall::Recall;
use super::recover::{close, is_cancelled, open_requests};
use super::run::{Past, Repeats};
use super::submit::{AcceptedRequest, start};
use crate::error::RecoverError;
use crate::exec::Accepted;
use crate::flow::Flow;
use crate::principal::Principal;
use crate::record::{Fact, RequestAccepted, decode};
use crate::value::Val;

/// What became of the open requests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reopened {
    /// They run.
    pub(crate) resumed: usize,
    /// They can't, and are closed.
    pub(crate) closed: usize,
}

/// Starts every open request again, or closes it if it can't be.
pub(crate) async fn resume_open_requests(core: &Arc<Core>) -> Result<Reopened, RecoverError> {
    let (mut reopened, mut after) = (Reopened::default(), None);
    loop {
        let page = open_requests(&core.log, &mut after).await?;
        if page.is_empty() {
            return Ok(reopened);
        }
        for request in page {
            if is_cancelled(&core.log, &request).await? {
                close(&core.log, &request, crate::record::CANCELLED).await?;
                reopened.closed += 1;
                continue;
            }
            match begin(core, &request).await? {
                Ok(()) => reopened.resumed += 1,
                Err(why) => {
                    close(&core.log, &request, &format!("it could not be gone on with: {why}")).await?;
                    reopened.closed += 1;
                }
            }
        }
    }
}

/// The first record of a request.
pub(crate) async fn accepted(log: &Log, request: &SubStreamInfo) -> Result<Option<RequestAccepted>, RecoverError> {
    let first = log.read_positions(request.stream, &[request.first]).await?;
    Ok(match first.first().map(decode).transpose()? {
        Some(Fact::RequestAccepted(accepted)) => Some(accepted),
        _ => None,
    })
}

async fn begin(core: &Arc<Core>, request: &SubStreamInfo) -> Result<Result<(), String>, RecoverError> {
    let Some(asked) = accepted(&core.log, request).await? else {
        return Ok(Err("its first record is gone".into()));
    };
    let (flow, input) = match runnable(core, &asked) {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let name = core.log.stream_name(request.stream).await?;
    let principal = Principal::new(name.principal());
    let project = asked
        .project
        .as_deref()
        .map(|project| principal.project_stream(project));
    let streams = principal
        .user_stream(&asked.user)
        .and_then(|user| Ok((user, project.transpose()?)));
    let streams = match streams {
        Ok(streams) => streams,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let recall = Recall::to_resume(&core.log, request, &asked.request).await?;
    let accepted = AcceptedRequest {
        accepted: Accepted {
            request: asked.request,
            session: asked.session,
            flow: asked.flow,
            flow_id: asked.flow_id,
            action: asked.action,
        },
        stream: request.stream,
        sub: request.id,
        project: asked.project,
        streams,
        metadata: asked.metadata,
        trace: asked.trace.and_then(|trace| trace.parse().ok()),
    };
    let past = Past {
        recall,
        repeats: Repeats::Resumed,
        runs_tools: true,
        begun: Mutex::default(),
    };
    let kept = core.host.keep_alive();
    let run = start(core.clone(), flow, asked.user, accepted, input, Some(Box::new(past)));
    core.tasks.lock().spawn(run.map(|()| drop(kept)));
    Ok(Ok(()))
}

/// The flow and the input, if the engine still has the one and the action still takes the other.
fn runnable(core: &Core, asked: &RequestAccepted) -> Result<(Arc<Flow>, Val), String> {
    let flow = core.registry.flow(&asked.flow);
    let flow = flow.ok_or_else(|| format!("there is no flow {:?} any more", asked.flow))?;
    let action = flow.action(&asked.action);
    let action =
        action.ok_or_else(|| format!("the flow {:?} has no action {:?} any more", asked.flow, asked.action))?;
    let input: &Value = &asked.input;
    let parsed = action.parse(input);
    let input =
        parsed.map_err(|problems| format!("its input is not valid any more: {}", crate::error::list(&problems)))?;
    Ok((flow.clone(), input))
}
