//! Where the scopes of a session lie.

use flowstate_log::Log;
use flowstate_log::error::ReadError;
use flowstate_log::record::{Name, StreamId};

use crate::principal::Principal;
use crate::projection::SessionSummary;
use crate::record::ScopeKind;

/// Where the records of one scope of a session lie.
pub(super) enum ScopePlace {
    /// In its own stream.
    Session(StreamId),
    /// In the user's or project's, which there may not be yet.
    Other(Name),
}

impl ScopePlace {
    /// `None` if the session has no such scope, or it is a request's.
    pub(super) fn of(
        principal: &Principal,
        session: StreamId,
        summary: &SessionSummary,
        kind: ScopeKind,
    ) -> Option<Self> {
        let name = match kind {
            ScopeKind::Session => return Some(Self::Session(session)),
            ScopeKind::User => principal.user_stream(&summary.user),
            ScopeKind::Project => principal.project_stream(summary.project.as_deref()?),
            ScopeKind::Request => return None,
        };
        name.ok().map(Self::Other)
    }

    /// `None` if nothing of it was ever recorded.
    pub(super) async fn stream(&self, log: &Log) -> Result<Option<StreamId>, ReadError> {
        match self {
            Self::Session(stream) => Ok(Some(*stream)),
            Self::Other(name) => log.stream(name).await,
        }
    }
}
