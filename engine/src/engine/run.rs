//! A request from its submission to its end, for callers who want to wait: submitted, run and read from the log like any other.

use serde::Serialize;
use serde_json::Value;

use super::{Engine, Media, output};
use crate::error::{BlockError, QueryError, RunError};
use crate::exec::{Accepted, Submission};
use crate::item::Item;
use crate::principal::Principal;
use crate::projection::{self, RequestStatus};
use crate::record::{Fact, decode};

/// The user of requests that [`Engine::run`] submits.
const USER: &str = "local";

/// How a request ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunResult {
    /// What was accepted.
    pub accepted: Accepted,
    /// How it ended.
    pub status: RequestStatus,
    /// What it gave; `null` unless it completed.
    pub output: Value,
    /// Why it failed, or what stopped it.
    pub error: Option<BlockError>,
    /// Its items as they became final, hidden ones included.
    pub items: Vec<Item>,
    /// The session's state afterwards.
    pub state: Value,
}

impl Engine {
    /// Runs an action in a session of its own and waits for the end. `input` is what a client would send.
    pub async fn run(&self, flow: &str, action: &str, input: impl Serialize) -> Result<RunResult, RunError> {
        let input = serde_json::to_value(input).map_err(|error| RunError::Input(error.to_string()))?;
        self.run_submission(Submission {
            flow: flow.to_owned(),
            action: action.to_owned(),
            input: Some(input),
            user: USER.to_owned(),
            ..Submission::default()
        })
        .await
    }

    /// Submits a request and waits for its end. Dropping this does not stop the request.
    pub async fn run_submission(&self, submission: Submission) -> Result<RunResult, RunError> {
        let principal = submission.principal.clone();
        let accepted = self.submit(submission).await?;
        self.ended(&principal, accepted).await
    }

    /// The end of a request that was submitted with all its ids.
    pub(super) async fn result_of(&self, submission: &Submission) -> Result<RunResult, RunError> {
        let flow = self.flow(&submission.flow);
        let accepted = Accepted {
            request: submission.request.clone().unwrap_or_default(),
            session: submission.session.clone().unwrap_or_default(),
            flow: submission.flow.clone(),
            flow_id: flow.map(|flow| flow.id().to_owned()).unwrap_or_default(),
            action: submission.action.clone(),
        };
        self.ended(&submission.principal, accepted).await
    }

    /// Waits for the end of a request.
    async fn ended(&self, principal: &Principal, accepted: Accepted) -> Result<RunResult, RunError> {
        let name = principal.request_sub_stream(&accepted.request);
        let log = self.log();
        let sub = match name {
            Ok(name) => log.sub_stream(&name).await.map_err(QueryError::from)?,
            Err(_) => None,
        };
        let sub = sub.ok_or_else(|| RunError::Lost(accepted.request.clone()))?;
        let mut records = log.follow_sub(&sub, 0).await.map_err(QueryError::from)?;
        let mut items = Vec::new();
        loop {
            for record in records.page().await.map_err(QueryError::from)? {
                let (status, output, error) = match decode(&record).map_err(QueryError::from)? {
                    Fact::ItemCompleted(mut completed) => {
                        Media::new(log, sub).fill_body(&mut completed.item.body).await?;
                        items.push(Item::new(sub.id, &accepted.request, completed.item));
                        continue;
                    }
                    Fact::RequestCompleted(completed) => {
                        let output = output::stored(log, &sub, completed).await?;
                        (RequestStatus::Completed, output, None)
                    }
                    Fact::RequestFailed(failed) => {
                        let mut error = BlockError::new(failed.code, failed.message).retryable(failed.retryable);
                        if let Some(details) = failed.details {
                            error = error.with_details(details);
                        }
                        (RequestStatus::Failed, Value::Null, Some(error))
                    }
                    Fact::RequestInterrupted(interrupted) => {
                        let error = BlockError::new("interrupted", interrupted.reason);
                        (RequestStatus::Interrupted, Value::Null, Some(error))
                    }
                    _ => continue,
                };
                let state = projection::state::read(log, sub.stream, |states| {
                    states.session().fields.cloned().map_or(Value::Null, Value::Object)
                })
                .await;
                return Ok(RunResult {
                    accepted,
                    status,
                    output,
                    error,
                    items,
                    state: state.map_err(QueryError::from)?,
                });
            }
        }
    }
}
