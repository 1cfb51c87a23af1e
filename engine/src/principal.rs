//! On whose behalf something is looked up or submitted, and the names that follow from it in the log.
//! Every lookup by session or request id goes through here; nothing else makes a [`Name`].

use flowstate_log::record::{Name, NameError};

/// Who asks. Empty without authentication. Sessions and requests of different principals never meet, whatever their ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Principal(String);

impl Principal {
    /// The principal that authentication names so.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text; empty without authentication.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the stream that holds a session.
    pub(crate) fn session_stream(&self, session: &str) -> Result<Name, NameError> {
        Name::new(&self.0, &format!("session/{session}"))
    }

    /// Name of the stream that holds what is known of a user.
    pub(crate) fn user_stream(&self, user: &str) -> Result<Name, NameError> {
        Name::new(&self.0, &format!("user/{user}"))
    }

    /// Name of the stream that holds what is known of a project.
    pub(crate) fn project_stream(&self, project: &str) -> Result<Name, NameError> {
        Name::new(&self.0, &format!("project/{project}"))
    }

    /// Name of the sub-stream that holds a request.
    pub(crate) fn request_sub_stream(&self, request: &str) -> Result<Name, NameError> {
        Name::new(&self.0, request)
    }
}
