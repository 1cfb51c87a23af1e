//! On whose behalf something is looked up or submitted, and the names that follow from it in the log.
//! Every lookup by session or request id goes through here; nothing else makes a [`Name`].

use std::collections::BTreeSet;
use std::sync::Arc;

use flowstate_log::record::{Name, NameError};

/// Between the tenant and the user of a principal.
const SEPARATOR: char = '\u{1f}';

/// Who asks. Empty without authentication. Sessions and requests of different principals never meet, whatever their ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Principal {
    text: String,
    /// The projects whose sessions there are for it; all if absent.
    projects: Option<Arc<BTreeSet<String>>>,
}

impl Principal {
    /// The principal that authentication names so.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            projects: None,
        }
    }

    /// A user of a tenant, as authentication knows them. Sessions, requests and what is known of the user are theirs alone; projects are
    /// shared by the users of a tenant. `None` if a text holds the unit separator (U+001F), which stands between the two.
    pub fn of_user(tenant: &str, user: &str) -> Option<Self> {
        let is_plain = |text: &str| !text.contains(SEPARATOR);
        (is_plain(tenant) && is_plain(user)).then(|| Self::new(format!("{tenant}{SEPARATOR}{user}")))
    }

    /// The same, for which there are sessions of these projects only, and those of none: others are as if they were not there.
    pub fn within(mut self, projects: impl IntoIterator<Item = String>) -> Self {
        self.projects = Some(Arc::new(projects.into_iter().collect()));
        self
    }

    /// Whether there are projects that are none for it.
    pub(crate) fn is_bounded(&self) -> bool {
        self.projects.is_some()
    }

    /// Whether there are sessions of this project for it.
    pub(crate) fn may_use(&self, project: Option<&str>) -> bool {
        let (Some(projects), Some(project)) = (&self.projects, project) else {
            return true;
        };
        projects.contains(project)
    }

    /// Its text; empty without authentication.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Name of the stream that holds a session.
    pub(crate) fn session_stream(&self, session: &str) -> Result<Name, NameError> {
        Name::new(&self.text, &format!("session/{session}"))
    }

    /// Name of the stream that holds what is known of a user.
    pub(crate) fn user_stream(&self, user: &str) -> Result<Name, NameError> {
        Name::new(&self.text, &format!("user/{user}"))
    }

    /// Name of the stream that holds what is known of a project.
    pub(crate) fn project_stream(&self, project: &str) -> Result<Name, NameError> {
        // Up to the separator: no principal without one is called so.
        let shared = self.text.find(SEPARATOR).map_or(&*self.text, |at| &self.text[..=at]);
        Name::new(shared, &format!("project/{project}"))
    }

    /// Name of the sub-stream that holds a request.
    pub(crate) fn request_sub_stream(&self, request: &str) -> Result<Name, NameError> {
        Name::new(&self.text, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_a_tenant_share_projects_and_nothing_else() {
        let user = |tenant, user| Principal::of_user(tenant, user).expect("plain texts");
        let (ann, bob, eve) = (user("t", "ann"), user("t", "bob"), user("u", "ann"));
        assert_eq!(ann.project_stream("p"), bob.project_stream("p"));
        assert_ne!(ann.project_stream("p"), eve.project_stream("p"));
        for name in [
            Principal::session_stream,
            Principal::user_stream,
            Principal::request_sub_stream,
        ] {
            assert_ne!(name(&ann, "x"), name(&bob, "x"));
            assert_ne!(name(&ann, "x"), name(&eve, "x"));
        }
        let (nobody, named) = (Principal::default(), Principal::new("t"));
        for other in [nobody, named, user("", "t"), Principal::new("t\u{1f}x")] {
            if other.as_str() != "t\u{1f}x" {
                assert_ne!(ann.project_stream("p"), other.project_stream("p"), "{other:?}");
            }
            assert_ne!(ann.session_stream("p"), other.session_stream("p"), "{other:?}");
        }
        assert_eq!(Principal::of_user("a\u{1f}b", "c"), None);
        assert_eq!(Principal::of_user("a", "b\u{1f}c"), None);
    }
}
